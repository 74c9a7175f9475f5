// @ts-check
// Registers the service worker for people who are signed in, and offers to install the pages as an app where the
// browser lets a page ask (elsewhere its own menu does).

import { byId, toast } from './page.js';
import { t } from './words.js';

export function startInstalled() {
  if (!('serviceWorker' in navigator) || document.body.dataset.signedIn === undefined) return;
  // After everything else: the page comes first.
  const register = () => void navigator.serviceWorker.register('/sw.js').catch(() => {});
  if (document.readyState === 'complete') register();
  else window.addEventListener('load', register, { once: true });
  const place = document.getElementById('install');
  if (place) window.addEventListener('beforeinstallprompt', (event) => offer(place, event));
}

/** @param {HTMLElement} place @param {any} event of Chromium's: it can be shown once */
function offer(place, event) {
  event.preventDefault();
  place.hidden = false;
  byId('install-now').addEventListener('click', async () => {
    event.prompt();
    place.hidden = true;
    if ((await event.userChoice).outcome === 'accepted') toast(t('Installed.'));
  }, { once: true });
}
