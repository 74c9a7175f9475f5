// @ts-check
// Buttons that put a mark before the lines chosen in a text field, or take it away: <button data-mark="# " data-for="id">.
// The browser's own undo keeps working, and people who write the marks themselves need none of this.

for (const button of document.querySelectorAll('[data-mark]')) {
  button.addEventListener('click', () => {
    const { mark = '', for: id = '' } = /** @type {HTMLElement} */ (button).dataset;
    const field = document.getElementById(id);
    if (field instanceof HTMLTextAreaElement) toggle(field, mark);
  });
}

/** @param {HTMLTextAreaElement} field @param {string} mark */
function toggle(field, mark) {
  const { value, selectionStart, selectionEnd } = field;
  const from = value.lastIndexOf('\n', selectionStart - 1) + 1;
  const next = value.indexOf('\n', selectionEnd);
  const to = next < 0 ? value.length : next;
  const lines = value.slice(from, to).split('\n');
  const isOn = lines.every((line) => line.startsWith(mark));
  const changed = lines.map((line) => (isOn ? line.slice(mark.length) : mark + line.replace(/^(# |- )/, ''))).join('\n');
  field.focus();
  field.setSelectionRange(from, to);
  // Deprecated, and the only way that undo knows of; where it is gone, the text is set without it.
  if (!document.execCommand('insertText', false, changed)) field.setRangeText(changed, from, to, 'select');
  field.setSelectionRange(from, from + changed.length);
}
