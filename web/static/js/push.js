// @ts-check
// "Notices on this device" in the account: asks the browser, subscribes at its push service, tells our server.
// The switch shows what both say; hidden where the browser has no push.

import { ProblemError, get, del, request } from './api.js';
import { byId, showError } from './page.js';
import { t } from './words.js';

const WORDS = {
  denied: t('Your browser does not let this page show notices. Allow them beside the address, then try again.'),
  failed: t('Your browser\'s push service can\'t be reached just now. Try again later.'),
};

async function start() {
  const place = document.getElementById('device-notices');
  if (!place || !('serviceWorker' in navigator) || !('PushManager' in window)) return;
  const state = await get('/api/push');
  const toggle = /** @type {HTMLInputElement} */ (byId('push-on'));
  toggle.checked = state.on && Notification.permission === 'granted';
  place.hidden = false;
  toggle.addEventListener('change', async () => {
    toggle.disabled = true;
    const error = toggle.checked ? await switchOn(state.public_key) : await switchOff();
    showError(byId('push-error'), error);
    if (error) toggle.checked = !toggle.checked;
    toggle.disabled = false;
    toggle.focus();
  });
}

/** @param {string} publicKey @returns {Promise<string>} what went wrong, or '' */
async function switchOn(publicKey) {
  if (await Notification.requestPermission() !== 'granted') return WORDS.denied;
  const registration = await navigator.serviceWorker.ready;
  let subscription;
  try {
    // One made for another key of the server is of no use and stands in the way.
    await (await registration.pushManager.getSubscription())?.unsubscribe();
    subscription = await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: publicKey });
  } catch {
    return WORDS.failed;
  }
  const { endpoint, keys } = subscription.toJSON();
  return said(() => request('PUT', '/api/push', { body: { endpoint, p256dh: keys?.p256dh, auth: keys?.auth } }));
}

async function switchOff() {
  const error = await said(() => del('/api/push'));
  if (!error) await (await (await navigator.serviceWorker.ready).pushManager.getSubscription())?.unsubscribe();
  return error;
}

/** @param {() => Promise<unknown>} work */
async function said(work) {
  try {
    await work();
    return '';
  } catch (error) {
    if (error instanceof ProblemError) return error.message;
    throw error;
  }
}

void start();
