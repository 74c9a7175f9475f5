// @ts-check
// The waiting room's network test: a picture and a tone go up to the media server and come down again, on two
// connections of their own that are in no session. What was measured, and what it means in words.

import { ProblemError, del, post } from './api.js';
import { Peer } from './room/peer.js';
import { t } from './words.js';

/** Rates are not counted while the estimate still climbs. */
const WARM_UP_MS = 3000;
const MEASURE_MS = 4000;
const CONNECT_MS = 9000;
const SIZE = [640, 480];

/** @typedef {{up: number, down: number, loss: number, rtt: number|null}} Measured bit/s, share 0 … 1, ms */
/** @typedef {{level: 'good'|'fair'|'poor'|'none', words: string, numbers: string}} Verdict */

/** @param {string} sessionId @param {AbortSignal} signal @returns {Promise<Verdict>} */
export async function testNetwork(sessionId, signal) {
  /** @type {Peer[]} */
  const peers = [];
  const source = noise();
  try {
    const { ice_servers: iceServers } = await post(`/api/appointments/${sessionId}/network-test`);
    const [up, down] = await Promise.all([connect('send', iceServers, source.tracks, peers), connect('receive', iceServers, null, peers)]);
    await pause(WARM_UP_MS, signal);
    const before = await Promise.all([up.report(), down.report()]);
    await pause(MEASURE_MS, signal);
    const after = await Promise.all([up.report(), down.report()]);
    return verdict(measured(before, after));
  } catch (error) {
    if (error instanceof ProblemError) return { level: 'none', words: error.message, numbers: '' };
    if (error instanceof Blocked) return verdict(null);
    throw error;
  } finally {
    source.stop();
    for (const peer of peers) peer.close();
    del('/api/network-test').catch(() => {});
  }
}

/** Media does not get through. */
class Blocked extends Error {}

/**
 * @param {'send'|'receive'} end @param {RTCIceServer[]} iceServers
 * @param {{microphone: MediaStreamTrack, camera: MediaStreamTrack}|null} tracks @param {Peer[]} peers
 * @returns {Promise<Peer>}
 */
function connect(end, iceServers, tracks, peers) {
  return new Promise((resolve, reject) => {
    const late = window.setTimeout(() => reject(new Blocked()), CONNECT_MS);
    const peer = new Peer({
      iceServers,
      mayPublish: tracks ? ['microphone', 'camera'] : [],
      held: false,
      inSizes: false,
      sendOffer: (offer) => {
        post('/api/network-test/offer', { end, sdp: offer.sdp, sources: offer.sources })
          .then((answer) => peer.answered(offer.revision, answer.sdp)).catch(reject);
      },
      onState: (state) => {
        if (state !== 'connected') return;
        window.clearTimeout(late);
        resolve(peer);
      },
      onFailed: () => reject(new Blocked()),
    });
    peers.push(peer);
    void peer.start(tracks?.microphone || null, tracks?.camera || null);
  });
}

/** A picture that is hard to compress, so that the line is filled, and a quiet tone. */
function noise() {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = SIZE;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  const timer = window.setInterval(() => {
    for (let at = 0; at < 60; at += 1) {
      context.fillStyle = `hsl(${Math.random() * 360} 60% ${20 + Math.random() * 60}%)`;
      context.fillRect(Math.random() * SIZE[0], Math.random() * SIZE[1], 80, 60);
    }
  }, 40);
  const audio = new AudioContext();
  const tone = audio.createOscillator();
  const out = audio.createMediaStreamDestination();
  tone.connect(out);
  tone.start();
  const camera = canvas.captureStream(25).getVideoTracks()[0];
  const microphone = out.stream.getAudioTracks()[0];
  return {
    tracks: { microphone, camera },
    stop: () => {
      window.clearInterval(timer);
      camera.stop();
      microphone.stop();
      void audio.close();
    },
  };
}

/** @param {number} ms @param {AbortSignal} signal */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = window.setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      window.clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}

/** @param {RTCStatsReport[]} before @param {RTCStatsReport[]} after @returns {Measured} */
function measured(before, after) {
  const change = (/** @type {number} */ end, /** @type {string} */ type, /** @type {string} */ name) => sum(after[end], type, name) - sum(before[end], type, name);
  const rate = (/** @type {number} */ bytes) => (bytes * 8000) / MEASURE_MS;
  const received = change(1, 'inbound-rtp', 'packetsReceived');
  const lost = Math.max(0, change(1, 'inbound-rtp', 'packetsLost'));
  /** @type {number|null} */
  let rtt = null;
  after[0].forEach((one) => {
    if (one.type === 'candidate-pair' && one.nominated && one.currentRoundTripTime !== undefined) rtt = one.currentRoundTripTime * 1000;
  });
  const upLoss = Math.max(0, ...all(after[0], 'remote-inbound-rtp', 'fractionLost'));
  return {
    up: rate(change(0, 'outbound-rtp', 'bytesSent')),
    down: rate(change(1, 'inbound-rtp', 'bytesReceived')),
    loss: Math.max(upLoss, received + lost ? lost / (received + lost) : 1),
    rtt,
  };
}

/** @param {RTCStatsReport} report @param {string} type @param {string} name @returns {number[]} */
function all(report, type, name) {
  /** @type {number[]} */
  const found = [];
  report.forEach((one) => {
    if (one.type === type) found.push(one[name] || 0);
  });
  return found;
}

/** @param {RTCStatsReport} report @param {string} type @param {string} name */
function sum(report, type, name) {
  return all(report, type, name).reduce((total, one) => total + one, 0);
}

/** What the numbers mean for a session. Pure. @param {Measured|null} found null: media did not get through @returns {Verdict} */
export function verdict(found) {
  if (!found || found.down < 10_000) {
    return { level: 'none', words: t('Sound and picture can\'t get through this network. Try another one, such as your phone\'s.'), numbers: '' };
  }
  const { up, down, loss, rtt } = found;
  const rate = Math.min(up, down);
  const delay = rtt ?? 0;
  const numbers = t('%(megabits)s up, %(megabits2)s down%(back)s, %(value)s %% lost', { megabits: megabits(up), megabits2: megabits(down), back: rtt === null ? '' : t(', %(value)s ms there and back', { value: Math.round(rtt) }), value: Math.round(loss * 1000) / 10 });
  if (rate >= 600_000 && loss < 0.02 && delay < 250) return { level: 'good', words: t('Good for sound and picture.'), numbers };
  if (rate >= 250_000 && loss < 0.08 && delay < 500) {
    return { level: 'fair', words: t('Enough. The picture may be soft, or stop for a moment.'), numbers };
  }
  return { level: 'poor', words: t('Weak. Sound may work; for a picture go nearer to the Wi-Fi, or use a cable.'), numbers };
}

/** @param {number} bits */
function megabits(bits) {
  return bits >= 950_000 ? `${(bits / 1_000_000).toFixed(1)} Mbit/s` : `${Math.round(bits / 1000)} kbit/s`;
}
