// @ts-check
// Files of the session: dropped or chosen, sent in chunks that go on after a cut, listed, fetched and withdrawn.
// The server looks at the content; what this page checks it checks only to say so sooner.

import { ProblemError, del, get, post, put } from '../api.js';
import { byId, element, icon, showError } from '../page.js';
import { announce, callName, say } from './view.js';
import { t } from '../words.js';

/** @typedef {{id: string, name: string, size: number, type: string|null, owner: {id: string, name: string},
 *   visible_to: string|null, thumbnail: boolean, at: string, ready: boolean, received: number, chunk_bytes: number}} SharedFile */
/** @typedef {{key: string, file: File, to: string, id: string, sent: number, problem: string, bar: HTMLProgressElement, words: HTMLElement, root: HTMLElement}} Upload */

const RETRY_MS = 2000;

export class Files {
  /** @param {string} sessionId @param {{isSeen: () => boolean, onUnread: (count: number) => void, show: () => void}} panel */
  constructor(sessionId, panel) {
    this._session = sessionId;
    this._url = `/api/appointments/${sessionId}/files`;
    this._panel = panel;
    this._me = '';
    this._most = 25_000_000;
    /** @type {Map<string, SharedFile>} */
    this._files = new Map();
    /** @type {Set<string>} */
    this._seen = new Set();
    this._isLoaded = false;
    /** @type {Upload[]} */
    this._uploads = [];
    this._sending = false;
    this._wire();
  }

  _wire() {
    const input = /** @type {HTMLInputElement} */ (byId('file-input'));
    byId('file-choose').addEventListener('click', () => input.click());
    input.addEventListener('change', () => {
      this._add([...(input.files || [])]);
      input.value = '';
    });
    let depth = 0;
    const room = byId('room');
    const hasFiles = (/** @type {DragEvent} */ event) => [...(event.dataTransfer?.types || [])].includes('Files');
    const mark = (/** @type {number} */ change) => {
      depth = Math.max(0, depth + change);
      byId('drop').hidden = depth === 0;
    };
    room.addEventListener('dragenter', (event) => { if (hasFiles(event)) mark(1); });
    room.addEventListener('dragleave', (event) => { if (hasFiles(event)) mark(-1); });
    room.addEventListener('dragover', (event) => { if (hasFiles(event)) event.preventDefault(); });
    room.addEventListener('drop', (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      mark(-depth);
      this._panel.show();
      this._add([...(event.dataTransfer?.files || [])]);
    });
    byId('file-list').addEventListener('click', (event) => {
      const button = event.target instanceof Element ? event.target.closest('[data-withdraw]') : null;
      if (button instanceof HTMLElement) void this._withdraw(button.dataset.withdraw || '');
    });
  }

  /** @param {string} me */
  async connected(me) {
    this._me = me;
    try {
      const found = await get(this._url);
      this._most = found.most_bytes;
      this._files = new Map(found.files.map((/** @type {SharedFile} */ file) => [file.id, file]));
      if (!this._isLoaded) for (const id of this._files.keys()) this._seen.add(id);
      this._isLoaded = true;
      this._draw();
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      if (error.status) showError(byId('file-error'), error.message);
    }
    void this._send();
  }

  /** @param {string} topic @param {any} body */
  heard(topic, body) {
    if (topic === 'file') {
      this._files.set(body.id, body);
      if (body.owner.id !== this._me && !this._panel.isSeen()) announce(t('%(callName)s has shared a file', { callName: callName(body.owner.name) }));
    } else if (topic === 'file_gone') this._files.delete(body.id);
    else return;
    this._draw();
  }

  seen() {
    if (this._panel.isSeen()) for (const id of this._files.keys()) this._seen.add(id);
    const isNew = (/** @type {SharedFile} */ file) => !this._seen.has(file.id) && file.owner.id !== this._me;
    this._panel.onUnread([...this._files.values()].filter(isNew).length);
  }

  /** For whom a file is: everybody, or one of the people here. @param {{id: string, name: string}[]} people */
  drawPeople(people) {
    const select = /** @type {HTMLSelectElement} */ (byId('file-to'));
    const others = people.filter((person) => person.id !== this._me);
    const key = JSON.stringify(others.map((person) => [person.id, person.name]));
    if (select.dataset.key === key) return;
    select.dataset.key = key;
    const chosen = select.value;
    select.replaceChildren(element('option', { value: '' }, t('Everybody in the session')),
      ...others.map((person) => element('option', { value: person.id, selected: person.id === chosen }, t('Only %(name)s', { name: person.name }))));
  }

  // ---------------------------------------------------------------- sending

  /** @param {File[]} files */
  _add(files) {
    showError(byId('file-error'), '');
    const to = /** @type {HTMLSelectElement} */ (byId('file-to')).value;
    for (const file of files) {
      if (file.size > this._most || !file.size) {
        showError(byId('file-error'), t('"%(name)s" can\'t be shared: a file has %(value)s MB at most, and is not empty.', { name: file.name, value: Math.round(this._most / 1_000_000) }));
        continue;
      }
      // The same file again, even after the page was loaded anew, goes on where it was cut off.
      const key = encodeURIComponent(`${file.name} ${file.size} ${file.lastModified} ${to}`).slice(-190);
      if (this._uploads.some((upload) => upload.key === key)) continue;
      const bar = element('progress', { class: 'progress', max: '1', value: '0', 'aria-label': t('Sending %(name)s', { name: file.name }) });
      const words = element('span', { class: 'table__sub num', role: 'status' }, t('Waiting'));
      const root = element('li', {}, icon('file'), element('span', {}, file.name, words, bar));
      byId('file-list').append(root);
      this._uploads.push({ key, file, to, id: '', sent: 0, problem: '', bar, words, root });
    }
    void this._send();
  }

  /** One file after the other. What fails for a moment is tried again; what is refused is said and dropped. */
  async _send() {
    if (this._sending) return;
    this._sending = true;
    while (this._uploads.length) {
      const upload = this._uploads[0];
      try {
        this._keep(await this._sendOne(upload));
      } catch (error) {
        if (!(error instanceof ProblemError)) throw error;
        if (error.status === 0 || error.status === 429 || error.status >= 500) {
          say(upload.words, t('The connection is gone. It goes on by itself.'));
          await new Promise((done) => window.setTimeout(done, 1000 * (error.extra.retry_after_s || RETRY_MS / 1000)));
          continue;
        }
        showError(byId('file-error'), `"${upload.file.name}": ${error.message}`);
      }
      upload.root.remove();
      this._uploads.shift();
      this._draw();
    }
    this._sending = false;
  }

  /** @param {Upload} upload @returns {Promise<SharedFile>} */
  async _sendOne(upload) {
    const { file } = upload;
    /** @type {SharedFile} */
    let state = await post(this._url, { name: file.name, size: file.size, visible_to: upload.to || null }, { idempotencyKey: upload.key });
    upload.id = state.id;
    while (!state.ready) {
      const from = state.received * state.chunk_bytes;
      upload.bar.value = from / file.size;
      say(upload.words, t('%(size)s %% of %(sizeWords)s', { size: Math.round((100 * from) / file.size), sizeWords: sizeWords(file.size) }));
      state = await put(`/api/files/${state.id}/chunks/${state.received}`, file.slice(from, from + state.chunk_bytes));
    }
    return state;
  }

  /** @param {SharedFile} file */
  _keep(file) {
    this._files.set(file.id, file);
  }

  /** @param {string} id */
  async _withdraw(id) {
    try {
      await del(`/api/files/${id}`);
      this._files.delete(id);
      this._draw();
    } catch (error) {
      if (!(error instanceof ProblemError)) throw error;
      showError(byId('file-error'), error.message);
    }
  }

  // ---------------------------------------------------------------- drawing

  _draw() {
    const list = byId('file-list');
    for (const old of list.querySelectorAll('[data-file]')) if (!this._files.has(/** @type {HTMLElement} */ (old).dataset.file || '')) old.remove();
    const sending = new Set(this._uploads.map((upload) => upload.id));
    for (const file of this._files.values()) {
      if (!sending.has(file.id) && !list.querySelector(`[data-file="${file.id}"]`)) list.prepend(this._item(file));
    }
    byId('file-empty').hidden = this._files.size + this._uploads.length > 0;
    this.seen();
  }

  /** @param {SharedFile} file */
  _item(file) {
    const isMine = file.owner.id === this._me;
    const who = isMine ? (file.visible_to ? t('from you, for one person') : t('from you')) : t('from %(callName)s%(you)s', { callName: callName(file.owner.name), you: file.visible_to ? t(', only for you') : '' });
    const sign = file.thumbnail ? element('img', { class: 'files__thumb', src: `/api/files/${file.id}/thumbnail`, alt: '', width: '48', height: '48', loading: 'lazy' }) : icon('file');
    return element('li', { 'data-file': file.id }, sign,
      element('span', {}, element('a', { href: `/api/files/${file.id}/content`, download: file.name }, file.name),
        element('span', { class: 'table__sub num' }, `${sizeWords(file.size)}, ${who}`)),
      ...(isMine ? [element('button', { class: 'btn btn--plain btn--small', type: 'button', 'data-withdraw': file.id }, t('Withdraw'),
        element('span', { class: 'vh' }, ` ${file.name}`))] : []));
  }
}

/** @param {number} bytes */
function sizeWords(bytes) {
  if (bytes < 1000) return t('%(bytes)s bytes', { bytes });
  return bytes < 1_000_000 ? t('%(value)s kB', { value: Math.round(bytes / 1000) }) : t('%(value)s MB', { value: (bytes / 1_000_000).toFixed(1) });
}
