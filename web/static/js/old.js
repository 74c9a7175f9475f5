// For browsers that know no modules, and so run nothing else of ours: says why the page stays as it is.
(function () {
  document.addEventListener('DOMContentLoaded', function () {
    var title = document.getElementById('over-title') || document.getElementById('wait-title');
    var words = document.getElementById('over-words') || document.getElementById('wait-lead');
    var over = document.getElementById('over');
    if (over) over.hidden = false;
    if (title) title.textContent = 'This browser can\'t carry the session';
    if (words) words.textContent = 'It is too old for live pictures and sound. Open this page in a current Chrome, Edge, Firefox or Safari. Your place is kept.';
  });
})();
