// @ts-check
// Background blur on this device: a camera's track in, a track with the background blurred or replaced out.
// Fails closed: the track given out never carries a picture that has not been through the blur, and when the blur
// fails it ends. The work is done in blur-worker.js; call.js decides when.

import { t } from '../words.js';

/** @typedef {import('./blur-gl.js').Effect} Effect */
/** @typedef {'off'|Effect} Background */

/** In the order of the choice. @type {[Background, string][]} */
export const BACKGROUNDS = [
  ['off', t('As it is')], ['light', t('Light blur')], ['strong', t('Strong blur')], ['colour', t('A plain colour')], ['picture', t('A quiet room')],
];
const PICTURE = new URL('../../img/quiet-room.svg', import.meta.url).href;
const CHOSEN = 'holdspace.background';
/** Pictures a second below which blur is called too slow, and how many seconds in a row it must be. */
const LEAST_FPS = 20;
const SLOW_SECONDS = 3;
/** The worker can't follow if it is at work so much of the time, or when so many pictures in a second come to it. */
const BUSY = 0.8;
const MISSED = 4;
/** Seconds without a word from the worker after which it is taken for dead. */
const SILENT_SECONDS = 5;
/** The segmenter is 11 MB; a slow line may take its time. */
const START_MS = 30_000;
/** A camera that gives no picture is not waited for longer. */
const BEGIN_MS = 5000;

/** It has loaded the segmenter and rests: with it the next blur begins at once. @type {Worker|null} */
let spare = null;
let turns = 0;

/** @returns {Background} what was chosen on this device */
export function chosenBackground() {
  try {
    const value = localStorage.getItem(CHOSEN);
    return BACKGROUNDS.find(([background]) => background === value)?.[0] || 'off';
  } catch {
    return 'off';
  }
}

/** @param {Background} background */
export function chooseBackground(background) {
  try {
    localStorage.setItem(CHOSEN, background);
  } catch {
    // Storage may be refused; the choice then lasts for this page.
  }
}

export class Blur {
  /** @param {MediaStreamTrack} camera its owner still stops it @param {Effect} effect */
  constructor(camera, effect) {
    this._camera = camera;
    /** @type {MediaStreamTrack|null} */
    this._output = null;
    /** The blur stopped working; the output has ended. */
    this.onLost = () => {};
    /** This device can't keep up. @type {(fps: number) => void} */
    this.onSlow = () => {};
    this._slowSeconds = 0;
    this._missed = 0;
    this._silentSeconds = 0;
    this._watching = 0;
    this._stopped = false;
    this._stopFeeding = () => {};
    this._begun = () => {};
    this._turn = turns += 1;
    this._listening = new AbortController();
    this._isLoaded = spare !== null;
    this._worker = spare || new Worker(new URL('./blur-worker.js', import.meta.url), { type: 'module' });
    spare = null;
    this._hear((message) => this._heard(message));
    this.setEffect(effect);
  }

  /** @param {Effect} effect */
  setEffect(effect) {
    this._worker.postMessage({ effect });
    if (effect === 'picture') void readPicture().then((picture) => this._worker.postMessage({ picture }, [picture]), () => {});
  }

  /** The blurred track, once it has a picture; the first one is blurred. Rejects where blur isn't possible. @returns {Promise<MediaStreamTrack>} */
  async start() {
    if (!this._isLoaded) await this._ready();
    this._isLoaded = true;
    this._worker.addEventListener('error', () => this._lost(), { signal: this._listening.signal });
    this._camera.addEventListener('ended', () => this.stop());
    this._watching = window.setInterval(() => this._watch(), 1000);
    const begun = new Promise((resolve) => {
      this._begun = () => resolve(undefined);
      window.setTimeout(resolve, BEGIN_MS);
    });
    this._output = this._byStreams() || this._byCanvas();
    await begun;
    if (this._stopped) throw new Error('the blur ended before its first picture');
    return this._output;
  }

  /** Ends the output, not the camera; the worker rests until it is wanted again. */
  stop() {
    if (this._stopped) return;
    const rests = this._isLoaded && spare === null;
    this._end();
    if (!rests) this._worker.terminate();
    else {
      spare = this._worker;
      spare.postMessage({ rest: true });
    }
  }

  _end() {
    this._stopped = true;
    this._listening.abort();
    window.clearInterval(this._watching);
    this._stopFeeding();
    this._begun();
    this._output?.stop();
  }

  /** What the worker says of this turn. @param {(message: any) => void} listener */
  _hear(listener) {
    this._worker.addEventListener('message', ({ data }) => {
      if (data.turn === undefined || data.turn === this._turn) listener(data);
    }, { signal: this._listening.signal });
  }

  /** @returns {Promise<void>} */
  _ready() {
    return new Promise((resolve, reject) => {
      const fail = (/** @type {unknown} */ cause) => {
        this.stop();
        reject(cause instanceof Error ? cause : new Error('blur is not available'));
      };
      const timer = window.setTimeout(fail, START_MS);
      const done = () => window.clearTimeout(timer);
      this._worker.addEventListener('error', () => { done(); fail(null); }, { once: true });
      this._worker.addEventListener('message', (event) => {
        if (!event.data.ready && !event.data.failed) return;
        done();
        if (event.data.ready) resolve();
        else fail(new Error(event.data.failed));
      }, { once: true });
    });
  }

  /** Chromium: the pictures go through the worker without touching this thread. @returns {MediaStreamTrack|null} */
  _byStreams() {
    const { MediaStreamTrackProcessor: Processor, MediaStreamTrackGenerator: Generator } = /** @type {any} */ (window);
    if (!Processor || !Generator) return null;
    const { readable } = new Processor({ track: this._camera, maxBufferSize: 1 });
    const output = new Generator({ kind: 'video' });
    this._worker.postMessage({ turn: this._turn, readable, writable: output.writable }, [readable, output.writable]);
    return output;
  }

  /** Elsewhere: picture by picture through a canvas, the next one only when the last is drawn. @returns {MediaStreamTrack} */
  _byCanvas() {
    const video = Object.assign(document.createElement('video'), { muted: true, playsInline: true, srcObject: new MediaStream([this._camera]) });
    const canvas = document.createElement('canvas');
    const context = /** @type {ImageBitmapRenderingContext} */ (canvas.getContext('bitmaprenderer'));
    let isFree = true;
    const feed = async () => {
      if (this._stopped) return;
      video.requestVideoFrameCallback(() => void feed());
      if (!isFree) {
        this._missed += 1;
        return;
      }
      isFree = false;
      const frame = await createImageBitmap(video);
      this._worker.postMessage({ turn: this._turn, frame }, [frame]);
    };
    this._hear(({ drawn }) => {
      if (!drawn) return;
      isFree = true;
      if (canvas.width !== drawn.width || canvas.height !== drawn.height) {
        Object.assign(canvas, { width: drawn.width, height: drawn.height });
      }
      context.transferFromImageBitmap(drawn);
    });
    video.requestVideoFrameCallback(() => void feed());
    void video.play();
    this._stopFeeding = () => video.pause();
    return canvas.captureStream().getVideoTracks()[0];
  }

  /** @param {any} message */
  _heard(message) {
    if (message.failed && this._output) this._lost();
    if (message.begun) this._begun();
    if (!message.pace) return;
    this._silentSeconds = 0;
    const isSlow = message.pace.fps < LEAST_FPS && (message.pace.busy > BUSY || this._missed >= MISSED);
    this._missed = 0;
    this._slowSeconds = isSlow ? this._slowSeconds + 1 : 0;
    if (this._slowSeconds === SLOW_SECONDS) this.onSlow(Math.round(message.pace.fps));
  }

  /** A worker that runs out of memory says nothing. */
  _watch() {
    this._silentSeconds += 1;
    if (this._silentSeconds > SILENT_SECONDS) this._lost();
  }

  _lost() {
    if (this._stopped) return;
    this._isLoaded = false;
    this.stop();
    this.onLost();
  }
}

/** @returns {Promise<ImageBitmap>} */
async function readPicture() {
  const image = new Image();
  image.src = PICTURE;
  await image.decode();
  return createImageBitmap(image, { resizeWidth: 1280, resizeHeight: 720 });
}
