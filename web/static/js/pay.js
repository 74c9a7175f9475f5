// @ts-check
// The pay page (#pay): what each way needs, and going on where a gateway asks the payer something.
//
//   forms.js sends the chosen way ──▶ paid: the next page
//                                └─▶ 202: this file goes on, by Stripe's element, Razorpay's page or the test bank,
//                                    and asks the server how it ended. Only the server says "paid".
//
// Stripe's script is loaded when somebody chooses to pay by card, not before.

import { ProblemError, get, post } from './api.js';
import { busy, showProblem } from './forms.js';
import { byId, element, showError } from './page.js';
import { t } from './words.js';

const POLL_MS = 1000;
const MOST_POLLS = 40;

const form = /** @type {HTMLFormElement} */ (byId('pay'));
const ways = document.getElementById('ways');

/** @typedef {{id: string, status: string, method: string, client_secret?: string, order_id?: string, key_id?: string}} GoingOn */

/** @type {Promise<{stripe: any, card: any}> | null} */
let stripeReady = null;

function chosen() {
  const picked = form.querySelector('input[name="paymentMethod"]:checked');
  return picked instanceof HTMLInputElement ? picked.value : '';
}

/** Shows what the chosen way needs and leaves out what belongs to another. */
function showMore() {
  const method = chosen();
  for (const part of form.querySelectorAll('[data-more]')) {
    if (part instanceof HTMLElement) part.hidden = part.dataset.more !== method;
  }
  for (const input of form.querySelectorAll('input[data-of]')) {
    if (input instanceof HTMLInputElement) input.disabled = input.dataset.of !== method;
  }
  if (method === 'stripe') openCard().catch(() => showError(byId('card-error'), t('The card field could not be loaded. Try again, or pay in another way.')));
}

/** @param {string} address */
function loadScript(address) {
  return new Promise((resolve, reject) => {
    const script = element('script', { src: address });
    script.addEventListener('load', () => resolve(undefined));
    script.addEventListener('error', () => reject(new Error('not loaded')));
    document.head.append(script);
  });
}

function openCard() {
  stripeReady ??= mountCard().catch((error) => {
    stripeReady = null;
    throw error;
  });
  return stripeReady;
}

async function mountCard() {
  const data = /** @type {HTMLElement} */ (ways).dataset;
  await loadScript(data.stripeScript || '');
  const style = getComputedStyle(byId('card'));
  const stripe = /** @type {any} */ (window).Stripe(data.stripeKey);
  const base = { color: style.color, fontSize: style.fontSize, fontFamily: style.fontFamily };
  const card = stripe.elements().create('card', { style: { base }, hidePostalCode: true });
  card.mount('#card');
  card.on('change', (/** @type {any} */ event) => showError(byId('card-error'), event.error?.message || ''));
  byId('card').removeAttribute('aria-busy');
  return { stripe, card };
}

/** @param {GoingOn} payment */
async function byCard(payment) {
  const { stripe, card } = await openCard();
  const { error } = await stripe.confirmCardPayment(payment.client_secret, { payment_method: { card } });
  if (error) {
    await get(`/api/payments/${payment.id}`).catch(() => null); // the server looks at once, and keeps why
    throw new ProblemError(402, { code: 'card_refused', detail: error.message || t('The card was not accepted. Nothing was charged.') });
  }
}

/** Leaves this page: Razorpay takes the payer over and sends them back. @param {GoingOn} payment */
function onRazorpaysPage(payment) {
  const data = /** @type {HTMLElement} */ (ways).dataset;
  const sent = {
    key_id: payment.key_id, order_id: payment.order_id, amount: data.amount, currency: data.currency,
    name: data.practice, callback_url: `${data.back}?payment=${payment.id}`, cancel_url: location.href,
  };
  const inputs = Object.entries(sent).map(([name, value]) => element('input', { type: 'hidden', name, value: value || '' }));
  const leaving = element('form', { method: 'post', action: data.razorpayPage, hidden: true }, ...inputs);
  document.body.append(leaving);
  leaving.submit();
  return new Promise(() => {});
}

/** @param {GoingOn} payment */
async function byTestBank(payment) {
  const dialog = /** @type {HTMLDialogElement} */ (byId('test-bank'));
  const approve = await new Promise((resolve) => {
    const answer = (/** @type {Event} */ event) => {
      dialog.close();
      resolve(event.currentTarget === byId('bank-yes'));
    };
    byId('bank-yes').addEventListener('click', answer, { once: true });
    byId('bank-no').addEventListener('click', answer, { once: true });
    dialog.addEventListener('cancel', answer, { once: true });
    dialog.showModal();
  });
  await post(`/api/payments/${payment.id}/test-bank`, { approve });
}

/** Asks how it ended until the server knows. @param {string} id */
async function ended(id) {
  for (let round = 0; round < MOST_POLLS; round += 1) {
    const now = await get(`/api/payments/${id}`);
    if (now.paid) return;
    if (now.failure_code) throw new ProblemError(402, { code: 'card_refused', detail: t('The payment was not accepted. Nothing was charged; try again or pay in another way.') });
    await new Promise((resolve) => window.setTimeout(resolve, POLL_MS));
  }
  throw new ProblemError(503, { detail: t('The bank has not answered yet. Nothing is lost: look again in a moment.') });
}

/** A payment is under way: pressing again does nothing. */
let going = false;

/** @param {GoingOn} payment */
async function goOn(payment) {
  const button = document.querySelector(`button[type="submit"][form="pay"], #pay button[type="submit"]`);
  going = true;
  await null; // forms.js frees the button once it has handed over
  const free = busy(/** @type {HTMLElement | null} */ (button), t('Paying'));
  try {
    if (payment.method === 'stripe') await byCard(payment);
    else if (payment.method === 'razorpay') await onRazorpaysPage(payment);
    else await byTestBank(payment);
    await ended(payment.id);
    location.assign(form.dataset.then || '/wallet');
  } catch (error) {
    free();
    going = false;
    showProblem(form, error instanceof ProblemError ? error : new ProblemError(500, {}));
  }
}

form.addEventListener('submit', (event) => {
  if (!going) return;
  event.preventDefault();
  event.stopPropagation();
});
form.addEventListener('form:done', (event) => {
  const payment = /** @type {CustomEvent} */ (event).detail?.payment;
  if (!payment?.id || !['starting', 'requires_action'].includes(payment.status)) return;
  event.preventDefault();
  void goOn(payment);
});
form.addEventListener('change', showMore);
showMore();
