// @ts-check
// Draws the room: state in, DOM out, nothing else. Elements stand in templates/parts/room_stage.html; tiles of
// people are made here. No network, no media objects but the streams it is handed.

import { byId, element, icon } from '../page.js';
import { problemWords } from './devices.js';
import { isCutOff, others, recordingWords, slotOf, statusWords, tellingQuality, timers, waitingPeople } from './state.js';
import { Tile } from './tile.js';
import { clock as clockOf } from '../time.js';
import { t } from '../words.js';

/** @typedef {import('./state.js').RoomState} RoomState */
/** @typedef {import('./peer.js').Tracks} Tracks */
/** @typedef {import('./protocol.js').Person} Person */

const QUALITY_WORDS = { good: t('good'), fair: t('fair'), poor: t('poor') };

const QUALITY_MEANS = {
  good: t('Sound and picture are as they should be.'),
  fair: t('Sound or picture may stutter now and then.'),
  poor: t('Sound may break up and the picture stand still. A place nearer to the Wi-Fi, or a cable, helps most.'),
};

const PAUSED_WORDS = t('Your connection is slow just now. Sound goes on, and the picture comes back by itself.');

/** @param {Element} place @param {string} words */
export function say(place, words) {
  if (place.textContent !== words) place.textContent = words;
}

/**
 * For those who don't see the room. One place that is always there: a live region that appears together with its words
 * is not read out. @param {string} words
 */
export function announce(words) {
  say(byId('said'), words);
}

/** The first name, and a title where it stands before one: "Dr. Amara". @param {string} name */
export function callName(name) {
  const words = name.trim().split(/\s+/);
  return words.length > 1 && /^\p{L}{1,4}\.$/u.test(words[0]) ? `${words[0]} ${words[1]}` : words[0] || name;
}

/** @param {string} name */
export function initials(name) {
  const words = name.trim().split(/\s+/).filter((word) => !word.endsWith('.'));
  return (words[0]?.[0] || '') + (words.length > 1 ? words[words.length - 1][0] : '');
}

export class RoomView {
  constructor() {
    this.root = byId('room');
    this._stage = byId('stage');
    this._self = byId('self');
    const selfVideo = byId('self-video');
    if (!(selfVideo instanceof HTMLVideoElement)) throw new Error('#self-video is no video');
    this._selfVideo = selfVideo;
    /** @type {Map<string, Tile>} */
    this._tiles = new Map();
    /** The browser wants to see a person before it plays sound. */
    this.onBlockedSound = () => {};
  }

  /** @param {MediaStreamTrack|null} camera */
  showSelf(camera) {
    const shown = this._selfVideo.srcObject instanceof MediaStream ? this._selfVideo.srcObject.getTracks()[0] : null;
    if (shown === camera) return;
    this._selfVideo.srcObject = camera ? new MediaStream([camera]) : null;
  }

  /** @param {RoomState} state @param {Map<string, Tracks>} tracks */
  draw(state, tracks) {
    this._drawTop(state);
    this._drawStage(state, tracks);
    this._drawSelf(state);
    this._drawControls(state);
    this._drawLobby(state);
    this._drawNotice(state);
  }

  /** @param {RoomState} state @param {number} now by the server's clock */
  tick(state, now) {
    const clock = timers(state.snapshot, now);
    byId('time').hidden = !clock.running;
    say(byId('elapsed'), clock.elapsed);
    say(byId('left'), clock.isOver ? '' : clock.left);
    say(byId('left-word'), clock.isOver ? t('over by %(left)s', { left: clock.left }) : t('left'));
    say(byId('time-short'), !clock.running ? '' : clock.isOver ? t('%(elapsed)s, over by %(left)s', { elapsed: clock.elapsed, left: clock.left }) : t('%(elapsed)s, %(left)s left', { elapsed: clock.elapsed, left: clock.left }));
    const line = /** @type {HTMLProgressElement} */ (byId('line'));
    line.value = clock.share;
    const said = clock.running ? t('%(minutes)s of %(ofMinutes)s minutes', { minutes: clock.minutes, ofMinutes: clock.ofMinutes }) : t('Not started');
    if (line.getAttribute('aria-label') !== said) line.setAttribute('aria-label', said);
    const warning = byId('warning');
    warning.hidden = !clock.warning;
    if (clock.warning && warning.textContent !== clock.warning) announce(clock.warning);
    say(warning, clock.warning);
    this._tickWaiting(now);
    this._tickNoShow(state, now);
  }

  /** Until the client has had their time to come, it says how long that is. @param {RoomState} state @param {number} now */
  _tickNoShow(state, now) {
    const button = document.getElementById('menu-no-show');
    if (!button) return;
    const from = state.snapshot?.no_show_from;
    const isHere = others(state).some((person) => person.role === 'client' && person.place === 'admitted');
    button.hidden = !from || isHere || Boolean(state.ending);
    if (!from) return;
    const isEarly = now < Date.parse(from);
    button.setAttribute('aria-disabled', String(isEarly));
    say(byId('no-show-words'), isEarly ? t('Mark as no-show, from %(clock)s', { clock: clockOf(from) }) : t('Mark as no-show'));
  }

  /** Height of each picture on the screen, in device pixels. @returns {Map<MediaStreamTrack, number>} */
  shownHeights() {
    /** @type {Map<MediaStreamTrack, number>} */
    const heights = new Map();
    for (const tile of this._tiles.values()) {
      const [track] = tile.stream.getVideoTracks();
      const height = tile.video.getBoundingClientRect().height * window.devicePixelRatio;
      // In steps: a moving edge must not have every frame's size told.
      if (track) heights.set(track, Math.ceil(height / 40) * 40);
    }
    return heights;
  }

  // ---------------------------------------------------------------- parts

  /** @param {RoomState} state */
  _drawTop(state) {
    say(byId('status'), statusWords(state));
    const sign = byId('recording');
    const words = recordingWords(state);
    sign.hidden = !words;
    sign.classList.toggle('recording--paused', state.snapshot?.recording.state === 'paused' || isCutOff(state));
    if (sign.textContent !== words) announce(words || t('Recording has stopped'));
    say(sign, words);
    this._drawQuality(state);
  }

  /** @param {RoomState} state */
  _drawQuality(state) {
    const quality = tellingQuality(state);
    const meter = byId('quality');
    meter.hidden = !quality;
    if (!quality) return;
    const other = others(state).find((person) => person.id === quality.person);
    const said = QUALITY_WORDS[quality.word];
    const word = said[0].toUpperCase() + said.slice(1);
    meter.dataset.quality = quality.word;
    say(byId('quality-words'), other ? t('%(callName)s: %(word)s connection', { callName: callName(other.name), word: QUALITY_WORDS[quality.word] }) : t('%(word)s connection', { word }));
    say(byId('quality-meaning'), QUALITY_MEANS[quality.word]);
    const delay = quality.round_trip_ms === null ? '' : t(', %(round_trip_ms)s ms there and back', { round_trip_ms: quality.round_trip_ms });
    const lost = Math.round(1000 * quality.loss) / 10;
    say(byId('quality-numbers'), t('Sound %(mos)s of 4.5, %(lost)s %% of packets lost%(delay)s', { mos: quality.mos.toFixed(1), lost, delay }));
  }

  /** @param {RoomState} state @param {Map<string, Tracks>} tracks */
  _drawStage(state, tracks) {
    const people = state.ending ? [] : others(state).filter((person) => person.place === 'admitted');
    const wanted = new Set();
    let screens = 0;
    for (const person of people) {
      const has = state.soundOnly ? withoutPictures(tracks.get(person.id)) : tracks.get(person.id) || {};
      wanted.add(person.id);
      const sound = [has.microphone, has.screen_audio].filter((track) => track !== undefined);
      this._drawPerson(state, person, this._tile(person.id, false), [...(has.camera ? [has.camera] : []), ...sound]);
      if (has.screen) {
        screens += 1;
        const key = `${person.id} screen`;
        wanted.add(key);
        this._drawScreen(state, person, this._tile(key, true), has.screen);
      }
    }
    for (const [key, tile] of this._tiles) {
      if (wanted.has(key)) continue;
      tile.root.remove();
      tile.video.srcObject = null;
      this._tiles.delete(key);
    }
    this._stage.dataset.layout = screens ? 'screen' : people.length > 1 ? 'grid' : 'one';
    this._stage.dataset.count = String(Math.min(9, people.length));
  }

  /** @param {string} key @param {boolean} isScreen */
  _tile(key, isScreen) {
    let tile = this._tiles.get(key);
    if (!tile) {
      tile = new Tile(key, isScreen);
      this._tiles.set(key, tile);
      if (isScreen) this._stage.prepend(tile.root);
      else this._stage.append(tile.root);
    }
    return tile;
  }

  /** @param {RoomState} state @param {Person} person @param {Tile} tile @param {MediaStreamTrack[]} tracks */
  _drawPerson(state, person, tile, tracks) {
    tile.setTracks(tracks);
    const camera = slotOf(state, person.id, 'camera');
    const isAway = !person.connected || person.media === 'disconnected';
    const mayShow = camera !== undefined && !camera.muted && !camera.paused && !camera.veiled && !isAway && !state.soundOnly;
    const hasPicture = mayShow && tile.hasFrames;
    tile.onPicture = () => this._drawPerson(state, person, tile, tracks);
    const muted = slotOf(state, person.id, 'microphone')?.muted === true;
    tile.root.classList.toggle('tile--off', !hasPicture);
    tile.root.classList.toggle('tile--speaking', state.speaking.includes(person.id));
    tile.video.hidden = !mayShow;
    tile.instead.hidden = hasPicture;
    say(tile.avatar, initials(person.name));
    const name = callName(person.name);
    say(tile.words, state.soundOnly && !isAway ? t('Sound only, as you chose.') : isAway ? t('%(name)s lost the connection and is coming back.', { name })
      : camera?.muted ? t('%(name)s\'s camera is off.', { name }) : camera?.paused ? t('%(name)s\'s picture is paused.', { name })
        : camera?.veiled ? t('%(name)s\'s picture is being prepared.', { name }) : t('Connecting to %(name)s', { name }));
    tile.root.setAttribute('aria-label', t('%(name)s\'s picture', { name: person.name }));
    const tag = muted ? t('%(name)s, microphone off', { name }) : name;
    if (tile.nameTag.dataset.tag !== tag) {
      tile.nameTag.dataset.tag = tag;
      tile.nameTag.replaceChildren(...(muted ? [icon('mic-off')] : []), tag);
    }
    tile.nameTag.classList.toggle('is-needed', muted);
    if (tracks.length) this._play(tile.video);
  }

  /** @param {RoomState} state @param {Person} person @param {Tile} tile @param {MediaStreamTrack} track */
  _drawScreen(state, person, tile, track) {
    tile.setTracks([track]);
    const isPaused = slotOf(state, person.id, 'screen')?.paused === true;
    tile.video.hidden = isPaused;
    tile.instead.hidden = !isPaused;
    tile.avatar.hidden = true;
    tile.root.classList.toggle('tile--off', isPaused);
    say(tile.words, t('%(callName)s\'s screen is paused.', { callName: callName(person.name) }));
    tile.root.setAttribute('aria-label', t('%(name)s\'s screen', { name: person.name }));
    say(tile.nameTag, t('%(callName)s\'s screen', { callName: callName(person.name) }));
    this._play(tile.video);
  }

  /** @param {HTMLVideoElement} video */
  _play(video) {
    if (!video.paused) return;
    video.play().catch((error) => {
      if (error instanceof DOMException && error.name === 'NotAllowedError') this.onBlockedSound();
    });
  }

  /** @param {RoomState} state */
  _drawSelf(state) {
    const shown = state.camera.on && state.camera.ready;
    this._self.classList.toggle('tile--off', !shown);
    this._selfVideo.hidden = !shown;
    byId('self-instead').hidden = shown;
    say(byId('self-instead'), state.camera.problem ? t('No camera') : state.camera.on ? t('Starting') : t('Camera off'));
    this._self.classList.toggle('tile--speaking', state.speaking.includes(state.me));
  }

  /** @param {RoomState} state */
  _drawControls(state) {
    drawDevice(byId('mic'), state.microphone, ['mic', 'mic-off'], t('Microphone'));
    drawDevice(byId('camera'), state.camera, ['camera', 'camera-off'], t('Camera'));
    const can = state.snapshot?.can;
    const share = byId('share');
    share.hidden = share.dataset.possible !== 'true' || !(can?.share_screen ?? false);
    share.classList.toggle('ctl--on', state.sharing);
    for (const words of [share.querySelector('span'), byId('menu-share-words')]) if (words) say(words, state.sharing ? t('Stop sharing') : t('Share screen'));
    const soundOnly = document.getElementById('sound-only-words');
    if (soundOnly) say(soundOnly, state.soundOnly ? t('Pictures again') : t('Sound only'));
    const record = document.getElementById('record');
    if (record) {
      const recording = state.snapshot?.recording;
      record.hidden = !recording?.offered || !(can?.record ?? false);
      record.setAttribute('aria-pressed', String(recording?.state === 'recording' || recording?.state === 'paused'));
      record.title = recording?.reason ? t(recording.reason) : '';
    }
    const end = document.getElementById('end');
    if (end) end.hidden = !(can?.end ?? false);
    byId('leave').hidden = Boolean(end && !end.hidden);
    const stepOut = document.getElementById('menu-leave');
    if (stepOut) stepOut.hidden = !byId('leave').hidden;
    const invite = document.getElementById('menu-guest');
    if (invite) invite.hidden = !(can?.moderate ?? false);
    const answer = document.getElementById('answer');
    if (answer) {
      const mine = state.snapshot?.recording.my_answer;
      answer.hidden = !state.snapshot?.recording.offered;
      say(byId('answer-words'), mine === 'yes' ? t('You allow recording. Change that') : mine === 'no' ? t('You do not allow recording. Change that') : t('May it be recorded? Answer'));
    }
  }

  /** What stands on the stage while nobody is on it. @param {RoomState} state */
  _drawLobby(state) {
    const lobby = byId('lobby');
    const isEmpty = !others(state).some((person) => person.place === 'admitted');
    const mayStart = state.snapshot?.can.start ?? false;
    lobby.hidden = !state.snapshot || Boolean(state.ending) || !(isEmpty || mayStart || waitingPeople(state).length);
    lobby.classList.toggle('lobby--aside', !isEmpty);
    const start = document.getElementById('start');
    if (start) start.hidden = !mayStart;
    const waiting = waitingPeople(state);
    const other = this.root.dataset.otherCall || '';
    const isPractitioner = state.role === 'practitioner';
    let title = t('%(other)s is not here%(yet)s', { other, yet: state.snapshot?.state === 'in_progress' ? t(' at the moment') : t(' yet') });
    let lead = isPractitioner ? t('We tell you here as soon as somebody comes into the waiting room.') : t('You will see each other as soon as both of you are here.');
    if (waiting.length) {
      title = waiting.length === 1 ? t('%(callName)s is waiting', { callName: callName(waiting[0].name) }) : t('%(waiting)s people are waiting', { waiting: waiting.length });
      lead = mayStart ? t('Press Start, and you see and hear each other.') : t('They can be let in.');
    } else if (state.snapshot?.state === 'in_progress') {
      lead = isPractitioner ? t('The session runs. They come in directly.') : t('The session has begun. They will be here in a moment.');
    }
    say(byId('lobby-title'), title);
    say(byId('lobby-lead'), lead);
    this._drawWaiting(state, waiting);
  }

  /** @param {RoomState} state @param {Person[]} waiting */
  _drawWaiting(state, waiting) {
    const list = byId('waiting-list');
    // A guest can be let in before Start too, and comes in with it.
    const mayLetIn = (/** @type {Person} */ person) => Boolean(state.snapshot?.can.moderate
      && (person.role === 'guest' || state.snapshot.state === 'in_progress'));
    const key = waiting.map((person) => `${person.id} ${person.name} ${person.connected} ${person.since} ${mayLetIn(person)}`).join('\n');
    if (list.dataset.key === key) return;
    list.dataset.key = key;
    list.hidden = !waiting.length;
    list.replaceChildren(...waiting.map((person) => element('li', { class: 'who' },
      element('span', { class: 'avatar', 'aria-hidden': 'true' }, initials(person.name)),
      element('span', { class: 'who__text' },
        element('span', { class: 'who__name' }, person.name),
        element('span', { class: 'who__sub num', 'data-waiting-since': person.connected && person.since },
          person.connected ? '' : t('Lost the connection, coming back'))),
      ...(mayLetIn(person) ? [act(person, 'admit', t('Admit'), 'check')] : []))));
  }

  /** @param {number} now */
  _tickWaiting(now) {
    for (const place of byId('waiting-list').querySelectorAll('[data-waiting-since]')) {
      const minutes = Math.floor((now - Date.parse(place.getAttribute('data-waiting-since') || '')) / 60000);
      say(place, minutes < 1 ? t('Just came') : t('In the waiting room for %(minutes)s min', { minutes }));
    }
  }

  /** One plain sentence when something is wrong. @param {RoomState} state */
  _drawNotice(state) {
    const notice = byId('notice');
    const [words, retry] = noticeWords(state);
    notice.hidden = !words;
    say(byId('notice-words'), words);
    byId('notice-retry').hidden = !retry;
  }
}

/** @param {Tracks} [tracks] @returns {Tracks} */
function withoutPictures(tracks) {
  return { microphone: tracks?.microphone, screen_audio: tracks?.screen_audio };
}

/** The notice. @param {RoomState} state @returns {[string, boolean]} the words, and whether trying the devices again can help */
export function noticeWords(state) {
  if (state.line === 'lost') return [t('The connection is gone. We are getting it back, you needn\'t do anything.'), false];
  if (state.media === 'disconnected') return [t('Picture and sound have stopped. We are getting them back.'), false];
  // Somebody without a camera knows; the own picture says so too.
  const camera = state.camera.problem === 'missing' ? null : state.camera.problem;
  const problem = problemWords(state.microphone.problem, camera);
  if (problem) return [problem, true];
  if (!state.soundBlocked && state.slots.some((slot) => slot.paused)) return [PAUSED_WORDS, false];
  return [state.soundBlocked ? t('Your browser waits for a click or a key before it plays sound.') : '', false];
}

/** @param {HTMLElement} button @param {import('./state.js').Device} device @param {[string, string]} icons @param {string} word */
export function drawDevice(button, device, icons, word) {
  const isOn = device.on && !device.problem;
  button.classList.toggle('ctl--off', !isOn);
  button.setAttribute('aria-label', isOn ? t('%(word)s is on. Switch it off', { word }) : t('%(word)s is off. Switch it on', { word }));
  const use = button.querySelector('use');
  const href = `/static/icons.svg#${icons[isOn ? 0 : 1]}`;
  if (use && use.getAttribute('href') !== href) use.setAttribute('href', href);
}

/** @param {Person} person @param {string} what @param {string} words @param {string} sign */
export function act(person, what, words, sign) {
  const button = element('button', { class: 'btn btn--small', type: 'button', 'data-do': what, 'data-person': person.id, 'data-key': `${what} ${person.id}` },
    icon(sign, 's'), words, element('span', { class: 'vh' }, ` ${person.name}`));
  button.addEventListener('refocus', () => button.focus());
  return button;
}
