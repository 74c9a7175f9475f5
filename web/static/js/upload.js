// @ts-check
// One file on its way to the server: begun, sent in chunks, gone on with where it was cut off. Shared by the room's files
// and the messages' (control/files.py). The server looks at the content; what pages check, they check to say so sooner.

import { post, put } from './api.js';
import { t } from './words.js';

/** @typedef {{id: string, name: string, size: number, type: string|null, owner: {id: string, name: string},
 *   visible_to: string|null, thumbnail: boolean, at: string, ready: boolean, received: number, chunk_bytes: number}} SharedFile */

/** The same file again, even after the page was loaded anew, goes on where it was. @param {File} file @param {string} [to] */
export function keyOf(file, to = '') {
  return encodeURIComponent(`${file.name} ${file.size} ${file.lastModified} ${to}`).slice(-190);
}

/**
 * @param {string} url @param {File} file @param {{key: string, more?: Record<string, unknown>}} how `more` of the body
 * @param {(state: SharedFile) => void} onBegun before each chunk
 * @returns {Promise<SharedFile>} whole. Rejects with ProblemError: called again, it goes on.
 */
export async function upload(url, file, { key, more = {} }, onBegun) {
  /** @type {SharedFile} */
  let state = await post(url, { name: file.name, size: file.size, ...more }, { idempotencyKey: key });
  while (!state.ready) {
    onBegun(state);
    const from = state.received * state.chunk_bytes;
    state = await put(`/api/files/${state.id}/chunks/${state.received}`, file.slice(from, from + state.chunk_bytes));
  }
  return state;
}

/** @param {SharedFile} state @param {File} file */
export function shareSent(state, file) {
  return (state.received * state.chunk_bytes) / file.size;
}

/** @param {number} bytes */
export function sizeWords(bytes) {
  if (bytes < 1000) return t('%(bytes)s bytes', { bytes });
  return bytes < 1_000_000 ? t('%(value)s kB', { value: Math.round(bytes / 1000) }) : t('%(value)s MB', { value: (bytes / 1_000_000).toFixed(1) });
}
