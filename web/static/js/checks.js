// @ts-check
// The three checks of the waiting room, each a line that turns to a tick: camera, microphone and speaker, connection.
// Finds out and says; it opens no device and knows nothing of the session.

import { byId, element, icon } from './page.js';
import { chosenDevices, watchLevel } from './room/devices.js';
import { t } from './words.js';

/** Louder than this for a moment is speech; a quiet room's own noise stays below. 0 … 1 as devices.js measures. */
const SPEECH = 0.35;
const SPEECH_TICKS = 6;
/** Mean brightness, 0 … 255, below which nobody is recognised. */
const DARK = 16;

/** @param {string} id @param {'busy'|'done'|'bad'} how @param {string} words @param {...Node} acts */
function show(id, how, words, ...acts) {
  const line = document.getElementById(`check-${id}`);
  if (!line) return;
  const key = `${how} ${words} ${acts.length}`;
  if (line.dataset.key === key) return;
  line.dataset.key = key;
  const sign = line.querySelector('.checks__sign');
  if (sign instanceof HTMLElement) {
    line.dataset.sign ||= sign.querySelector('use')?.getAttribute('href')?.split('#')[1] || 'info';
    sign.classList.toggle('checks__sign--busy', how === 'busy');
    sign.classList.toggle('checks__sign--bad', how === 'bad');
    sign.replaceChildren(icon(how === 'done' ? 'check' : how === 'bad' ? 'warn' : line.dataset.sign));
  }
  const place = line.querySelector('[data-words]');
  if (place) place.textContent = words;
  line.querySelector('.checks__act')?.replaceChildren(...acts, ...(how === 'done' ? [element('span', { class: 'vh' }, t('done'))] : []));
}

// -------------------------------------------------------------------- camera

/** @param {HTMLVideoElement} video @param {{on: boolean, problem: string|null}} camera */
export function checkCamera(video, camera) {
  if (camera.problem) show('camera', 'bad', t('No picture. You can come in without, too'));
  else if (!camera.on) show('camera', 'busy', t('Switched off. You can switch it on at any moment'));
  else if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || !video.videoWidth) show('camera', 'busy', t('Looking for your picture'));
  else if (brightness(video) < DARK) show('camera', 'bad', t('The picture is very dark. Is something in front of the camera?'));
  else show('camera', 'done', t('Picture is clear'));
}

/** @param {HTMLVideoElement} video */
function brightness(video) {
  const canvas = element('canvas', { width: '32', height: '24' });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context) return 255;
  context.drawImage(video, 0, 0, 32, 24);
  const { data } = context.getImageData(0, 0, 32, 24);
  let sum = 0;
  for (let at = 0; at < data.length; at += 4) sum += (data[at] + data[at + 1] + data[at + 2]) / 3;
  return sum / (data.length / 4);
}

// -------------------------------------------------------------------- microphone and speaker

export class SoundCheck {
  constructor() {
    this._loudTicks = 0;
    this._heardUs = false;
    /** @type {'no'|'asked'|'yes'|'unheard'} */
    this._speaker = 'no';
    /** @type {{on: boolean, problem: string|null}} */
    this._microphone = { on: true, problem: null };
    /** @type {MediaStreamTrack|null} */
    this._track = null;
    this._stop = () => {};
    this._bars = [...byId('level').querySelectorAll('rect')];
    byId('play-sound').addEventListener('click', () => void this._play());
  }

  /** @param {MediaStreamTrack|null} track @param {{on: boolean, problem: string|null}} microphone */
  watch(track, microphone) {
    this._microphone = microphone;
    if (track !== this._track) {
      this._track = track;
      this._stop();
      this._stop = track ? watchLevel(track, (level) => this._level(level)) : () => {};
      if (!track) this._level(0);
    }
    this._show();
  }

  close() {
    this._stop();
  }

  /** @param {number} level */
  _level(level) {
    const lit = Math.round(level * this._bars.length);
    this._bars.forEach((bar, at) => bar.classList.toggle('on', at < lit));
    byId('level').setAttribute('aria-valuenow', String(lit));
    if (level < SPEECH || this._heardUs) return;
    this._loudTicks += 1;
    if (this._loudTicks < SPEECH_TICKS) return;
    this._heardUs = true;
    this._show();
  }

  async _play() {
    const context = new AudioContext();
    const speaker = chosenDevices().speaker;
    if (speaker && 'setSinkId' in context) {
      await /** @type {any} */ (context).setSinkId(speaker).catch(() => {});
    }
    // Two soft bells, a fifth apart.
    for (const [at, hertz] of [[0, 523.25], [0.35, 783.99]]) {
      const tone = context.createOscillator();
      const gain = context.createGain();
      tone.frequency.value = hertz;
      const start = context.currentTime + at;
      gain.gain.setValueAtTime(0, start);
      gain.gain.linearRampToValueAtTime(0.35, start + 0.02);
      gain.gain.exponentialRampToValueAtTime(0.001, start + 1.1);
      tone.connect(gain).connect(context.destination);
      tone.start(start);
      tone.stop(start + 1.2);
    }
    window.setTimeout(() => void context.close(), 2000);
    if (this._speaker !== 'yes') this._speaker = 'asked';
    this._show();
  }

  /** @param {'yes'|'unheard'} answer */
  _answer(answer) {
    this._speaker = answer;
    this._show();
    byId('play-sound').focus();
  }

  _show() {
    if (this._microphone.problem) {
      show('sound', 'bad', t('No microphone. The other person would not hear you'));
      return;
    }
    if (this._speaker === 'asked') {
      const yes = element('button', { class: 'btn btn--small', type: 'button' }, t('Yes'));
      const no = element('button', { class: 'btn btn--small btn--plain', type: 'button' }, t('No'));
      yes.addEventListener('click', () => this._answer('yes'));
      no.addEventListener('click', () => this._answer('unheard'));
      show('sound', 'busy', t('Did you hear the sound?'), yes, no);
    } else if (this._speaker === 'unheard') {
      show('sound', 'bad', t('Turn the volume up, or choose another speaker, and play it again'));
    } else if (!this._microphone.on) {
      show('sound', 'busy', t('The microphone is switched off'));
    } else if (this._heardUs && this._speaker === 'yes') {
      show('sound', 'done', t('We hear you, and you heard the sound'));
    } else if (this._heardUs) {
      show('sound', 'busy', t('We hear you. Now play the sound'));
    } else {
      show('sound', 'busy', this._speaker === 'yes' ? t('You heard the sound. Now say something') : t('Say something, then play the sound'));
    }
  }
}

// -------------------------------------------------------------------- connection

/** @type {import('./network-test.js').Verdict|null} */
let tested = null;

/** @param {import('./network-test.js').Verdict} verdict */
export function noteTested(verdict) {
  tested = verdict;
}

/** @param {'early'|'connecting'|'open'|'lost'|'closed'} line @param {string} opens when the waiting room opens, for early ones */
export function checkConnection(line, opens) {
  const isSteady = line === 'open' || line === 'early';
  if (tested && isSteady) {
    const words = tested.numbers ? `${tested.words} ${tested.numbers}` : tested.words;
    show('connection', tested.level === 'good' || tested.level === 'fair' ? 'done' : 'bad', words);
  } else if (line === 'open') show('connection', 'done', t('You are connected to the waiting room'));
  else if (line === 'lost') show('connection', 'bad', t('Lost. We are getting it back'));
  else if (line === 'early') show('connection', 'busy', t('Tried when the waiting room opens at %(opens)s', { opens }));
  else if (line === 'closed') show('connection', 'busy', t('Not connected'));
  else show('connection', 'busy', t('Trying it'));
}
