// @ts-check
// gettext for the browser's modules: t() and tn() look a sentence up in the page's language. English is in the modules
// themselves; of another language the catalog is loaded once, from <meta name="words"> (web/script_words.py).

/** @typedef {Record<string, string | number>} Values */

// Workers and tests have no document.
const page = globalThis.document;

/** BCP 47, for Intl. */
export const language = page?.documentElement.lang || 'en-GB';

/** @type {Record<string, string | string[]>} */
const found = await load(page?.querySelector('meta[name="words"]')?.getAttribute('content'));

/** @param {string | null | undefined} url */
async function load(url) {
  if (!url) return {};
  try {
    return await (await fetch(url)).json();
  } catch {
    return {}; // English words are better than no page.
  }
}

/** @param {string} message with placeholders %(name)s @param {Values} [values] */
export function t(message, values = {}) {
  const said = found[message];
  return fill(typeof said === 'string' ? said : message, values);
}

/** By number, which is also %(num)s. @param {string} one @param {string} many @param {number} number @param {Values} [values] */
export function tn(one, many, number, values = {}) {
  const said = found[one];
  const [first, other] = Array.isArray(said) ? said : [one, many];
  return fill(number === 1 ? first : other, { num: number, ...values });
}

/** @param {string} message @param {Values} values */
function fill(message, values) {
  return message.replace(/%(?:\((\w+)\)s|%)/g, (all, name) => (name ? String(values[name] ?? all) : '%'));
}
