// @ts-check
// The practitioner's file on the client, beside the picture: earlier notes, and a new one. Read from the server only
// when the panel is opened (each opening is written down there), and gone from the page when it closes.

import { ProblemError, get, newKey, post } from '../api.js';
import { byId, element, showError } from '../page.js';
import { when } from '../time.js';
import { announce } from './view.js';
import { t } from '../words.js';

const NOTHING = t('No notes yet. What you keep here only you can read.');

export class ClientFile {
  constructor() {
    const panel = byId('panel-client');
    this._url = `/api/clients/${panel.dataset.client}`;
    this._notes = byId('client-notes');
    this._text = /** @type {HTMLTextAreaElement} */ (byId('client-note'));
    this._keep = byId('client-keep');
    /** The same for every try of one note, so that a lost answer keeps it once. */
    this._key = newKey();
    this._keep.addEventListener('click', () => void this._add());
    this._text.addEventListener('input', () => { this._key = newKey(); });
    byId('client-retry').addEventListener('click', () => void this.opened());
  }

  async opened() {
    showError(byId('client-error'), '');
    byId('client-retry').hidden = true;
    this._say(t('Opening the file'));
    try {
      this._draw(await get(this._url));
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      this._say('');
      showError(byId('client-error'), error.message);
      byId('client-retry').hidden = false;
    }
  }

  closed() {
    this._notes.replaceChildren();
  }

  /** @param {string} words */
  _say(words) {
    byId('client-words').textContent = words;
  }

  /** @param {{sessions: number, missed: number, notes: {text: string, created_at: string, changed_at: string, version: number}[]}} file */
  _draw(file) {
    const missed = file.missed ? t(', %(missed)s missed', { missed: file.missed }) : '';
    this._say(`${file.sessions} ${file.sessions === 1 ? 'session' : 'sessions'}${missed}.${file.notes.length ? '' : ` ${NOTHING}`}`);
    this._notes.replaceChildren(...file.notes.map((note) => element('li', { class: 'note' },
      element('p', { class: 'small muted num' }, when(note.created_at) + (note.version > 1 ? t(', changed %(when)s', { when: when(note.changed_at) }) : '')),
      element('p', { class: 'note__text' }, note.text))));
  }

  async _add() {
    const text = this._text.value.trim();
    if (!text || this._keep.getAttribute('aria-busy') === 'true') return;
    this._keep.setAttribute('aria-busy', 'true');
    showError(byId('client-error'), '');
    try {
      await post(`${this._url}/notes`, { text }, { idempotencyKey: this._key });
      this._text.value = '';
      this._key = newKey();
      await this.opened();
      announce(t('The note is kept'));
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      showError(byId('client-error'), error.message);
    } finally {
      this._keep.removeAttribute('aria-busy');
    }
  }
}
