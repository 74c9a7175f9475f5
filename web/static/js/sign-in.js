// @ts-check
// Sign-in and sign-up: the demo people fill the form in, and the browser's zone goes with a new account.

import { browserZone } from './time.js';

for (const input of document.querySelectorAll('[data-browser-zone]')) {
  if (input instanceof HTMLInputElement) input.value = browserZone();
}

document.addEventListener('click', (event) => {
  const button = event.target instanceof Element ? event.target.closest('[data-fill-email]') : null;
  if (!(button instanceof HTMLElement)) return;
  const email = document.getElementById('email');
  const password = document.getElementById('password');
  if (!(email instanceof HTMLInputElement) || !(password instanceof HTMLInputElement)) return;
  email.value = button.dataset.fillEmail || '';
  password.value = button.dataset.fillPassword || '';
  email.form?.requestSubmit();
});
