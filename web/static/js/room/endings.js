// @ts-check
// Where a session's end leads, and what is said when it leads nowhere. Pure; shared by the room and the waiting room.

import { t } from '../words.js';

/** @typedef {import('./state.js').Ending} Ending */

/** Words of control that mean: this session is over, whatever the reason. */
const OVER = new Set(['ended', 'completed', 'cancelled', 'missed', 'expired', 'no_show_client', 'no_show_practitioner']);

/** The page to go to, or '' to stay and say it. @param {Ending} ending @param {string} sessionId @param {string} role */
export function endingPage(ending, sessionId, role) {
  if (ending.kind === 'replaced') return '';
  if (ending.kind === 'ended' && ending.code === 'completed') {
    return role === 'client' ? `/sessions/${sessionId}/afterwards` : `/sessions/${sessionId}`;
  }
  // The server knows which page tells of this end, and sends everybody there from the waiting room's door.
  return ending.kind === 'ended' || OVER.has(ending.code) ? `/sessions/${sessionId}/waiting-room` : '';
}

/** The page's own sign-in is over, and with it the token of its writes. @param {Ending} ending */
export function isSignedOut(ending) {
  return ending.code === 'not_signed_in' || ending.code === 'csrf_token_wrong';
}

/** @param {Ending} ending @returns {[string, string]} title and words */
export function endingWords(ending) {
  if (ending.kind === 'replaced') {
    return [t('You are here on another device'), t('The session goes on there. Camera and microphone of this one are off.')];
  }
  if (ending.kind === 'removed') return [t('You are no longer in this session'), ending.detail || t('Your place in it was taken back.')];
  if (isSignedOut(ending)) return [t('Please sign in again'), t('You were signed out meanwhile. Sign in, and you are back in the session.')];
  if (ending.code === 'no_media') return [t('No picture and sound'), ending.detail];
  return [t('You can\'t come in just now'), ending.detail];
}
