// @ts-check
// How the pictures share the stage: by itself, one large, side by side, a grid, swapped with one's own; and a small
// window over other programs (picture-in-picture). What was chosen stays chosen on this device.

import { byId } from '../page.js';
import { others } from './state.js';
import { announce, say } from './view.js';
import { t } from '../words.js';

/** @typedef {import('./state.js').RoomState} RoomState */
/** @typedef {'auto'|'speaker'|'side'|'grid'|'own'} Layout */

/** @type {[Layout, string][]} in the order the key goes through them */
const LAYOUTS = [['auto', t('By itself')], ['speaker', t('Who speaks, large')], ['side', t('Side by side')], ['grid', t('Grid')],
  ['own', t('Swapped: my own, large')]];
const CHOSEN = 'holdspace.layout';
/** Somebody has to speak this long before the large picture changes. */
const HOLD_MS = 1500;

export class Layouts {
  constructor() {
    /** @type {Layout} */
    this.chosen = readChosen();
    /** Two people: only where there is one other picture can the own one take its place. */
    this._canSwap = true;
    this._large = '';
    this._wanted = '';
    this._since = 0;
    for (const [name] of LAYOUTS) {
      const radio = /** @type {HTMLInputElement} */ (byId(`layout-${name}`));
      radio.checked = name === this.chosen;
      radio.addEventListener('change', () => this._choose(name));
    }
    const dialog = /** @type {HTMLDialogElement} */ (byId('layout-dialog'));
    byId('menu-layout').addEventListener('click', () => dialog.showModal());
    byId('layout-next').addEventListener('click', () => this._next());
    byId('self').addEventListener('dblclick', () => this._swap());
    byId('self').addEventListener('keydown', (event) => {
      if (event.key === 'Enter') this._swap();
    });
    startPictureInPicture();
  }

  _next() {
    const offered = LAYOUTS.filter(([name]) => name !== 'own' || this._canSwap);
    const at = Math.max(0, offered.findIndex(([name]) => name === this.chosen));
    this._take(offered[(at + 1) % offered.length]);
  }

  _swap() {
    if (!this._canSwap) return;
    this._take(LAYOUTS.find(([name]) => name === (this.chosen === 'own' ? 'auto' : 'own')) || LAYOUTS[0]);
  }

  /** @param {[Layout, string]} layout */
  _take([name, words]) {
    /** @type {HTMLInputElement} */ (byId(`layout-${name}`)).checked = true;
    this._choose(name);
    announce(t('Layout: %(words)s', { words }));
  }

  /** @param {Layout} name */
  _choose(name) {
    this.chosen = name;
    try {
      localStorage.setItem(CHOSEN, name);
    } catch {
      // Storage may be refused; the choice then lasts for this page.
    }
    this.onChange();
  }

  onChange() {}

  /** Whoever chose it has it back as soon as there are two again. @param {boolean} isOffered */
  _offerSwap(isOffered) {
    if (isOffered === this._canSwap) return;
    this._canSwap = isOffered;
    const own = /** @type {HTMLInputElement} */ (byId('layout-own'));
    own.disabled = !isOffered;
    if (this.chosen === 'own') /** @type {HTMLInputElement} */ (isOffered ? own : byId('layout-auto')).checked = true;
    byId('self').setAttribute('aria-label', isOffered
      ? t('Your own picture. Arrow keys move it to another corner, Enter swaps it with the large one')
      : t('Your own picture. Arrow keys move it to another corner'));
  }

  /** After the tiles were drawn: which arrangement the stage has, and who is large in it. @param {RoomState} state @param {number} now */
  apply(state, now) {
    const stage = byId('stage');
    const tiles = /** @type {HTMLElement[]} */ ([...stage.querySelectorAll(':scope > .picture')]);
    const screens = tiles.filter((tile) => tile.classList.contains('picture--screen'));
    const people = tiles.length - screens.length;
    const self = byId('self');
    const side = this.chosen === 'side' && people > 0 && !screens.length;
    stage.dataset.layout = screens.length ? 'screen'
      : side || (this.chosen === 'grid' && people > 0) ? 'grid'
        : people <= 1 ? 'one' : this.chosen === 'speaker' ? 'speaker' : 'grid';
    const isInGrid = stage.dataset.layout === 'grid' && (this.chosen === 'side' || this.chosen === 'grid');
    this._offerSwap(people === 1 && !screens.length);
    const isSwapped = this.chosen === 'own' && this._canSwap;
    byId('room').classList.toggle('room--even', isInGrid);
    byId('room').classList.toggle('room--swapped', isSwapped);
    if ((isInGrid || isSwapped) !== (self.parentElement === stage)) {
      const isFocused = document.activeElement === self;
      if (isInGrid || isSwapped) stage.append(self);
      else byId('main').insertBefore(self, byId('bar'));
      // A picture that is moved in the document stops, and loses the focus.
      if (isFocused) self.focus();
      void self.querySelector('video')?.play().catch(() => {});
    }
    stage.dataset.count = String(Math.min(25, people + (isInGrid ? 1 : 0)));
    this._pickLarge(state, now);
    const isSpeaker = stage.dataset.layout === 'speaker';
    for (const tile of tiles) tile.classList.toggle('picture--large', isSpeaker && tile.dataset.person === this._large);
  }

  /** The one who has been speaking for a while; nobody's cough takes the stage. @param {RoomState} state @param {number} now */
  _pickLarge(state, now) {
    const there = others(state).filter((person) => person.place === 'admitted').map((person) => person.id);
    const speaking = state.speaking.find((id) => there.includes(id)) || '';
    if (speaking !== this._wanted) {
      this._wanted = speaking;
      this._since = now;
    }
    if (!there.includes(this._large)) this._large = speaking || there[0] || '';
    else if (speaking && now - this._since >= HOLD_MS) this._large = speaking;
  }
}

/** @returns {Layout} */
function readChosen() {
  try {
    const stored = localStorage.getItem(CHOSEN);
    return LAYOUTS.find(([name]) => name === stored)?.[0] || 'auto';
  } catch {
    return 'auto';
  }
}

/** The large picture in a window over other programs. */
function startPictureInPicture() {
  const button = byId('menu-pip');
  if (!document.pictureInPictureEnabled) {
    button.hidden = true;
    return;
  }
  button.addEventListener('click', () => {
    if (document.pictureInPictureElement) {
      void document.exitPictureInPicture();
      return;
    }
    const stage = byId('stage');
    const video = stage.querySelector('.picture--screen > video, .picture--large > video, .picture > video');
    if (video instanceof HTMLVideoElement) video.requestPictureInPicture().catch(() => announce(t('There is no picture to put into a window yet.')));
  });
  const words = () => say(byId('pip-words'), document.pictureInPictureElement ? t('Back into the page') : t('Small window'));
  document.addEventListener('enterpictureinpicture', words, true);
  document.addEventListener('leavepictureinpicture', words, true);
}
