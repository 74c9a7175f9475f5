// @ts-check
// What the server is told of the pictures this page shows: how high they stand, so that it sends no more, and which
// stood still, so that the connection's word is right. No DOM; the page measures, this says it once.

/** @typedef {import('./peer.js').Peer} Peer */
/** @typedef {import('./protocol.js').ClientMessage} ClientMessage */

/** As often as the server measures the line (media/quality.py). */
const PLAYBACK_MS = 5000;
/** The most one report may say (signaling/PROTOCOL.md). */
const MOST_FREEZES = 1000;
const MOST_FROZEN_MS = 60_000;
const MOST_HEIGHT = 8192;

export class Seen {
  /** @param {() => Peer|null} connected the peer while its media flows @param {(message: ClientMessage) => boolean} send */
  constructor(connected, send) {
    this._connected = connected;
    this._send = send;
    /** What the server was last told of how high pictures are shown. */
    this._view = '';
    /** A picture was switched off or on since the last look: what stood still then did not freeze. */
    this._picturesChanged = false;
    this._looking = window.setInterval(() => void this._lookForFreezes(), PLAYBACK_MS);
  }

  close() {
    window.clearInterval(this._looking);
  }

  /** Another connection: nothing of it was told yet. */
  begin() {
    this._view = '';
  }

  noteChange() {
    this._picturesChanged = true;
  }

  /** How high each picture is shown, in device pixels. @param {Map<MediaStreamTrack, number>} shown */
  tellView(shown) {
    const peer = this._connected();
    if (!peer) return;
    /** @type {Record<string, number>} */
    const heights = {};
    for (const [track, height] of shown) {
      const mid = peer.midOfTrack(track);
      if (mid !== null) heights[mid] = Math.min(MOST_HEIGHT, Math.round(height));
    }
    const view = JSON.stringify(heights);
    if (view === this._view) return;
    if (this._send({ type: 'view', heights })) this._view = view;
  }

  async _lookForFreezes() {
    const peer = this._connected();
    if (!peer) return;
    const seen = await peer.freezes();
    const counts = peer === this._connected() && !this._picturesChanged && seen.freezes > 0;
    this._picturesChanged = false;
    if (!counts) return;
    this._send({
      type: 'playback',
      freezes: Math.min(seen.freezes, MOST_FREEZES),
      frozen_ms: Math.min(Math.round(seen.frozenMs), MOST_FROZEN_MS),
    });
  }
}
