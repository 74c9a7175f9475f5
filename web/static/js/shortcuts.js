// @ts-check
// Single-letter keys of the working pages: a control with data-key is pressed by its letter, never while typing.

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const target = event.target instanceof HTMLElement ? event.target : null;
  if (target?.closest('input, textarea, select, dialog, [contenteditable]')) return;
  const control = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!(control instanceof HTMLElement)) return;
  event.preventDefault();
  control.focus();
  control.click();
});
