// @ts-check
// The page's clock follows the server's: the offset is measured once from <meta name="server-now"> and
// improved by whoever learns better (setServerNow). Formats match web/words.py.

import { language, t, tn } from './words.js';

const loadedAt = performance.now();
const meta = document.querySelector('meta[name="server-now"]');
const stamp = meta instanceof HTMLMetaElement ? Date.parse(meta.content) : NaN;
// Time between the server's stamp and this line: the page's own load, as the browser measured it.
const [navigation] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType('navigation'));
const sinceStamp = navigation ? Math.max(0, loadedAt - navigation.responseStart) : 0;
let base = Number.isNaN(stamp) ? Date.now() : stamp + sinceStamp;
let baseAt = loadedAt;

/** Milliseconds since the epoch by the server's clock. */
export function serverNow() {
  return base + (performance.now() - baseAt);
}

/** @param {string | number} value the server's time as ISO text or milliseconds */
export function setServerNow(value) {
  const at = typeof value === 'number' ? value : Date.parse(value);
  if (Number.isNaN(at)) return;
  base = at;
  baseAt = performance.now();
}

/** The zone the page's times are written in: the person's, else the browser's. */
export function pageZone() {
  const zone = document.querySelector('meta[name="zone"]');
  return (zone instanceof HTMLMetaElement && zone.content) || browserZone();
}

export function browserZone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}

const pad = (/** @type {number} */ value) => String(value).padStart(2, '0');

/** "4:07", "1:04:07" @param {number} ms */
export function clockLength(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  return hours ? `${hours}:${pad(minutes)}:${pad(seconds % 60)}` : `${minutes}:${pad(seconds % 60)}`;
}

/** "1 h 32 min", "4 min", "less than a minute", "now" @param {number} ms */
export function wordLength(ms) {
  const minutes = Math.ceil(ms / 60000);
  if (ms <= 0) return t('now');
  if (ms < 60000) return t('less than a minute');
  if (minutes >= 2 * 24 * 60) return t('%(days)s days', { days: Math.floor(minutes / (24 * 60)) });
  const hours = Math.floor(minutes / 60);
  if (!hours) return t('%(minutes)s min', { minutes });
  return minutes % 60 ? t('%(hours)s h %(minutes)s min', { hours, minutes: minutes % 60 }) : t('%(hours)s h', { hours });
}

/** "9 minutes 41 seconds", for labels that are read aloud @param {number} ms */
export function spokenLength(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  const parts = [
    hours ? tn('%(num)s hour', '%(num)s hours', hours) : '',
    minutes ? tn('%(num)s minute', '%(num)s minutes', minutes) : '',
    seconds % 60 ? tn('%(num)s second', '%(num)s seconds', seconds % 60) : '',
  ].filter(Boolean);
  return parts.join(' ') || t('0 seconds');
}

/** "16:00" @param {string | number | Date} at @param {string} [zone] */
export function clock(at, zone = pageZone()) {
  return new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', timeZone: zone })
    .format(new Date(at));
}

/** @param {string | number | Date} at @param {string} zone */
const yearOf = (at, zone) => new Intl.DateTimeFormat('en-GB', { year: 'numeric', timeZone: zone }).format(new Date(at));

/** "Tue 3 Mar"; with the year when it is another one @param {string | number | Date} at @param {string} [zone] */
export function day(at, zone = pageZone()) {
  const year = yearOf(at, zone) === yearOf(serverNow(), zone) ? undefined : 'numeric';
  const said = new Intl.DateTimeFormat(language, { weekday: 'short', day: 'numeric', month: 'short', year, timeZone: zone })
    .format(new Date(at));
  return language === 'en-GB' ? said.replace(',', '').replace('Sept', 'Sep') : said;
}

/** "Tue 3 Mar, 16:00" @param {string | number | Date} at @param {string} [zone] */
export function when(at, zone = pageZone()) {
  return `${day(at, zone)}, ${clock(at, zone)}`;
}

/**
 * Calls `tick` now and then at each full second of the server's clock, while the page is open.
 * @param {(now: number) => void} tick
 * @returns {() => void} stops it
 */
export function everySecond(tick) {
  let timer = 0;
  const run = () => {
    const now = serverNow();
    tick(now);
    timer = window.setTimeout(run, 1000 - (now % 1000) + 5);
  };
  run();
  return () => window.clearTimeout(timer);
}
