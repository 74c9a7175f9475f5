// @ts-check
// The page's end of signaling/PROTOCOL.md: one WebSocket that comes back by itself, numbered messages handled once.
// Knows nothing of media or of the page: it delivers messages and says how the line is.

/**
 * @typedef {{id: string, name: string, role: 'practitioner'|'client'|'guest', place: 'waiting'|'admitted',
 *   connected: boolean, media: 'none'|'connecting'|'connected'|'disconnected', since: string}} Person
 * @typedef {{mid: string, person: string|null, source: string|null, muted: boolean,
 *   paused: boolean, veiled: boolean}} Slot
 * @typedef {{person: string, word: 'good'|'fair'|'poor', mos: number, loss: number, jitter_ms: number,
 *   round_trip_ms: number|null, freezes: number}} Quality
 * @typedef {{offered: boolean, state: 'off'|'recording'|'paused', reason: string|null, cause: string|null, my_answer: 'yes'|'no'|null}} Recording
 * @typedef {{state: string, server_now: string, starts_at: string, ends_at: string, started_at: string|null,
 *   practitioner: {id: string, name: string}, people: {id: string, name: string, role: string}[],
 *   recording: Recording, visitors_may_share: boolean, no_show_from: string|null,
 *   can: {start: boolean, end: boolean, record: boolean, share_screen: boolean, moderate: boolean}}} Snapshot
 *
 * @typedef {{type: 'welcome', version: number, session: string, person: string, role: 'practitioner'|'client'|'guest',
 *   place: 'waiting'|'admitted', resumed: boolean, resume: string, ice_servers: RTCIceServer[], server_now: string,
 *   heartbeat_s: number}} Welcome
 * @typedef {Welcome
 *   | {type: 'snapshot', n: number, snapshot: Snapshot}
 *   | {type: 'people', n: number, people: Person[]}
 *   | {type: 'admitted', n: number}
 *   | {type: 'waiting', n: number}
 *   | {type: 'answer', n: number, revision: number, sdp: string}
 *   | {type: 'slots', n: number, slots: Slot[]}
 *   | {type: 'slots_needed', n: number, audio: number, video: number}
 *   | {type: 'offer_needed', n: number}
 *   | {type: 'encodings', n: number, mid: string, rids: string[]}
 *   | {type: 'background', n: number, state: 'off'|'starting'|'on'|'unavailable'}
 *   | {type: 'peer_lost', n: number}
 *   | {type: 'news', n: number, topic: string, body: any}
 *   | {type: 'speaking', people: string[]}
 *   | ({type: 'quality'} & Quality)
 *   | {type: 'resume_token', n: number, resume: string}
 *   | {type: 'pong', server_now: string}
 *   | {type: 'ended', n: number, reason: string}
 *   | {type: 'replaced', n: number}
 *   | {type: 'removed', n: number, code: string, detail: string}
 *   | {type: 'error', code: string, detail: string, fatal: boolean, revision: number|null}} ServerMessage
 *
 * @typedef {{type: 'offer', revision: number, sdp: string, sources: Record<string, string>}
 *   | {type: 'mute', mid: string, muted: boolean}
 *   | {type: 'view', heights: Record<string, number>}
 *   | {type: 'playback', freezes: number, frozen_ms: number}
 *   | {type: 'blur', effect: ServerEffect}
 *   | {type: 'leave'}} ClientMessage
 *
 * @typedef {'off'|'light'|'strong'|'colour'} ServerEffect
 * @typedef {'connecting'|'open'|'lost'|'closed'} Line
 * @typedef {{code: string, detail: string}} Refusal why there is no way in, as control says it
 */

export const VERSION = 1;

/** A ping keeps the server from asking and tells us within twice this that the line is dead. */
const PING_MS = 2500;
/** A socket that has not opened by then is tried again: a lost first packet would cost 3 s and more. */
const OPEN_MS = 4000;
/** When something about the network changed a healthy line answers within this; else a new one is quicker. */
const PROBE_MS = 700;
const RETRY_MS = [0, 250, 500, 1000, 2000];
const LATE_RETRY_MS = 5000;
/** So many quick retries, about a minute; then every 5 s. */
const QUICK_RETRIES = 32;
const SPREAD = 0.4;
const RATE_LIMIT_PAUSE_MS = 5000;

/** After these the server does not want this socket back. */
const FINAL_CODES = new Set([1000, 4403, 4409, 4410]);
/** After these only a new join token helps. */
const JOIN_AGAIN_CODES = new Set([4400, 4401, 4404, 4421, 4500]);

/**
 * Milliseconds before try number `attempt` (0 is the first after a loss). Spread, so that a restarted server is not
 * met by everybody at once.
 * @param {number} attempt @param {number} random 0 … 1
 */
export function retryDelay(attempt, random) {
  const base = attempt < RETRY_MS.length ? RETRY_MS[attempt]
    : attempt < QUICK_RETRIES ? RETRY_MS[RETRY_MS.length - 1] : LATE_RETRY_MS;
  return base * (1 - SPREAD + 2 * SPREAD * random);
}

/**
 * @typedef {object} SignalingOptions
 * @property {string} url ws:// or wss:// address
 * @property {() => Promise<string>} getToken a fresh join token; throws RefusedError when there is no way in
 * @property {(message: ServerMessage) => void} onMessage each numbered message once, in order
 * @property {(line: Line) => void} onLine
 * @property {(refusal: Refusal) => void} onRefused control says no, with its reason; the line is closed
 */

/**
 * Another network, or another address in it, where the browser says so (Chromium does).
 * @param {() => void} changed @param {AbortSignal} signal
 */
export function onNetworkChange(changed, signal) {
  const network = /** @type {{connection?: EventTarget}} */ (navigator).connection;
  network?.addEventListener('change', changed, { signal });
}

/** Thrown by getToken: trying again would get the same answer. */
export class RefusedError extends Error {
  /** @param {string} code @param {string} detail */
  constructor(code, detail) {
    super(detail);
    this.refusal = { code, detail };
  }
}

export class Signaling {
  /** @param {SignalingOptions} options */
  constructor(options) {
    this._options = options;
    /** @type {WebSocket | null} */
    this._socket = null;
    /** @type {Line} */
    this.line = 'connecting';
    this._resume = '';
    this._received = 0;
    this._attempt = 0;
    this._retryTimer = 0;
    this._pingTimer = 0;
    this._silentPings = 0;
    this._lastError = '';
    this._wasOffline = false;
    this._listening = new AbortController();
    const { signal } = this._listening;
    window.addEventListener('offline', () => {
      this._wasOffline = true;
    }, { signal });
    window.addEventListener('online', () => this._returnNow(), { signal });
    onNetworkChange(() => this._returnNow(), signal);
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this._returnNow();
    }, { signal });
  }

  /** Hand the line over to another listener: the waiting page becomes the room. @param {Partial<SignalingOptions>} options */
  redirect(options) {
    this._options = { ...this._options, ...options };
  }

  connect() {
    void this._open();
  }

  /** Sends if the line is open; what matters is sent again by its owner after the next welcome. @param {ClientMessage} message */
  send(message) {
    if (this.line !== 'open' || this._socket?.readyState !== WebSocket.OPEN) return false;
    this._socket.send(JSON.stringify(message));
    return true;
  }

  /** Says goodbye; nothing comes after this. */
  leave() {
    this.send({ type: 'leave' });
    this._stop();
  }

  async _open() {
    window.clearTimeout(this._retryTimer);
    // The token is fetched while the socket opens: two waits become one.
    const hello = this._hello();
    const socket = new WebSocket(this._options.url);
    this._socket = socket;
    const late = window.setTimeout(() => this._lose(socket, 1006), OPEN_MS);
    const opened = new Promise((resolve) => socket.addEventListener('open', resolve));
    void opened.then(() => window.clearTimeout(late));
    socket.addEventListener('message', (event) => {
      if (socket === this._socket) this._hear(String(event.data));
    });
    socket.addEventListener('close', (event) => {
      window.clearTimeout(late);
      this._lose(socket, event.code);
    });
    try {
      const [text] = await Promise.all([hello, opened]);
      if (socket === this._socket) socket.send(text);
    } catch (error) {
      if (socket !== this._socket) return;
      if (error instanceof RefusedError) this._refuse(error.refusal);
      else this._lose(socket, 1006);
    }
  }

  async _hello() {
    return JSON.stringify(this._resume
      ? { type: 'hello', version: VERSION, resume: this._resume, received: this._received }
      : { type: 'hello', version: VERSION, token: await this._options.getToken() });
  }

  /** @param {string} text */
  _hear(text) {
    /** @type {ServerMessage} */
    const message = JSON.parse(text);
    this._silentPings = 0;
    if ('n' in message) {
      if (message.n <= this._received) return;
      this._received = message.n;
    }
    if (message.type === 'welcome') this._welcome(message);
    else if (message.type === 'resume_token') this._resume = message.resume;
    else if (message.type === 'error' && message.fatal) this._lastError = message.code;
    this._options.onMessage(message);
    if (message.type === 'error' && message.fatal && isRefusal(message.code)) {
      this._refuse({ code: message.code, detail: message.detail });
    }
  }

  /** @param {Welcome} welcome */
  _welcome(welcome) {
    this._resume = welcome.resume;
    if (!welcome.resumed) this._received = 0;
    this._attempt = 0;
    this._setLine('open');
    window.clearInterval(this._pingTimer);
    this._silentPings = 0;
    this._pingTimer = window.setInterval(() => this._ping(), PING_MS);
  }

  _ping() {
    const socket = this._socket;
    if (!socket || this.line !== 'open') return;
    if (this._silentPings > 1) {
      this._lose(socket, 1006);
      return;
    }
    this._silentPings += 1;
    socket.send(JSON.stringify({ type: 'ping', received: this._received }));
  }

  /** @param {WebSocket} socket @param {number} code */
  _lose(socket, code) {
    if (socket !== this._socket) return;
    this._socket = null;
    socket.close();
    window.clearInterval(this._pingTimer);
    if (FINAL_CODES.has(code)) {
      this._stop();
      return;
    }
    if (JOIN_AGAIN_CODES.has(code) && this._resume) {
      // The server is there, it only forgot us: no reason to wait before joining anew.
      this._resume = '';
      this._attempt = 0;
    }
    this._retry(this._lastError === 'rate_limited' ? RATE_LIMIT_PAUSE_MS : 0);
    this._lastError = '';
  }

  _retry(leastMs = 0) {
    if (this.line === 'closed') return;
    this._setLine(this.line === 'connecting' ? 'connecting' : 'lost');
    const delay = Math.max(leastMs, retryDelay(this._attempt, Math.random()));
    this._attempt += 1;
    window.clearTimeout(this._retryTimer);
    this._retryTimer = window.setTimeout(() => void this._open(), delay);
  }

  /** The network or the person is back: don't wait out the pause. */
  _returnNow() {
    if (this.line === 'closed') return;
    const socket = this._socket;
    const wasOffline = this._wasOffline && navigator.onLine;
    if (wasOffline) this._wasOffline = false;
    if (wasOffline && socket) {
      // A socket rarely outlives its network, and finding out takes longer than coming back on a new one.
      this._attempt = 0;
      this._lose(socket, 1006);
      return;
    }
    if (this.line === 'open' && socket) {
      this._silentPings = 0;
      this._ping();
      window.setTimeout(() => {
        if (this._silentPings) this._lose(socket, 1006);
      }, PROBE_MS);
      return;
    }
    if (this._socket) return;
    this._attempt = 0;
    this._retry();
  }

  /** @param {Refusal} refusal */
  _refuse(refusal) {
    this._stop();
    this._options.onRefused(refusal);
  }

  _stop() {
    window.clearTimeout(this._retryTimer);
    window.clearInterval(this._pingTimer);
    this._listening.abort();
    const socket = this._socket;
    this._socket = null;
    this._setLine('closed');
    socket?.close(1000);
  }

  /** @param {Line} line */
  _setLine(line) {
    if (line === this.line) return;
    this.line = line;
    this._options.onLine(line);
  }
}

/** Fatal errors that are about the socket, not about the person's right to be here. */
const ABOUT_THE_SOCKET = new Set(['bad_message', 'too_large', 'bad_version', 'hello_timeout', 'token_invalid',
  'token_expired', 'token_used', 'resume_unknown', 'resume_lost', 'wrong_node', 'rate_limited', 'too_slow',
  'server_closing', 'internal']);

/** @param {string} code */
function isRefusal(code) {
  return !ABOUT_THE_SOCKET.has(code);
}
