// @ts-check
// The service worker, served as /sw.js (web/views/installed.py puts SHELL and VERSION before it). It keeps the offline
// page and what that page is drawn with, and nothing else: no page of anybody's is ever stored. Shows what is pushed.

/** @type {any} the worker's own scope; the compiler's list of names is the pages' */
const worker = self;
/** @type {string[]} addresses of the shell */
const SHELL = worker.SHELL;
const OFFLINE = '/offline';
const KEPT = `holdspace-${worker.VERSION}`;

worker.addEventListener('install', (/** @type {any} */ event) => event.waitUntil(keepShell()));
worker.addEventListener('activate', (/** @type {any} */ event) => event.waitUntil(takeOver()));

async function keepShell() {
  const cache = await caches.open(KEPT);
  // Without cookies: what is kept is what a stranger gets.
  await cache.addAll(SHELL.map((url) => new Request(url, { credentials: 'omit', cache: 'reload' })));
  await worker.skipWaiting();
}

async function takeOver() {
  for (const name of await caches.keys()) if (name !== KEPT) await caches.delete(name);
  await worker.clients.claim();
}

worker.addEventListener('fetch', (/** @type {any} */ event) => {
  const { request } = event;
  const { origin, pathname, search } = new URL(request.url);
  if (request.method !== 'GET' || origin !== worker.location.origin) return;
  if (request.mode === 'navigate') event.respondWith(fetch(request).catch(() => kept(OFFLINE)));
  else if (SHELL.includes(pathname + search)) event.respondWith(fetch(request).catch(() => kept(pathname + search)));
});

/** @param {string} url */
async function kept(url) {
  return (await (await caches.open(KEPT)).match(url)) || Response.error();
}

// -------------------------------------------------------------------- push

worker.addEventListener('push', (/** @type {any} */ event) => {
  const { title, path, kind } = event.data.json();
  event.waitUntil(worker.registration.showNotification(title, { tag: kind, data: { path }, icon: '/static/img/app-192.png' }));
});

worker.addEventListener('notificationclick', (/** @type {any} */ event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data.path));
});

/** A page that is open already is used; a session's room is left alone. @param {string} path */
async function open(path) {
  const pages = await worker.clients.matchAll({ type: 'window' });
  const page = pages.find((/** @type {any} */ one) => !/\/(room|waiting-room)$/.test(new URL(one.url).pathname));
  if (!page) return worker.clients.openWindow(path);
  await page.focus();
  return page.navigate(path);
}
