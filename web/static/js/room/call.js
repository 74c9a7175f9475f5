// @ts-check
// One person's part in a session: the line to the server, the devices and the peer connection, kept in step.
// No DOM: waiting-room.js and main.js listen to `onChange` and draw. The same Call goes from the waiting room into
// the room, so that nothing is opened twice and the first picture needs one round trip.

import { ProblemError, post } from '../api.js';
import { setServerNow } from '../time.js';
import { chosenBackground } from './blur.js';
import { openScreen } from './devices.js';
import { KINDS, OwnDevices } from './own-devices.js';
import { Peer } from './peer.js';
import { RefusedError, Signaling, onNetworkChange } from './protocol.js';
import { Seen } from './seen.js';
import { freshBackground, freshState, isGroup, reduce } from './state.js';
import { t } from '../words.js';

/** @typedef {import('./state.js').RoomState} RoomState */
/** @typedef {import('./state.js').News} News */
/** @typedef {import('./protocol.js').ServerMessage} ServerMessage */
/** @typedef {import('./protocol.js').Refusal} Refusal */
/** @typedef {import('./protocol.js').ServerEffect} ServerEffect */
/** @typedef {import('./devices.js').DeviceKind} DeviceKind */
/** @typedef {import('./peer.js').Tracks} Tracks */

const NETWORK_SETTLES_MS = 50;
/** New connections in a row without one that held: then the person is told instead of looping. */
const MAX_PEERS = 5;

export class Call {
  /**
   * @param {string} sessionId
   * @param {string} mode video, audio or chat: which devices the session has
   * @param {string} blurPath auto, browser or server: who may blur what is behind the person
   */
  constructor(sessionId, mode, blurPath) {
    this.sessionId = sessionId;
    this._mode = mode;
    /** @type {RoomState} */
    this.state = { ...freshState(), background: freshBackground(chosenBackground(), blurPath) };
    const none = { on: false, ready: false, problem: null };
    if (mode !== 'video') this.state = { ...this.state, camera: none };
    if (mode === 'chat') this.state = { ...this.state, microphone: none };
    /** @type {(state: RoomState, news: News) => void} */
    this.onChange = () => {};
    /** @type {(refusal: Refusal, extra: Record<string, any>) => void} */
    this.onRefused = () => {};
    this.devices = new OwnDevices({
      state: () => this.state,
      news: (news) => this._news(news),
      show: (kind, track) => void this._peer?.setTrack(kind, track),
      tellMuted: (kind) => this._tellMuted(kind),
      expectHiding: () => {
        if (this._effect === null && this.state.background.serverMay) this._tellEffect('off');
      },
      hide: (effect) => this._hide(effect),
    });
    /** What the server was asked to do to the camera; null: never anything. @type {ServerEffect|null} */
    this._effect = null;
    /** Those who wait for the server to keep the camera from the others. @type {(() => void)[]} */
    this._untilHidden = [];
    /** @type {MediaStream|null} */
    this._screen = null;
    /** @type {Peer|null} */
    this._peer = null;
    /** A connection with its offer ready, made in the waiting room. @type {Peer|null} */
    this._prepared = null;
    this._peersInARow = 0;
    /** @type {RTCIceServer[]} */
    this._iceServers = [];
    /** @type {Record<string, any>} */
    this._refusalExtra = {};
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.signaling = new Signaling({
      url: `${scheme}://${location.host}/signaling`,
      getToken: () => this._getToken(),
      onMessage: (message) => this._heard(message),
      onLine: (line) => this._news({ type: 'line', line }),
      onRefused: (refusal) => {
        this._closePeer();
        this._news({ type: 'refused', ...refusal });
        this.onRefused(refusal, this._refusalExtra);
      },
    });
    this._listening = new AbortController();
    window.addEventListener('online', () => this._networkChanged(), { signal: this._listening.signal });
    onNetworkChange(() => this._networkChanged(), this._listening.signal);
    this._networkTimer = 0;
    this._seen = new Seen(
      () => (this.state.media === 'connected' ? this._peer : null),
      (message) => this.signaling.send(message),
    );
  }

  /** Joins, and opens the devices meanwhile. */
  join() {
    this.signaling.connect();
  }

  retire() {
    this._seen.close();
    this.onChange = () => {};
  }

  leave() {
    this.retire();
    this._listening.abort();
    window.clearTimeout(this._networkTimer);
    this.signaling.leave();
    this._closePeer();
    this.devices.close();
    for (const track of this._screen?.getTracks() || []) track.stop();
  }

  /** Take over another call's open devices and what the person wants of them. @param {Call} from */
  adopt(from) {
    for (const kind of KINDS) this._note({ type: 'device', kind, change: from.state[kind] });
    this._note({ type: 'background', background: { ...from.state.background, server: 'off' } });
    this.devices.adopt(from.devices);
    from.retire();
  }

  /** What each person sends us now. @returns {Map<string, Tracks>} */
  tracks() {
    return this._peer ? this._peer.tracksBySlots(this.state.slots) : new Map();
  }

  /** How high each picture is shown, in device pixels. @param {Map<MediaStreamTrack, number>} shown */
  tellView(shown) {
    this._seen.tellView(shown);
  }

  /** Whether sound is waiting for the person's first click or key. @param {boolean} blocked */
  noteSound(blocked) {
    if (blocked !== this.state.soundBlocked) this._news({ type: 'sound', blocked });
  }

  /** Sound alone, for a weak line or a tired day: no pictures come and the own camera is off. */
  async toggleSoundOnly() {
    const soundOnly = !this.state.soundOnly;
    this._news({ type: 'soundOnly', soundOnly });
    if (soundOnly && this.state.camera.on) await this.devices.toggle('camera');
    await this._peer?.receivePictures(!soundOnly);
  }

  /**
   * Have the server hide what is behind the person. Without a connection nothing of the camera is on its way, and the
   * next one begins after the server was told again.
   * @param {ServerEffect} effect
   * @returns {Promise<void>} kept once nobody can see the camera otherwise
   */
  async _hide(effect) {
    if (effect === 'off' && (this._effect === null || this._effect === 'off')) return;
    this._tellEffect(effect);
    if (effect !== 'off' && this._peer) await new Promise((resolve) => this._untilHidden.push(() => resolve(undefined)));
  }

  /** @param {ServerEffect} effect */
  _tellEffect(effect) {
    this._effect = effect;
    this.signaling.send({ type: 'blur', effect });
  }

  /** What the server should know of a device that is switched off or missing. @param {DeviceKind} kind */
  _tellMuted(kind) {
    const mid = this._peer?.midOf(kind);
    const device = this.state[kind];
    if (mid) this.signaling.send({ type: 'mute', mid, muted: !(device.on && device.ready) });
  }

  // ---------------------------------------------------------------- screen

  async toggleScreen() {
    if (this._screen) {
      await this._stopScreen();
      return;
    }
    const stream = await openScreen();
    if (!stream || !this._peer) return;
    this._screen = stream;
    stream.getVideoTracks()[0]?.addEventListener('ended', () => void this._stopScreen());
    this._news({ type: 'sharing', sharing: true });
    await this._peer.shareScreen(stream);
  }

  async _stopScreen() {
    const stream = this._screen;
    if (!stream) return;
    this._screen = null;
    for (const track of stream.getTracks()) track.stop();
    this._news({ type: 'sharing', sharing: false });
    await this._peer?.stopScreen();
  }

  // ---------------------------------------------------------------- the line

  /** @returns {Promise<string>} */
  async _getToken() {
    try {
      const link = await post(`/sessions/${this.sessionId}/generate-call-link`);
      return link.access_token;
    } catch (error) {
      if (!(error instanceof ProblemError) || error.status === 0 || error.status === 429 || error.status >= 500) throw error;
      this._refusalExtra = error.extra;
      const [first] = error.extra.reasons || [];
      throw new RefusedError(error.code === 'consent_required' ? error.code : first?.code || error.code, error.message);
    }
  }

  /** @param {ServerMessage} message */
  _heard(message) {
    const before = this.state.place;
    this._note({ type: 'heard', message });
    switch (message.type) {
      case 'welcome':
        setServerNow(message.server_now);
        this._iceServers = message.ice_servers;
        this._welcomed(message.resumed);
        break;
      case 'pong':
        setServerNow(message.server_now);
        return;
      case 'admitted':
        if (before !== 'admitted' || !this._peer) this._letIn();
        break;
      case 'waiting':
        this._closePeer();
        this._prepare();
        break;
      case 'answer':
        void this._answered(message.revision, message.sdp);
        break;
      case 'people':
        if (isGroup(this.state)) void this._peer?.sendSizes();
        // What waits to be sent would have to be offered anew once let in.
        if (this._prepared && this._prepared.isInSizes !== isGroup(this.state)) this._prepare();
        break;
      case 'slots':
        this._seen.noteChange();
        break;
      case 'slots_needed':
        this._peer?.needSlots(message.audio, this.state.soundOnly ? 0 : message.video);
        break;
      case 'encodings':
        this._peer?.setEncodings(message.mid, message.rids);
        break;
      case 'background':
        if (message.state !== 'off') for (const hidden of this._untilHidden.splice(0)) hidden();
        break;
      case 'offer_needed':
        void this._peer?.offer();
        break;
      case 'peer_lost':
        this._newPeer();
        break;
      case 'error':
        if (message.revision !== null) void this._peer?.refused(message.revision, message.code);
        break;
      case 'ended':
      case 'replaced':
      case 'removed':
        this._closePeer();
        break;
      default:
    }
    this.onChange(this.state, { type: 'heard', message });
  }

  /** @param {boolean} resumed */
  _welcomed(resumed) {
    // Before any offer: a new session knows nothing of what is to be hidden.
    if (this._effect !== null) this.signaling.send({ type: 'blur', effect: this._effect });
    if (this.state.place !== 'admitted') {
      this._closePeer();
      this._prepare();
    } else if (!resumed || !this._peer) {
      this._newPeer();
    } else {
      this._peer.repeatOffer();
      if (this.state.media === 'disconnected') this._peer.restart();
      for (const kind of KINDS) this._tellMuted(kind);
    }
  }

  /** The browser says so several times for one change. */
  _networkChanged() {
    if (!navigator.onLine) return;
    window.clearTimeout(this._networkTimer);
    this._networkTimer = window.setTimeout(() => {
      this._peer?.networkChanged();
      // An offer that waits names the addresses of a network that is gone.
      if (this._prepared) this._prepare();
    }, NETWORK_SETTLES_MS);
  }

  // ---------------------------------------------------------------- the peer

  _newPeer() {
    this._closePeer();
    this._peersInARow += 1;
    if (this._peersInARow > MAX_PEERS) {
      this._news({ type: 'refused', code: 'no_media', detail: t('Picture and sound could not be connected. Your network may block them. Try another one, or load this page again.') });
      return;
    }
    this._usePeer(this._makePeer({ held: false }));
    void this._peer?.start(this.devices.shown.microphone, this.devices.shown.camera);
  }

  /** While waiting: keys, sections and offer are made, so that being let in costs one round trip. */
  _prepare() {
    this._prepared?.close();
    this._prepared = this._makePeer({ held: true });
    void this._prepared.start(null, null);
  }

  _letIn() {
    const peer = this._prepared;
    this._prepared = null;
    if (!peer) {
      this._newPeer();
      return;
    }
    // Out with the offer first: drawing the room takes longer than the answer.
    peer.release();
    for (const kind of KINDS) void peer.setTrack(kind, this.devices.shown[kind]);
    this._usePeer(peer);
  }

  /** @param {{held: boolean}} how */
  _makePeer(how) {
    /** @type {Peer} */
    const peer = new Peer({
      ...how,
      inSizes: isGroup(this.state),
      iceServers: this._iceServers,
      mayPublish: this._mode === 'video' ? ['microphone', 'camera'] : this._mode === 'audio' ? ['microphone'] : [],
      sendOffer: (offer) => this.signaling.send(offer),
      onState: (media) => {
        if (peer !== this._peer) return;
        if (media === 'connected') this._peersInARow = 0;
        if (media !== this.state.media) this._news({ type: 'media', media });
      },
      onFailed: () => {
        if (peer === this._peer) this._newPeer();
      },
    });
    return peer;
  }

  /** @param {Peer} peer */
  _usePeer(peer) {
    this._peer = peer;
    this._seen.begin();
    if (isGroup(this.state)) void peer.sendSizes();
    this._news({ type: 'media', media: 'connecting' });
  }

  /** @param {number} revision @param {string} sdp */
  async _answered(revision, sdp) {
    const peer = this._peer;
    if (!peer) return;
    await peer.answered(revision, sdp);
    if (peer !== this._peer) return;
    if (revision === 1 && this._screen) await peer.shareScreen(this._screen);
    if (revision === 1 && this.state.soundOnly) await peer.receivePictures(false);
    // The server takes a new section for audible and visible; it must know what is switched off.
    for (const kind of KINDS) if (!(this.state[kind].on && this.state[kind].ready)) this._tellMuted(kind);
    this.onChange(this.state, { type: 'media', media: this.state.media });
  }

  _closePeer() {
    this._prepared?.close();
    this._prepared = null;
    this._peer?.close();
    this._peer = null;
    if (this.state.media !== 'none') this._news({ type: 'media', media: 'none' });
  }

  // ---------------------------------------------------------------- state

  /** @param {News} news */
  _note(news) {
    this.state = reduce(this.state, news);
  }

  /** @param {News} news */
  _news(news) {
    this._note(news);
    this.onChange(this.state, news);
  }
}
