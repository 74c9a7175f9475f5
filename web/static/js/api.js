// @ts-check
// The one way a page talks to the JSON API: CSRF header, idempotency key, problems as errors.
// Everything else (forms.js, the room) builds on post/get/del and never calls fetch for writes itself.

import { t } from './words.js';

/**
 * @typedef {object} Problem RFC 9457 body of an error answer
 * @property {number} [status]
 * @property {string} [code] stable word for programs
 * @property {string} [title]
 * @property {string} [detail] a sentence for people
 */

/** What the server refused, or the network's failure (status 0, code "offline"). */
export class ProblemError extends Error {
  /** @param {number} status @param {Problem & Record<string, any>} body */
  constructor(status, body) {
    super(body.detail || body.title || t('Something went wrong on our side. Nothing was changed.'));
    this.name = 'ProblemError';
    this.status = status;
    this.code = body.code || 'unknown';
    /** Members beside the standard ones: `slots`, `hold_expires_at`, … @type {Record<string, any>} */
    this.extra = body;
  }
}

const OFFLINE = t('We can\'t reach the server. Nothing was changed. Check your connection and try again.');

function csrfToken() {
  const meta = document.querySelector('meta[name="csrf-token"]');
  return meta instanceof HTMLMetaElement ? meta.content : '';
}

/** A key for one attempt: make it when the form is first sent, keep it for retries of the same content. */
export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * @param {string} method
 * @param {string} url
 * @param {{body?: unknown, bytes?: Blob, idempotencyKey?: string, signal?: AbortSignal}} [options] `bytes` go as they are
 * @returns {Promise<any>} the parsed JSON, or null for an empty answer
 */
export async function request(method, url, options = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: 'application/json' };
  if (method !== 'GET') headers['X-CSRF-Token'] = csrfToken();
  if (options.body !== undefined) headers['Content-Type'] = 'application/json';
  if (options.idempotencyKey) headers['Idempotency-Key'] = options.idempotencyKey;
  let response;
  try {
    response = await fetch(url, {
      method,
      headers,
      credentials: 'same-origin',
      body: options.bytes ?? (options.body === undefined ? undefined : JSON.stringify(options.body)),
      signal: options.signal,
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ProblemError(0, { code: 'offline', detail: OFFLINE });
  }
  const text = await response.text().catch(() => '');
  /** @type {any} */
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    value = null;
  }
  if (!response.ok) throw new ProblemError(response.status, value && typeof value === 'object' ? value : {});
  return value;
}

/** @param {string} url @param {{signal?: AbortSignal}} [options] */
export function get(url, options) {
  return request('GET', url, options);
}

/** @param {string} url @param {unknown} [body] @param {{idempotencyKey?: string, signal?: AbortSignal}} [options] */
export function post(url, body = {}, options = {}) {
  return request('POST', url, { ...options, body });
}

/** @param {string} url @param {Blob} bytes */
export function put(url, bytes) {
  return request('PUT', url, { bytes });
}

/** @param {string} url @param {{signal?: AbortSignal}} [options] */
export function del(url, options) {
  return request('DELETE', url, options);
}
