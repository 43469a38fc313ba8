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

const key = (hit) => `${hit.file}:${hit.offset}:${hit.time_ms}`;

export const on = () => source !== null;

/** `trouble(text)` is called when the connection is lost, and with null when it is back. */
export function start(trouble) {
  stop();
  lost = trouble;
  paused = false;
  skipped = 0;
  source = new EventSource(address('live', { q: state.q }));
  source.addEventListener('open', () => lost(null));
  source.addEventListener('error', () => lost(t('error.live')));
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

export function stop() {
  source?.close();
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
    const known = new Set(rows.all().slice(0, 500).map(key));
    const fresh = waiting.filter((hit) => !known.has(key(hit)));
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
