// @ts-check
// The waiting room: own picture, device choice, checks, and who is here, live. When the practitioner presses Start the
// page becomes the room: same socket, same camera, nothing loaded.

import { post } from './api.js';
import { byId, element } from './page.js';
import { clock, everySecond, serverNow } from './time.js';
import { SoundCheck, checkCamera, checkConnection } from './checks.js';
import { Call } from './room/call.js';
import { chooseDevice, chosenDevices, listDevices, onDevicesChanged, problemWords } from './room/devices.js';
import { endingPage, endingWords } from './room/endings.js';
import { enterRoom } from './room/main.js';
import { Report } from './room/report.js';
import { drawDevice, say } from './room/view.js';

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
const kinds = hasVideo ? ['microphone', 'camera'] : ['microphone'];

let call = new Call(session, root.dataset.mode || 'video');
const sound = new SoundCheck();
let isIn = false;
let isJoining = false;

const leaveLink = /** @type {HTMLAnchorElement} */ (byId('wait-leave'));
const report = new Report(() => location.assign(leaveLink.href));

wire(call);
wireDevices();
wireCountry();
void call.openDevices().then(fillDevices);
const stopTicking = everySecond(tick);
window.addEventListener('pagehide', leave);
window.addEventListener('pageshow', (event) => {
  if (event.persisted) location.reload();
});

/** @param {Call} one */
function wire(one) {
  one.onChange = (_state, news) => {
    if (news.type === 'heard' && news.message.type === 'news') report.heard(news.message.topic, news.message.body);
    draw();
  };
  one.onRefused = (refusal, extra) => {
    if (typeof extra.page === 'string' && extra.page.startsWith('/')) location.assign(extra.page);
    // The clocks differ by a breath, or the server opens a moment late.
    else if (serverNow() < startsAt && refusal.code !== 'removed') window.setTimeout(joinAgain, RETRY_EARLY_MS);
  };
}

/** A refused line is closed for good; a fresh one takes the devices over. */
function joinAgain() {
  const fresh = new Call(session, root.dataset.mode || 'video');
  fresh.adopt(call);
  call = fresh;
  wire(fresh);
  fresh.join();
  draw();
}

/** @param {number} now */
function tick(now) {
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
  say(byId('wait-title'), isHere ? `${other} is here and will let you in.`
    : isEarly ? `${other} is not here yet. You are early, that is fine.` : `${other} is not here yet. Thank you for waiting.`);
  say(byId('wait-lead'), state.ending ? state.ending.detail
    : state.line === 'lost' ? 'The connection is gone. We are getting it back, you needn\'t do anything.'
      : state.line !== 'open' ? 'Connecting you to the waiting room.'
        : isHere ? 'It begins in a moment. You needn\'t do anything.' : `${other} has been told that you are waiting.`);
}

/** @param {RoomState} state */
function drawDevices(state) {
  const camera = call.devices.camera;
  const shown = own.srcObject instanceof MediaStream ? own.srcObject.getTracks()[0] : null;
  if (shown !== camera) own.srcObject = camera ? new MediaStream([camera]) : null;
  own.hidden = !camera;
  const instead = byId('own-instead');
  instead.hidden = Boolean(camera);
  if (hasVideo) say(instead, state.camera.problem ? 'No picture' : state.camera.on ? 'Starting your camera' : 'Your camera is off');
  drawDevice(byId('mic'), state.microphone, ['mic', 'mic-off'], 'Microphone');
  if (hasVideo) drawDevice(byId('camera'), state.camera, ['camera', 'camera-off'], 'Camera');
  const problem = problemWords(state.microphone.problem, state.camera.problem);
  byId('device-problem').hidden = !problem;
  say(byId('device-words'), problem);
  sound.watch(call.devices.microphone, state.microphone);
  if (hasVideo) checkCamera(own, state.camera);
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
  byId('mic').addEventListener('click', () => void call.toggle('microphone'));
  if (hasVideo) byId('camera').addEventListener('click', () => void call.toggle('camera'));
  byId('device-retry').addEventListener('click', () => void call.openDevices().then(fillDevices));
  for (const kind of kinds) {
    picker(kind).addEventListener('change', () => void call.choose(kind, picker(kind).value));
  }
  picker('speaker').addEventListener('change', () => chooseDevice('speaker', picker('speaker').value));
  onDevicesChanged(() => void fillDevices());
}

async function fillDevices() {
  if (isIn) return;
  const all = await listDevices();
  if (isIn) return;
  const chosen = chosenDevices();
  for (const kind of /** @type {(DeviceKind|'speaker')[]} */ ([...kinds, 'speaker'])) {
    if (!all[kind].length) {
      if (kind !== 'speaker') picker(kind).replaceChildren(element('option', {}, 'Not available'));
      continue;
    }
    const used = kind === 'speaker' ? chosen.speaker : call.devices[kind]?.getSettings().deviceId || chosen[kind];
    picker(kind).replaceChildren(...all[kind].map((device, at) => element('option', {
      value: device.deviceId, selected: device.deviceId === used }, device.label || `${kind} ${at + 1}`)));
  }
}

/** @param {DeviceKind|'speaker'} kind */
function picker(kind) {
  return /** @type {HTMLSelectElement} */ (byId(`pick-${kind}`));
}

function becomeRoom() {
  isIn = true;
  stopTicking();
  sound.close();
  const template = byId('room-template');
  if (!(template instanceof HTMLTemplateElement)) throw new Error('#room-template is no template');
  const toasts = byId('toasts');
  document.documentElement.dataset.theme = 'dark';
  document.body.replaceChildren(document.importNode(template.content, true), toasts);
  history.replaceState(null, '', `/sessions/${session}/room`);
  document.title = document.title.replace(/^Waiting room, [^ ]+ with/, 'Session with');
  enterRoom(call);
  byId('main').focus();
}
