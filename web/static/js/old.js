// For browsers that know no modules, and so run nothing else of ours: says why the page stays as it is, in the words of
// its own <script> (templates/parts/old_browser.html).
(function () {
  var said = document.getElementById('old-browser');
  document.addEventListener('DOMContentLoaded', function () {
    var title = document.getElementById('over-title') || document.getElementById('wait-title');
    var words = document.getElementById('over-words') || document.getElementById('wait-lead');
    var over = document.getElementById('over');
    if (over) over.hidden = false;
    if (title) title.textContent = said && said.getAttribute('data-title');
    if (words) words.textContent = said && said.getAttribute('data-words');
  });
})();
