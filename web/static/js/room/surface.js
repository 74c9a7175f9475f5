// @ts-check
// How the room's surface behaves by itself: bars that fade, the own picture that moves, the More menu, full screen.
// Knows nothing of the session.

import { byId } from '../page.js';
import { say } from './view.js';
import { t } from '../words.js';

const FADE_AFTER_MS = 4000;

/** Bars fade without input; never while focus is in them, a menu or dialog is open, or something is to be answered. */
export function startFading() {
  const room = byId('room');
  let timer = 0;
  const held = () => room.querySelector('.fades :focus-visible') !== null || !byId('more-menu').hidden
    || document.querySelector('dialog[open]') !== null || !byId('lobby').hidden || !byId('over').hidden;
  const fade = () => {
    if (held()) wake();
    else room.classList.add('room--quiet');
  };
  function wake() {
    room.classList.remove('room--quiet');
    window.clearTimeout(timer);
    timer = window.setTimeout(fade, FADE_AFTER_MS);
  }
  for (const event of ['pointermove', 'pointerdown', 'keydown', 'focusin', 'touchstart']) {
    document.addEventListener(event, wake, { passive: true });
  }
  // A button pressed by mouse keeps focus; that must not hold the bars for the rest of the session.
  byId('bar').addEventListener('click', (event) => {
    const focused = document.activeElement;
    if (event.detail > 0 && focused instanceof HTMLElement && byId('bar').contains(focused)) focused.blur();
  });
  wake();
}

/** The own picture rests in one of four corners: dragged by pointer, or moved by arrow keys. */
export function startMovingSelf() {
  const self = byId('self');
  const stage = byId('main');
  let corner = { right: true, bottom: true };
  const rest = () => {
    self.style.removeProperty('transform');
    self.dataset.corner = `${corner.bottom ? 'bottom' : 'top'}-${corner.right ? 'right' : 'left'}`;
  };
  self.addEventListener('keydown', (event) => {
    const moves = { ArrowLeft: { right: false }, ArrowRight: { right: true }, ArrowUp: { bottom: false }, ArrowDown: { bottom: true } };
    const move = moves[/** @type {keyof typeof moves} */ (event.key)];
    if (!move) return;
    event.preventDefault();
    corner = { ...corner, ...move };
    rest();
  });
  self.addEventListener('pointerdown', (start) => {
    if (start.button !== 0 || self.parentElement !== stage) return;
    self.setPointerCapture(start.pointerId);
    self.classList.add('is-moving');
    const move = (/** @type {PointerEvent} */ event) => {
      self.style.transform = `translate(${event.clientX - start.clientX}px, ${event.clientY - start.clientY}px)`;
    };
    const drop = () => {
      self.removeEventListener('pointermove', move);
      self.classList.remove('is-moving');
      const own = self.getBoundingClientRect();
      const whole = stage.getBoundingClientRect();
      corner = {
        right: own.left + own.width / 2 > whole.left + whole.width / 2,
        bottom: own.top + own.height / 2 > whole.top + whole.height / 2,
      };
      rest();
    };
    self.addEventListener('pointermove', move);
    self.addEventListener('pointerup', drop, { once: true });
    self.addEventListener('pointercancel', drop, { once: true });
  });
  rest();
}

export function startMenu() {
  const button = byId('more');
  const menu = byId('more-menu');
  const items = () => /** @type {HTMLElement[]} */ ([...menu.querySelectorAll('[role="menuitem"]')].filter(
    (item) => item instanceof HTMLElement && item.offsetParent !== null));
  /** @param {boolean} open @param {boolean} [refocus] */
  const set = (open, refocus = false) => {
    menu.hidden = !open;
    button.setAttribute('aria-expanded', String(open));
    if (open) {
      const room = byId('main').getBoundingClientRect();
      const at = button.getBoundingClientRect();
      menu.style.left = `${Math.max(8, Math.min(at.left - room.left, room.width - menu.offsetWidth - 8))}px`;
      menu.style.bottom = `${room.bottom - at.top + 8}px`;
      items()[0]?.focus();
    } else if (refocus) button.focus();
  };
  // What has no room in the bar of a phone is in the menu and presses the bar's own button.
  const doubles = /** @type {HTMLElement[]} */ ([...menu.querySelectorAll('[data-presses]')]);
  for (const double of doubles) double.addEventListener('click', () => byId(double.dataset.presses || '').click());
  button.addEventListener('click', () => {
    for (const double of doubles) double.hidden = byId(double.dataset.presses || '').hidden;
    set(menu.hidden);
  });
  // Before the item's own work: a dialog that it opens gives the focus back to where it found it.
  menu.addEventListener('click', (event) => set(false, !menu.hidden && event.detail === 0), true);
  menu.addEventListener('keydown', (event) => {
    const all = items();
    const at = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (event.key === 'Escape') set(false, true);
    else if (event.key === 'ArrowDown') all[(at + 1) % all.length]?.focus();
    else if (event.key === 'ArrowUp') all[(at - 1 + all.length) % all.length]?.focus();
    else if (event.key === 'Tab') set(false);
    else return;
    if (event.key !== 'Tab') event.preventDefault();
  });
  document.addEventListener('pointerdown', (event) => {
    if (!menu.hidden && event.target instanceof Node && !menu.contains(event.target) && !button.contains(event.target)) set(false);
  });
}

export function startFullScreen() {
  const button = byId('menu-full');
  if (!document.fullscreenEnabled) {
    button.hidden = true;
    return;
  }
  button.addEventListener('click', () => {
    if (document.fullscreenElement) void document.exitFullscreen();
    else void document.documentElement.requestFullscreen().catch(() => {});
  });
  document.addEventListener('fullscreenchange', () => {
    say(byId('full-words'), document.fullscreenElement ? t('Leave full screen') : t('Full screen'));
  });
}
