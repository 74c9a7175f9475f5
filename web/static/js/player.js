// @ts-check
// Plays one recording: the film of everybody, or everybody's own files in step, with its chapter marks. One clock is master: the page's own, started and stopped with
// the media; each file is pulled to it by small changes of speed, and by a jump only when it is far off.

import { byId, element, icon } from './page.js';
import { clockLength, spokenLength } from './time.js';
import { t } from './words.js';

/** Farther apart than this is heard as an echo: jump. */
const JUMP_S = 0.35;
/** Closer than this nobody notices: leave it. */
const CLOSE_S = 0.04;
const LOOK_MS = 250;
/** A part that begins within this of where it stands already shows its first picture. */
const SOON_S = 1;
const STEP_S = 5;

/** @typedef {{media: HTMLVideoElement, offset: number, length: number}} Part */

const player = byId('player');
const seek = /** @type {HTMLInputElement} */ (byId('seek'));
const playButton = byId('play');
const says = byId('player-says');
/** @type {Part[]} */
const parts = [...player.querySelectorAll('video')].map((media) => ({
  media,
  offset: Number(media.dataset.offset || 0),
  length: Number(media.dataset.length || 0),
}));
const tiles = [...player.querySelectorAll('.player__tile')];
const length = Number(player.dataset.length || 0);
const chapters = [...player.querySelectorAll('[data-at]')].flatMap((mark) => (mark instanceof HTMLElement ? [{ mark, at: Number(mark.dataset.at) }] : []));

let playing = false;
let position = 0;
let rate = 1;
let lastAt = performance.now();
let seeking = false;

/** Where a part stands by the master clock; null when it has nothing to show then. @param {Part} part */
function wanted(part) {
  const at = position - part.offset;
  const end = part.length || (Number.isFinite(part.media.duration) ? part.media.duration : Infinity);
  return at < 0 || at >= end ? null : at;
}

/** True while a part that should be heard is still waiting for data: then the clock waits too. */
function isStalled() {
  return parts.some(({ media, ...part }) => wanted({ media, ...part }) !== null
    && (media.seeking || media.readyState < HTMLMediaElement.HAVE_FUTURE_DATA) && !media.ended && !media.error);
}

function align() {
  const stalled = isStalled();
  for (const part of parts) {
    const at = wanted(part);
    const { media } = part;
    if (at === null) {
      if (!media.paused) media.pause();
      continue;
    }
    const off = media.currentTime - at;
    if (Math.abs(off) > JUMP_S && !media.seeking) media.currentTime = at;
    media.playbackRate = Math.abs(off) > CLOSE_S && !stalled ? rate * (off > 0 ? 0.97 : 1.03) : rate;
    if (playing && !stalled && media.paused) media.play().catch(refused);
    if ((!playing || stalled) && !media.paused) media.pause();
    // Paused media only loads when asked: a stalled part must be able to go on.
    if (playing && stalled && media.readyState < HTMLMediaElement.HAVE_FUTURE_DATA && media.preload !== 'auto') media.preload = 'auto';
  }
}

/** @param {unknown} error */
function refused(error) {
  if (error instanceof DOMException && error.name === 'AbortError') return;
  setPlaying(false);
  says.textContent = t('The browser did not start the sound. Press play again.');
}

function look() {
  const now = performance.now();
  if (playing && !isStalled()) position = Math.min(length, position + ((now - lastAt) / 1000) * rate);
  lastAt = now;
  if (playing && position >= length) setPlaying(false);
  align();
  show();
}

function show() {
  for (const part of parts) {
    const isSoon = position < part.offset && part.offset - position < SOON_S;
    part.media.hidden = wanted(part) === null && !isSoon;
  }
  for (const tile of tiles) {
    const shows = Boolean(tile.querySelector('video:not([hidden])'));
    const [away, voice] = [tile.querySelector('.player__away'), tile.querySelector('.player__voice')];
    if (away instanceof HTMLElement) away.hidden = shows;
    if (voice instanceof HTMLElement) voice.hidden = !shows;
  }
  const now = chapters.findLast(({ at }) => at <= position + CLOSE_S);
  for (const { mark } of chapters) {
    if (mark === now?.mark) mark.setAttribute('aria-current', 'true');
    else mark.removeAttribute('aria-current');
  }
  if (!seeking) seek.value = String(position);
  byId('position').textContent = clockLength(position * 1000);
  seek.setAttribute('aria-valuetext', t('%(spokenLength)s of %(spokenLength2)s', { spokenLength: spokenLength(position * 1000), spokenLength2: spokenLength(length * 1000) }));
}

/** @param {boolean} on */
function setPlaying(on) {
  if (on && position >= length) position = 0;
  playing = on;
  lastAt = performance.now();
  playButton.replaceChildren(icon(on ? 'pause' : 'play'), element('span', { class: 'vh', 'data-label': '' }, on ? t('Pause') : t('Play')));
  player.dataset.state = on ? 'playing' : 'paused';
  align();
}

/** @param {number} to */
function move(to) {
  position = Math.min(length, Math.max(0, to));
  lastAt = performance.now();
  for (const part of parts) {
    const at = wanted(part);
    if (at !== null && Math.abs(part.media.currentTime - at) > CLOSE_S) part.media.currentTime = at;
  }
  align();
  show();
}

/** To the chapter after, or before, where it stands. @param {boolean} on */
function turn(on) {
  const next = on ? chapters.find(({ at }) => at > position + CLOSE_S) : chapters.findLast(({ at }) => at < position - 1);
  move(next ? next.at : on ? length : 0);
}

for (const { mark, at } of chapters) mark.addEventListener('click', () => move(at));
playButton.addEventListener('click', () => setPlaying(!playing));
byId('back').addEventListener('click', () => move(position - 10));
byId('forward').addEventListener('click', () => move(position + 10));
seek.addEventListener('input', () => {
  seeking = true;
  move(Number(seek.value));
});
seek.addEventListener('change', () => {
  seeking = false;
});
byId('rate').addEventListener('change', (event) => {
  rate = Number(/** @type {HTMLSelectElement} */ (event.target).value);
  align();
});
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target instanceof HTMLElement ? event.target : null;
  if (target?.closest('input:not([type="range"]), select, textarea, dialog')) return;
  const onButton = target?.closest('button, a, summary');
  switch (event.key) {
    case ' ': if (onButton) return; setPlaying(!playing); break;
    case 'k': setPlaying(!playing); break;
    case 'j': move(position - 10); break;
    case 'l': move(position + 10); break;
    case 'ArrowLeft': move(position - STEP_S); break;
    case 'ArrowRight': move(position + STEP_S); break;
    case '[': turn(false); break;
    case ']': turn(true); break;
    case 'Home': move(0); break;
    case 'End': move(length); break;
    default: return;
  }
  event.preventDefault();
});
for (const { media } of parts) {
  media.addEventListener('error', () => {
    setPlaying(false);
    says.textContent = t('One of the files could not be read. The recording is safe; load the page again to try once more.');
  });
}
window.setInterval(look, LOOK_MS);
show();
