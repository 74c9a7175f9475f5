// @ts-check
// "Report a problem": three choices, whom to call, and what has become of it. In the waiting room and in the room.
// The numbers stand in the page from the beginning: they are there without a network too.

import { ProblemError, get, newKey, post } from '../api.js';
import { byId, element, showError } from '../page.js';
import { t } from '../words.js';

/** @typedef {'technical'|'unsafe'|'urgent'} Kind */

const TITLES = { technical: t('Something technical'), unsafe: t('I feel uncomfortable or unsafe'), urgent: t('Urgent help') };
const SENT = {
  technical: t('Sent. Somebody looks at it; this line says when they have seen it.'),
  unsafe: t('Sent, to our support and the practice only. This line says when somebody has seen it.'),
  urgent: t('We have told everybody who can help. Please call a number above as well.'),
};
const UNTOLD = {
  technical: t('Kept, but nobody else works at this practice who could be told.'),
  unsafe: t('Nobody could be told: only your practitioner works at this practice, and they are not told. You may leave at any time. The numbers above reach people outside of it.'),
  urgent: t('Nobody else works at this practice who could be told. Please call a number above.'),
};
const TAKEN = t('Somebody has seen it and takes care of it.');

export class Report {
  /** @param {() => void} leave */
  constructor(leave) {
    this._dialog = /** @type {HTMLDialogElement} */ (byId('report-dialog'));
    this._url = `/api/appointments/${this._dialog.dataset.session}/problems`;
    this._text = /** @type {HTMLTextAreaElement} */ (byId('report-text'));
    this._country = /** @type {HTMLSelectElement} */ (byId('report-country'));
    /** @type {Kind} */
    this._kind = 'technical';
    this._key = '';
    this._id = '';
    this._sending = false;
    byId('report').addEventListener('click', () => this.open());
    for (const choice of this._dialog.querySelectorAll('[data-kind]')) {
      if (choice instanceof HTMLElement) choice.addEventListener('click', () => this._choose(/** @type {Kind} */ (choice.dataset.kind)));
    }
    byId('report-send').addEventListener('click', () => void this._send());
    byId('report-leave').addEventListener('click', () => void this._sendAndLeave(leave));
    this._country.addEventListener('change', () => void this.showNumbers(this._country.value));
  }

  open() {
    byId('report-choose').hidden = false;
    byId('report-more').hidden = true;
    byId('report-send').hidden = true;
    byId('report-leave').hidden = true;
    this._text.value = '';
    if (!this._dialog.open) this._dialog.showModal();
    byId('report-title').focus();
  }

  /** @param {Kind} kind */
  _choose(kind) {
    this._kind = kind;
    this._key = newKey();
    this._id = '';
    byId('report-choose').hidden = true;
    byId('report-more').hidden = false;
    byId('report-what').textContent = TITLES[kind];
    byId('report-help').hidden = kind !== 'urgent';
    byId('report-field').hidden = kind === 'urgent';
    byId('report-done').hidden = true;
    showError(byId('report-error'), '');
    byId('report-send').hidden = kind === 'urgent';
    byId('report-leave').hidden = kind !== 'unsafe';
    byId('report-what').focus();
    // Nothing more is asked of somebody who needs help now.
    if (kind === 'urgent') void this._send();
  }

  async _send() {
    if (this._sending || this._id) return Boolean(this._id);
    this._sending = true;
    byId('report-send').setAttribute('aria-busy', 'true');
    showError(byId('report-error'), '');
    try {
      const body = { kind: this._kind, text: this._kind === 'urgent' ? '' : this._text.value, country: this._country.value || null };
      const made = await post(this._url, body, { idempotencyKey: this._key });
      this._id = made.id;
      byId('report-field').hidden = true;
      byId('report-send').hidden = true;
      this._say((made.told ? SENT : UNTOLD)[this._kind]);
      byId('report-done').classList.toggle('banner--ok', made.told);
      byId('report-done').classList.toggle('banner--warn', !made.told);
      if (!made.told && this._kind === 'unsafe') byId('report-help').hidden = false;
      return true;
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      showError(byId('report-error'), this._kind === 'urgent' ? t('We could not tell anybody: %(message)s Please call a number above.', { message: error.message }) : error.message);
      byId('report-send').hidden = false;
      return false;
    } finally {
      this._sending = false;
      byId('report-send').removeAttribute('aria-busy');
    }
  }

  /** Leaving never waits for the sending to work. @param {() => void} leave */
  async _sendAndLeave(leave) {
    const sending = this._send();
    await Promise.race([sending, new Promise((done) => window.setTimeout(done, 1500))]);
    leave();
  }

  /** @param {string} topic @param {any} body */
  heard(topic, body) {
    if (topic === 'problem_taken' && body.id === this._id) this._say(TAKEN);
  }

  /** @param {string} words */
  _say(words) {
    byId('report-done').hidden = false;
    byId('report-done-words').textContent = words;
  }

  /** @param {string} country */
  async showNumbers(country) {
    try {
      const found = await get(`/api/help-numbers?country=${encodeURIComponent(country)}`);
      this._country.value = country;
      byId('report-numbers').replaceChildren(...found.numbers.map((/** @type {any} */ one) => element('li', {}, element('span', {}, one.name),
        one.number ? element('a', { class: 'num', href: `tel:${one.number.replace(/ /g, '')}` }, one.number)
          : element('a', { href: one.url, target: '_blank', rel: 'noopener noreferrer' }, one.url.replace('https://', '')))));
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      showError(byId('report-error'), error.message);
    }
  }
}

/** The practitioner is told in the room of what is theirs to know. */
export class ReportsHeard {
  /** @param {string} topic @param {any} body */
  heard(topic, body) {
    const banner = document.getElementById('reported');
    if (!banner || topic !== 'problem') return;
    banner.hidden = false;
    byId('reported-words').textContent = body.kind === 'urgent' ? t('%(name)s needs urgent help.', { name: body.name }) : t('%(name)s reports a technical problem.', { name: body.name });
    const take = byId('reported-take');
    take.hidden = false;
    take.onclick = async () => {
      try {
        await post(`/api/problems/${body.id}/take`);
        banner.hidden = true;
      } catch (error) {
        if (!(error instanceof ProblemError)) throw error;
        byId('reported-words').textContent = error.message;
      }
    };
  }
}
