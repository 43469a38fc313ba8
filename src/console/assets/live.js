// The live tail: lines as they come. What comes while it is paused, or faster than it can be shown, is counted.

import { address, by, count, el, lines, t } from './util.js';
import { state } from './state.js';
import * as rows from './rows.js';

/** Rows that a live tail keeps. */
const MOST = 2000;

let source = null;
let waiting = [];
let paused = false;
let skipped = 0;
let drawing = false;
let lost = () => {};
let late;
/** A line is in the search at most so long after it is in the live tail. */
const COMMITTED_MS = 2500;

export const on = () => source !== null;

/** `trouble(text)` is called when the connection is lost, and with null when it is back; `past()` adds what came before it. */
export function start(trouble, past) {
  stop();
  lost = trouble;
  paused = false;
  skipped = 0;
  source = new EventSource(address('live', { q: state.q }));
  // What came before the connection (also before one that is made again) is searched for: at once, and when what was
  // read but not committed at that moment is found, too.
  source.addEventListener('open', async () => {
    lost(null);
    clearTimeout(late);
    late = setTimeout(past, COMMITTED_MS);
    await past();
    tell();
  });
  source.addEventListener('error', () => refused());
  source.addEventListener('trouble', (event) => lost(JSON.parse(event.data).reason));
  source.addEventListener('skipped', (event) => { skipped += JSON.parse(event.data).lines; tell(); });
  source.addEventListener('line', (event) => {
    waiting.push(JSON.parse(event.data));
    if (waiting.length > MOST) { skipped += waiting.length - MOST; waiting = waiting.slice(-MOST); }
    draw();
  });
  by('live').setAttribute('aria-pressed', 'true');
  by('pause').hidden = false;
  tell();
}

/** The connection is lost. Where the server refuses it the browser doesn't try again, and only a plain call reads why. */
async function refused() {
  lost(t('error.live'));
  if (source?.readyState !== EventSource.CLOSED) return;
  const asked = source;
  const call = new AbortController();
  const reason = await fetch(asked.url, { signal: call.signal }).then(async (answer) => (answer.ok ? null : (await answer.json()).error)).catch(() => null);
  call.abort();
  if (reason && source === asked) lost(reason);
}

export function stop() {
  source?.close();
  clearTimeout(late);
  source = null;
  waiting = [];
  by('live').setAttribute('aria-pressed', 'false');
  by('pause').hidden = true;
  by('note').hidden = true;
}

export function pause(value = !paused) {
  paused = value;
  draw();
  tell();
}

function draw() {
  if (paused) return tell();
  if (drawing || !waiting.length) return;
  drawing = true;
  // One drawing a frame, however many lines; a page out of sight draws when it is seen again.
  requestAnimationFrame(() => {
    drawing = false;
    if (paused || !source) return;
    const known = new Set(rows.all().slice(0, 500).map(rows.key));
    const fresh = waiting.filter((hit) => !known.has(rows.key(hit)));
    waiting = [];
    rows.prepend(fresh.reverse(), MOST);
    tell();
  });
}

function tell() {
  if (!source) return;
  by('pause').textContent = paused ? t('resume', { count: count(waiting.length) }) : t('pause');
  by('pause').setAttribute('aria-pressed', paused ? 'true' : 'false');
  by('count').textContent = paused ? t('live.paused') : t('live.on');
  by('span').textContent = lines(rows.size());
  const note = by('note');
  note.hidden = skipped === 0;
  note.classList.remove('bad');
  note.replaceChildren(el('span', {}, t('live.skipped', { count: count(skipped) })));
  by('empty').hidden = rows.size() > 0;
  if (!rows.size()) by('empty').replaceChildren(el('h2', {}, t('live.waiting')), el('p', {}, state.q ? t('live.waiting.filter') : t('live.waiting.hint')));
}
