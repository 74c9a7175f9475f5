// @ts-check
// Whether this browser can carry a session at all, and keeping its screen awake while it does.

import { t } from '../words.js';

/** What a session needs, by the name people may know. @type {[string, () => boolean][]} */
const NEEDED = [
  [t('live pictures and sound (WebRTC)'), () => typeof RTCPeerConnection === 'function' && 'addTransceiver' in RTCPeerConnection.prototype],
  [t('live messages (WebSocket)'), () => typeof WebSocket === 'function'],
  ['dialogs', () => typeof HTMLDialogElement === 'function'],
];

/** What is lacking, in words; '' if nothing is. */
export function lacking() {
  return NEEDED.filter(([, has]) => !has()).map(([words]) => words).join(t(' and '));
}

export const UNFIT_TITLE = t('This browser can\'t carry the session');

/** @param {string} lacks */
export function unfitWords(lacks) {
  return t('It has no %(lacks)s. Open this page in a current Chrome, Edge, Firefox or Safari, or update this one. Your place is kept.', { lacks });
}

/** The screen stays on while the room is in sight. A browser that refuses (a low battery) is left alone. */
export function stayAwake() {
  const ask = async () => {
    if (document.visibilityState !== 'visible' || !navigator.wakeLock) return;
    try {
      await navigator.wakeLock.request('screen');
    } catch {
      // Not essential: the screen then goes off as it does elsewhere.
    }
  };
  // The browser takes the lock back when the page is hidden.
  document.addEventListener('visibilitychange', () => void ask());
  void ask();
}
