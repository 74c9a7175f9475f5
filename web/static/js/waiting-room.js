// @ts-check
// The waiting room: own picture, device choice, checks, and who is here, live. When the practitioner presses Start the
// page becomes the room: same socket, same camera, nothing loaded.

import { post } from './api.js';
import { byId, element } from './page.js';
import { clock, everySecond, serverNow } from './time.js';
import { SoundCheck, checkCamera, checkConnection, noteTested } from './checks.js';
import { testNetwork } from './network-test.js';
import { drawBackground, wireBackground } from './room/background.js';
import { Call } from './room/call.js';
import { chooseDevice, chosenDevices, listDevices, onDevicesChanged, problemWords } from './room/devices.js';
import { endingPage, endingWords } from './room/endings.js';
import { enterRoom } from './room/main.js';
import { Chat } from './room/chat.js';
import { Panels, showCount } from './room/panels.js';
import { Report } from './room/report.js';
import { UNFIT_TITLE, lacking, unfitWords } from './room/support.js';
import { drawDevice, say } from './room/view.js';
import { t } from './words.js';

/** @typedef {import('./room/devices.js').DeviceKind} DeviceKind */
/** @typedef {import('./room/state.js').RoomState} RoomState */

const RETRY_EARLY_MS = 2000;

const root = byId('wait');
const session = root.dataset.session || '';
const other = root.dataset.otherCall || '';
const opensAt = Date.parse(root.dataset.opens || '');
const startsAt = Date.parse(root.dataset.starts || '');
const hasVideo = root.dataset.mode === 'video';
const own = /** @type {HTMLVideoElement} */ (byId('own'));
/** @type {DeviceKind[]} */
const kinds = hasVideo ? ['microphone', 'camera'] : root.dataset.mode === 'audio' ? ['microphone'] : [];

const lacks = lacking();
let call = new Call(session, root.dataset.mode || 'video', root.dataset.blur || 'browser');
const sound = new SoundCheck();
let isIn = false;
let isJoining = false;

const leaveLink = /** @type {HTMLAnchorElement} */ (byId('wait-leave'));
const chat = document.getElementById('panel-chat') ? makeChat() : null;
const report = new Report(() => location.assign(leaveLink.href));

wire(call);
wireDevices();
wireCountry();
const testing = new AbortController();
byId('test-network').addEventListener('click', () => void test());
void call.devices.open().then(fillDevices);
const stopTicking = everySecond(tick);
window.addEventListener('pagehide', leave);
window.addEventListener('pageshow', (event) => {
  if (event.persisted) location.reload();
});

/** @param {Call} one */
function wire(one) {
  one.onChange = (_state, news) => {
    if (news.type === 'heard') heard(news.message);
    draw();
  };
  one.onRefused = (refusal, extra) => {
    if (typeof extra.page === 'string' && extra.page.startsWith('/')) location.assign(extra.page);
    // The clocks differ by a breath, or the server opens a moment late.
    else if (serverNow() < startsAt && refusal.code !== 'removed') window.setTimeout(joinAgain, RETRY_EARLY_MS);
  };
}

/** The client writes from here too; a guest has to be let in first. */
function makeChat() {
  const panels = new Panels({ chat: () => made.seen() });
  const made = new Chat(session, { isSeen: () => panels.open === 'chat', onUnread: (count) => showCount('chat-count', count) });
  return made;
}

/** @param {import('./room/protocol.js').ServerMessage} message */
function heard(message) {
  if (message.type === 'welcome') void chat?.connected(message.person);
  if (message.type !== 'news') return;
  chat?.heard(message.topic, message.body);
  report.heard(message.topic, message.body);
}

/** A refused line is closed for good; a fresh one takes the devices over. */
function joinAgain() {
  const fresh = new Call(session, root.dataset.mode || 'video', root.dataset.blur || 'browser');
  fresh.adopt(call);
  call = fresh;
  wire(fresh);
  fresh.join();
  draw();
}

/** @param {number} now */
function tick(now) {
  if (lacks) {
    say(byId('wait-title'), UNFIT_TITLE);
    say(byId('wait-lead'), unfitWords(lacks));
    return;
  }
  if (!isJoining && now >= opensAt) {
    isJoining = true;
    call.join();
  }
  draw();
}

function leave() {
  if (!isIn) call.leave();
}

function draw() {
  const { state } = call;
  if (isIn) return;
  if (state.place === 'admitted' && state.snapshot) {
    becomeRoom();
    return;
  }
  const page = state.ending ? endingPage(state.ending, session, state.role) : '';
  if (page) {
    isIn = true;
    location.assign(page);
    return;
  }
  drawWords(state);
  drawDevices(state);
  checkConnection(isJoining ? state.line : 'early', clock(opensAt));
}

/** @param {RoomState} state */
function drawWords(state) {
  if (!isJoining) return;
  const isComingBack = state.ending?.kind === 'refused' && serverNow() < startsAt;
  if (state.ending && !isComingBack) {
    const [title, words] = endingWords(state.ending);
    say(byId('wait-title'), title);
    say(byId('wait-lead'), words);
    return;
  }
  const isHere = state.people.some((person) => person.role === 'practitioner' && person.connected);
  const isEarly = serverNow() < startsAt;
  const isRunning = state.snapshot?.state === 'in_progress';
  byId('next-running').hidden = !isRunning;
  byId('next-early').hidden = isRunning;
  say(byId('wait-title'), isHere ? t('%(other)s is here and will let you in.', { other })
    : isRunning ? t('%(other)s is not here just now. Thank you for waiting.', { other })
      : isEarly ? t('%(other)s is not here yet. You are early, that is fine.', { other }) : t('%(other)s is not here yet. Thank you for waiting.', { other }));
  say(byId('wait-lead'), state.ending ? state.ending.detail
    : state.line === 'lost' ? t('The connection is gone. We are getting it back, you needn\'t do anything.')
      : state.line !== 'open' ? t('Connecting you to the waiting room.')
        : isRunning ? t('The session is running already. You needn\'t do anything.')
          : isHere ? t('It begins in a moment. You needn\'t do anything.') : t('%(other)s has been told that you are waiting.', { other }));
}

/** @param {RoomState} state */
function drawDevices(state) {
  const camera = call.devices.shown.camera;
  const shown = own.srcObject instanceof MediaStream ? own.srcObject.getTracks()[0] : null;
  if (shown !== camera) own.srcObject = camera ? new MediaStream([camera]) : null;
  own.hidden = !camera;
  const instead = byId('own-instead');
  instead.hidden = Boolean(camera);
  if (hasVideo) say(instead, state.camera.problem ? t('No picture') : state.camera.on ? t('Starting your camera') : t('Your camera is off'));
  drawDevice(byId('mic'), state.microphone, ['mic', 'mic-off'], t('Microphone'));
  if (hasVideo) drawDevice(byId('camera'), state.camera, ['camera', 'camera-off'], t('Camera'));
  const problem = problemWords(state.microphone.problem, state.camera.problem);
  byId('device-problem').hidden = !problem;
  say(byId('device-words'), problem);
  sound.watch(call.devices.shown.microphone, state.microphone);
  drawBackground(state);
  if (hasVideo) checkCamera(own, state.camera);
}

/** Whoever is let in meanwhile needs the line for the session. */
async function test() {
  const button = byId('test-network');
  if (button.getAttribute('aria-busy') === 'true') return;
  button.setAttribute('aria-busy', 'true');
  try {
    noteTested(await testNetwork(session, testing.signal));
    draw();
  } catch (error) {
    if (!testing.signal.aborted) throw error;
  } finally {
    button.removeAttribute('aria-busy');
  }
}

/** Asked once, prefilled; whoever never opens the list is where the list says. */
function wireCountry() {
  const country = /** @type {HTMLSelectElement|null} */ (document.getElementById('country'));
  country?.addEventListener('change', () => {
    void report.showNumbers(country.value);
    // Not essential here: what is chosen in the report itself goes with it.
    if (country.value) post(`/api/appointments/${session}/country`, { country: country.value }).catch(() => {});
  });
}

function wireDevices() {
  byId('mic').addEventListener('click', () => void call.devices.toggle('microphone'));
  if (hasVideo) byId('camera').addEventListener('click', () => void call.devices.toggle('camera'));
  byId('device-retry').addEventListener('click', () => void call.devices.open().then(fillDevices));
  for (const kind of kinds) {
    picker(kind).addEventListener('change', () => void call.devices.choose(kind, picker(kind).value));
  }
  picker('speaker').addEventListener('change', () => chooseDevice('speaker', picker('speaker').value));
  onDevicesChanged(() => void call.devices.noteChange().then(fillDevices));
  wireBackground(() => call);
}

async function fillDevices() {
  if (isIn) return;
  const all = await listDevices();
  if (isIn) return;
  const chosen = chosenDevices();
  for (const kind of /** @type {(DeviceKind|'speaker')[]} */ ([...kinds, 'speaker'])) {
    if (!all[kind].length) {
      if (kind !== 'speaker') picker(kind).replaceChildren(element('option', {}, t('Not available')));
      continue;
    }
    const used = kind === 'speaker' ? chosen.speaker : call.devices.idOf(kind) || chosen[kind];
    picker(kind).replaceChildren(...all[kind].map((device, at) => element('option', {
      value: device.deviceId, selected: device.deviceId === used }, device.label || `${t(kind)} ${at + 1}`)));
  }
}

/** @param {DeviceKind|'speaker'} kind */
function picker(kind) {
  return /** @type {HTMLSelectElement} */ (byId(`pick-${kind}`));
}

function becomeRoom() {
  isIn = true;
  testing.abort();
  chat?.close();
  stopTicking();
  sound.close();
  const template = byId('room-template');
  if (!(template instanceof HTMLTemplateElement)) throw new Error('#room-template is no template');
  const toasts = byId('toasts');
  document.documentElement.dataset.theme = 'dark';
  document.body.replaceChildren(document.importNode(template.content, true), toasts);
  history.replaceState(null, '', `/sessions/${session}/room`);
  document.title = root.dataset.title || '';
  enterRoom(call);
  byId('main').focus();
}
