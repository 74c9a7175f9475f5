// @ts-check
// Where a session's end leads, and what is said when it leads nowhere. Pure; shared by the room and the waiting room.

/** @typedef {import('./state.js').Ending} Ending */

/** The page to go to, or '' to stay and say it. @param {Ending} ending @param {string} sessionId */
export function endingPage(ending, sessionId) {
  if (ending.kind === 'replaced') return '';
  const page = `/sessions/${sessionId}`;
  if (ending.code.includes('no_show_practitioner')) return `${page}/missed`;
  if (ending.code.includes('cancelled') || ending.code.includes('no_show') || ending.code === 'expired') return page;
  return ending.kind === 'ended' || ending.code === 'completed' ? `${page}/afterwards` : '';
}

/** @param {Ending} ending @returns {[string, string]} title and words */
export function endingWords(ending) {
  if (ending.kind === 'replaced') {
    return ['You are here on another device', 'The session goes on there. Camera and microphone of this one are off.'];
  }
  if (ending.kind === 'removed') return ['You are no longer in this session', ending.detail || 'Your place in it was taken back.'];
  if (ending.code === 'no_media') return ['No picture and sound', ending.detail];
  return ['You can\'t come in just now', ending.detail];
}
