// @ts-check
// The availability page: which free slot or weekly rule a dialog is about, copying the feed's address, what stayed booked.

import { byId, toast } from './page.js';
import { t } from './words.js';

const dialog = byId('slot-dialog');

/** @param {string} name */
function field(name) {
  const found = dialog.querySelector(`input[name="${name}"]`);
  if (!(found instanceof HTMLInputElement)) throw new Error(`the dialog has no ${name}`);
  return found;
}

// In the capturing phase: the dialog is filled before forms.js opens it.
document.addEventListener('click', (event) => {
  const slot = event.target instanceof Element ? event.target.closest('[data-slot-start]') : null;
  if (!(slot instanceof HTMLElement)) return;
  field('start').value = slot.dataset.slotStart || '';
  field('end').value = slot.dataset.slotEnd || '';
  const words = dialog.querySelector('[data-words]');
  if (words) words.textContent = slot.dataset.slotWords || '';
  const error = dialog.querySelector('[data-error]');
  if (error instanceof HTMLElement) error.hidden = true;
}, true);

document.addEventListener('click', (event) => {
  const button = event.target instanceof Element ? event.target.closest('[data-rule]') : null;
  const form = document.getElementById('change-form');
  if (!(button instanceof HTMLElement) || !(form instanceof HTMLFormElement)) return;
  form.dataset.api = `/api/availability-rules/${button.dataset.rule}`;
  for (const [name, value] of Object.entries(JSON.parse(button.dataset.values || '{}'))) {
    const control = form.elements.namedItem(name);
    if (control instanceof HTMLInputElement || control instanceof HTMLSelectElement) control.value = String(value);
  }
  const error = form.querySelector('[data-error]');
  if (error instanceof HTMLElement) error.hidden = true;
}, true);

document.addEventListener('click', (event) => {
  const button = event.target instanceof Element ? event.target.closest('[data-copies]') : null;
  if (!(button instanceof HTMLElement)) return;
  const source = document.getElementById(button.dataset.copies || '');
  if (source instanceof HTMLInputElement) void copy(source);
});

/** @param {HTMLInputElement} source */
async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.value);
    toast(t('Copied.'));
  } catch {
    // Browsers keep the clipboard from pages without HTTPS: the text is selected for the person's own copy.
    source.focus();
    source.select();
    toast(t('Selected. Copy it with your keyboard or the menu.'));
  }
}

document.addEventListener('form:done', (event) => {
  const booked = event instanceof CustomEvent ? Number(event.detail?.booked || 0) : 0;
  if (booked) toast(booked === 1 ? t('One booked session in it stays as it is.') : t('%(booked)s booked sessions in it stay as they are.', { booked }));
});
