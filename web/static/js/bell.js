// @ts-check
// The bell: how many notices are unread, kept fresh by the live socket. It says so to screen readers in words.

import { ProblemError, get } from './api.js';
import { onLive } from './live.js';
import { t } from './words.js';

const MOST_SHOWN = 99;

/** @param {HTMLElement} bell @param {number} unread */
function show(bell, unread) {
  const count = bell.querySelector('[data-bell-count]');
  const words = bell.querySelector('.vh');
  if (!(count instanceof HTMLElement) || !words) return;
  count.hidden = unread === 0;
  count.textContent = unread > MOST_SHOWN ? `${MOST_SHOWN}+` : String(unread);
  words.textContent = unread ? t('Notices, unread: ') : t('Notices');
}

/** @param {HTMLElement} bell */
async function ask(bell) {
  try {
    const answer = await get('/api/notices?limit=1');
    show(bell, answer.unread);
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
    // Not essential: the page of notices says it too.
  }
}

export function startBell() {
  const bell = document.querySelector('[data-bell]');
  if (!(bell instanceof HTMLElement)) return;
  void ask(bell);
  onLive((event) => {
    if (event.type === 'notice' || event.type === 'reconnected') void ask(bell);
  });
}
