// @ts-check
// The live socket of a signed-in page (/api/live): what happened while the page is open, and after a break.
// It only delivers; pages decide what to fetch again. Retries are spread so that a restarted server is not flooded.

/** @typedef {{type: string} & Record<string, any>} LiveEvent */

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15000;

/** @type {Set<(event: LiveEvent) => void>} */
const listeners = new Set();
/** @type {WebSocket | null} */
let socket = null;
let retryMs = FIRST_RETRY_MS;
let opened = false;
let timer = 0;

function connect() {
  socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/api/live`);
  socket.addEventListener('open', () => {
    retryMs = FIRST_RETRY_MS;
    // Whatever happened while we were away is unknown: pages look again.
    if (opened) tell({ type: 'reconnected' });
    opened = true;
    tell({ type: 'online' });
  });
  socket.addEventListener('message', (message) => {
    try {
      const event = JSON.parse(String(message.data));
      if (event && typeof event.type === 'string') tell(event);
    } catch {
      // Not ours: ignore.
    }
  });
  socket.addEventListener('close', (event) => {
    tell({ type: 'offline' });
    // 4401: signed out. Anything else is worth another try.
    if (event.code === 4401) return;
    window.clearTimeout(timer);
    timer = window.setTimeout(connect, retryMs * (0.5 + Math.random()));
    retryMs = Math.min(LAST_RETRY_MS, retryMs * 2);
  });
}

/** @param {LiveEvent} event */
function tell(event) {
  for (const listener of [...listeners]) listener(event);
}

/**
 * @param {(event: LiveEvent) => void} listener hears every event, and "online", "offline", "reconnected"
 * @returns {() => void} stops listening
 */
export function onLive(listener) {
  listeners.add(listener);
  if (!socket) connect();
  return () => listeners.delete(listener);
}
