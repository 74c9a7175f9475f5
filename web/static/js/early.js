// @ts-check
// Runs before the page is drawn (a classic script): a form of ours that is sent before forms.js has loaded is kept and
// sent by it, instead of leaving as a plain navigation that would lose the press and put the fields into the address.

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
