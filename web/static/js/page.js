// @ts-check
// Small helpers of every page: building elements, moving focus, toasts, fetching a page's live regions again.

import { t } from './words.js';

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | boolean | undefined>} [attributes] `false` and undefined are left out
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined) continue;
    made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children);
  return made;
}

const SVG = 'http://www.w3.org/2000/svg';

/** @param {string} name of a symbol in icons.svg @param {string} [size] s or l */
export function icon(name, size = '') {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', size ? `icon icon--${size}` : 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** The element of that id, which the template promises. @param {string} id */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

const TOAST_MS = 6000;

/** Says that something worked; not for errors, which stand by their control. @param {string} words */
export function toast(words) {
  const place = document.getElementById('toasts');
  if (!place) return;
  const close = element('button', { class: 'btn btn--plain btn--small btn--icon', type: 'button' }, icon('close', 's'),
    element('span', { class: 'vh' }, t('Close this message')));
  const card = element('div', { class: 'toast' }, icon('check'), element('span', {}, words), close);
  const remove = () => card.remove();
  close.addEventListener('click', remove);
  place.append(card);
  window.setTimeout(remove, TOAST_MS);
}

const NEXT_TOAST = 'holdspace.toast';

/** A toast for the page that is opened next. @param {string} words */
export function toastNext(words) {
  nextTime(NEXT_TOAST, words);
}

export function showWaitingToast() {
  const words = takeFromBefore(NEXT_TOAST);
  if (words) toast(words);
}

/** Something the next page of this tab takes up. @param {string} name @param {string} text */
export function nextTime(name, text) {
  try {
    sessionStorage.setItem(name, text);
  } catch {
    // Storage may be refused; nothing that is kept so is essential.
  }
}

/** What the page before has left, once. @param {string} name */
export function takeFromBefore(name) {
  try {
    const left = sessionStorage.getItem(name);
    sessionStorage.removeItem(name);
    return left;
  } catch {
    return null;
  }
}

/** Puts an error into its place near a control, or takes it away. @param {Element | null} place @param {string} words */
export function showError(place, words) {
  if (!(place instanceof HTMLElement)) return;
  const text = place.querySelector('span') || place;
  text.textContent = words;
  place.hidden = !words;
}

/** Where tabs or a calendar's days are wider than the screen, the current one is what stands there first. */
export function showCurrent() {
  for (const strip of document.querySelectorAll('.tabs, .scroll')) {
    const current = strip.querySelector('[aria-current]');
    if (!current || strip.scrollWidth <= strip.clientWidth) continue;
    const from = current.getBoundingClientRect().left - strip.getBoundingClientRect().left;
    strip.scrollLeft += from - (strip.clientWidth - current.clientWidth) / 2;
  }
}

/** @type {Promise<void> | null} */
let running = null;
let again = false;

/**
 * Fetches this page again and puts its [data-region] parts in place of the old ones: the server stays the only
 * one who writes HTML. Focus stays where it was if the new part still has such an element.
 */
export function refreshRegions() {
  if (running) {
    again = true;
    return running;
  }
  running = swap().finally(() => {
    running = null;
    if (again) {
      again = false;
      refreshRegions();
    }
  });
  return running;
}

/**
 * A refusal that is being read stays, though the server knows nothing of it.
 * @param {Element} old @param {Element} made
 */
function keepErrors(old, made) {
  for (const shown of old.querySelectorAll('[data-error]:not([hidden])')) {
    if (shown.id) made.querySelector(`#${CSS.escape(shown.id)}`)?.replaceWith(shown.cloneNode(true));
  }
}

/**
 * Somebody is typing in it, has typed and not sent yet, or a question of it stands open.
 * @param {Element} region
 */
function isInUse(region) {
  const focused = document.activeElement;
  if (region.contains(focused) && focused?.matches('input, textarea, select')) return true;
  if ([...region.querySelectorAll('textarea')].some((one) => one.value !== one.defaultValue)) return true;
  return region.querySelector('dialog[open], [aria-busy="true"]') !== null;
}

/**
 * The same control in the fresh part: of the same id, or, without one, what leads to the same place by the same words.
 * @param {Element} made @param {Element} control
 * @returns {HTMLElement | undefined}
 */
function sameIn(made, control) {
  const alike = /** @type {HTMLElement[]} */ ([...made.querySelectorAll(control.tagName)]);
  return alike.find((one) => one.id === control.id && (one.id || (one.getAttribute('href') === control.getAttribute('href') && one.textContent === control.textContent)));
}

/**
 * Where it was, or, when what was pressed is gone, in the part it stood in: Tab goes on from there.
 * @param {HTMLElement} made @param {Element} before
 */
function focusIn(made, before) {
  const same = sameIn(made, before);
  if (!same) made.tabIndex = -1;
  (same || made).focus({ preventScroll: true });
}

/** Where this page already goes. */
let leavingFor = '';
window.addEventListener('pageshow', () => { leavingFor = ''; });

/** A form's answer and a live refresh may both lead to the same place; the second would end the first half way. @param {string} path */
export function leaveFor(path) {
  const { href } = new URL(path, location.href);
  if (href === leavingFor) return;
  leavingFor = href;
  location.assign(href);
}

async function swap() {
  if (!document.querySelector('[data-region]')) return;
  let response;
  try {
    response = await fetch(location.href, { headers: { Accept: 'text/html' }, credentials: 'same-origin' });
  } catch {
    return; // The next live event or the reconnect tries again.
  }
  if (response.redirected) {
    leaveFor(response.url);
    return;
  }
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
  for (const old of document.querySelectorAll('[data-region]')) {
    const made = fresh.getElementById(old.id);
    if (!made && old instanceof HTMLElement && old.dataset.gone === 'reload') {
      location.reload(); // The page has become another one.
      return;
    }
    if (made) keepErrors(old, made);
    if (!made || made.isEqualNode(old) || isInUse(old)) continue;
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const scrolled = [...old.querySelectorAll('.scroll')].map((one) => one.scrollLeft);
    old.replaceWith(document.adoptNode(made));
    [...made.querySelectorAll('.scroll')].forEach((one, at) => { one.scrollLeft = scrolled[at] || 0; });
    if (focused) focusIn(made, focused);
  }
  document.dispatchEvent(new CustomEvent('page:refreshed'));
}
