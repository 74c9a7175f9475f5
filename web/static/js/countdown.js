// @ts-check
// Everything on a page that moves with time: countdowns, "since", and the clay dot on the thread.
//
//   <b data-until="ISO" data-as="clock|words">      what is left; data-at-zero="refresh" fetches the regions then
//   <b data-since="ISO">                            what has passed, as a clock
//   <svg data-from="ISO" data-to="ISO">             a thread: past, dot and its word follow the time

import { clock, clockLength, everySecond, spokenLength, wordLength } from './time.js';
import { refreshRegions } from './page.js';
import { t } from './words.js';

/** @type {WeakSet<Element>} */
const ended = new WeakSet();

/** @param {Element} place @param {string} words */
function say(place, words) {
  if (place.textContent !== words) place.textContent = words;
}

/** @param {number} now */
function tick(now) {
  for (const place of document.querySelectorAll('[data-until]')) {
    if (!(place instanceof HTMLElement)) continue;
    const left = Date.parse(place.dataset.until || '') - now;
    say(place, place.dataset.as === 'clock' ? clockLength(left) : wordLength(left));
    if (place.dataset.as === 'clock' && place.hasAttribute('role')) place.setAttribute('aria-label', t('%(spokenLength)s left', { spokenLength: spokenLength(left) }));
    if (left <= 0 && place.dataset.atZero === 'refresh' && !ended.has(place)) {
      ended.add(place);
      // The server's own clock decides; give it a moment to be past the mark.
      window.setTimeout(refreshRegions, 700);
    }
  }
  for (const place of document.querySelectorAll('[data-since]')) {
    if (place instanceof HTMLElement) say(place, clockLength(now - Date.parse(place.dataset.since || '')));
  }
  for (const thread of document.querySelectorAll('svg[data-from]')) moveThread(thread, now);
}

/** @param {Element} thread @param {number} now */
function moveThread(thread, now) {
  const from = Date.parse(thread.getAttribute('data-from') || '');
  const to = Date.parse(thread.getAttribute('data-to') || '');
  const at = `${(Math.min(1, Math.max(0, (now - from) / (to - from))) * 100).toFixed(2)}%`;
  const dot = thread.querySelector('.thread__now');
  if (!dot || dot.getAttribute('cx') === at) return;
  dot.setAttribute('cx', at);
  thread.querySelector('.thread__past')?.setAttribute('x2', at);
  const words = thread.querySelector('.thread__nowtext');
  words?.setAttribute('x', at);
  if (words) say(words, clock(now) + (words.getAttribute('data-after') || ''));
}

export function startCountdowns() {
  everySecond(tick);
}
