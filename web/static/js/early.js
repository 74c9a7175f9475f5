// @ts-check
// Runs before the page is drawn (a classic script), for what may happen before the modules run: a form of ours that is
// sent before forms.js has loaded is kept and sent by it, instead of leaving as a plain navigation that would lose the
// press and put the fields into the address; and a page whose modules did not all arrive is loaded anew, or says so.

/** @typedef {{form: HTMLFormElement, submitter: HTMLElement | null}} Early */

{
  /** @param {SubmitEvent} event */
  const keep = (event) => {
    if (!(event.target instanceof HTMLFormElement) || event.target.dataset.api === undefined) return;
    event.preventDefault();
    /** @type {any} */ (window).earlySubmit = { form: event.target, submitter: event.submitter };
  };
  document.addEventListener('submit', keep, true);
  /** Called once by forms.js. @returns {Early | undefined} */
  /** @type {any} */ (window).takeEarlySubmit = () => {
    document.removeEventListener('submit', keep, true);
    return /** @type {any} */ (window).earlySubmit;
  };
}

{
  const MOST_TIMES = 2; // what never arrives, as one that the browser blocks, is said
  const LONG_MS = 4_000; // without the server, or with one that nothing comes through to: said once, and tried on
  const words = document.currentScript?.dataset.words || '';
  const times = history.state?.loadedAnew || 0;
  /** Once the server answers. @param {string} url @param {number} pause in ms */
  const loadAnew = async (url, pause) => {
    await new Promise((done) => window.setTimeout(done, Math.min(pause, 30_000) * (0.5 + Math.random())));
    const status = await fetch(url, { cache: 'no-store' }).then((answer) => answer.status, () => 503);
    if (status === 200) {
      history.replaceState({ loadedAnew: times + 1 }, '');
      location.reload();
    } else if (status < 500) {
      say();
    } else {
      if (pause === LONG_MS) say();
      void loadAnew(url, 2 * pause);
    }
  };
  const say = () => {
    if (document.readyState === 'loading') return void document.addEventListener('DOMContentLoaded', say);
    const card = document.createElement('div');
    card.className = 'toast';
    card.textContent = words;
    document.getElementById('toasts')?.append(card);
  };
  let isWhole = true;
  // A network that changes while a page loads (Wi-Fi to mobile) makes Chromium drop every request that waits, and without
  // one of its modules the page would run nothing.
  window.addEventListener('error', (event) => {
    const script = event.target;
    if (!(script instanceof HTMLScriptElement) || script.type !== 'module') return;
    if (!isWhole) return;
    isWhole = false;
    if (times < MOST_TIMES) void loadAnew(script.src, 500);
    else say();
  }, true);
  window.addEventListener('load', () => {
    if (isWhole && times) history.replaceState(null, '');
  });
}
