// The lines that were found. A row opens to all its fields; each field can be searched for, left out, made a column, or
// asked for its most frequent values. Rows stand in pieces of a hundred; a piece out of sight costs no layout
// (`content-visibility` in the style).

import { address, ask, by, count, el, full, keep, moment, sign, t, toast } from './util.js';
import { level, plain, show } from './text.js';
import { and, name, value } from './bar.js';
import { columns, set, span, state } from './state.js';
import * as context from './context.js';

/** Characters of a line that a row shows; the server sends no more unless asked. */
export const CUT = 2000;
/** Rows that are kept on the page. */
export const MOST = 10_000;

const place = by('rows');
/** Rows of a piece. */
const PIECE = 100;
/** All rows, kept up to date by the browser. */
const present = place.getElementsByClassName('row');
let current = null;
let searched = () => {};

/** The list with other columns or in another shape. */
export function arrange() {
  const cols = columns();
  place.style.setProperty('--columns', cols.map((col) => (col === 'log.file.path' ? 'minmax(7em, 11em)' : 'minmax(6em, 14em)')).join(' '));
  const head = by('head');
  head.style.setProperty('--columns', place.style.getPropertyValue('--columns'));
  head.replaceChildren(el('span'), el('span', {}, t('column.time')), ...cols.map((col) => el('span', { class: 'column' },
    el('span', { title: col }, col === 'log.file.path' ? t('column.file') : col),
    sign('close', t('column.remove', { name: col }), () => column(col), { 'data-remove': col }))), el('span', {}, t('column.message')));
  const wrap = keep.get('wrap') === '1';
  place.classList.toggle('wrap', wrap);
  by('wrap').setAttribute('aria-pressed', wrap ? 'true' : 'false');
  by('order').textContent = state.order === 'oldest_first' ? t('order.oldest') : t('order.newest');
}

export function clear() {
  place.replaceChildren();
  current = null;
}

export const size = () => present.length;
export const all = () => [...present].map((row) => row.hit);

const piece = () => el('div', { class: 'rows', role: 'presentation' });

export function append(hits) {
  for (let at = 0; at < hits.length; at += PIECE) {
    const made = piece();
    made.append(...hits.slice(at, at + PIECE).map(row));
    place.append(made);
  }
  by('head').hidden = size() === 0;
}

/** New lines above the others; the oldest beyond `most` go. */
export function prepend(hits, most) {
  for (const hit of hits.toReversed()) {
    if (!place.firstElementChild || place.firstElementChild.childElementCount >= PIECE) place.prepend(piece());
    place.firstElementChild.prepend(row(hit));
  }
  while (size() > most) {
    const end = place.lastElementChild;
    if (size() - end.childElementCount >= most) end.remove();
    else end.lastElementChild.remove();
  }
  by('head').hidden = false;
}

/** What tells one line from another. */
export const key = (hit) => (hit.file ? `${hit.file}:${hit.offset}` : `${hit.time_ms}:${JSON.stringify(hit.fields)}`);

/** Adds those that aren't there yet, each at its place, the newest first. */
export function merge(hits) {
  const known = new Set(all().map(key));
  const fresh = hits.filter((hit) => !known.has(key(hit)));
  if (!fresh.length) return;
  const merged = [...all(), ...fresh].sort((a, b) => b.time_ms - a.time_ms || (a.file === b.file ? b.offset - a.offset : 0));
  clear();
  append(merged);
}

/** The same lines written anew: other columns, another zone. */
export function redraw() {
  arrange();
  const hits = all();
  clear();
  append(hits);
}

export function column(col) {
  const cols = columns();
  set({ cols: (cols.includes(col) ? cols.filter((one) => one !== col) : [...cols, col]).join(',') }, true);
  redraw();
}

function row(hit) {
  const kind = level(hit.fields);
  const m = moment(hit.time_ms);
  const message = show(el('span', { class: 'message' }), String(hit.fields.message ?? ''), hit.marks.message);
  if (hit.cut?.message) message.append(el('span', { class: 'cut' }, ` … ${t('cut', { count: count(hit.cut.message) })}`));
  const made = el('div', { class: `row ${kind}`, role: 'listitem', tabindex: '-1' },
    el('div', { class: 'line', onclick: (event) => { if (!String(getSelection())) toggle(made, event); } },
      el('button', { type: 'button', class: 'chevron', 'aria-expanded': 'false', 'aria-label': t('row.open'), tabindex: '-1' }, '›'),
      el('time', { datetime: new Date(hit.time_ms).toISOString(), title: full(hit.time_ms) }, el('span', { class: 'day' }, `${m.day} `), m.clock, el('span', { class: 'milli' }, `.${m.milli}`)),
      columns().map((col) => cell(hit, col)), message));
  made.hit = hit;
  return made;
}

function cell(hit, col) {
  const of = hit.fields[col];
  if (of === undefined) return el('span', { class: 'cell faint' }, '–');
  const text = typeof of === 'object' ? JSON.stringify(of) : String(of);
  const short = col === 'log.file.path' ? text.slice(text.lastIndexOf('/') + 1) : text;
  return show(el('span', { class: 'cell', title: text }), short, short === text ? hit.marks[col] : []);
}

export function toggle(made) {
  select(made, false);
  const open = made.querySelector('.details');
  made.querySelector('.chevron').setAttribute('aria-expanded', open ? 'false' : 'true');
  made.classList.toggle('open', !open);
  if (open) open.remove();
  else made.append(details(made.hit));
}

function details(hit) {
  const names = Object.keys(hit.fields).sort((a, b) => (b === 'message') - (a === 'message') || a.localeCompare(b));
  const tools = el('div', { class: 'tools' },
    hit.file && el('button', { type: 'button', 'data-context': '', onclick: () => context.open(hit) }, t('context.open')),
    el('button', { type: 'button', onclick: () => copy(plain(String(hit.fields.message ?? ''))) }, t('copy.line')),
    el('button', { type: 'button', onclick: async () => copy(JSON.stringify((await whole(hit)).fields, null, 2)) }, t('copy.json')));
  return el('div', { class: 'details' }, tools, el('table', {}, el('tbody', {}, names.map((field) => detail(hit, field)))));
}

function detail(hit, field) {
  const of = hit.fields[field];
  const simple = ['string', 'number', 'boolean'].includes(typeof of);
  const text = simple ? String(of) : JSON.stringify(of);
  const shown = show(el('td', { class: 'value' }), text, hit.marks[field]);
  if (hit.cut?.[field]) shown.append(el('button', { type: 'button', class: 'all', onclick: async () => {
    const got = await whole(hit).catch((error) => { toast(error.message, true); });
    if (got) show(el('td', { class: 'value' }), '').replaceChildren(), shown.replaceChildren(lines(String(got.fields[field])));
  } }, t('cut.all', { count: count(hit.cut[field]) })));
  const tops = el('div', { class: 'tops', hidden: true });
  shown.append(tops);
  const exact = simple && field !== 'message' && !hit.cut?.[field];
  return el('tr', { 'data-field': field }, el('th', { scope: 'row' }, field), el('td', { class: 'actions' },
    exact && sign('in', t('filter.in', { name: field }), () => filter(`${name(field)}:${value(of)}`), { 'data-act': 'in' }),
    exact && sign('out', t('filter.out', { name: field }), () => filter(`-${name(field)}:${value(of)}`), { 'data-act': 'out' }),
    field !== 'message' && sign('exists', t('filter.exists', { name: field }), () => filter(`${name(field)}:*`), { 'data-act': 'exists' }),
    field !== 'message' && sign('column', t('column.toggle', { name: field }), () => column(field), { 'data-act': 'column' }),
    field !== 'message' && sign('top', t('top', { name: field }), () => { tops.hidden = !tops.hidden; if (!tops.hidden) top(tops, field); }, { 'data-act': 'top' })), shown);
}

/** A very long text in pieces that the browser lays out one by one. */
function lines(text) {
  const pieces = [];
  for (let at = 0; at < text.length;) {
    let end = Math.min(text.length, at + 5000);
    if (/[\ud800-\udbff]/.test(text[end - 1]) && end < text.length) end++;
    pieces.push(show(el('span', { class: 'piece' }), text.slice(at, end)));
    at = end;
  }
  return el('div', { class: 'whole' }, pieces);
}

/** The line uncut. */
async function whole(hit) {
  if (!hit.cut || !hit.file) return hit;
  return (await ask('around', { file: hit.file, offset: hit.offset, before: 0, after: 0 })).line ?? hit;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(t('copied'));
  } catch {
    toast(t('copy.failed'), true);
  }
}

export function filter(condition) {
  searched(and(state.q, condition));
}

/** The most frequent values of a field among what is found, into an element. */
export async function top(into, field) {
  into.replaceChildren(el('p', { class: 'faint' }, t('loading')));
  try {
    const found = await ask('values', { q: state.q, ...span(), field, size: 10 });
    const rest = found.with_field - found.values.reduce((sum, [, n]) => sum + n, 0);
    into.replaceChildren(
      ...found.values.map(([v, n]) => el('div', { class: 'top' }, el('span', { class: 'name', title: v }, show(el('span'), v || '""')),
        el('span', { class: 'share' }, `${((n / Math.max(1, found.with_field)) * 100).toFixed(1)} %`), el('meter', { min: 0, max: 1, value: n / Math.max(1, found.with_field), 'aria-label': count(n), title: count(n) }),
        sign('in', t('filter.in', { name: v }), () => filter(`${name(field)}:${value(v)}`)), sign('out', t('filter.out', { name: v }), () => filter(`-${name(field)}:${value(v)}`)))),
      el('p', { class: 'faint' }, rest > 0 ? t('top.rest', { count: count(rest) }) : '', ' ', t('top.of', { some: count(found.with_field), all: count(found.total) })));
  } catch (error) {
    into.replaceChildren(el('p', { class: 'bad' }, error.message));
  }
}

/** Moves the chosen row: 1 down, -1 up. */
export function step(by) {
  const beside = (node) => (by > 0 ? node.nextElementSibling : node.previousElementSibling);
  const within = (node) => (by > 0 ? node?.firstElementChild : node?.lastElementChild);
  const next = current?.isConnected ? beside(current) ?? within(beside(current.parentElement)) : present[0];
  if (next) select(next);
}

function select(made, focus = true) {
  current?.classList.remove('current');
  current = made;
  made.classList.add('current');
  if (focus) {
    made.focus({ preventScroll: true });
    made.scrollIntoView({ block: 'nearest' });
  }
}

export const selected = () => current;
export const anyOpen = () => place.querySelector('.row.open');

/** `search(q)` is called when a filter changes the query. */
export function begin(search) {
  searched = search;
  by('wrap').addEventListener('click', () => { keep.set('wrap', keep.get('wrap') === '1' ? '0' : '1'); arrange(); });
  for (const format of ['ndjson', 'csv']) {
    by(`export-${format}`).addEventListener('click', (event) => {
      const cols = format === 'csv' ? ['@timestamp', ...columns(), 'message'].join(',') : '';
      event.currentTarget.href = address('export', { q: state.q, ...span(), order: state.order, format, columns: cols });
    });
  }
}
