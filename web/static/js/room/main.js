// @ts-check
// The session room: wires the call to the view and the buttons to the call and the API. One room per page.
// Decides nothing about who may do what: the snapshot's `can` says, and the server checks again.

import { newKey, post, ProblemError } from '../api.js';
import { byId, element, showError, toast, toastNext } from '../page.js';
import { everySecond, serverNow } from '../time.js';
import { drawBackground, wireBackground } from './background.js';
import { Call } from './call.js';
import { Chat } from './chat.js';
import { ClientFile } from './client-file.js';
import { Files } from './files.js';
import { canShareScreen, chooseDevice, chosenDevices, listDevices, onDevicesChanged, playThrough } from './devices.js';
import { startKeys } from './keys.js';
import { Layouts } from './layouts.js';
import { Panels, showCount } from './panels.js';
import { People } from './people.js';
import { endingPage, endingWords, isSignedOut } from './endings.js';
import { Report, ReportsHeard } from './report.js';
import { UNFIT_TITLE, lacking, stayAwake, unfitWords } from './support.js';
import { startFading, startFullScreen, startMenu, startMovingSelf } from './surface.js';
import { RoomView, callName, say } from './view.js';
import { t } from '../words.js';

/** @typedef {import('./state.js').RoomState} RoomState */
/** @typedef {import('./devices.js').DeviceKind} DeviceKind */

/** @param {Call} [arriving] the call of the waiting room, when its page becomes the room */
export function enterRoom(arriving) {
  const root = byId('room');
  const lacks = lacking();
  if (lacks) {
    showUnfit(lacks);
    return;
  }
  const call = arriving || new Call(root.dataset.session || '', root.dataset.mode || 'video', root.dataset.blur || 'browser');
  const room = new Room(root, call);
  if (!arriving) {
    void call.devices.open();
    call.join();
  }
  room.draw();
}

/** @param {string} lacks */
function showUnfit(lacks) {
  byId('over').hidden = false;
  say(byId('over-title'), UNFIT_TITLE);
  say(byId('over-words'), unfitWords(lacks));
  for (const id of ['bar', 'self', 'over-here']) byId(id).hidden = true;
}

class Room {
  /** @param {HTMLElement} root @param {Call} call */
  constructor(root, call) {
    this._root = root;
    this._call = call;
    this._view = new RoomView();
    this._gone = false;
    this._drawing = 0;
    const file = document.getElementById('panel-client') ? new ClientFile() : null;
    this._panels = new Panels({
      chat: () => this._chat.seen(), files: () => this._files.seen(), people: () => {}, ...(file ? { client: () => void file.opened() } : {}),
    }, file ? { client: () => file.closed() } : {});
    this._report = new Report(() => this._leave());
    this._reports = new ReportsHeard();
    this._people = new People(call.sessionId);
    this._layouts = root.dataset.mode === 'chat' ? null : new Layouts();
    if (this._layouts) this._layouts.onChange = () => this.draw();
    this._chat = new Chat(call.sessionId, {
      isSeen: () => this._panels.open === 'chat', onUnread: (count) => showCount('chat-count', count) });
    this._files = new Files(call.sessionId, {
      isSeen: () => this._panels.open === 'files',
      onUnread: (count) => showCount('files-count', count),
      show: () => this._panels.show('files'),
    });
    call.onChange = (_state, news) => {
      if (news.type === 'heard') this._heard(news.message);
      // A speaker can be chosen only once the browser has let us have a device.
      if (news.type === 'device' && news.change.ready) this._play(chosenDevices().speaker || '');
      this._drawSoon();
    };
    if (call.state.me) this._connected(call.state.me);
    // Without sound and pictures the chat is the session.
    if (root.dataset.mode === 'chat') this._panels.show('chat');
    call.onRefused = (refusal, extra) => {
      if (refusal.code === 'consent_required' && typeof extra.page === 'string' && extra.page.startsWith('/')) this._go(extra.page);
    };
    this._view.onBlockedSound = () => call.noteSound(true);
    for (const input of ['pointerdown', 'keydown']) document.addEventListener(input, () => call.noteSound(false));
    this._wireDevices();
    this._wireSession();
    startMenu();
    startKeys();
    wireBackground(() => call);
    startMovingSelf();
    startFading();
    startFullScreen();
    stayAwake();
    everySecond((now) => {
      this._view.tick(this._call.state, now);
      this._layouts?.apply(this._call.state, now);
      call.tellView(this._view.shownHeights());
    });
    window.addEventListener('pagehide', () => call.leave());
    // Back from the browser's page cache the call is over: begin anew.
    window.addEventListener('pageshow', (event) => {
      if (event.persisted) location.reload();
    });
  }

  _drawSoon() {
    // Many pieces of news may come at once; timers also run while the page is hidden, animation frames don't.
    if (this._drawing) return;
    this._drawing = window.setTimeout(() => {
      this._drawing = 0;
      this.draw();
    }, 0);
  }

  /** What the session's people share beside media. @param {import('./protocol.js').ServerMessage} message */
  _heard(message) {
    if (message.type === 'welcome') this._connected(message.person);
    else if (message.type === 'news') {
      for (const part of [this._chat, this._files, this._report, this._reports]) part.heard(message.topic, message.body);
      if (message.topic === 'muted') this._call.devices.noteMuted();
      if (message.topic === 'muted') toast(t('%(practitioner)s has switched your microphone off. You can switch it on again.', { practitioner: this._practitioner() }));
    }
  }

  /** The line is there (again): what was missed is fetched. @param {string} me */
  _connected(me) {
    void this._chat.connected(me);
    void this._files.connected(me);
  }

  draw() {
    const { state } = this._call;
    this._view.showSelf(this._call.devices.shown.camera);
    drawBackground(state);
    this._view.draw(state, this._call.tracks());
    this._layouts?.apply(state, serverNow());
    this._people.draw(state);
    this._files.drawPeople(state.snapshot?.people || []);
    // The permission was taken back: the server has ended it already.
    if (state.sharing && state.snapshot && !state.snapshot.can.share_screen) void this._call.toggleScreen();
    this._view.tick(state, serverNow());
    if (state.ending) this._end(state);
    else if (state.place === 'waiting' && state.line === 'open') this._go(`/sessions/${this._call.sessionId}/waiting-room`);
  }

  /** @param {RoomState} state */
  _end(state) {
    const ending = state.ending;
    if (!ending || this._gone) return;
    const page = endingPage(ending, this._call.sessionId, this._root.dataset.role || '');
    if (page) {
      this._go(page);
      return;
    }
    const over = byId('over');
    if (!over.hidden) return;
    this._call.leave();
    this._view.showSelf(null);
    byId('self').hidden = true;
    const [title, words] = endingWords(ending);
    over.hidden = false;
    say(byId('over-title'), title);
    say(byId('over-words'), words);
    byId('over-here').hidden = ending.kind === 'removed';
    byId('over-here').textContent = ending.kind === 'replaced' ? t('Go on here') : isSignedOut(ending) ? t('Sign in') : t('Try again');
    byId('bar').hidden = true;
    byId('over-title').focus();
  }

  /** @param {string} url */
  _go(url) {
    if (this._gone) return;
    this._gone = true;
    this._call.leave();
    location.assign(url);
  }

  _practitioner() {
    return callName(this._call.state.snapshot?.practitioner.name || t('The practitioner'));
  }

  // ---------------------------------------------------------------- devices

  _wireDevices() {
    byId('mic').addEventListener('click', () => void this._call.devices.toggle('microphone'));
    byId('camera').addEventListener('click', () => void this._call.devices.toggle('camera'));
    const { mode } = this._root.dataset;
    byId('camera').hidden = mode !== 'video';
    byId('mic').hidden = mode === 'chat';
    const share = byId('share');
    share.dataset.possible = String(canShareScreen());
    once(share, () => this._call.toggleScreen());
    document.getElementById('menu-sound-only')?.addEventListener('click', () => void this._call.toggleSoundOnly());
    byId('notice-retry').addEventListener('click', () => void this._call.devices.open());
    byId('menu-devices').addEventListener('click', () => void this._showDevices());
    onDevicesChanged(() => {
      void this._fillDevices();
      void this._call.devices.noteChange();
    });
    this._call.devices.onReplaced = (kind) => toast(t('Your %(kind)s is no longer there. Another one goes on.', { kind: t(kind) }));
    for (const kind of /** @type {DeviceKind[]} */ (['microphone', 'camera'])) {
      pick(kind).addEventListener('change', () => void this._call.devices.choose(kind, pick(kind).value));
    }
    pick('speaker').addEventListener('change', () => {
      chooseDevice('speaker', pick('speaker').value);
      this._play(pick('speaker').value);
    });
  }

  /** @param {string} speaker */
  _play(speaker) {
    for (const video of this._root.querySelectorAll('video')) void playThrough(video, speaker);
  }

  async _showDevices() {
    await this._fillDevices();
    const dialog = byId('devices-dialog');
    if (dialog instanceof HTMLDialogElement && !dialog.open) dialog.showModal();
  }

  async _fillDevices() {
    const all = await listDevices();
    const chosen = chosenDevices();
    // A speaker that is gone must not keep the sound: the system's own plays on.
    const isThere = all.speaker.some((device) => device.deviceId === chosen.speaker);
    this._play(isThere ? chosen.speaker || '' : '');
    for (const kind of /** @type {(DeviceKind|'speaker')[]} */ (['microphone', 'speaker', 'camera'])) {
      byId(`field-${kind}`).hidden = !all[kind].length || (kind === 'camera' && this._root.dataset.mode !== 'video');
      const used = kind === 'speaker' ? chosen.speaker : this._call.devices.idOf(kind) || chosen[kind];
      pick(kind).replaceChildren(...all[kind].map((device, index) => element('option', {
        value: device.deviceId, selected: device.deviceId === used }, device.label || `${t(kind)} ${index + 1}`)));
    }
  }

  // ---------------------------------------------------------------- the session

  _wireSession() {
    const api = `/api/appointments/${this._call.sessionId}`;
    byId('leave').addEventListener('click', () => this._leave());
    document.getElementById('menu-leave')?.addEventListener('click', () => this._leave());
    byId('over-here').addEventListener('click', () => location.reload());
    const start = document.getElementById('start');
    if (start) once(start, () => tryTo('lobby-error', () => post(`${api}/start`)));
    this._wireEnd(api);
    this._wireRecording(api);
  }

  _leave() {
    toastNext(t('You have left the session. You can come back until it ends.'));
    this._go(this._root.dataset.home || '/');
  }

  /** @param {string} api */
  _wireEnd(api) {
    const dialog = document.getElementById('end-dialog');
    if (!(dialog instanceof HTMLDialogElement)) return;
    byId('end').addEventListener('click', () => {
      showError(byId('end-error'), '');
      if (!dialog.open) dialog.showModal();
    });
    once(byId('end-yes'), () => tryTo('end-error', async () => {
      await post(`${api}/complete-session`, { isNoShow: false, noShowReason: null });
      this._go(`/sessions/${this._call.sessionId}`);
    }));
  }

  /** @param {string} api */
  _wireRecording(api) {
    const record = document.getElementById('record');
    const dialog = document.getElementById('record-dialog');
    if (record && dialog instanceof HTMLDialogElement) {
      once(record, async () => {
        if (this._call.state.snapshot?.recording.state === 'off') await this._record(api, 'start');
        else if (!dialog.open) {
          this._drawRecordDialog();
          dialog.showModal();
        }
      });
      once(byId('record-pause'), async () => {
        const isPaused = this._call.state.snapshot?.recording.state === 'paused';
        if (await this._record(api, isPaused ? 'start' : 'pause')) dialog.close();
      });
      once(byId('record-stop'), async () => {
        if (await this._record(api, 'stop')) dialog.close();
      });
    }
    const answer = document.getElementById('answer-dialog');
    if (!(answer instanceof HTMLDialogElement)) return;
    byId('answer').addEventListener('click', () => answer.showModal());
    const forget = /** @type {HTMLDialogElement} */ (byId('forget-dialog'));
    for (const value of ['yes', 'no']) {
      once(byId(`answer-${value}`), async () => {
        const takesBack = value === 'no' && this._call.state.snapshot?.recording.my_answer === 'yes';
        const done = await tryTo('answer-error', () => post(`${api}/consents/recording`, {
          answer: value, text_id: this._root.dataset.recordingText }, { idempotencyKey: newKey() }));
        if (!done) return;
        answer.close();
        if (takesBack && !forget.open) forget.showModal();
      });
    }
  }

  /** @param {string} api @param {'start'|'pause'|'stop'} action */
  async _record(api, action) {
    const done = await tryTo('record-error', () => post(`${api}/recording`, { action }));
    if (!done) {
      this._drawRecordDialog();
      const dialog = byId('record-dialog');
      if (dialog instanceof HTMLDialogElement && !dialog.open) dialog.showModal();
    }
    return done;
  }

  _drawRecordDialog() {
    const recording = this._call.state.snapshot?.recording;
    const isOff = recording?.state === 'off';
    say(byId('record-title'), isOff ? t('Not recording') : recording?.state === 'paused' ? t('The recording is paused') : t('This session is being recorded'));
    say(byId('record-words'), recording?.reason ? t(recording.reason) : (isOff ? '' : t('Everybody in the room sees the Recording sign.')));
    byId('record-pause').hidden = isOff;
    byId('record-stop').hidden = isOff;
    say(byId('record-pause'), recording?.state === 'paused' ? t('Go on recording') : t('Pause'));
  }
}

/** @param {DeviceKind|'speaker'} kind */
function pick(kind) {
  return /** @type {HTMLSelectElement} */ (byId(`pick-${kind}`));
}

/** A click that is still being worked on is not taken again. @param {HTMLElement} button @param {() => Promise<unknown>} work */
function once(button, work) {
  button.addEventListener('click', async () => {
    if (button.getAttribute('aria-busy') === 'true') return;
    button.setAttribute('aria-busy', 'true');
    try {
      await work();
    } finally {
      button.removeAttribute('aria-busy');
    }
  });
}

/** Says a refusal beside the control that asked. @param {string} errorId @param {() => Promise<unknown>} work */
async function tryTo(errorId, work) {
  const place = byId(errorId);
  showError(place, '');
  try {
    await work();
    return true;
  } catch (error) {
    if (!(error instanceof ProblemError)) throw error;
    showError(place, error.message);
    return false;
  }
}
