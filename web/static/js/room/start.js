// @ts-check
// The room page opened directly: join at once.

import { enterRoom } from './main.js';

enterRoom();
