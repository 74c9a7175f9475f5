// @ts-check
// The session's chat: what was written, what is being sent and how far everybody has read. One list, kept by number.
// Lines are written and read by HTTP; the room's socket says at once what is new. Texts become text nodes, never HTML.

import { ProblemError, get, newKey, post } from '../api.js';
import { byId, element, showError } from '../page.js';
import { clock } from '../time.js';
import { announce, callName, say } from './view.js';
import { t } from '../words.js';

/** @typedef {{id: string, seq: number, person: string, name: string, text: string, at: string}} Line */
/** @typedef {{person: string, delivered: number, read: number}} Mark */
/** @typedef {{key: string, text: string, failed: string}} Unsent */

/** Marks are told at most this often. */
const MARK_MS = 800;
const RETRY_MS = 3000;

export class Chat {
  /** @param {string} sessionId @param {{isSeen: () => boolean, onUnread: (count: number) => void}} panel */
  constructor(sessionId, panel) {
    this._url = `/api/appointments/${sessionId}/chat`;
    this._panel = panel;
    this._me = '';
    /** @type {Map<number, Line>} */
    this._lines = new Map();
    /** @type {Unsent[]} in the order they were written */
    this._unsent = [];
    /** @type {Map<string, Mark>} */
    this._marks = new Map();
    this._told = { delivered: 0, read: 0 };
    this._sending = false;
    this._markTimer = 0;
    this._retryTimer = 0;
    this._isLoaded = false;
    this._list = byId('chat-lines');
    this._onVisible = () => this.seen();
    this._input = /** @type {HTMLTextAreaElement} */ (byId('chat-input'));
    this._wire();
  }

  _wire() {
    const form = byId('chat-form');
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      this._write();
    });
    this._input.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this._write();
    });
    this._input.addEventListener('input', () => this._grow());
    byId('chat-earlier').addEventListener('click', () => void this._load({ before: Math.min(...this._lines.keys()) }));
    document.addEventListener('visibilitychange', this._onVisible);
  }

  /** The page shows another chat of the same session. */
  close() {
    document.removeEventListener('visibilitychange', this._onVisible);
    window.clearTimeout(this._markTimer);
    window.clearTimeout(this._retryTimer);
  }

  /** The line is there (again): what was missed is fetched, what could not be sent goes out. @param {string} me */
  async connected(me) {
    this._me = me;
    await this._load(this._isLoaded ? { after: this._last() } : {});
    void this._send();
  }

  /** @param {string} topic @param {any} body */
  heard(topic, body) {
    if (topic === 'chat') {
      // One's own comes back as the answer to what is being sent.
      if (body.person === this._me && this._sending) return;
      const isNew = !this._lines.has(body.seq);
      this._keep(body);
      this._draw();
      if (isNew && body.person !== this._me && !this._panel.isSeen()) announce(t('New message from %(callName)s', { callName: callName(body.name) }));
      this.seen();
    } else if (topic === 'chat_mark') {
      this._marks.set(body.person, body);
      this._draw();
    }
  }

  /** The person may have looked: tell how far. */
  seen() {
    const last = this._last();
    const isSeen = this._panel.isSeen() && document.visibilityState === 'visible';
    const now = { delivered: last, read: isSeen ? last : this._told.read };
    this._panel.onUnread(this._unread(now.read));
    if (!this._isLoaded || (now.delivered <= this._told.delivered && now.read <= this._told.read)) return;
    this._told = now;
    window.clearTimeout(this._markTimer);
    this._markTimer = window.setTimeout(() => {
      // Lost marks do no harm: the next ones are farther.
      post(`${this._url}/marks`, this._told).catch(() => {});
    }, MARK_MS);
  }

  /** @param {number} read */
  _unread(read) {
    return [...this._lines.values()].filter((line) => line.seq > read && line.person !== this._me).length;
  }

  _last() {
    return Math.max(0, ...this._lines.keys());
  }

  // ---------------------------------------------------------------- reading

  /** @param {{after?: number, before?: number}} where */
  async _load(where) {
    const query = where.after !== undefined ? `?after=${where.after}` : where.before !== undefined ? `?before=${where.before}` : '';
    try {
      const page = await get(this._url + query);
      for (const line of page.messages) this._keep(line);
      for (const mark of page.marks) this._marks.set(mark.person, mark);
      const mine = this._marks.get(this._me);
      if (!this._isLoaded && mine) this._told = { delivered: mine.delivered, read: mine.read };
      if (where.after === undefined) byId('chat-earlier').hidden = !page.has_earlier;
      this._isLoaded = true;
      showError(byId('chat-error'), '');
      this._draw();
      this.seen();
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      // Without a line the room says so itself, and connected() comes again.
      if (error.status) showError(byId('chat-error'), error.message);
    }
  }

  /** @param {Line} line */
  _keep(line) {
    this._lines.set(line.seq, line);
  }

  // ---------------------------------------------------------------- writing

  _write() {
    const text = this._input.value.trim();
    if (!text) return;
    this._unsent.push({ key: newKey(), text, failed: '' });
    this._input.value = '';
    this._grow();
    this._draw();
    this._toEnd();
    void this._send();
  }

  /** One after the other, in the order they were written; each under its own key, so that a repeat is the same line. */
  async _send() {
    if (this._sending) return;
    this._sending = true;
    window.clearTimeout(this._retryTimer);
    try {
      while (this._unsent.length) {
        const one = this._unsent[0];
        const line = await post(this._url, { text: one.text }, { idempotencyKey: one.key });
        this._unsent.shift();
        this._keep(line);
        this._draw();
      }
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      const again = error.status === 0 || error.status === 429 || error.status >= 500;
      this._unsent[0].failed = again ? t('Not sent yet. We keep trying.') : error.message;
      if (again) this._retryTimer = window.setTimeout(() => void this._send(), 1000 * (error.extra.retry_after_s || RETRY_MS / 1000));
      else this._giveBack();
      this._draw();
    } finally {
      this._sending = false;
    }
  }

  /** What the server will never take is put back where it was written. */
  _giveBack() {
    const one = this._unsent.shift();
    if (!one) return;
    showError(byId('chat-error'), one.failed);
    this._input.value = this._input.value ? `${one.text}\n${this._input.value}` : one.text;
    this._grow();
  }

  _grow() {
    this._input.style.height = 'auto';
    this._input.style.height = `${Math.min(132, Math.max(44, this._input.scrollHeight + 2))}px`;
  }

  // ---------------------------------------------------------------- drawing

  /** Lines that stand are left alone, so that a screen reader says each once. */
  _draw() {
    const atEnd = isAtEnd(byId('chat-body'));
    byId('chat-empty').hidden = this._lines.size + this._unsent.length > 0;
    const lines = [...this._lines.values()].sort((a, b) => a.seq - b.seq);
    /** @type {HTMLElement|null} */
    let before = null;
    for (const line of lines) {
      let item = document.getElementById(`chat-${line.seq}`);
      if (!item) {
        item = this._item(line);
        if (before) before.after(item);
        else this._list.prepend(item);
      }
      before = item;
    }
    for (const old of this._list.querySelectorAll('[data-unsent]')) old.remove();
    for (const one of this._unsent) this._list.append(unsentItem(one));
    this._drawStates(lines);
    if (atEnd) this._toEnd();
  }

  /** @param {Line} line */
  _item(line) {
    const isMine = line.person === this._me;
    const time = element('time', { datetime: line.at }, clock(Date.parse(line.at)));
    const meta = element('p', { class: 'msg__meta' }, ...(isMine ? [] : [element('span', {}, callName(line.name))]), time);
    return element('li', { class: isMine ? 'msg msg--me' : 'msg', id: `chat-${line.seq}` },
      meta, element('p', { class: 'msg__text' }, ...withLinks(line.text)));
  }

  /** Under the last of one's own lines that has got so far: read, delivered or sent. @param {Line[]} lines */
  _drawStates(lines) {
    const others = [...this._marks.values()].filter((mark) => mark.person !== this._me);
    const read = Math.max(0, ...others.map((mark) => mark.read));
    const delivered = Math.max(0, ...others.map((mark) => mark.delivered));
    const said = new Set();
    for (const line of lines.filter((one) => one.person === this._me).reverse()) {
      const state = line.seq <= read ? t('Read') : line.seq <= delivered ? t('Delivered') : t('Sent');
      const item = byId(`chat-${line.seq}`);
      let place = item.querySelector('.msg__state');
      const words = said.has(state) ? '' : state;
      said.add(state);
      if (!words) place?.remove();
      else if (place) say(place, words);
      else item.append(element('p', { class: 'msg__state', 'aria-live': 'off' }, words));
    }
  }

  _toEnd() {
    const body = byId('chat-body');
    body.scrollTop = body.scrollHeight;
  }
}

/** @param {Element} body */
function isAtEnd(body) {
  return body.scrollHeight - body.scrollTop - body.clientHeight < 48;
}

/** @param {Unsent} one */
function unsentItem(one) {
  return element('li', { class: 'msg msg--me msg--unsent', 'data-unsent': true },
    element('p', { class: 'msg__text' }, ...withLinks(one.text)), element('p', { class: 'msg__state' }, one.failed || t('Sending')));
}

const ADDRESS = /https?:\/\/[^\s<>"]+/gi;
/** What follows an address in a sentence and is no part of it. */
const TRAILING = /[.,;:!?)\]}'’”]+$/;

/** Text as nodes; addresses of the web become links that know nothing of this page. @param {string} text @returns {(string|HTMLElement)[]} */
function withLinks(text) {
  /** @type {(string|HTMLElement)[]} */
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(ADDRESS)) {
    const written = found[0].replace(TRAILING, '');
    const url = URL.canParse(written) ? new URL(written) : null;
    if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) continue;
    parts.push(text.slice(at, found.index));
    parts.push(element('a', { href: url.href, target: '_blank', rel: 'noopener noreferrer' }, written));
    at = found.index + written.length;
  }
  parts.push(text.slice(at));
  return parts.filter((part) => part !== '');
}
