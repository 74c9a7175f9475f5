// @ts-check
// The booker's first three steps: service, day, time, without leaving the page. The server computes the slots and
// writes every word of them (/book/{service}/slots); this file shows them and, on "Continue", asks for the hold.

import { ProblemError, get, newKey, post } from './api.js';
import { busy } from './forms.js';
import { byId, element, icon } from './page.js';
import { browserZone, when } from './time.js';
import { t } from './words.js';

/**
 * @typedef {{start: string, time: string, other: string, words: string, otherWords: string}} Slot
 * @typedef {{iso: string, number: number, label: string, free: boolean, today: boolean, words: string, slots: Slot[]}} Day
 * @typedef {{iso: string, name: string, before: string, after: string, weeks: (Day | null)[][], zone: string, zoneWords: string}} Month
 */

const card = byId('booker');
const dates = byId('dates');
const slotList = byId('slots');
const chosenBar = byId('chosen');
const problem = byId('problem');
const go = /** @type {HTMLButtonElement} */ (byId('continue'));

/** @type {Month | null} */
let month = null;
let zone = card.dataset.zone || browserZone();
let service = card.dataset.service || '';
/** @type {string} */
let day = dates.querySelector('[aria-pressed="true"]')?.getAttribute('data-day') || '';
/** @type {string} the chosen start */
let start = card.dataset.chosen || '';
/** @type {{start: string, service: string, key: string} | null} one key per slot: a retry is the same booking */
let attempt = null;
let asked = 0;
/** The server read our zone from the cookie of an earlier page, or the reader chose it. */
const knowsZone = card.dataset.zoneKnown === 'yes';
/** A day somebody pressed stays through a change of service; one we proposed gives way to the soonest. */
let dayPressed = Boolean(start);

/** @param {string} iso YYYY-MM, empty for the first month with free times */
async function load(iso) {
  const turn = ++asked;
  // What is shown may not be free in what is asked for: nothing to press until the answer is here.
  slotList.replaceChildren();
  byId('no-slots').textContent = t('Looking for free times');
  byId('no-slots').hidden = false;
  card.setAttribute('aria-busy', 'true');
  try {
    const found = await get(`/book/${service}/slots?month=${iso}&zone=${encodeURIComponent(zone)}`);
    if (turn !== asked) return;
    month = found;
    showMonth();
  } catch (error) {
    if (turn !== asked) return;
    byId('no-slots').hidden = true;
    say(error instanceof ProblemError ? error.message : t('The times could not be loaded. Try again.'));
  } finally {
    if (turn === asked) card.removeAttribute('aria-busy');
  }
}

function showMonth() {
  if (!month) return;
  const focused = document.activeElement?.getAttribute('data-day');
  card.dataset.month = month.iso;
  byId('month-name').textContent = month.name;
  const [back, on] = [/** @type {HTMLButtonElement} */ (byId('month-before')), /** @type {HTMLButtonElement} */ (byId('month-after'))];
  const pressed = [back, on].find((one) => one === document.activeElement);
  back.disabled = !month.before;
  on.disabled = !month.after;
  if (pressed?.disabled) (pressed === back ? on : back).focus(); // nothing further that way
  byId('zone-name').textContent = month.zoneWords;
  const days = month.weeks.flat().filter((one) => one !== null);
  if (!days.some((one) => one.iso === day && one.free)) day = days.find((one) => one.free)?.iso || '';
  const body = dates.querySelector('tbody');
  body?.replaceChildren(...month.weeks.map((week) => element('tr', {}, ...week.map(cell))));
  const caption = dates.querySelector('caption');
  if (caption) caption.textContent = t('%(name)s. Days with free times can be chosen.', { name: month.name });
  if (focused) focusDay(focused);
  showDay();
}

/** @param {Day | null} one */
function cell(one) {
  if (!one) return element('td');
  const label = one.free ? one.label : t('%(label)s, nothing free', { label: one.label });
  return element('td', {}, element('button', {
    class: 'dates__day', type: 'button', 'data-day': one.iso, 'aria-label': label, disabled: !one.free,
    'aria-pressed': one.free ? String(one.iso === day) : undefined, 'aria-current': one.today ? 'date' : undefined,
  }, String(one.number)));
}

/** @param {string} iso */
function focusDay(iso) {
  const button = dates.querySelector(`[data-day="${CSS.escape(iso)}"]`);
  if (button instanceof HTMLElement) button.focus();
}

function showDay() {
  const one = month?.weeks.flat().find((other) => other?.iso === day);
  const slots = one?.slots || [];
  for (const button of dates.querySelectorAll('[aria-pressed]')) {
    button.setAttribute('aria-pressed', String(button.getAttribute('data-day') === day));
  }
  byId('day-name').textContent = one && slots.length ? one.words : '';
  byId('day-count').textContent = slots.length ? `${slots.length} ${slots.length === 1 ? 'time' : 'times'}` : '';
  const none = byId('no-slots');
  none.hidden = slots.length > 0;
  none.textContent = month?.weeks.flat().some((other) => other?.free) ? t('Choose a day with free times.')
    : t('Nothing is free this month. Look at the next one.');
  slotList.replaceChildren(...slots.map(slotButton));
  if (!slots.some((slot) => slot.start === start)) choose(null);
}

/** @param {Slot} slot */
function slotButton(slot) {
  return element('button', { class: 'slot', type: 'button', 'data-start': slot.start, 'aria-pressed': String(slot.start === start) },
    element('span', { class: 'slot__time' }, slot.time), element('span', { class: 'slot__zone' }, slot.other));
}

/** @param {Slot | null} slot */
function choose(slot) {
  start = slot?.start || '';
  for (const button of slotList.querySelectorAll('[data-start]')) {
    button.setAttribute('aria-pressed', String(button.getAttribute('data-start') === start));
  }
  chosenBar.hidden = !slot;
  byId('weekly').setAttribute('href', `/book/${service}/series?start=${encodeURIComponent(start)}`);
  if (slot) {
    byId('chosen-words').textContent = slot.words;
    byId('chosen-other').textContent = slot.otherWords && `${slot.otherWords}.`;
    byId('chosen-more').hidden = isFree();
    const label = go.querySelector('[data-label]');
    if (label) label.textContent = isFree() ? t('Book this free session') : t('Continue to details');
    problem.hidden = true;
  }
  steps(slot);
}

/** Where the reader is, in the bars above. @param {Slot | null} slot */
function steps(slot) {
  const items = [...byId('steps').children];
  const current = day ? 3 : 2;
  const values = [serviceName(), byId('day-name').textContent || '', slot ? t('%(time)s for you', { time: slot.time }) : ''];
  items.forEach((item, index) => {
    item.classList.toggle('steps__item--done', index + 1 < current);
    if (index + 1 === current) item.setAttribute('aria-current', 'step');
    else item.removeAttribute('aria-current');
    if (index > 2) return;
    const flat = item.querySelector('.steps__flat') || item;
    let value = item.querySelector('.steps__value');
    if (!value) {
      value = element('span', { class: 'steps__value num' });
      flat.append(value);
    }
    value.textContent = values[index];
    const name = item.querySelector('.steps__name');
    const sign = name?.querySelector('.icon');
    if (index + 1 < current && !sign) name?.prepend(icon('check', 's'));
    if (index + 1 >= current) sign?.remove();
  });
}

function isFree() {
  return card.querySelector('input[name="service"]:checked')?.closest('label')?.querySelector('.num')?.textContent === 'Free';
}

function serviceName() {
  return card.querySelector('input[name="service"]:checked')?.closest('label')
    ?.querySelector('.service__name > span')?.textContent || '';
}

/** @param {string} words @param {Node[]} more */
function say(words, ...more) {
  const text = element('p', { class: 'banner__text' }, words);
  problem.replaceChildren(element('div', { class: 'banner banner--warn' }, icon('warn'), element('div', { class: 'banner__text' }, text, ...more)));
  problem.hidden = false;
}

/** Somebody was faster: the nearest times stand ready to be pressed. @param {ProblemError} error */
function offerOthers(error) {
  /** @type {{start: string}[]} */
  const slots = error.extra.nearest_free_slots || [];
  const buttons = slots.slice(0, 4).map((slot) => {
    const button = element('button', { class: 'slot', type: 'button' },
      element('span', { class: 'slot__time' }, when(slot.start, zone)));
    button.addEventListener('click', () => void jump(slot.start));
    return button;
  });
  const list = element('div', { class: 'slots slots--columns booker__others' }, ...buttons);
  say(error.message, ...(buttons.length ? [element('p', { class: 'small' }, t('The nearest free times:')), list] : []));
  void load(card.dataset.month || '');
  if (buttons[0]) buttons[0].focus();
}

/** @param {string} iso a start anywhere in the calendar */
async function jump(iso) {
  const local = new Intl.DateTimeFormat('en-CA', { timeZone: zone, year: 'numeric', month: '2-digit', day: '2-digit' }).format(new Date(iso));
  day = local;
  await load(local.slice(0, 7));
  const slot = findSlot(iso);
  if (slot) choose(slot);
  go.focus();
}

/** @param {string} iso */
function findSlot(iso) {
  const at = Date.parse(iso);
  return month?.weeks.flat().flatMap((one) => one?.slots || []).find((slot) => Date.parse(slot.start) === at) || null;
}

async function hold() {
  if (!start || go.getAttribute('aria-busy') === 'true') return;
  const here = `/book/${service}?start=${encodeURIComponent(start)}`;
  if (go.dataset.signedIn !== 'yes') {
    location.assign(`/sign-in?next=${encodeURIComponent(here)}`);
    return;
  }
  if (!attempt || attempt.start !== start || attempt.service !== service) attempt = { start, service, key: newKey() };
  const free = busy(go, isFree() ? t('Booking') : t('Holding it for you'));
  problem.hidden = true;
  try {
    const answer = await post('/sessions/book', { serviceId: service, start, timeZone: zone }, { idempotencyKey: attempt.key });
    location.assign(`/book/${service}?appointment=${answer.id}`);
  } catch (error) {
    free();
    const refused = error instanceof ProblemError ? error : new ProblemError(500, {});
    if (refused.status >= 400 && refused.status < 500) attempt = null;
    if (refused.status === 401) location.assign(`/sign-in?next=${encodeURIComponent(here)}`);
    else if (refused.status === 409) offerOthers(refused);
    else say(refused.message);
  }
}

card.addEventListener('change', (event) => {
  if (!(event.target instanceof HTMLInputElement) || event.target.name !== 'service') return;
  service = event.target.value;
  if (!dayPressed) day = '';
  openServices(false);
  choose(null);
  void load(dayPressed ? card.dataset.month || '' : '');
});
/** On phones only the chosen service is shown until somebody changes it. @param {boolean} open */
function openServices(open) {
  card.querySelector('.booker__services')?.toggleAttribute('data-open', open);
  byId('change-service').setAttribute('aria-expanded', String(open));
}
byId('change-service').addEventListener('click', () => openServices(byId('change-service').getAttribute('aria-expanded') !== 'true'));
dates.addEventListener('click', (event) => {
  const button = event.target instanceof Element ? event.target.closest('[data-day]') : null;
  if (!(button instanceof HTMLButtonElement) || button.disabled) return;
  day = button.dataset.day || '';
  dayPressed = true;
  showDay();
});
// Arrow keys walk over the free days, as in a calendar.
dates.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7 }[event.key];
  if (!step || !(event.target instanceof HTMLElement) || !event.target.dataset.day) return;
  const days = [...dates.querySelectorAll('[data-day]')];
  let index = days.indexOf(event.target) + step;
  while (days[index] instanceof HTMLButtonElement && /** @type {HTMLButtonElement} */ (days[index]).disabled) index += step > 0 ? 1 : -1;
  const next = days[index];
  if (next instanceof HTMLButtonElement) {
    event.preventDefault();
    next.focus();
  }
});
slotList.addEventListener('click', (event) => {
  const button = event.target instanceof Element ? event.target.closest('[data-start]') : null;
  if (!(button instanceof HTMLElement)) return;
  const slot = findSlot(button.dataset.start || '');
  if (slot) choose(slot);
});
byId('month-before').addEventListener('click', () => void load(month?.before || ''));
byId('month-after').addEventListener('click', () => void load(month?.after || ''));
go.addEventListener('click', () => void hold());

byId('zone-form').addEventListener('submit', () => {
  zone = /** @type {HTMLSelectElement} */ (byId('zone-select')).value;
  card.dataset.zone = zone;
  document.cookie = `zone=${zone}; Path=/; Max-Age=31536000; SameSite=Lax`;
  void load(card.dataset.month || '');
});
byId('zone-name').addEventListener('click', () => {
  const select = /** @type {HTMLSelectElement} */ (byId('zone-select'));
  if (select.options.length > 1) return;
  const names = /** @type {string[]} */ (Intl.supportedValuesOf ? Intl.supportedValuesOf('timeZone') : [browserZone()]);
  select.replaceChildren(...['UTC', ...names].map((name) => element('option', { value: name, selected: name === zone }, name.replaceAll('_', ' '))));
});

// The first month came with the page; a visitor whose zone the server could not know yet asks for their own.
const isStranger = go.dataset.signedIn !== 'yes';
if (isStranger && !knowsZone && zone !== browserZone()) {
  zone = browserZone();
  await load(card.dataset.month || '');
} else {
  month = JSON.parse(card.dataset.first || 'null');
  if (start) steps(findSlot(start));
}
if (card.dataset.chosen) {
  const slot = findSlot(card.dataset.chosen);
  if (slot) choose(slot);
}
