// @ts-check
// The practitioner's Admit for a guest who waits: the room knows people, the API invitations, so it asks for both.

import { get, post } from '../api.js';
import { element } from '../page.js';

/** @param {string} sessionId @param {{id: string, name: string}} person @param {(words: string) => void} fail */
export function admitButton(sessionId, person, fail) {
  const button = element('button', { class: 'btn btn--small', type: 'button' }, 'Admit', element('span', { class: 'vh' }, ` ${person.name}`));
  button.addEventListener('click', async () => {
    if (button.getAttribute('aria-busy')) return;
    button.setAttribute('aria-busy', 'true');
    fail('');
    const api = `/api/appointments/${sessionId}/guests`;
    try {
      const { guests } = await get(api);
      const guest = guests.find((/** @type {{person_id: string}} */ one) => one.person_id === person.id);
      await post(`${api}/${guest?.id}/admit`);
    } catch (error) {
      fail(error instanceof Error ? error.message : 'They could not be let in. Try again.');
    } finally {
      button.removeAttribute('aria-busy');
    }
  });
  return button;
}
