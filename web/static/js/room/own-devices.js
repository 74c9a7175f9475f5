// @ts-check
// The own microphone and camera: opened as wanted, replaced when one is gone, the camera dressed with its background
// before anybody sees it. No DOM and no connection: what is to be seen goes to `show`, what happened to `news`.

import { Blur, chooseBackground } from './blur.js';
import { causeOf, chooseDevice, chosenDevices, listDevices, openDevices, openOne } from './devices.js';

/** @typedef {import('./devices.js').DeviceKind} DeviceKind */
/** @typedef {import('./state.js').News} News */
/** @typedef {import('./state.js').RoomState} RoomState */
/** @typedef {import('./protocol.js').ServerEffect} ServerEffect */

/**
 * @typedef {object} Surroundings
 * @property {() => RoomState} state
 * @property {(news: News) => void} news
 * @property {(kind: DeviceKind, track: MediaStreamTrack|null) => void} show others see and hear this from now on
 * @property {(kind: DeviceKind) => void} tellMuted it was switched, or came or went
 * @property {() => void} expectHiding the server may soon be asked to
 * @property {(effect: ServerEffect) => Promise<void>} hide have the server treat the camera so; kept once nobody can see it otherwise
 */

/** Somebody who is seen without the blur that is asked for is seen so no longer than this; then not, until it works. */
const BARE_MS = 2000;

export const KINDS = /** @type {DeviceKind[]} */ (['microphone', 'camera']);

export class OwnDevices {
  /** @param {Surroundings} around */
  constructor(around) {
    this._around = around;
    /** What others may see and hear. @type {Record<DeviceKind, MediaStreamTrack|null>} */
    this.shown = { microphone: null, camera: null };
    /** The devices themselves; the camera's own picture only `_dress` may show. @type {Record<DeviceKind, MediaStreamTrack|null>} */
    this._opened = { microphone: null, camera: null };
    /** @type {Blur|null} */
    this._blur = null;
    this._bareTimer = 0;
    /** Another device took over from one that is gone. @type {(kind: DeviceKind) => void} */
    this.onReplaced = () => {};
  }

  /** Opens what is wanted and not open yet. */
  async open() {
    const wanted = { microphone: this._isMissing('microphone'), camera: this._isMissing('camera') };
    if (!wanted.microphone && !wanted.camera) return;
    const opened = await openDevices(wanted);
    for (const kind of KINDS) {
      const track = opened[kind];
      if (track) this._take(kind, track);
      else if (wanted[kind]) this._change(kind, { ready: false, problem: opened.problems[kind] || 'failed' });
    }
  }

  close() {
    for (const kind of KINDS) this._drop(kind);
  }

  /** Take over another page's open devices; the state knows already what is wanted of them. @param {OwnDevices} from */
  adopt(from) {
    for (const kind of KINDS) {
      const track = from._giveUp(kind);
      if (track) this._take(kind, track);
    }
  }

  /** Which device is in use, by its id. @param {DeviceKind} kind */
  idOf(kind) {
    return this._opened[kind]?.getSettings().deviceId;
  }

  /** On or off, as the person wants it. The camera's light goes out with it. @param {DeviceKind} kind */
  async toggle(kind) {
    const device = this._around.state()[kind];
    const on = device.problem ? true : !device.on;
    this._change(kind, { on, problem: null });
    if (kind === 'microphone' && this._opened.microphone) {
      this._opened.microphone.enabled = on;
      this._around.tellMuted(kind);
    } else if (on) await this._open(kind);
    else this._drop(kind);
  }

  /** @param {DeviceKind} kind @param {string} deviceId */
  async choose(kind, deviceId) {
    chooseDevice(kind, deviceId);
    this._drop(kind);
    if (this._around.state()[kind].on) await this._open(kind);
  }

  /** The practitioner has switched it off; the person may switch it on again. */
  noteMuted() {
    if (this._around.state().microphone.on) void this.toggle('microphone');
  }

  /** Something was plugged in or out: what was missed is tried again. */
  async noteChange() {
    const all = await listDevices();
    for (const kind of KINDS) {
      const { on, problem } = this._around.state()[kind];
      if (on && all[kind].length && (problem === 'gone' || problem === 'missing')) await this._open(kind);
    }
  }

  // ---------------------------------------------------------------- one device

  /** @param {DeviceKind} kind @param {Partial<import('./state.js').Device>} change */
  _change(kind, change) {
    this._around.news({ type: 'device', kind, change });
  }

  /** @param {DeviceKind} kind */
  _isMissing(kind) {
    return this._around.state()[kind].on && !this._opened[kind];
  }

  /** @param {DeviceKind} kind */
  async _open(kind) {
    try {
      const track = await openOne(kind, chosenDevices()[kind]);
      if (this._isMissing(kind)) this._take(kind, track);
      else track.stop();
    } catch (error) {
      this._change(kind, { ready: false, problem: causeOf(error) });
    }
  }

  /** @param {DeviceKind} kind @param {MediaStreamTrack} track */
  _take(kind, track) {
    this._opened[kind] = track;
    track.addEventListener('ended', () => {
      if (this._opened[kind] === track) void this._replace(kind);
    });
    if (kind === 'camera') void this._dress();
    else {
      track.enabled = this._around.state().microphone.on;
      this._show(kind, track);
    }
  }

  /** Unplugged, or taken away in the browser's own settings: another one goes on, if there is one. @param {DeviceKind} kind */
  async _replace(kind) {
    this._drop(kind);
    if (!this._around.state()[kind].on) return;
    await this._open(kind);
    if (this._opened[kind]) this.onReplaced(kind);
    else if (this._around.state()[kind].problem === 'missing') this._change(kind, { problem: 'gone' });
  }

  /** @param {DeviceKind} kind @param {MediaStreamTrack} track */
  _show(kind, track) {
    this.shown[kind] = track;
    if (kind === 'camera') {
      track.contentHint = 'motion';
      this._endBare();
    }
    this._around.show(kind, track);
    this._change(kind, { ready: true, problem: null });
    this._around.tellMuted(kind);
  }

  /** @param {DeviceKind} kind */
  _hide(kind) {
    this.shown[kind] = null;
    if (kind === 'camera') this._endBare();
    this._around.show(kind, null);
    this._change(kind, { ready: false });
    this._around.tellMuted(kind);
  }

  /** @param {DeviceKind} kind */
  _drop(kind) {
    this._hide(kind);
    this._giveUp(kind)?.stop();
  }

  /** The open device, which is let go of. @param {DeviceKind} kind */
  _giveUp(kind) {
    const track = this._opened[kind];
    this._opened[kind] = null;
    this.shown[kind] = null;
    if (kind === 'camera') {
      this._endBare();
      this._endBlur();
    }
    return track;
  }

  // ---------------------------------------------------------------- background

  /** @param {import('./blur.js').Background} background */
  async setBackground(background) {
    chooseBackground(background);
    this._noteBackground({ chosen: background, slowFps: null });
    await this._dressAgain();
  }

  /** This device is too slow for it: the server does it, until the page is loaded again. */
  async useServer() {
    this._noteBackground({ by: 'server', slowFps: null });
    await this._dressAgain();
  }

  async _dressAgain() {
    if (this._opened.camera) await this._dress();
    else if (this._around.state().camera.problem === 'blur') {
      this._change('camera', { problem: null });
      if (this._isMissing('camera')) await this._open('camera');
    }
  }

  /** Shows the camera as the person wants to be seen: from the wish for blur on, nothing without it. */
  async _dress() {
    const { camera } = this._opened;
    if (!camera) return;
    const { chosen, by } = this._around.state().background;
    if (chosen !== 'off' && by === 'server') {
      await this._dressByServer(camera, chosen);
      return;
    }
    void this._around.hide('off');
    if (chosen === 'off') {
      this._endBlur();
      this._show('camera', camera);
      return;
    }
    if (this._blur) {
      this._blur.setEffect(chosen);
      return;
    }
    const { place, media } = this._around.state();
    if (this.shown.camera === camera && place === 'admitted' && media === 'connected') this._allowBare();
    else this._hide('camera');
    const blur = new Blur(camera, chosen);
    this._blur = blur;
    blur.onSlow = (fps) => {
      this._noteBackground({ slowFps: fps });
      this._around.expectHiding();
    };
    blur.onLost = () => this._lostBlur(blur);
    try {
      const blurred = await blur.start();
      if (blur !== this._blur) return;
      this._show('camera', blurred);
    } catch {
      this._lostBlur(blur);
    }
  }

  /** The camera leaves this device as it is, but not before the server keeps it from the others. @param {MediaStreamTrack} camera @param {import('./blur-gl.js').Effect} chosen */
  async _dressByServer(camera, chosen) {
    if (!this._blur && this.shown.camera !== camera) this._hide('camera');
    if (this.shown.camera === camera && this._around.state().background.server === 'off') this._allowBare();
    await this._around.hide(chosen === 'picture' ? 'colour' : chosen);
    const now = this._around.state().background;
    if (this._opened.camera !== camera || now.chosen === 'off' || now.by !== 'server') return;
    this._show('camera', camera);
    this._endBlur();
  }

  /** Who is seen already stays so for the second it takes: others would see a gap, and know the room already. */
  _allowBare() {
    if (this._bareTimer) return;
    this._noteBackground({ starting: true });
    this._bareTimer = window.setTimeout(() => this._hide('camera'), BARE_MS);
  }

  _endBare() {
    window.clearTimeout(this._bareTimer);
    this._bareTimer = 0;
    if (this._around.state().background.starting) this._noteBackground({ starting: false });
  }

  /** @param {Blur} blur */
  _lostBlur(blur) {
    if (blur !== this._blur) return;
    this._drop('camera');
    this._change('camera', { problem: 'blur' });
    this._around.expectHiding();
  }

  /** @param {Partial<RoomState['background']>} change */
  _noteBackground(change) {
    this._around.news({ type: 'background', background: { ...this._around.state().background, ...change } });
  }

  _endBlur() {
    this._blur?.stop();
    this._blur = null;
  }
}
