// @ts-check
// The one control of the background, in the waiting room and in the room: a choice with words, and the room's button.

import { byId, element } from '../page.js';
import { BACKGROUNDS, chosenBackground } from './blur.js';
import { say } from './view.js';
import { t } from '../words.js';

/** @typedef {import('./blur.js').Background} Background */
/** @typedef {import('./call.js').Call} Call */
/** @typedef {import('./state.js').RoomState} RoomState */

/** What the button switches on. */
const USUAL = /** @type {Background} */ ('strong');

/** @param {() => Call} call the one that is used now */
export function wireBackground(call) {
  const pick = picker();
  if (!pick) return;
  pick.replaceChildren(...BACKGROUNDS.map(([value, words]) => element('option', { value }, words)));
  pick.addEventListener('change', () => void call().devices.setBackground(/** @type {Background} */ (pick.value)));
  let last = USUAL;
  document.getElementById('blur')?.addEventListener('click', () => {
    const now = chosenBackground();
    if (now !== 'off') last = now;
    void call().devices.setBackground(now === 'off' ? last : 'off');
  });
  document.getElementById('background-server')?.addEventListener('click', () => void call().devices.useServer());
  drawBackground(call().state);
}

/** @param {RoomState} state */
export function drawBackground(state) {
  const pick = picker();
  if (!pick) return;
  const { chosen, slowFps, by, serverMay } = state.background;
  // The server draws no pictures.
  for (const option of pick.options) option.hidden = by === 'server' && option.value === 'picture' && chosen !== 'picture';
  byId('background-server').hidden = !serverMay || by === 'server' || chosen === 'off' || (slowFps === null && state.camera.problem !== 'blur');
  if (pick.value !== chosen) pick.value = chosen;
  say(byId('background-words'), wordsFor(state));
  const button = document.getElementById('blur');
  button?.classList.toggle('ctl--on', chosen !== 'off');
  button?.setAttribute('aria-pressed', String(chosen !== 'off'));
  if (button) button.title = slowFps === null ? '' : wordsFor(state);
}

/** @param {RoomState} state */
function wordsFor({ background, camera, place }) {
  if (background.chosen === 'off') return '';
  if (background.starting) return t('Starting. For two seconds the others may still see you as before.');
  if (background.by === 'server') return serverWords(background, place === 'admitted');
  if (camera.problem === 'blur') return t('Not available on this device.');
  if (background.slowFps !== null) return t('This device manages only %(slowFps)s pictures a second with it. Your picture may stutter.', { slowFps: background.slowFps });
  if (camera.on && !camera.ready) return t('Starting. Nobody sees you before it works.');
  return t('Your background never leaves this device.');
}

/** @param {RoomState['background']} background @param {boolean} isSeen there are others to be seen by */
function serverWords({ server }, isSeen) {
  if (server === 'unavailable') return t('This server can hide no more backgrounds just now. Nobody sees you until it can, or until you switch this off.');
  if (server === 'starting' && isSeen) return t('Starting. Nobody sees you before it works.');
  return t('This server hides your background before anybody sees you. You see yourself as you are.');
}

function picker() {
  return /** @type {HTMLSelectElement|null} */ (document.getElementById('pick-background'));
}
