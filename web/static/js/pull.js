// @ts-check
// Pulling a list down refreshes it: for fingers, where <main data-pulls> says that the page is one. The browser's own
// way is switched off there (css/components.css), because installed pages have none on some phones.

import { element, icon } from './page.js';
import { t } from './words.js';

/** How far the sign has come down when letting go refreshes; a finger goes twice as far. */
const ENOUGH_PX = 64;
const MOST_PX = 96;

export function startPull() {
  const main = document.querySelector('main[data-pulls]');
  if (!main || !navigator.maxTouchPoints) return;
  const words = element('span');
  const sign = element('div', { class: 'pull', 'aria-hidden': 'true', hidden: true }, icon('repeat', 's'), words);
  document.body.append(sign);
  /** @type {number|null} */
  let from = null;
  let down = 0;
  const rest = () => {
    from = null;
    down = 0;
    sign.hidden = true;
  };
  main.addEventListener('touchstart', (event) => {
    const { touches, target } = /** @type {TouchEvent} */ (event);
    const isBusy = document.querySelector('dialog[open]') || hasWords(main) || (target instanceof Element && target.closest('input, textarea, select'));
    from = touches.length === 1 && window.scrollY <= 0 && !isBusy ? touches[0].clientY : null;
  }, { passive: true });
  /** @param {Touch} touch */
  const follow = (touch) => {
    if (from !== null) down = Math.min(MOST_PX, (touch.clientY - from) / 2);
  };
  main.addEventListener('touchmove', (event) => {
    if (from === null) return;
    follow(/** @type {TouchEvent} */ (event).touches[0]);
    if (down <= 0 || window.scrollY > 0) {
      rest();
      return;
    }
    // Ours now: as a scroll of its own the browser would tell of it five times a second only.
    if (event.cancelable) event.preventDefault();
    sign.hidden = false;
    sign.style.transform = `translate(-50%, ${down}px)`;
    sign.style.opacity = String(Math.min(1, down / ENOUGH_PX));
    words.textContent = down >= ENOUGH_PX ? t('Let go to refresh') : t('Pull to refresh');
  }, { passive: false });
  main.addEventListener('touchend', (event) => {
    follow(/** @type {TouchEvent} */ (event).changedTouches[0]);
    if (from !== null && down >= ENOUGH_PX) {
      words.textContent = t('Refreshing');
      from = null;
      location.reload();
    } else rest();
  });
  main.addEventListener('touchcancel', rest);
}

/** Something was written and not sent: it must not be lost. @param {Element} main */
function hasWords(main) {
  const fields = /** @type {NodeListOf<HTMLInputElement|HTMLTextAreaElement>} */ (main.querySelectorAll('textarea, input:not([type])'));
  return [...fields].some((field) => field.value !== field.defaultValue);
}
