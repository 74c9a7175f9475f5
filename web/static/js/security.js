// @ts-check
// Setting up and giving the second step: shows what the server answers once (key, recovery codes), and asks the browser
// for passkeys. The forms themselves are sent by forms.js, but for those whose answer comes from a device.

import { ProblemError, post } from './api.js';
import { busy } from './forms.js';
import { byId, element, showError } from './page.js';
import { t } from './words.js';

/** @param {string[]} codes */
function showCodes(codes) {
  const setUp = document.getElementById('set-up');
  if (!codes.length) {
    location.assign(setUp?.dataset.next || '/account/security');
    return;
  }
  byId('codes-list').replaceChildren(...codes.map((code) => element('li', {}, element('code', {}, code))));
  if (setUp) setUp.hidden = true;
  byId('codes').hidden = false;
  byId('codes-title').focus();
}

document.addEventListener('form:done', (event) => {
  const form = event.target instanceof HTMLFormElement ? event.target : null;
  const answer = /** @type {CustomEvent} */ (event).detail;
  if (form?.id === 'totp-begin') {
    const picture = /** @type {HTMLImageElement} */ (byId('totp-qr'));
    picture.src = answer.qr;
    byId('totp-secret').textContent = answer.secret.match(/.{1,4}/g).join(' ');
    byId('totp-shown').hidden = false;
    form.hidden = true;
    byId('totp-code').focus();
  } else if (form?.id === 'totp-confirm' || form?.id === 'codes-form') {
    showCodes(answer.recovery_codes);
  }
});

/**
 * A form whose middle step is the browser's own question.
 * @param {string} id @param {(form: HTMLFormElement) => Promise<void>} work
 */
function onSubmit(id, work) {
  const form = document.getElementById(id);
  if (!(form instanceof HTMLFormElement)) return;
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = form.querySelector('button[type="submit"]');
    if (button?.getAttribute('aria-busy')) return;
    const place = form.querySelector('[data-error]');
    showError(place, '');
    const free = busy(/** @type {HTMLElement} */ (button), /** @type {HTMLElement} */ (button)?.dataset.busy);
    try {
      await work(form);
    } catch (error) {
      showError(place, error instanceof ProblemError ? error.message : refusedWords(error));
    } finally {
      free();
    }
  });
}

/** @param {unknown} error */
function refusedWords(error) {
  const name = error instanceof DOMException ? error.name : '';
  if (name === 'InvalidStateError') return t('This device is among your passkeys already.');
  return t('Your device did not confirm it. Nothing was changed; try again, or choose another way.');
}

/** @returns {any} */
function parser() {
  if (typeof PublicKeyCredential === 'undefined' || !('parseCreationOptionsFromJSON' in PublicKeyCredential)) {
    throw new ProblemError(0, { detail: t('This browser is too old for passkeys. Use an authenticator app or a code.') });
  }
  return PublicKeyCredential;
}

onSubmit('passkey-add', async (form) => {
  const known = parser();
  const options = await post('/api/account/passkeys/begin');
  const made = await navigator.credentials.create({ publicKey: known.parseCreationOptionsFromJSON(options) });
  const name = /** @type {HTMLInputElement} */ (form.elements.namedItem('name')).value;
  const answer = await post('/api/account/passkeys', { name, credential: /** @type {any} */ (made).toJSON() });
  showCodes(answer.recovery_codes);
});

onSubmit('passkey-give', async (form) => {
  const known = parser();
  const options = await post('/api/sign-in/second-step/passkey/begin');
  const given = await navigator.credentials.get({ publicKey: known.parseRequestOptionsFromJSON(options) });
  const next = form.dataset.next || '/';
  const answer = await post('/api/sign-in/second-step/passkey', { credential: /** @type {any} */ (given).toJSON(), next });
  location.assign(answer.next);
});
