// @ts-check
// Every write of the server-rendered pages is a <form data-api="/api/…">: this file sends it, once.
//
//   data-method="DELETE"       POST unless said otherwise
//   data-then="/path"          where to go when it worked: a path, "reload", "refresh" (live regions), "stay",
//                              or "answer:name" for a path the server answered under that name
//   data-toast="Saved."        said when it worked
//   data-busy="Paying"         the button's word while it is being sent
//   <p data-done hidden>       shown in the form when it worked and the page stays
//   <p data-error hidden>      where the server's refusal is shown, with the free times it names;
//                              data-error="code" for one kind of refusal
//
// Inputs become JSON members by name; data-type says "number", "boolean", "json", "list" and "numbers" for what is
// written with commas between, or "minor": money as people write it,
// sent in the smallest unit of the currency that data-digits, or the chosen option of #<data-currency>, has digits for.
// A checkbox is a boolean.

import { ProblemError, newKey, request } from './api.js';
import { when } from './time.js';
import { leaveFor, nextTime, refreshRegions, showError, takeFromBefore, toast, toastNext } from './page.js';
import { t } from './words.js';

/** Key and content of the last attempt per form: the same content keeps its key, other content gets a new one. */
/** @type {WeakMap<HTMLFormElement, {content: string, key: string}>} */
const attempts = new WeakMap();
/** @type {WeakSet<HTMLFormElement>} */
const sending = new WeakSet();

/**
 * @param {HTMLFormElement} form
 * @param {HTMLElement | null} submitter
 */
function readForm(form, submitter) {
  /** @type {Record<string, unknown>} */
  const body = {};
  for (const control of form.elements) {
    if (control instanceof HTMLInputElement && control.name && !control.disabled) {
      if (control.type === 'radio') {
        if (control.checked) body[control.name] = typed(control, control.value);
      } else if (control.type === 'checkbox') {
        if (control.dataset.list === undefined) body[control.name] = control.checked;
        else body[control.name] = [.../** @type {unknown[]} */ (body[control.name] ?? []), ...(control.checked ? [control.value] : [])];
      } else if (control.value !== '' || control.dataset.optional === undefined) {
        body[control.name] = typed(control, control.value);
      }
    } else if ((control instanceof HTMLTextAreaElement || control instanceof HTMLSelectElement) && control.name) {
      if (control.value !== '' || control.dataset.optional === undefined) body[control.name] = typed(control, control.value);
    }
  }
  if (submitter instanceof HTMLButtonElement && submitter.name) body[submitter.name] = typed(submitter, submitter.value);
  return body;
}

/** @param {HTMLElement} control @param {string} value */
function typed(control, value) {
  switch (control.dataset.type) {
    case 'number': return Number(value);
    case 'boolean': return value === 'true';
    case 'json': return JSON.parse(value);
    case 'list': return value.split(',').map((word) => word.trim()).filter(Boolean);
    case 'numbers': return value.split(',').map((word) => word.trim()).filter(Boolean).map(Number);
    case 'minor': return minorOf(value, digitsFor(control));
    default: return value;
  }
}

/** @param {HTMLElement} control */
function digitsFor(control) {
  const list = control.dataset.currency ? document.getElementById(control.dataset.currency) : null;
  const option = list instanceof HTMLSelectElement ? list.selectedOptions[0] : null;
  return Number((option || control).dataset.digits ?? 2);
}

/** "12.5" → 1250; null for what is no amount, which the server then refuses. @param {string} text @param {number} digits */
function minorOf(text, digits) {
  const parts = /^(\d{1,9})(?:[.,](\d+))?$/.exec(text.trim());
  const fraction = parts?.[2] ?? '';
  return parts && fraction.length <= digits ? Number(parts[1] + fraction.padEnd(digits, '0')) : null;
}

/**
 * Marks a button busy; the returned function brings it back.
 * @param {HTMLElement | null} button @param {string} [word]
 */
export function busy(button, word) {
  if (!button) return () => {};
  const label = button.querySelector('[data-label]') || button;
  const before = label.textContent || '';
  button.setAttribute('aria-busy', 'true');
  if (word) label.textContent = word;
  return () => {
    button.removeAttribute('aria-busy');
    if (word) label.textContent = before;
  };
}

/** @param {HTMLFormElement} form */
function clearErrors(form) {
  for (const place of form.querySelectorAll('[data-error]')) showError(place, '');
  for (const place of form.querySelectorAll('[data-done]')) if (place instanceof HTMLElement) place.hidden = true;
  for (const control of form.querySelectorAll('[aria-invalid]')) control.removeAttribute('aria-invalid');
}

/** @param {HTMLFormElement} form @param {ProblemError} problem */
export function showProblem(form, problem) {
  const own = form.querySelector(`[data-error~="${CSS.escape(problem.code)}"]`);
  const others = problem.extra.nearest_free_slots;
  const free = Array.isArray(others) && others.length ? t(' Free nearby: %(when)s.', { when: others.map((slot) => when(slot.start)).join('; ') }) : '';
  showError(own || form.querySelector('[data-error=""]'), problem.message + free);
  // A refusal may name the member it is about, as a JSON pointer.
  const name = String(problem.extra.pointer || '').replace(/^\//, '');
  const control = name ? form.elements.namedItem(name) : null;
  if (control instanceof HTMLElement) {
    control.setAttribute('aria-invalid', 'true');
    control.focus();
  }
}

/** @param {HTMLFormElement} form @param {HTMLElement | null} submitter */
async function send(form, submitter) {
  if (sending.has(form)) return;
  clearErrors(form);
  const bodyless = form.dataset.method === 'DELETE';
  const body = bodyless ? undefined : readForm(form, submitter);
  const content = JSON.stringify([form.dataset.api, body]);
  const last = attempts.get(form);
  const key = last && last.content === content ? last.key : newKey();
  attempts.set(form, { content, key });
  sending.add(form);
  const free = busy(submitter, submitter?.dataset.busy || form.dataset.busy);
  try {
    const answer = await request(form.dataset.method || 'POST', form.dataset.api || '', { body, idempotencyKey: bodyless ? undefined : key });
    attempts.delete(form);
    if (form.dispatchEvent(new CustomEvent('form:done', { bubbles: true, cancelable: true, detail: answer }))) follow(form, submitter, answer);
    else free();
    if (stays(form)) free();
  } catch (error) {
    free();
    const problem = error instanceof ProblemError ? error : new ProblemError(500, {});
    // A refusal is an answer: the next try is a new attempt. Silence is not: it keeps its key.
    if (problem.status >= 400 && problem.status < 500) attempts.delete(form);
    if (form.dispatchEvent(new CustomEvent('form:refused', { bubbles: true, cancelable: true, detail: problem }))) showProblem(form, problem);
  } finally {
    if (stays(form) || !form.dataset.gone) sending.delete(form);
  }
}

const FOCUS = 'holdspace.focus';

/**
 * For who works by keyboard: the page is loaded anew and goes on at the same control, or at what opened its dialog.
 * @param {HTMLFormElement} form @param {HTMLElement | null} submitter
 */
function keepFocus(form, submitter) {
  if (!document.activeElement?.matches(':focus-visible')) return;
  const dialog = form.closest('dialog');
  const same = submitter?.id ? `#${CSS.escape(submitter.id)}` : `form[data-api="${CSS.escape(form.dataset.api || '')}"] [type="submit"]`;
  nextTime(FOCUS, dialog ? `[data-opens="${CSS.escape(dialog.id)}"]` : same);
}

function giveFocusBack() {
  const where = takeFromBefore(FOCUS);
  if (!where) return;
  const main = document.getElementById('main');
  const control = /** @type {HTMLElement | null} */ (document.querySelector(where)) || main;
  main?.setAttribute('tabindex', '-1');
  control?.focus();
}

/** @param {HTMLFormElement} form */
function stays(form) {
  return form.dataset.then === 'refresh' || form.dataset.then === 'stay';
}

/** @param {HTMLFormElement} form @param {HTMLElement | null} submitter @param {any} answer */
function follow(form, submitter, answer) {
  const then = submitter?.dataset.then || form.dataset.then || 'reload';
  const words = submitter?.dataset.toast || form.dataset.toast || '';
  form.closest('dialog')?.close();
  if (then === 'stay' || then === 'refresh') {
    if (words) toast(words);
    const done = form.querySelector('[data-done]');
    if (done instanceof HTMLElement) done.hidden = false;
    if (then === 'refresh') {
      form.reset(); // What was typed is sent: it holds no region back.
      refreshRegions();
    }
    return;
  }
  form.dataset.gone = 'true'; // The button stays busy until the next page is here.
  if (words) toastNext(words);
  if (then === 'reload') {
    keepFocus(form, submitter);
    location.reload();
  }
  else leaveFor(then.startsWith('answer:') ? String(answer?.[then.slice(7)] || '/') : then);
}

export function startForms() {
  giveFocusBack();
  document.addEventListener('submit', (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || form.dataset.api === undefined) return;
    event.preventDefault();
    const submitter = event instanceof SubmitEvent ? event.submitter : null;
    if (submitter?.getAttribute('aria-disabled') === 'true') return;
    void send(form, submitter);
  });
  const early = /** @type {any} */ (window).takeEarlySubmit?.();
  if (early?.form.isConnected) early.form.requestSubmit(early.submitter);
  // A button that says when it can be pressed does nothing until then.
  document.addEventListener('click', (event) => {
    const target = event.target instanceof Element ? event.target.closest('[aria-disabled="true"]') : null;
    if (target) event.preventDefault();
  }, true);
  // Dialogs: <button data-opens="id">, closed by Escape, by data-closes or by the browser.
  document.addEventListener('click', (event) => {
    const target = event.target instanceof Element ? event.target.closest('[data-opens], [data-closes]') : null;
    if (!(target instanceof HTMLElement) || target.ariaDisabled === 'true') return;
    if (target.dataset.closes !== undefined) target.closest('dialog')?.close();
    const dialog = target.dataset.opens ? document.getElementById(target.dataset.opens) : null;
    if (dialog instanceof HTMLDialogElement && !dialog.open) dialog.showModal();
  });
  // The page may come back from the browser's cache with a button still busy.
  window.addEventListener('pageshow', (event) => {
    if (!event.persisted) return;
    location.reload();
  });
}
