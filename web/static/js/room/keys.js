// @ts-check
// Single-letter keys of the room: each presses the button that names it. Never while typing, never with a modifier,
// and they can be switched off (WCAG 2.1.4).

import { byId, element } from '../page.js';
import { t } from '../words.js';

const OFF = 'holdspace.keys.off';

/** What each key is for, in the order of the overview. @type {[string, string, string][]} key, button id, words */
const KEYS = [
  ['m', 'mic', t('Microphone on or off')],
  ['v', 'camera', t('Camera on or off')],
  ['b', 'blur', t('Background blur on or off')],
  ['s', 'share', t('Share your screen, or stop')],
  ['c', 'chat', t('Chat')],
  ['i', 'files', t('Files')],
  ['p', 'people', t('People')],
  ['n', 'client', t('Client file and notes')],
  ['r', 'record', t('Record, pause or stop')],
  ['d', 'menu-devices', t('Camera and sound')],
  ['a', 'menu-sound-only', t('Sound only, or pictures again')],
  ['g', 'layout-next', t('Next layout')],
  ['w', 'menu-pip', t('Small window over other programs')],
  ['f', 'menu-full', t('Full screen')],
  ['q', 'quality', t('What the connection is like')],
  ['y', 'answer', t('Change your answer about recording')],
  ['u', 'menu-guest', t('Invite a guest')],
  ['x', 'menu-no-show', t('Mark as no-show (asks first)')],
  ['h', 'report', t('Report a problem')],
  ['e', 'end', t('End the session (asks first)')],
  ['l', 'leave', t('Leave')],
  ['l', 'menu-leave', t('Leave without ending')],
];

function switchedOff() {
  try {
    return localStorage.getItem(OFF) === 'yes';
  } catch {
    return false;
  }
}

export function startKeys() {
  const dialog = /** @type {HTMLDialogElement} */ (byId('keys-dialog'));
  const toggle = /** @type {HTMLInputElement} */ (byId('keys-on'));
  toggle.checked = !switchedOff();
  toggle.addEventListener('change', () => {
    try {
      localStorage.setItem(OFF, toggle.checked ? 'no' : 'yes');
    } catch {
      // Storage may be refused; then it lasts for this page.
    }
  });
  const show = () => {
    const rows = KEYS.filter(([, id]) => usable(id));
    byId('keys-list').replaceChildren(...[...rows, ['?', '', t('This overview')]].map(([key, , words]) => element('div', {},
      element('dt', {}, element('kbd', {}, key === '?' ? '?' : key.toUpperCase())), element('dd', {}, words))));
    if (!dialog.open) dialog.showModal();
  };
  byId('menu-keys').addEventListener('click', show);
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || isTyping(event.target)) return;
    if (document.querySelector('dialog[open]')) return;
    if (event.key === '?') {
      show();
      return;
    }
    if (!toggle.checked) return;
    const found = KEYS.find(([key, id]) => key === event.key.toLowerCase() && usable(id));
    if (found) {
      event.preventDefault();
      byId(found[1]).click();
    }
  });
}

/** @param {string} id */
function usable(id) {
  const button = document.getElementById(id);
  return button !== null && !button.hidden;
}

/** @param {EventTarget|null} target */
function isTyping(target) {
  return target instanceof HTMLElement
    && (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName));
}
