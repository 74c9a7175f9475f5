// @ts-check
// The panels beside the stage (on phones a sheet below it): one is open at a time, each opened by its button.
// Knows how they open, close and take focus; what stands in them is their own modules' business.

import { byId } from '../page.js';
import { t } from '../words.js';

export class Panels {
  /** @param {{[name: string]: () => void}} onOpen what to do once a panel is seen @param {{[name: string]: () => void}} [onClose] */
  constructor(onOpen, onClose = {}) {
    this._onOpen = onOpen;
    this._onClose = onClose;
    this.open = '';
    for (const name of Object.keys(onOpen)) {
      const panel = byId(`panel-${name}`);
      for (const button of this._buttons(name)) button.addEventListener('click', () => this.toggle(name));
      panel.querySelector('[data-close]')?.addEventListener('click', () => this.close());
      panel.addEventListener('keydown', (event) => {
        if (event.key === 'Escape' && !event.defaultPrevented) this.close();
      });
    }
  }

  /** @param {string} name @returns {NodeListOf<HTMLElement>} */
  _buttons(name) {
    return document.querySelectorAll(`[aria-controls="panel-${name}"]`);
  }

  /** @param {string} name */
  toggle(name) {
    if (this.open === name) this.close();
    else this.show(name);
  }

  /** @param {string} name */
  show(name) {
    this._set(name);
    const panel = byId(`panel-${name}`);
    const first = panel.querySelector('[data-first]') || panel.querySelector('[data-close]');
    if (first instanceof HTMLElement) first.focus();
    this._onOpen[name]();
  }

  close() {
    const buttons = [...this._buttons(this.open)];
    this._set('');
    // Where its button has no room, the menu opened it.
    (buttons.find((one) => one.offsetParent !== null) || document.getElementById('more'))?.focus();
  }

  /** @param {string} open */
  _set(open) {
    if (this.open && this.open !== open) this._onClose[this.open]?.();
    this.open = open;
    document.getElementById('room')?.classList.toggle('room--panel', Boolean(open));
    for (const name of Object.keys(this._onOpen)) {
      byId(`panel-${name}`).hidden = name !== open;
      for (const button of this._buttons(name)) button.setAttribute('aria-expanded', String(name === open));
    }
  }
}

/** The number on a control, and in words for those who hear it. @param {string} id @param {number} count */
export function showCount(id, count) {
  const place = byId(id);
  place.hidden = count === 0;
  const [shown, words] = [count > 99 ? '99' : String(count), place.querySelector('.vh')];
  if (place.firstChild?.nodeType === Node.TEXT_NODE) place.firstChild.textContent = shown;
  else place.prepend(shown);
  if (words) words.textContent = t(' new');
}
