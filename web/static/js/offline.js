// @ts-check
// The offline page: as soon as the server answers again, the page that was wanted is loaded.

const LOOK_EVERY_MS = 3000;

const again = () => location.reload();

async function look() {
  try {
    if ((await fetch('/healthz', { cache: 'no-store', credentials: 'omit' })).ok) again();
  } catch {
    // Not yet.
  }
}

window.addEventListener('online', () => void look());
window.setInterval(() => void look(), LOOK_EVERY_MS);
document.getElementById('again')?.addEventListener('click', again);
