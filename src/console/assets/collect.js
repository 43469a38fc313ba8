// What is being collected: all entries and their keys, found by words, changed right here.

import { load as loadFiles } from './collect-files.js';
import { begin as beginForm, copy, edit, offer, remove } from './collect-form.js';
import { begin as beginKey, open, refresh, verdicts } from './collect-key.js';
import { begin as beginMany } from './collect-many.js';
import { ask, by, count, el, full, sign, t, toast } from './util.js';

const PAGE = 100;
const given = new URLSearchParams(location.search);
const asked = { q: given.get('q') ?? '', key: given.get('key') ?? '', from: 0, keysFrom: 0 };
const mayEdit = by('collection').dataset.editor === 'true';
/** What is shown, so that only news are drawn. */
const drawn = {};

async function load() {
  try {
    const only = { q: asked.q, key: asked.key };
    const [entries, keys] = await Promise.all([ask('entries', { ...only, from: asked.from, size: PAGE }),
      ask('entries/keys', { ...only, from: asked.keysFrom, size: PAGE })]);
    by('offline').hidden = true;
    show('of-keys', keys, showKeys);
    show('entries', entries, showEntries);
    away(entries.standing, keys.now_ms);
    await Promise.all([loadFiles(), refresh()]);
  } catch (error) {
    by('offline').textContent = error.message;
    by('offline').hidden = false;
  }
}

/** Draws what is new, and leaves the focus where it was. */
function show(id, answer, draw) {
  const { now_ms: _, ...rest } = answer;
  const text = JSON.stringify(rest);
  if (drawn[id] === text) return;
  drawn[id] = text;
  const at = by(id).contains(document.activeElement) ? document.activeElement.dataset.at : null;
  draw(answer);
  if (at) by(id).querySelector(`[data-at="${CSS.escape(at)}"]`)?.focus();
}

function away(standing, now) {
  const known = standing.since_ms ? full(standing.since_ms).slice(0, 19) : '';
  by('away').hidden = !standing.away && standing.listed;
  by('away').textContent = !standing.listed ? t('entries.unknown', { reason: standing.away ?? '' })
    : standing.away ? t('entries.away', { time: known, seconds: count(Math.round((now - standing.since_ms) / 1000)), reason: standing.away }) : '';
}

function showEntries({ entries, total, wrong }) {
  by('wrong-keys').hidden = !wrong;
  const head = [t('collect.path'), t('collect.topic'), ...(drawn.several ? [t('entries.key')] : []), t('collect.more'), el('span', { class: 'hidden' }, t('collect.acts'))];
  const table = el('div', { class: 'scroll' }, el('table', {}, el('thead', {}, el('tr', {}, head.map((name) => el('th', { scope: 'col' }, name)))), el('tbody', {}, entries.map(entryRow))));
  const none = asked.q || asked.key ? t('entries.none') : t('collect.nothing');
  by('entries').replaceChildren(entries.length ? table : el('p', {}, none), pager(total, asked.from, (from) => { asked.from = from; }));
}

function entryRow(row) {
  const { path, topic, ...rest } = row.entry ?? {};
  const at = `${row.key} ${row.n}`;
  const acts = mayEdit ? [sign('edit', t('collect.edit', { path }), () => edit(row), { 'data-at': `${at} edit` }), sign('copy', t('entries.copy', { path }), () => copy(row), { 'data-at': `${at} copy` }),
    sign('close', t('collect.remove', { path }), () => remove(row).catch((error) => toast(error.message, true)), { 'data-at': `${at} remove` })] : [];
  return el('tr', { class: row.wrong && 'wrong' }, el('td', {}, el('code', {}, String(path ?? '?'))), el('td', {}, topic ? el('a', { href: `/?q=${encodeURIComponent(`logweir.topic:"${topic}"`)}` }, String(topic)) : '?'),
    drawn.several && el('td', {}, keyButton(row.key, row.scope, `${at} key`)),
    el('td', { class: 'rest' }, Object.keys(rest).length ? el('code', {}, JSON.stringify(rest)) : ''), el('td', { class: 'actions' }, acts));
}

const keyButton = (key, scope, at) => el('button', { type: 'button', class: 'link', title: key, 'data-at': at, onclick: () => open(key).catch((error) => toast(error.message, true)) }, scope ?? key);

function showKeys({ keys, total, templates, place, wrong }) {
  const several = templates.length > 1 || templates.some((text) => text.includes('{'));
  if (drawn.several !== several) {
    drawn.several = several;
    drawn.entries = null;
  }
  by('place').parentElement.hidden = !place;
  by('place').textContent = place ?? '';
  if (mayEdit) offer(keys.map((row) => row.key), templates);
  by('wrong-keys').replaceChildren(...keys.filter((row) => row.mistake).map((row) => el('p', { class: 'banner bad' },
    t('entries.wrong.key', { key: row.scope ?? row.key }), ' ', row.mistake.line ? t('entries.at', row.mistake) : '', ' ', row.mistake.reason, ' ',
    keyButton(row.key, mayEdit ? t('entries.repair') : t('entries.open'), `${row.key} repair`))));
  by('wrong-keys').hidden = !wrong;
  const row = (one) => el('tr', { class: one.mistake && 'wrong' }, el('td', {}, keyButton(one.key, one.key, `${one.key} open`), one.scope && one.scope !== one.key ? el('p', { class: 'faint' }, one.scope) : ''),
    el('td', { class: 'number' }, count(one.entries)), el('td', {}, verdicts(one.answers)), el('td', { class: 'number' }, String(one.revision)));
  by('of-keys').replaceChildren(keys.length ? el('div', { class: 'scroll' }, el('table', {}, el('thead', {}, el('tr', {}, [t('entries.key'), t('entries.entries'), t('entries.agents'), t('entries.revision')].map((name) => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, keys.map(row)))) : el('p', { class: 'faint' }, t('entries.keys.none')), pager(total, asked.keysFrom, (from) => { asked.keysFrom = from; }));
}

function pager(total, from, go) {
  if (total <= PAGE) return '';
  const step = (name, to, on) => el('button', { type: 'button', disabled: !on, 'data-at': name, onclick: () => { go(to); load(); } }, name);
  return el('p', { class: 'pager' }, step(t('entries.before'), Math.max(0, from - PAGE), from > 0),
    el('span', { 'aria-live': 'polite' }, t('entries.page', { from: count(from + 1), to: count(Math.min(total, from + PAGE)), total: count(total) })), step(t('entries.after'), from + PAGE, from + PAGE < total));
}

by('words').value = asked.q;
by('words').addEventListener('input', () => {
  Object.assign(asked, { q: by('words').value.trim(), key: '', from: 0, keysFrom: 0 });
  load();
});
if (mayEdit) beginForm(load);
beginKey(load);
beginMany(load);

await load();
if (asked.key) open(asked.key).catch((error) => toast(error.message, true));
document.documentElement.dataset.ready = String(Math.round(performance.now()));
setInterval(() => { if (!document.hidden) load(); }, 2000);
