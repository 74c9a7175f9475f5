// @ts-check
// Camera, microphone, speaker and screen: opening them, and saying plainly why one can't be opened.
// No DOM and no signaling here; the words for each cause stand in one table.

import { t } from '../words.js';

/**
 * @typedef {'camera'|'microphone'} DeviceKind
 * @typedef {'denied'|'missing'|'gone'|'busy'|'insecure'|'failed'|'blur'} Cause
 * @typedef {{microphone: MediaStreamTrack|null, camera: MediaStreamTrack|null,
 *   problems: Partial<Record<DeviceKind, Cause>>}} Opened
 */

/** What happened and what to do, by cause; `what` names the device or both. @type {Record<Cause, (what: string) => string>} */
const WORDS = {
  denied: (what) => t('Your browser does not let this page use your %(what)s. Allow it beside the address, then try again.', { what }),
  missing: (what) => t('No %(what)s was found. Plug one in, or go on without.', { what: what.replace(' and ', ' or ') }),
  gone: (what) => t('Your %(what)s is no longer there. Plug it in again and it goes on by itself, or choose another one.', { what: what.replace(' and ', ' or ') }),
  busy: (what) => t('Your %(what)s can\'t be used just now; another program may have taken it. Close that one, then try again.', { what }),
  insecure: (what) => t('Your %(what)s can be used only over a secure address (https). Please tell the practice.', { what }),
  blur: () => t('Background blur does not work on this device or did not load, so your camera stays off. Choose “As it is” as background to show yourself without it.'),
  failed: (what) => t('Your %(what)s could not be started. Try again, or choose another.', { what }),
};

/** One sentence for what is wrong, or ''. @param {Cause|null} microphone @param {Cause|null} camera */
export function problemWords(microphone, camera) {
  if (microphone && microphone === camera) return WORDS[microphone](t('camera and microphone'));
  if (microphone) return WORDS[microphone](t('microphone'));
  return camera ? WORDS[camera](t('camera')) : '';
}

/** @param {unknown} error @returns {Cause} */
export function causeOf(error) {
  const name = error instanceof Error || error instanceof DOMException ? error.name : '';
  if (name === 'NotAllowedError' || name === 'SecurityError') return 'denied';
  if (name === 'NotFoundError' || name === 'OverconstrainedError') return 'missing';
  if (name === 'NotReadableError' || name === 'AbortError') return 'busy';
  return 'failed';
}

const CHOSEN = 'holdspace.devices';

/** @returns {Partial<Record<DeviceKind | 'speaker', string>>} device ids chosen earlier on this device */
export function chosenDevices() {
  try {
    const value = JSON.parse(localStorage.getItem(CHOSEN) || '{}');
    return value && typeof value === 'object' ? value : {};
  } catch {
    return {};
  }
}

/** @param {DeviceKind | 'speaker'} kind @param {string} deviceId */
export function chooseDevice(kind, deviceId) {
  try {
    localStorage.setItem(CHOSEN, JSON.stringify({ ...chosenDevices(), [kind]: deviceId }));
  } catch {
    // Storage may be refused; the choice then lasts for this page.
  }
}

/** @param {DeviceKind} kind @param {string} [deviceId] @returns {MediaTrackConstraints} */
function constraints(kind, deviceId) {
  /** @type {MediaTrackConstraints} */
  const wanted = kind === 'camera'
    ? { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } }
    : { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  // Exact: Chromium takes the system's own microphone where the chosen one is only the ideal.
  if (deviceId) wanted.deviceId = { exact: deviceId };
  return wanted;
}

/**
 * Opens what is asked for. Both at once (one question to the person); if that fails, each alone, so that a missing
 * camera does not cost the microphone.
 * @param {{microphone: boolean, camera: boolean}} wanted @returns {Promise<Opened>}
 */
export async function openDevices(wanted) {
  /** @type {Opened} */
  const opened = { microphone: null, camera: null, problems: {} };
  const chosen = chosenDevices();
  const kinds = /** @type {DeviceKind[]} */ (['microphone', 'camera'].filter((kind) => wanted[/** @type {DeviceKind} */ (kind)]));
  if (!navigator.mediaDevices) {
    for (const kind of kinds) opened.problems[kind] = 'insecure';
    return opened;
  }
  if (kinds.length === 2) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: constraints('microphone', chosen.microphone), video: constraints('camera', chosen.camera),
      });
      opened.microphone = stream.getAudioTracks()[0] || null;
      opened.camera = stream.getVideoTracks()[0] || null;
      return opened;
    } catch (error) {
      // A refusal would only be asked for again; anything else may be one device's fault.
      if (causeOf(error) === 'denied' && !(await someAllowed())) {
        for (const kind of kinds) opened.problems[kind] = 'denied';
        return opened;
      }
    }
  }
  for (const kind of kinds) {
    try {
      opened[kind] = await openOne(kind, chosen[kind]);
    } catch (error) {
      opened.problems[kind] = causeOf(error);
    }
  }
  return opened;
}

/** One of the two may be allowed while the other is not. */
async function someAllowed() {
  try {
    const states = await Promise.all(['camera', 'microphone'].map(
      (name) => navigator.permissions.query({ name: /** @type {PermissionName} */ (name) })));
    return states.some((status) => status.state !== 'denied');
  } catch {
    return true;
  }
}

/** The chosen one; if it is gone, another. @param {DeviceKind} kind @param {string} [deviceId] @returns {Promise<MediaStreamTrack>} */
export async function openOne(kind, deviceId) {
  const wanted = constraints(kind, deviceId);
  try {
    const stream = await navigator.mediaDevices.getUserMedia(kind === 'camera' ? { video: wanted } : { audio: wanted });
    return stream.getTracks()[0];
  } catch (error) {
    if (deviceId && error instanceof Error && error.name === 'OverconstrainedError') return openOne(kind);
    throw error;
  }
}

/** The person chooses what to show; null if they chose nothing. @returns {Promise<MediaStream|null>} */
export async function openScreen() {
  try {
    return await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 15, max: 30 } }, audio: true });
  } catch (error) {
    if (causeOf(error) === 'denied') return null;
    throw error;
  }
}

export function canShareScreen() {
  return typeof navigator.mediaDevices?.getDisplayMedia === 'function';
}

/** @returns {Promise<{microphone: MediaDeviceInfo[], camera: MediaDeviceInfo[], speaker: MediaDeviceInfo[]}>} */
export async function listDevices() {
  const all = navigator.mediaDevices ? await navigator.mediaDevices.enumerateDevices() : [];
  const of = (/** @type {MediaDeviceKind} */ kind) => all.filter((device) => device.kind === kind && device.deviceId);
  return { microphone: of('audioinput'), camera: of('videoinput'), speaker: of('audiooutput') };
}

/** @param {() => void} listener */
export function onDevicesChanged(listener) {
  navigator.mediaDevices?.addEventListener('devicechange', listener);
}

/** @param {HTMLMediaElement} element @param {string} [deviceId] */
export async function playThrough(element, deviceId) {
  if (typeof element.setSinkId !== 'function' || element.sinkId === (deviceId || '')) return;
  try {
    await element.setSinkId(deviceId || '');
  } catch {
    // The speaker is gone: the system's own is used.
  }
}

/**
 * How loud a microphone is, 0 … 1, about 20 times a second; a steep curve, so that speech fills half the meter.
 * @param {MediaStreamTrack} track @param {(level: number) => void} listener @returns {() => void} stops it
 */
export function watchLevel(track, listener) {
  const context = new AudioContext();
  const source = context.createMediaStreamSource(new MediaStream([track]));
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  source.connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = window.setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    let sum = 0;
    for (const sample of samples) sum += sample * sample;
    const decibels = 10 * Math.log10(sum / samples.length + 1e-10);
    listener(Math.min(1, Math.max(0, (decibels + 60) / 50)));
  }, 50);
  // Made before the first click a context sleeps; any click wakes it.
  const wake = () => void context.resume();
  document.addEventListener('pointerdown', wake);
  return () => {
    window.clearInterval(timer);
    document.removeEventListener('pointerdown', wake);
    source.disconnect();
    void context.close();
  };
}
