// @ts-check
// The dialog that proposes another time: free days and times of the chosen length, fetched when it is opened.

import { ProblemError, get } from './api.js';
import { byId, element, showError } from './page.js';
import { clock, day, pageZone, serverNow } from './time.js';
import { t } from './words.js';

const DAYS_SHOWN = 42;
const DAY_MS = 24 * 3600 * 1000;

/** @type {Map<string, {start: string}[]>} */
let byDay = new Map();

/** @param {number} at */
function isoDay(at) {
  return new Intl.DateTimeFormat('en-CA', { year: 'numeric', month: '2-digit', day: '2-digit', timeZone: pageZone() }).format(new Date(at));
}

/** @param {HTMLElement} form */
async function load(form) {
  const error = byId('move-error');
  const length = document.getElementById('move-length');
  const minutes = length instanceof HTMLSelectElement ? `&minutes=${length.value}` : '';
  const last = isoDay(serverNow() + DAYS_SHOWN * DAY_MS);
  const query = `first=${isoDay(serverNow())}&last=${last}&timeZone=${encodeURIComponent(pageZone())}${minutes}`;
  showError(error, '');
  form.setAttribute('aria-busy', 'true');
  try {
    const found = await get(`${form.dataset.api}/slots?${query}`);
    byDay = new Map();
    for (const slot of found.slots) byDay.set(isoDay(Date.parse(slot.start)), [...(byDay.get(isoDay(Date.parse(slot.start))) || []), slot]);
    drawDays();
  } catch (problem) {
    showError(error, problem instanceof ProblemError ? problem.message : t('The free times could not be loaded. Try again.'));
  } finally {
    form.removeAttribute('aria-busy');
  }
}

function drawDays() {
  const days = /** @type {HTMLSelectElement} */ (byId('move-day'));
  const before = days.value;
  days.replaceChildren(...[...byDay].map(([iso, slots]) => element('option', { value: iso, selected: iso === before }, day(slots[0].start))));
  byId('move-none').hidden = byDay.size > 0;
  byId('move-send').toggleAttribute('disabled', byDay.size === 0);
  drawTimes();
}

function drawTimes() {
  const chosen = /** @type {HTMLSelectElement} */ (byId('move-day')).value;
  byId('move-times').replaceChildren(...(byDay.get(chosen) || []).map((slot) => element('label', { class: 'chip chip--pick' },
    element('input', { type: 'radio', name: 'proposedDate', value: slot.start, required: true, class: 'vh' }), element('span', { class: 'num' }, clock(slot.start)))));
}

document.addEventListener('click', (event) => {
  const opener = event.target instanceof Element ? event.target.closest('[data-opens="move-dialog"]') : null;
  const form = document.getElementById('move-form');
  if (opener && form) void load(form);
});
document.addEventListener('change', (event) => {
  if (!(event.target instanceof HTMLElement)) return;
  if (event.target.id === 'move-day') drawTimes();
  const form = document.getElementById('move-form');
  if (event.target.id === 'move-length' && form) void load(form);
});
