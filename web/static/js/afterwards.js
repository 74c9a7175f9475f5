// @ts-check
// The rating form: says what the stars mean, counts characters, and says that a low rating is asked about twice.

import { byId } from './page.js';
import { language, t } from './words.js';

const WORDS = ['', t('1 of 5, bad'), t('2 of 5, not good'), t('3 of 5, mixed'), t('4 of 5, good'), t('5 of 5, very good')];
const LOW = 3;

const form = document.getElementById('rating');
if (form instanceof HTMLFormElement) {
  const look = () => {
    const data = new FormData(form);
    const stars = Number(data.get('rating') || 0);
    byId('star-words').textContent = WORDS[stars] || t('Choose one to five stars');
    // The practitioner's form asks nothing twice: it is never public.
    const twice = document.getElementById('low-public');
    if (twice) twice.hidden = !(stars > 0 && stars <= LOW && data.get('isPublic') === 'true');
    const length = String(data.get('feedback') || '').length;
    byId('feedback-hint').textContent = t('%(length)s of 2,000 characters', { length: length.toLocaleString(language) });
  };
  form.addEventListener('input', look);
  look();
}
