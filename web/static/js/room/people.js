// @ts-check
// Who is in the session and who waits: a list for everybody, with what only the practitioner can do.
// The buttons only ask; the server checks who asks.

import { ProblemError, post } from '../api.js';
import { byId, element, showError } from '../page.js';
import { slotOf } from './state.js';
import { act, announce, callName, initials } from './view.js';
import { t } from '../words.js';

/** @typedef {import('./state.js').RoomState} RoomState */
/** @typedef {import('./protocol.js').Person} Person */

const ROLES = { practitioner: t('Practitioner'), client: t('Client'), guest: t('Guest') };

export class People {
  /** @param {string} sessionId */
  constructor(sessionId) {
    this._url = `/api/appointments/${sessionId}/room`;
    this._drawn = '';
    /** @type {Set<string>|null} who was here, to tell of comings and goings */
    this._here = null;
    const sharing = /** @type {HTMLInputElement|null} */ (document.getElementById('may-share'));
    sharing?.addEventListener('change', () => void this._try(sharing, `${this._url}/sharing`, { allowed: sharing.checked }));
    byId('people-list').addEventListener('click', (event) => void this._pressed(event));
    byId('waiting-list').addEventListener('click', (event) => void this._pressed(event));
  }

  /** @param {RoomState} state */
  draw(state) {
    this._announce(state);
    const sharing = /** @type {HTMLInputElement|null} */ (document.getElementById('may-share'));
    if (sharing && state.snapshot && sharing.getAttribute('aria-busy') !== 'true') sharing.checked = state.snapshot.visitors_may_share;
    const leads = state.snapshot?.can.moderate ?? false;
    const shown = state.people.map((person) => ({
      ...person, muted: slotOf(state, person.id, 'microphone')?.muted ?? false, isMe: person.id === state.me }));
    const key = JSON.stringify([leads, state.snapshot?.state, shown]);
    if (key === this._drawn) return;
    this._drawn = key;
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.key : undefined;
    byId('people-list').replaceChildren(...shown.map((person) => row(person, leads && state.snapshot?.state === 'in_progress')));
    if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.dispatchEvent(new Event('refocus'));
  }

  /** Comings and goings in words, for those who don't see the stage. @param {RoomState} state */
  _announce(state) {
    const here = new Map(state.people.filter((one) => one.id !== state.me && one.place === 'admitted').map((one) => [one.id, one.name]));
    const before = this._here;
    if (!state.people.length) return;
    this._here = new Set(here.keys());
    if (!before) return;
    const came = [...here].filter(([id]) => !before.has(id)).map(([, name]) => callName(name));
    const left = [...before].filter((id) => !here.has(id)).length;
    if (came.length) announce(t('%(came)s joined', { came: came.join(t(' and ')) }));
    else if (left) announce(left === 1 ? t('Somebody left') : t('%(left)s people left', { left }));
  }

  /** @param {Event} event */
  async _pressed(event) {
    const button = event.target instanceof Element ? event.target.closest('button[data-do]') : null;
    if (button instanceof HTMLButtonElement) await this._try(button, `${this._url}/people/${button.dataset.person}/${button.dataset.do}`, {});
  }

  /** @param {HTMLElement} control @param {string} url @param {unknown} body */
  async _try(control, url, body) {
    if (control.getAttribute('aria-busy') === 'true') return;
    control.setAttribute('aria-busy', 'true');
    const places = [byId('people-error'), byId('lobby-error')];
    for (const place of places) showError(place, '');
    try {
      const done = await post(url, body);
      if (done.place === 'waiting' && url.endsWith('/admit')) {
        for (const place of places) showError(place, t('They come in as soon as they have answered what they are asked first.'));
      }
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      for (const place of places) showError(place, error.message);
      if (control instanceof HTMLInputElement) control.checked = !control.checked;
    } finally {
      control.removeAttribute('aria-busy');
    }
  }
}

/** @param {Person & {muted: boolean, isMe: boolean}} person @param {boolean} leads */
function row(person, leads) {
  const where = person.place === 'waiting' ? t('in the waiting room') : !person.connected ? t('lost the connection, coming back')
    : person.muted ? t('microphone off') : '';
  const text = element('span', { class: 'who__text' },
    element('span', { class: 'who__name' }, person.isMe ? t('%(name)s (you)', { name: person.name }) : person.name),
    element('span', { class: 'who__sub' }, [ROLES[person.role], where].filter((word) => word).join(', ')));
  const acts = leads && !person.isMe ? buttons(person) : [];
  return element('li', { class: 'people__one' },
    element('span', { class: 'who' }, element('span', { class: 'avatar', 'aria-hidden': 'true' }, initials(person.name)), text),
    ...(acts.length ? [element('span', { class: 'row people__acts' }, ...acts)] : []));
}

/** @param {Person & {muted: boolean}} person */
function buttons(person) {
  if (person.place === 'waiting') return [act(person, 'admit', t('Admit'), 'check')];
  const mute = person.muted || person.media !== 'connected' ? [] : [act(person, 'mute', t('Mute'), 'mic-off')];
  return [...mute, act(person, 'remove', t('To the waiting room'), 'leave')];
}
