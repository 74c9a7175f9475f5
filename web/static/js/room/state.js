// @ts-check
// What the room page knows, as one value, and how each piece of news changes it. Pure: no DOM, no clock, no network.
// main.js feeds it, view.js draws it, the waiting page shares it.

import { t } from '../words.js';

/** @typedef {import('./protocol.js').ServerMessage} ServerMessage */
/** @typedef {import('./protocol.js').Person} Person */
/** @typedef {import('./protocol.js').Snapshot} Snapshot */
/** @typedef {import('./protocol.js').Slot} Slot */
/** @typedef {import('./protocol.js').Quality} Quality */
/** @typedef {import('./protocol.js').Line} Line */
/** @typedef {import('./devices.js').Cause} Cause */
/** @typedef {'none'|'connecting'|'connected'|'disconnected'} MediaLine */
/** @typedef {{on: boolean, ready: boolean, problem: Cause|null}} Device `on`: wanted; `ready`: opened */

/**
 * @typedef {object} RoomState
 * @property {string} me
 * @property {string} role
 * @property {'waiting'|'admitted'|null} place null until the first welcome
 * @property {Line} line
 * @property {MediaLine} media
 * @property {Snapshot|null} snapshot
 * @property {Person[]} people
 * @property {Slot[]} slots
 * @property {string[]} speaking
 * @property {Device} microphone
 * @property {Device} camera
 * @property {Backdrop} background
 * @property {boolean} sharing
 * @property {boolean} soundOnly by the person's own choice: no pictures either way
 * @property {boolean} soundBlocked the browser plays no sound before a click or key
 * @property {Record<string, Quality>} quality each person's connection, by id, as last measured
 * @property {Ending|null} ending the page has nothing more to do
 */
/**
 * @typedef {object} Backdrop what is done to the background of the own camera
 * @property {import('./blur.js').Background} chosen
 * @property {boolean} starting it was switched on while others saw the camera: for two seconds at most they see it as it was
 * @property {number|null} slowFps all the pictures a second this device manages with it
 * @property {'browser'|'server'} by
 * @property {boolean} serverMay the server can do it too
 * @property {'off'|'starting'|'on'|'unavailable'} server what it says of its part
 */
/** @typedef {{kind: 'ended'|'replaced'|'removed'|'refused', code: string, detail: string}} Ending */

/**
 * @typedef {{type: 'heard', message: ServerMessage}
 *   | {type: 'line', line: Line}
 *   | {type: 'media', media: MediaLine}
 *   | {type: 'device', kind: 'microphone'|'camera', change: Partial<Device>}
 *   | {type: 'sharing', sharing: boolean}
 *   | {type: 'background', background: RoomState['background']}
 *   | {type: 'soundOnly', soundOnly: boolean}
 *   | {type: 'sound', blocked: boolean}
 *   | {type: 'refused', code: string, detail: string}} News
 */

/** @returns {RoomState} */
export function freshState() {
  return {
    me: '', role: 'client', place: null, line: 'connecting', media: 'none', snapshot: null, people: [], slots: [],
    speaking: [], microphone: { on: true, ready: false, problem: null }, camera: { on: true, ready: false, problem: null },
    background: freshBackground('off', 'browser'), sharing: false, soundOnly: false, soundBlocked: false, quality: {}, ending: null,
  };
}

/** @param {import('./blur.js').Background} chosen @param {string} path auto, browser or server @returns {Backdrop} */
export function freshBackground(chosen, path) {
  return { chosen, starting: false, slowFps: null, by: path === 'server' ? 'server' : 'browser', serverMay: path !== 'browser', server: 'off' };
}

/** @param {RoomState} state @param {News} news @returns {RoomState} */
export function reduce(state, news) {
  switch (news.type) {
    case 'heard': return hear(state, news.message);
    case 'line': return { ...state, line: news.line };
    case 'media': return { ...state, media: news.media, quality: news.media === 'connected' ? state.quality : {} };
    case 'device': return { ...state, [news.kind]: { ...state[news.kind], ...news.change } };
    case 'background': return { ...state, background: news.background };
    case 'sharing': return { ...state, sharing: news.sharing };
    case 'soundOnly': return { ...state, soundOnly: news.soundOnly };
    case 'sound': return { ...state, soundBlocked: news.blocked };
    case 'refused': return { ...state, ending: { kind: 'refused', code: news.code, detail: news.detail } };
    default: return state;
  }
}

/** @param {RoomState} state @param {ServerMessage} message @returns {RoomState} */
function hear(state, message) {
  switch (message.type) {
    case 'welcome': {
      const same = { ...state, me: message.person, role: message.role, place: message.place };
      // A new session knows nothing of the old one's sections and people.
      return message.resumed ? same : { ...same, people: [], slots: [], speaking: [] };
    }
    case 'snapshot': return { ...state, snapshot: message.snapshot };
    case 'people': return { ...state, people: message.people };
    case 'admitted': return { ...state, place: 'admitted' };
    case 'waiting': return { ...state, place: 'waiting', media: 'none', slots: [], speaking: [], quality: {} };
    case 'background': return { ...state, background: { ...state.background, server: message.state } };
    case 'slots': return { ...state, slots: message.slots };
    case 'quality': return { ...state, quality: { ...state.quality, [message.person]: message } };
    case 'speaking': return { ...state, speaking: message.people };
    case 'peer_lost': return { ...state, media: 'connecting', slots: [] };
    case 'ended': return { ...state, ending: { kind: 'ended', code: message.reason, detail: '' } };
    case 'replaced': return { ...state, ending: { kind: 'replaced', code: 'replaced', detail: '' } };
    case 'removed': return { ...state, ending: { kind: 'removed', code: message.code, detail: message.detail } };
    default: return state;
  }
}

// -------------------------------------------------------------------- questions

/** Everybody else in the room or waiting. @param {RoomState} state */
export function others(state) {
  return state.people.filter((person) => person.id !== state.me);
}

/** From three on cameras are sent in several sizes; also by whoever is about to come in. @param {RoomState} state */
export function isGroup(state) {
  return state.people.filter((person) => person.place === 'admitted' || person.id === state.me).length > 2;
}

/** @param {RoomState} state */
export function waitingPeople(state) {
  return others(state).filter((person) => person.place === 'waiting');
}

/** @param {RoomState} state @param {string} id @param {string} source @returns {Slot|undefined} */
export function slotOf(state, id, source) {
  return state.slots.find((slot) => slot.person === id && slot.source === source);
}

/** Under the name: one word or a short clause. @param {RoomState} state */
export function statusWords(state) {
  const session = state.snapshot?.state;
  if (state.ending?.kind === 'ended' || session === 'completed') return t('Ended');
  if (state.ending) return t('Not connected');
  if (state.line === 'lost' || (state.line === 'open' && state.media === 'disconnected')) return t('Reconnecting');
  if (state.line === 'connecting' || !state.snapshot) return t('Connecting');
  const there = others(state).filter((person) => person.place === 'admitted');
  if (!there.length) return t('Waiting');
  if (there.every((person) => !person.connected || person.media === 'disconnected')) return t('Reconnecting');
  if (state.media === 'connecting') return t('Connecting');
  return session === 'in_progress' ? t('Active') : t('Waiting');
}

const RANK = { good: 2, fair: 1, poor: 0 };

/**
 * Whose connection the top bar tells of: one's own, unless somebody else's is the worse one.
 * @param {RoomState} state @returns {Quality|null}
 */
export function tellingQuality(state) {
  const own = state.quality[state.me];
  if (!own || state.media !== 'connected') return null;
  const there = others(state).filter((person) => person.place === 'admitted' && person.connected);
  const all = [own, ...there.map((person) => state.quality[person.id]).filter((one) => one)];
  return all.reduce((worst, one) => (RANK[one.word] < RANK[worst.word] ? one : worst));
}

/** @param {number} ms */
function minutesSeconds(ms) {
  const all = Math.max(0, Math.floor(ms / 1000));
  const pad = (/** @type {number} */ value) => String(value).padStart(2, '0');
  const hours = Math.floor(all / 3600);
  const rest = `${pad(Math.floor((all % 3600) / 60))}:${pad(all % 60)}`;
  return hours ? `${hours}:${rest}` : rest;
}

/** "over by M:SS": no leading zero. @param {number} ms */
function overBy(ms) {
  const all = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(all / 60)}:${String(all % 60).padStart(2, '0')}`;
}

/**
 * The timers by the server's clock. A late start does not move the end.
 * @param {Snapshot|null} snapshot @param {number} now milliseconds by the server's clock
 */
export function timers(snapshot, now) {
  const nothing = { running: false, elapsed: '', left: '', isOver: false, share: 0, minutes: 0, ofMinutes: 0, warning: '' };
  if (!snapshot?.started_at) return nothing;
  const started = Date.parse(snapshot.started_at);
  const ends = Date.parse(snapshot.ends_at);
  const left = ends - now;
  // Rounded up, so that elapsed and left add up to the whole at every tick.
  const leftShown = Math.ceil(left / 1000) * 1000;
  const whole = Math.max(1, ends - started);
  return {
    running: true,
    elapsed: minutesSeconds(now - started),
    left: left > 0 ? minutesSeconds(leftShown) : overBy(-left),
    isOver: left <= 0,
    share: Math.min(1, Math.max(0, (now - started) / whole)),
    minutes: Math.max(0, Math.floor((now - started) / 60000)),
    ofMinutes: Math.max(0, Math.round(whole / 60000)),
    warning: warningWords(left),
  };
}

/** @param {number} left ms to the booked end */
function warningWords(left) {
  if (left <= 0) return t('The booked time is over');
  if (left <= 60_000) return t('1 minute left');
  return left <= 5 * 60_000 ? t('5 minutes left') : '';
}

/** Why it does not record, short enough for the sign. @type {Record<string, string>} */
const RECORDING_CAUSES = {
  refused: t('Recording paused: somebody said no'),
  unanswered: t('Recording paused: an answer is missing'),
  alone: t('Recording paused: nobody else is here'),
  disk_full: t('Recording stopped: the disk is full'),
  failed: t('Recording stopped: it failed'),
};

/** The recording sign, or ''; the same for everybody in the room who is connected. @param {RoomState} state */
export function recordingWords(state) {
  const recording = state.snapshot?.recording;
  if (recording?.state === 'recording') return isCutOff(state) ? t('Recording interrupted') : t('Recording');
  if (recording?.cause && RECORDING_CAUSES[recording.cause]) return RECORDING_CAUSES[recording.cause];
  return recording?.state === 'paused' ? t('Recording paused') : '';
}

/**
 * Nothing of this person arrives there. With the line alone gone the server may still record.
 * @param {RoomState} state
 */
export function isCutOff(state) {
  return state.line === 'lost' && state.media !== 'connected';
}
