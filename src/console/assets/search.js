// The search page: from its address to what is shown. One question at a time; a newer one ends the older.

import { ask, by, count, el, Failure, full, lines, menu, now, t } from './util.js';
import { load, moves, set, span, state } from './state.js';
import * as bar from './bar.js';
import * as chart from './chart.js';
import * as context from './context.js';
import * as fields from './fields.js';
import * as keys from './keys.js';
import * as live from './live.js';
import * as rows from './rows.js';
import * as saved from './saved.js';
import * as time from './time.js';

/** Lines of the first page, and of each that follows while one scrolls. */
const PAGE = 100;
const FURTHER = 500;
let asking = new AbortController();
/** The span that the rows on the page were asked for; "more" stays within it. */
let within = null;
let last = null;
let loading = false;
let again;
/** Goes on when the end of the rows comes near. */
const near = new IntersectionObserver((seen) => { if (seen.at(-1).isIntersecting && rows.size()) next(); }, { rootMargin: '1500px' });

/** Asks anew. `quietly`: what is shown stays until the answer is there. */
async function run(quietly = false) {
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  clearTimeout(again);
  time.show();
  bar.showWrong(null);
  rows.arrange();
  by('empty').hidden = true;
  document.body.classList.toggle('is-live', state.live === '1');
  document.body.classList.remove('is-wrong', 'is-first');
  by('zoom-out').hidden = state.from === '' || state.live === '1';
  if (state.live) return follow(signal);
  live.stop();
  chart.grey();
  if (!quietly) document.body.classList.add('busy');
  within = { q: state.q, ...span(), order: state.order };
  const { q, from, to } = within;
  try {
    const [page, histogram] = await Promise.all([
      ask('search', { ...within, size: PAGE, count: true, cut: rows.CUT }, signal),
      ask('histogram', { q, from, to }, signal)]);
    reachable();
    rows.clear();
    by('chart').hidden = false;
    chart.draw(histogram);
    by('count').textContent = lines(page.total ?? histogram.total);
    by('span').textContent = `${full(histogram.from_ms)} – ${full(histogram.to_ms)}`;
    add(page);
    watch();
    note(page.incomplete && t('incomplete', { reason: page.incomplete }), true);
    if (!page.hits.length) await nothing(signal);
    fields.load(signal);
  } catch (error) {
    failed(error, () => run(true));
  } finally {
    if (!signal.aborted) document.body.classList.remove('busy');
  }
  time.schedule();
}

/** A page may be shorter than was asked for and not the last one: long lines fill it sooner. */
function add(page) {
  rows.append(page.hits);
  last = page.after;
  const more = by('more');
  more.replaceChildren();
  if (last && rows.size() < rows.MOST) more.append(el('button', { type: 'button', class: 'more', onclick: next }, t('more')));
  else if (last) more.append(el('p', { class: 'faint' }, t('more.most', { count: count(rows.MOST) })));
  else if (rows.size()) more.append(el('p', { class: 'faint' }, t('more.end')));
}

/** The end may still be near: an observer tells only of changes, so it begins again. */
function watch() {
  near.disconnect();
  near.observe(by('more'));
}

async function next() {
  if (loading || !last || state.live || rows.size() >= rows.MOST) return;
  loading = true;
  const { signal } = asking;
  try {
    const size = Math.min(FURTHER, rows.MOST - rows.size());
    const page = await ask('search', { ...within, size, after: last, cut: rows.CUT }, signal);
    if (!signal.aborted) add(page);
  } catch (error) {
    failed(error, next);
  } finally {
    loading = false;
    watch();
  }
}

/** The live tail, with the newest lines of the past among it. */
async function follow(signal) {
  rows.clear();
  by('chart').hidden = true;
  by('more').replaceChildren();
  within = null;
  last = null;
  const past = async () => {
    try {
      rows.merge((await ask('search', { q: state.q, size: PAGE, order: 'newest_first', cut: rows.CUT }, signal)).hits);
      return true;
    } catch (error) {
      failed(error, () => run(true));
      return false;
    }
  };
  // A wrong query is refused here: a stream that is refused tells a page no reason.
  if (!(await past())) return;
  reachable();
  live.start((text) => (text ? unreachable(text) : reachable()), past);
  fields.load(signal);
}

function failed(error, retry) {
  if (error.name === 'AbortError') return;
  if (!(error instanceof Failure)) throw error;
  if (error.status === 400) {
    live.stop();
    rows.clear();
    by('head').hidden = true;
    by('more').replaceChildren();
    by('chart').hidden = true;
    document.body.classList.add('is-wrong');
    return bar.showWrong(error);
  }
  unreachable(error.status ? error.message : t('error.unreachable'));
  // The server may be restarted: what was asked for comes by itself when it is back.
  if (error.status === 0 || error.status === 503) again = setTimeout(retry, 2000);
}

function unreachable(text) {
  by('offline').textContent = text;
  by('offline').hidden = false;
}

function reachable() { by('offline').hidden = true; }

function note(text, bad = false) {
  by('note').hidden = !text;
  by('note').classList.toggle('bad', bad && Boolean(text));
  by('note').textContent = text || '';
}

/** Nothing found: why that may be, and what to do. */
async function nothing(signal) {
  const place = by('empty');
  const act = (text, onclick) => el('button', { type: 'button', onclick }, text);
  let ever = null;
  try {
    const [come, { entries }] = await Promise.all([ask('collected', {}, signal), ask('entries', { size: 8 }, signal)]);
    ever = { ...come, entries: entries.map((row) => row.entry) };
  } catch { /* the lines matter here, not the files */ }
  if (ever && ever.first_ms === null) {
    document.body.classList.add('is-first');
    const paths = (ever.entries ?? []).map((entry) => entry.path);
    place.replaceChildren(el('h2', {}, t('empty.first')), el('p', {}, paths.length ? t('empty.first.paths') : t('empty.first.none')),
      el('ul', {}, paths.slice(0, 8).map((path) => el('li', {}, el('code', {}, path)))), paths.length ? el('p', { class: 'faint' }, t('empty.first.files', { count: count(ever.files?.length ?? 0) })) : '',
      el('p', {}, el('a', { class: 'button primary', href: '/collect' }, t('empty.first.open'))));
    again = setTimeout(() => run(true), 1000);
  } else {
    place.replaceChildren(el('h2', {}, t('empty')), el('p', {}, ever?.last_ms ? t('empty.last', { time: full(ever.last_ms) }) : ''),
      el('div', { class: 'acts' }, state.from !== '' || !moves() ? act(t('empty.all'), () => { set({ from: '', to: '' }); run(); }) : '',
        state.q && act(t('empty.query'), () => search('')), act(t('empty.help'), keys.help), act(t('empty.live'), toggleLive)));
  }
  place.hidden = false;
  by('head').hidden = true;
}

function search(q) {
  bar.setText(q);
  set({ q });
  run();
  scrollTo({ top: 0 });
}

function toggleLive() {
  set({ live: state.live ? '' : '1' });
  run();
}

function zoom(from, to) {
  set({ from: new Date(from).toISOString(), to: new Date(to).toISOString() });
  run();
}

function zoomOut() {
  const { from, to } = span();
  if (from === null) return;
  const half = (to - from) / 2;
  const end = to + half;
  set({ from: new Date(from - half).toISOString(), to: end >= now() ? '' : new Date(end).toISOString() });
  run();
}

function show() {
  load();
  bar.setText(state.q);
  run();
  context.follow();
}

bar.begin(search);
by('wrong').addEventListener('click', (event) => { if (event.target.closest('button')) keys.help(); });
chart.begin(zoom);
fields.begin();
keys.begin(toggleLive, () => (live.on() ? live.pause() : false));
rows.begin(search);
saved.begin();
time.begin(run);
menu(by('export'), by('export-panel'));
by('live').addEventListener('click', toggleLive);
by('pause').addEventListener('click', () => live.pause());
by('zoom-out').addEventListener('click', zoomOut);
by('order').addEventListener('click', () => { set({ order: state.order === 'oldest_first' ? 'newest_first' : 'oldest_first' }); run(); });
addEventListener('popstate', show);
show();
document.documentElement.dataset.ready = String(Math.round(performance.now()));
