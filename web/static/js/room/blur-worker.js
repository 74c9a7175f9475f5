// @ts-check
// The blur's own thread: camera pictures in, pictures with the background blurred out. Started by blur.js.
// The person is found by MediaPipe's selfie segmenter, served from here; nothing leaves the device.
//
// In: {effect} · {picture} · {turn, readable, writable} for a camera · or {turn, frame} for each picture where streams
// can't be handed over · {rest} until another turn. One camera at a time: a new turn ends the one before.
// Out: {ready} · {failed} · {pace: {fps, busy}} every second · with the turn: {begun} at its first picture, {failed},
// {drawn} for each {frame}.

import { Painter } from './blur-gl.js';

/** @typedef {import('./blur-gl.js').Effect} Effect */
/** @typedef {{segmentForVideo: (image: OffscreenCanvas, at: number, done: (result: {confidenceMasks?: Mask[]}) => void) => void}} Segmenter */
/** @typedef {{width: number, height: number, getAsFloat32Array: () => Float32Array}} Mask */

const ASSETS = new URL('../../blur/', import.meta.url);
/** What the segmenter sees. */
const [SEEN_WIDTH, SEEN_HEIGHT] = [256, 144];
/** How much of a new mask counts: less flickers less, more follows faster. */
const NEW_SHARE = 0.65;
/** A second picture may use the mask of the one before when a picture takes longer than this. */
const SLOW_MS = 28;

const canvas = new OffscreenCanvas(16, 16);
const seen = new OffscreenCanvas(SEEN_WIDTH, SEEN_HEIGHT);
const seenContext = /** @type {OffscreenCanvasRenderingContext2D} */ (seen.getContext('2d', { alpha: false }));
/** @type {Painter} */
let painter;
/** @type {Segmenter} */
let segmenter;
/** @type {Effect} */
let effect = 'strong';
/** @type {Uint8Array|null} */
let mask = null;
let skipped = false;
let averageMs = 0;
let lastAt = 0;
/** Whose pictures are drawn; 0: nobody's. */
let turn = 0;
let begun = false;
const pace = { since: performance.now(), pictures: 0, busyMs: 0 };

const ready = start().then(() => {
  postMessage({ ready: true });
  setInterval(tell, 1000);
}, (error) => {
  postMessage({ failed: String(error) });
  throw error;
});

async function start() {
  painter = new Painter(canvas);
  const { ImageSegmenter } = await import(new URL('vision_bundle.mjs', ASSETS).href);
  segmenter = await ImageSegmenter.createFromOptions({
    wasmLoaderPath: new URL('vision_wasm_module_internal.js', ASSETS).href,
    wasmBinaryPath: new URL('vision_wasm_module_internal.wasm', ASSETS).href,
  }, {
    baseOptions: { modelAssetPath: new URL('selfie_segmentation_landscape.tflite', ASSETS).href, delegate: 'CPU' },
    canvas: new OffscreenCanvas(SEEN_WIDTH, SEEN_HEIGHT),
    runningMode: 'VIDEO',
    outputConfidenceMasks: true,
    outputCategoryMask: false,
  });
}

addEventListener('message', (event) => {
  const message = event.data;
  if (message.effect) effect = message.effect;
  if (message.picture) void ready.then(() => painter.setPicture(message.picture));
  if (message.rest) take(0);
  if (!message.turn) return;
  if (message.turn !== turn) take(message.turn);
  const work = message.readable ? () => pump(message.readable, message.writable, message.turn) : () => answer(message.frame, message.turn);
  void ready.then(work).catch((error) => postMessage({ failed: String(error), turn: message.turn }));
});

/** Nothing of the camera before is left, its mask neither. @param {number} next */
function take(next) {
  turn = next;
  mask = null;
  begun = false;
}

/** @param {number} mine */
function begin(mine) {
  if (mine !== turn || begun) return;
  begun = true;
  postMessage({ begun, turn });
}

/** @param {ImageBitmap} frame @param {number} mine */
function answer(frame, mine) {
  if (mine === turn) drawOne(frame, frame.width, frame.height);
  frame.close();
  if (mine !== turn) return;
  const drawn = canvas.transferToImageBitmap();
  postMessage({ drawn, turn: mine }, { transfer: [drawn] });
  begin(mine);
}

/** @param {ReadableStream<VideoFrame>} readable @param {WritableStream<VideoFrame>} writable @param {number} mine */
async function pump(readable, writable, mine) {
  const reader = readable.getReader();
  const writer = writable.getWriter();
  try {
    for (;;) {
      const { value: frame, done } = await reader.read();
      if (done) break;
      try {
        if (mine !== turn) break;
        drawOne(frame, frame.displayWidth, frame.displayHeight);
        await writer.write(new VideoFrame(canvas, { timestamp: frame.timestamp, alpha: 'discard' }));
        begin(mine);
      } finally {
        frame.close();
      }
    }
    await writer.close();
  } finally {
    await reader.cancel();
  }
}

/** @param {VideoFrame|ImageBitmap} frame @param {number} width @param {number} height */
function drawOne(frame, width, height) {
  const began = performance.now();
  skipped = mask !== null && averageMs > SLOW_MS && !skipped;
  if (!skipped) findPerson(frame, began);
  painter.draw(frame, width, height, effect);
  const tookMs = performance.now() - began;
  averageMs += (tookMs - averageMs) / 10;
  pace.pictures += 1;
  pace.busyMs += tookMs;
}

/** @param {VideoFrame|ImageBitmap} frame @param {number} now */
function findPerson(frame, now) {
  seenContext.drawImage(frame, 0, 0, SEEN_WIDTH, SEEN_HEIGHT);
  lastAt = Math.max(lastAt + 1, Math.round(now));
  segmenter.segmentForVideo(seen, lastAt, ({ confidenceMasks }) => {
    const found = confidenceMasks?.at(-1);
    if (!found) throw new Error('the segmenter gave no mask');
    const values = found.getAsFloat32Array();
    const before = mask;
    const next = before?.length === values.length ? before : new Uint8Array(values.length);
    const share = next === before ? NEW_SHARE : 1;
    for (let at = 0; at < values.length; at += 1) next[at] += (values[at] * 255 - next[at]) * share;
    mask = next;
    painter.setMask(next, found.width, found.height);
  });
}

/** How it goes; also the sign that it goes at all. */
function tell() {
  const now = performance.now();
  const passed = now - pace.since;
  postMessage({ pace: { fps: pace.pictures * 1000 / passed, busy: pace.busyMs / passed } });
  Object.assign(pace, { since: now, pictures: 0, busyMs: 0 });
}
