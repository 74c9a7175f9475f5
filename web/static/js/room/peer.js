// @ts-check
// The one RTCPeerConnection of a participant. The page always offers, one offer at a time, by the layout of
// media/negotiation.py: m0 microphone, m1 camera, m2 and m3 receive, more receiving sections and screens behind.
// Sections are never stopped, only made inactive. No DOM here; signaling is a `send` function.

import { cameraEncodings, encodingsFor } from './encodings.js';
import { LOOK_MS, Narrowness } from './narrow.js';

/** @typedef {import('./protocol.js').Slot} Slot */
/** @typedef {'microphone'|'camera'|'screen'|'screen_audio'} Source */
/** @typedef {{camera?: MediaStreamTrack, microphone?: MediaStreamTrack, screen?: MediaStreamTrack,
 *   screen_audio?: MediaStreamTrack}} Tracks what one person sends us */

/**
 * @typedef {object} PeerOptions
 * @property {RTCIceServer[]} iceServers
 * @property {Source[]} mayPublish devices the session's mode carries; their sections are there in any case
 * @property {(offer: {type: 'offer', revision: number, sdp: string, sources: Record<string, string>}) => void} sendOffer
 * @property {boolean} held make the offer, but keep it until release()
 * @property {boolean} inSizes send the camera in several sizes from the start, as sendSizes() does later
 * @property {(state: 'connecting'|'connected'|'disconnected') => void} onState
 * @property {() => void} onFailed a restart did not help: somebody has to make a new Peer
 */

/** ICE says "disconnected" after some 5 s of silence; it often mends itself within this. */
const RESTART_AFTER_MS = 500;
/** Pauses between restarts that did not help, short at first: a browser may learn of its new address 2 s after the
 * change. After the last the connection is made anew. */
const RESTART_AGAIN_MS = [700, 700, 700, 700, 1500, 3000, 4000, 4000];

/** VP8 first: everybody decodes it, and the server answers it unless set otherwise. @param {RTCRtpTransceiver} transceiver */
function preferVp8(transceiver) {
  const codecs = RTCRtpReceiver.getCapabilities('video')?.codecs;
  if (!codecs || !transceiver.setCodecPreferences) return;
  const first = codecs.filter((codec) => codec.mimeType.toLowerCase() === 'video/vp8');
  try {
    transceiver.setCodecPreferences([...first, ...codecs.filter((codec) => !first.includes(codec))]);
  } catch {
    // An older browser wants its own list; its own order is fine too.
  }
}

export class Peer {
  /** @param {PeerOptions} options */
  constructor(options) {
    this._options = options;
    this._pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle', iceServers: options.iceServers });
    /** @type {Map<Source, RTCRtpTransceiver>} */
    this._sending = new Map();
    /** Sections that nothing is sent in any more. @type {Set<RTCRtpTransceiver>} */
    this._retired = new Set();
    this._inSizes = options.inSizes;
    /** Encodings the server wants, by mid. @type {Map<string, string[]>} */
    this._encodings = new Map();
    this._revision = 0;
    /** @type {{revision: number, sdp: string, sources: Record<string, string>} | null} the offer nobody has answered */
    this._open = null;
    this._again = false;
    /** An offer made while waiting is kept until the person is let in. */
    this._held = options.held;
    this._wantsRestart = false;
    this._restarts = 0;
    this._restartTimer = 0;
    /** What came in on each candidate pair, as last counted. @type {Map<string, number>} */
    this._heard = new Map();
    this._closed = false;
    this._narrowness = new Narrowness();
    this._fitting = window.setInterval(() => void this._fitCamera(), LOOK_MS);
    /** Freezes of pictures up to the last look. */
    this._frozen = { freezes: 0, frozenMs: 0 };
    this._pc.addEventListener('connectionstatechange', () => this._connectionChanged());
    this._pc.addEventListener('iceconnectionstatechange', () => this._connectionChanged());
  }

  /** The first offer. @param {MediaStreamTrack|null} microphone @param {MediaStreamTrack|null} camera */
  start(microphone, camera) {
    this._addSending('microphone', 'audio', microphone);
    this._addSending('camera', 'video', camera);
    this._pc.addTransceiver('audio', { direction: 'recvonly' });
    preferVp8(this._pc.addTransceiver('video', { direction: 'recvonly' }));
    return this.offer();
  }

  /** @param {Source} source @param {'audio'|'video'} kind @param {MediaStreamTrack|null} track */
  _addSending(source, kind, track) {
    const sendEncodings = source === 'camera' && this._inSizes ? { sendEncodings: cameraEncodings() } : {};
    const transceiver = this._pc.addTransceiver(kind, { direction: 'sendonly', ...sendEncodings });
    if (kind === 'video') preferVp8(transceiver);
    // By replaceTrack, not as the transceiver's first track: a device may come later or change.
    if (track) void transceiver.sender.replaceTrack(track);
    this._sending.set(source, transceiver);
    return transceiver;
  }

  /** Offers, or once more after the answer that is being waited for. */
  async offer() {
    if (this._closed) return;
    if (this._open) {
      this._again = true;
      return;
    }
    this._revision += 1;
    const open = { revision: this._revision, sdp: '', sources: /** @type {Record<string, string>} */ ({}) };
    this._open = open;
    const options = this._wantsRestart ? { iceRestart: true } : {};
    this._wantsRestart = false;
    const description = await this._pc.createOffer(options);
    if (this._closed) return;
    await this._pc.setLocalDescription(description);
    open.sdp = this._pc.localDescription?.sdp || description.sdp || '';
    for (const [source, transceiver] of this._sending) {
      const isDevice = source === 'microphone' || source === 'camera';
      if (isDevice && !this._options.mayPublish.includes(source)) continue;
      if (transceiver.mid !== null && transceiver.direction === 'sendonly') open.sources[transceiver.mid] = source;
    }
    this.repeatOffer();
  }

  /** After a resumed socket: the answer may have been lost with the old one. */
  repeatOffer() {
    if (this._open?.sdp && !this._held) this._options.sendOffer({ type: 'offer', ...this._open });
  }

  /** The person is let in: what was prepared goes out. */
  release() {
    this._held = false;
    this.repeatOffer();
  }

  /** @param {number} revision @param {string} sdp */
  async answered(revision, sdp) {
    if (this._closed || this._open?.revision !== revision) return;
    await this._pc.setRemoteDescription({ type: 'answer', sdp });
    this._open = null;
    for (const mid of this._encodings.keys()) void this._applyEncodings(mid);
    this._offerAgain();
  }

  /** The server could not use the offer. @param {number|null} revision @param {string} code */
  async refused(revision, code) {
    if (this._closed || this._open?.revision !== revision) return;
    if (code === 'media_unavailable') {
      window.setTimeout(() => this.repeatOffer(), 1000);
      return;
    }
    if (code === 'offer_in_flight') return;
    this._open = null;
    if (this._pc.signalingState === 'have-local-offer') await this._pc.setLocalDescription({ type: 'rollback' });
    this._options.onFailed();
  }

  _offerAgain() {
    if (!this._again) return;
    this._again = false;
    void this.offer();
  }

  // ---------------------------------------------------------------- what we send

  /** The section's mid, for `mute`; null before the first offer. @param {Source} source */
  midOf(source) {
    return this._sending.get(source)?.mid ?? null;
  }

  /**
   * From three people on: the camera in a new section that offers several sizes. Between two people it has one, because
   * Chromium begins one of several sizes smaller than it need be, and stays there.
   */
  async sendSizes() {
    const before = this._sending.get('camera');
    if (this._inSizes || !before || this._closed) return;
    this._inSizes = true;
    const { track } = before.sender;
    before.direction = 'inactive';
    this._retired.add(before);
    await before.sender.replaceTrack(null);
    this._addSending('camera', 'video', track);
    await this.offer();
  }

  /** Send these encodings and no others. @param {string} mid @param {string[]} rids */
  setEncodings(mid, rids) {
    this._encodings.set(mid, rids);
    void this._applyEncodings(mid);
  }

  get isInSizes() {
    return this._inSizes;
  }

  /** @param {string} mid */
  async _applyEncodings(mid) {
    // An answer sets them by its offer, and then they are set anew.
    if (this._pc.signalingState !== 'stable') return;
    const sender = [...this._sending.values()].find((one) => one.mid === mid)?.sender;
    const rids = this._encodings.get(mid);
    const parameters = sender?.getParameters();
    if (!sender || !parameters || !rids || parameters.encodings.every((one) => !one.rid)) return;
    const { width = 1280, height = 720 } = sender.track?.getSettings() || {};
    const encodings = encodingsFor(parameters.encodings, rids, width * height);
    if (!encodings) return;
    try {
      await sender.setParameters({ ...parameters, encodings });
    } catch {
      // Overtaken by another change: the next answer or message sets them again.
    }
  }

  /** Between two people the camera is one encoding, whose size follows the line here. */
  async _fitCamera() {
    const sender = this._sending.get('camera')?.sender;
    if (this._inSizes || !sender?.track) return;
    let bps = 0;
    (await sender.getStats()).forEach((/** @type {any} */ entry) => {
      if (entry.type === 'outbound-rtp') bps = entry.targetBitrate || 0;
    });
    const { width = 1280, height = 720 } = sender.track?.getSettings() || {};
    if (!bps || !this._narrowness.look(width * height, bps)) return;
    const parameters = sender.getParameters();
    const encodings = parameters.encodings.map((one) => ({ ...one, scaleResolutionDownBy: this._narrowness.scale }));
    try {
      await sender.setParameters({ ...parameters, encodings });
    } catch {
      this._narrowness = new Narrowness(); // overtaken by an answer, which sets them anew
    }
  }

  /** No offer needed: the section stays. @param {Source} source @param {MediaStreamTrack|null} track */
  async setTrack(source, track) {
    const transceiver = this._sending.get(source);
    await transceiver?.sender.replaceTrack(track);
    if (transceiver?.mid) void this._applyEncodings(transceiver.mid);
  }

  /** @param {MediaStream} stream */
  async shareScreen(stream) {
    this._send('screen', 'video', stream.getVideoTracks()[0]);
    const sound = stream.getAudioTracks()[0];
    if (sound) this._send('screen_audio', 'audio', sound);
    await this.offer();
  }

  /** @param {Source} source @param {'audio'|'video'} kind @param {MediaStreamTrack} track */
  _send(source, kind, track) {
    const known = this._sending.get(source);
    if (!known) {
      this._addSending(source, kind, track);
      return;
    }
    known.direction = 'sendonly';
    void known.sender.replaceTrack(track);
  }

  async stopScreen() {
    for (const source of /** @type {Source[]} */ (['screen', 'screen_audio'])) {
      const transceiver = this._sending.get(source);
      if (!transceiver) continue;
      transceiver.direction = 'inactive';
      await transceiver.sender.replaceTrack(null);
    }
    await this.offer();
  }

  // ---------------------------------------------------------------- what we receive

  /** @param {number} audio @param {number} video so many receiving sections are wanted in all */
  needSlots(audio, video) {
    const have = { audio: 0, video: 0 };
    for (const transceiver of this._receiving()) have[/** @type {'audio'|'video'} */ (transceiver.receiver.track.kind)] += 1;
    let added = 0;
    for (; have.audio < audio; have.audio += 1, added += 1) this._pc.addTransceiver('audio', { direction: 'recvonly' });
    for (; have.video < video; have.video += 1, added += 1) {
      preferVp8(this._pc.addTransceiver('video', { direction: 'recvonly' }));
    }
    if (added) void this.offer();
  }

  /** Pictures of others, or none of them: sections that wait inactive cost nothing. @param {boolean} wanted */
  async receivePictures(wanted) {
    for (const transceiver of this._receiving()) {
      if (transceiver.receiver.track.kind === 'video') transceiver.direction = wanted ? 'recvonly' : 'inactive';
    }
    await this.offer();
  }

  _receiving() {
    const sending = new Set(this._sending.values());
    return this._pc.getTransceivers().filter((one) => !sending.has(one) && !this._retired.has(one));
  }

  /** @param {MediaStreamTrack} track @returns {string|null} */
  midOfTrack(track) {
    return this._receiving().find((transceiver) => transceiver.receiver.track === track)?.mid ?? null;
  }

  /** Each person's tracks as the slots say. @param {Slot[]} slots @returns {Map<string, Tracks>} */
  tracksBySlots(slots) {
    const byMid = new Map(this._receiving().map((transceiver) => [transceiver.mid, transceiver.receiver.track]));
    /** @type {Map<string, Tracks>} */
    const people = new Map();
    for (const slot of slots) {
      const track = byMid.get(slot.mid);
      if (!track || slot.person === null || slot.source === null) continue;
      const tracks = people.get(slot.person) || {};
      tracks[/** @type {Source} */ (slot.source)] = track;
      people.set(slot.person, tracks);
    }
    return people;
  }

  // ---------------------------------------------------------------- the line

  _connectionChanged() {
    if (this._closed) return;
    const ice = this._pc.iceConnectionState;
    const state = this._pc.connectionState;
    if (state === 'connected' && ice !== 'disconnected') {
      this._restarts = 0;
      window.clearTimeout(this._restartTimer);
      this._restartTimer = 0;
      this._options.onState('connected');
    } else if (state === 'failed' || ice === 'failed') {
      this._options.onState('disconnected');
      this.restart();
    } else if (ice === 'disconnected') {
      this._options.onState('disconnected');
      this._restartTimer ||= window.setTimeout(() => this.restart(), RESTART_AFTER_MS);
    }
  }

  /** ICE itself would notice only after seconds. */
  networkChanged() {
    this._restarts = 0;
    void this._hears();
    this.restart();
  }

  /** New ICE credentials over the same DTLS: what a changed network needs. Again until something is heard. */
  restart() {
    window.clearTimeout(this._restartTimer);
    this._restartTimer = 0;
    if (this._closed || !this._pc.remoteDescription) return;
    const pause = RESTART_AGAIN_MS[this._restarts];
    if (pause === undefined) {
      this._options.onFailed();
      return;
    }
    this._wantsRestart = true;
    if (this._open) {
      // The line to the server is down too: restart once the open offer is answered.
      this._again = true;
    } else {
      this._restarts += 1;
      void this.offer();
    }
    this._restartTimer = window.setTimeout(async () => {
      const timer = this._restartTimer;
      if (await this._hears()) this._restarts = 0;
      else if (timer === this._restartTimer) this.restart();
    }, pause);
  }

  /** Whether anything has come in since the last call: media, or the answer to a check. */
  async _hears() {
    const before = this._heard;
    this._heard = new Map();
    (await this._pc.getStats()).forEach((/** @type {any} */ entry) => {
      if (entry.type === 'candidate-pair') this._heard.set(entry.id, entry.bytesReceived + entry.responsesReceived);
    });
    return [...this._heard].some(([id, count]) => count > (before.get(id) || 0));
  }

  /** What stood still of the pictures we play since the last call. */
  async freezes() {
    const report = await this._pc.getStats();
    const sum = { freezes: 0, frozenMs: 0 };
    report.forEach((/** @type {any} */ entry) => {
      if (entry.type !== 'inbound-rtp' || entry.kind !== 'video') return;
      sum.freezes += entry.freezeCount || 0;
      sum.frozenMs += 1000 * (entry.totalFreezesDuration || 0);
    });
    const last = this._frozen;
    this._frozen = sum;
    // A section that was taken away takes its counts along.
    return { freezes: Math.max(0, sum.freezes - last.freezes), frozenMs: Math.max(0, sum.frozenMs - last.frozenMs) };
  }

  /** Everything the browser counts of this connection. */
  report() {
    return this._pc.getStats();
  }

  close() {
    this._closed = true;
    window.clearInterval(this._fitting);
    window.clearTimeout(this._restartTimer);
    this._pc.close();
  }
}
