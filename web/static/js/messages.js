// @ts-check
// The open conversation: new messages at the end, how far this person has read, and the sign that somebody writes.
// Messages themselves are written by the server into the live regions (page.js).

import { ProblemError, post } from './api.js';
import { onLive } from './live.js';
import { t } from './words.js';

const NEAR_END_PX = 80;
const SAY_EVERY_MS = 3000;
const SIGN_LASTS_MS = 5000;

const scroll = document.getElementById('scroll');
const text = document.getElementById('text');
const typing = document.getElementById('typing');
let atEnd = true;
let told = 0;
let readSeq = 0;

function thread() {
  return document.getElementById('thread');
}

function toEnd() {
  if (scroll) scroll.scrollTop = scroll.scrollHeight;
}

/** Telling is not essential: the next look tells again. @param {string} path @param {unknown} body */
async function tell(path, body) {
  const talk = thread()?.dataset.talk;
  if (!talk) return;
  try {
    await post(`/api/conversations/${talk}/${path}`, body);
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
  }
}

function markRead() {
  const shown = thread();
  const seq = Number(shown?.dataset.seq || 0);
  if (document.hidden || !Number(shown?.dataset.unread || 0) || seq <= readSeq) return;
  readSeq = seq;
  void tell('read', { seq });
}

/** @type {number | undefined} */
let signTimer;

function clearSign() {
  window.clearTimeout(signTimer);
  if (typing) typing.textContent = '';
}

if (scroll) {
  scroll.addEventListener('scroll', () => {
    atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR_END_PX;
  });
  if (!location.hash) toEnd();
  markRead();
  document.addEventListener('page:refreshed', () => {
    if (atEnd) toEnd();
    markRead();
  });
  document.addEventListener('visibilitychange', markRead);
  onLive((event) => {
    if (event.about !== thread()?.dataset.talk) return;
    if (event.type === 'typing' && typing) {
      typing.textContent = t('%(name)s is writing…', { name: typing.dataset.name ?? '' });
      window.clearTimeout(signTimer);
      signTimer = window.setTimeout(clearSign, SIGN_LASTS_MS);
    }
    if (event.type === 'message') clearSign();
  });
}

if (text instanceof HTMLTextAreaElement) {
  text.addEventListener('input', () => {
    if (!text.value.trim() || Date.now() - told < SAY_EVERY_MS) return;
    told = Date.now();
    void tell('typing', {});
  });
  text.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      text.form?.requestSubmit();
    }
  });
  document.addEventListener('form:done', (event) => {
    if (event.target !== text.form || text.form?.dataset.then !== 'refresh') return;
    text.value = '';
    told = 0;
    atEnd = true;
    text.focus();
  });
}
