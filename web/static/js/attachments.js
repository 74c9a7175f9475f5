// @ts-check
// Files for the message that is being written: chosen or dropped, sent at once, in the message once it goes, or taken
// out again. The form waits while one is on its way; its hidden field `files` names those that are whole.

import { ProblemError, del } from './api.js';
import { byId, element, icon, showError } from './page.js';
import { t } from './words.js';
import { keyOf, shareSent, sizeWords, upload } from './upload.js';

const RETRY_MS = 2000;

/** @typedef {{file: File, key: string, id: string, ready: boolean, out: boolean, root: HTMLElement, words: HTMLElement, bar: HTMLProgressElement}} Chosen */

/** @param {HTMLFormElement} form */
export function startAttachments(form) {
  const input = document.getElementById('attach-input');
  if (!(input instanceof HTMLInputElement)) return;
  const most = { bytes: Number(input.dataset.bytes), files: Number(input.dataset.files) };
  /** @type {Chosen[]} */
  let chosen = [];

  const show = () => {
    const ids = /** @type {HTMLInputElement} */ (byId('attached'));
    ids.value = chosen.filter((one) => one.ready).map((one) => one.id).join(',');
    byId('attached-list').hidden = !chosen.length;
    /** @type {HTMLTextAreaElement} */ (byId('text')).required = !chosen.length;
    const send = /** @type {HTMLElement} */ (form.querySelector('button[type=submit]'));
    if (chosen.every((one) => one.ready)) send.removeAttribute('aria-disabled');
    else send.setAttribute('aria-disabled', 'true');
  };
  const problem = (/** @type {string} */ words) => showError(byId('write-error'), words);

  /** @param {Chosen} one */
  const takeOut = (one) => {
    one.out = true;
    one.root.remove();
    chosen = chosen.filter((other) => other !== one);
    show();
    // What stays behind on the server goes by itself within a day or two.
    if (one.id) del(`/api/files/${one.id}`).catch((/** @type {unknown} */ error) => { if (!(error instanceof ProblemError)) throw error; });
  };

  /** @param {Chosen} one */
  const sendOne = async (one) => {
    while (!one.out && !one.ready) {
      try {
        const state = await upload('/api/files', one.file, { key: one.key }, (begun) => {
          one.id = begun.id;
          one.bar.value = shareSent(begun, one.file);
          one.words.textContent = t('%(size)s %% of %(sizeWords)s', { size: Math.round(100 * one.bar.value), sizeWords: sizeWords(one.file.size) });
        });
        one.id = state.id;
        one.ready = true;
        one.bar.remove();
        one.words.textContent = sizeWords(one.file.size);
      } catch (error) {
        if (!(error instanceof ProblemError)) throw error;
        if (one.out) return;
        if (error.status !== 0 && error.status !== 429 && error.status < 500) {
          one.id = '';
          takeOut(one);
          problem(`"${one.file.name}": ${error.message}`);
          return;
        }
        one.words.textContent = t('The connection is gone. It goes on by itself.');
        await new Promise((done) => window.setTimeout(done, 1000 * (error.extra.retry_after_s || RETRY_MS / 1000)));
      }
    }
    show();
  };

  /** @param {File[]} files */
  const add = (files) => {
    problem('');
    for (const file of files) {
      const key = keyOf(file);
      if (chosen.some((one) => one.key === key)) continue;
      if (chosen.length === most.files) {
        problem(t('One message carries %(files)s files at most.', { files: most.files }));
        break;
      }
      if (!file.size || file.size > most.bytes) {
        problem(t('"%(name)s" can\'t be shared: a file has %(value)s MB at most, and is not empty.', { name: file.name, value: Math.round(most.bytes / 1_000_000) }));
        continue;
      }
      const words = element('span', { class: 'table__sub num', role: 'status' }, t('Waiting'));
      const bar = /** @type {HTMLProgressElement} */ (element('progress', { class: 'progress', max: '1', value: '0', 'aria-label': t('Sending %(name)s', { name: file.name }) }));
      const out = element('button', { class: 'btn btn--plain btn--small btn--icon', type: 'button' }, icon('close', 's'), element('span', { class: 'vh' }, t('Take out %(name)s', { name: file.name })));
      const root = element('li', {}, icon('file'), element('span', {}, file.name, words, bar), out);
      /** @type {Chosen} */
      const one = { file, key, id: '', ready: false, out: false, root, words, bar };
      out.addEventListener('click', () => {
        takeOut(one);
        byId('attach').focus();
      });
      chosen.push(one);
      byId('attached-list').append(root);
      void sendOne(one);
    }
    show();
  };

  byId('attach').addEventListener('click', () => input.click());
  input.addEventListener('change', () => {
    add([...(input.files || [])]);
    input.value = '';
  });
  const here = form.closest('section') || form;
  here.addEventListener('dragover', (event) => {
    if (/** @type {DragEvent} */ (event).dataTransfer?.types.includes('Files')) event.preventDefault();
  });
  here.addEventListener('drop', (event) => {
    const files = [...(/** @type {DragEvent} */ (event).dataTransfer?.files || [])];
    if (!files.length) return;
    event.preventDefault();
    add(files);
  });
  document.addEventListener('form:done', (event) => {
    if (event.target !== form) return;
    for (const one of chosen) one.root.remove();
    chosen = [];
    show();
  });
}
