// @ts-check
// Loaded by every page: forms, dialogs, countdowns, the browser's zone, and live refresh where a page asks for it.

import { startForms } from './forms.js';
import { startCountdowns } from './countdown.js';
import { startInstalled } from './installed.js';
import { refreshRegions, showCurrent, showWaitingToast } from './page.js';
import { browserZone } from './time.js';
import { onLive } from './live.js';
import { startPull } from './pull.js';
import { startUnread } from './unread.js';
import { startBell } from './bell.js';
import { t } from './words.js';

const POLL_MS = 2000;
const A_YEAR_S = 365 * 24 * 3600;

// The server writes times for readers who are not signed in by this cookie.
if (!document.cookie.split('; ').some((pair) => pair.startsWith('zone='))) {
  const secure = location.protocol === 'https:' ? '; Secure' : '';
  document.cookie = `zone=${browserZone()}; Path=/; Max-Age=${A_YEAR_S}; SameSite=Lax${secure}`;
}

startForms();
startInstalled();
startPull();
startUnread();
startBell();
startCountdowns();
showWaitingToast();
showCurrent();

// An element with data-poll: what the page waits for tells nobody when it is done, so the page asks.
window.setInterval(() => {
  if (!document.hidden && document.querySelector('[data-poll]')) void refreshRegions();
}, POLL_MS);

// <body data-signed-in> and at least one live region: follow what happens.
if (document.body.dataset.signedIn !== undefined && document.querySelector('[data-region]')) {
  onLive((event) => {
    const sign = document.getElementById('live-sign');
    if (sign && (event.type === 'online' || event.type === 'offline')) {
      sign.textContent = event.type === 'online' ? t('Live') : t('Reconnecting');
    }
    if (!['online', 'offline', 'typing'].includes(event.type)) void refreshRegions();
  });
}
