// @ts-check
// How many conversations are unread, beside "Messages" in the navigation, kept fresh by the live socket.

import { ProblemError, get } from './api.js';
import { onLive } from './live.js';

async function ask() {
  let unread = 0;
  try {
    unread = (await get('/api/conversations/unread')).unread;
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
    return; // Not essential: the inbox says it too.
  }
  for (const count of document.querySelectorAll('[data-unread-messages]')) {
    if (!(count instanceof HTMLElement)) continue;
    count.hidden = unread === 0;
    const number = count.querySelector('[data-number]');
    if (number) number.textContent = String(unread);
  }
}

export function startUnread() {
  if (!document.querySelector('[data-unread-messages]')) return;
  void ask();
  onLive((event) => {
    if (event.type === 'message' || event.type === 'reconnected') void ask();
  });
}
