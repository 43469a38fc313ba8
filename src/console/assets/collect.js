// What is being collected: entries that can be added, changed and removed right here, and how far their files are.

import { forget as forgetPath, look, meant } from './paths.js';
import { ask, by, bytes, change, count, el, moment, sign, t, toast, zone } from './util.js';

let shown = null;
let changing = null;

async function load() {
  try {
    shown = await ask('collection');
    by('offline').hidden = true;
  } catch (error) {
    by('offline').textContent = error.message;
    by('offline').hidden = false;
    return;
  }
  if (!document.querySelector('#entries :focus')) entries();
  facts();
  files();
}

function facts() {
  const time = (ms) => (ms === null ? el('span', { class: 'faint' }, t('collect.none.yet')) : `${moment(ms).date} ${moment(ms).clock} ${zone.label(ms)}`);
  const fact = (name, ...what) => el('div', {}, el('dt', {}, name), el('dd', {}, ...what));
  const lag = (shown.files ?? []).reduce((sum, file) => sum + Math.max(0, (file.size ?? file.read) - file.settled), 0);
  by('facts').replaceChildren(fact(t('collect.first'), time(shown.first_ms)), fact(t('collect.last'), time(shown.last_ms)),
    fact(t('collect.files'), shown.files ? count(shown.files.length) : '–'), fact(t('collect.lag'), bytes(lag)));
  if (shown.problems.length) by('facts').append(el('p', { class: 'banner bad' }, shown.problems.join('; ')));
}

function entries() {
  const all = shown.entries;
  by('place').textContent = shown.place;
  if (!Array.isArray(all)) {
    by('entries').replaceChildren(el('p', { class: 'banner bad' }, t('collect.unreadable')));
  } else if (!all.length) {
    by('entries').replaceChildren(el('p', {}, t('collect.nothing')));
  } else {
    by('entries').replaceChildren(el('div', { class: 'scroll' }, el('table', {},
      el('thead', {}, el('tr', {}, [t('collect.path'), t('collect.topic'), t('collect.more'), ''].map((name) => el('th', { scope: 'col' }, name)))),
      el('tbody', {}, all.map((entry, i) => {
        const { path, topic, ...rest } = entry;
        return el('tr', {}, el('td', {}, el('code', {}, path)), el('td', {}, el('a', { href: `/?q=${encodeURIComponent(`logweir.topic:"${topic}"`)}` }, topic)),
          el('td', { class: 'rest' }, Object.keys(rest).length ? el('code', {}, JSON.stringify(rest)) : ''),
          el('td', { class: 'actions' }, sign('edit', t('collect.edit', { path }), () => edit(i)), sign('close', t('collect.remove', { path }), () => remove(i))));
      })))));
  }
}

function files() {
  const list = shown.files;
  if (!list?.length) return by('files').replaceChildren(el('p', { class: 'faint' }, t('collect.files.none')));
  const rows = [...list].sort((a, b) => lagOf(b) - lagOf(a) || a.path.localeCompare(b.path)).slice(0, 500);
  by('files').replaceChildren(el('table', {}, el('thead', {}, el('tr', {}, [t('collect.file'), t('collect.topic'), t('collect.size'), t('collect.lag')].map((name) => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, rows.map((file) => el('tr', {}, el('td', {}, el('a', { href: `/?q=${encodeURIComponent(`log.file.path:"${file.path.replace(/["\\]/g, '\\$&')}"`)}` }, file.path)), el('td', {}, file.topic),
      el('td', { class: 'number' }, file.size === null ? t('collect.gone') : bytes(file.size)), el('td', { class: `number ${lagOf(file) ? 'behind' : ''}` }, lagOf(file) ? bytes(lagOf(file)) : t('collect.done')))))),
  list.length > rows.length && el('p', { class: 'faint' }, t('collect.files.rest', { count: count(list.length - rows.length) })));
}

const lagOf = (file) => Math.max(0, (file.size ?? file.read) - file.settled);

async function replace(all, done) {
  by('refused').hidden = true;
  // An entry a line, as people write it: what is wrong is named by its line.
  const text = all.length ? `[\n${all.map((entry) => `  ${JSON.stringify(entry)}`).join(',\n')}\n]\n` : '[]\n';
  try {
    await change('PUT', 'collection', text, { 'If-Match': `"${shown.version}"` });
    toast(done);
    await load();
    entries();
    return true;
  } catch (error) {
    by('refused').textContent = error.status === 409 ? t('collect.changed') : error.line ? t('collect.refused', { entry: error.line - 1, reason: error.message }) : error.message;
    by('refused').hidden = false;
    if (error.status === 409) await load();
    return false;
  }
}

function edit(i) {
  const { path, topic, ...rest } = shown.entries[i];
  changing = i;
  by('path').value = path ?? '';
  by('topic').value = topic ?? '';
  by('json').value = Object.keys(rest).length ? JSON.stringify(rest, null, 1) : '';
  by('advanced').open = by('json').value !== '';
  by('save').textContent = t('collect.change');
  by('cancel').hidden = false;
  by('path').focus();
}

function forget() {
  changing = null;
  by('add').reset();
  forgetPath();
  by('save').textContent = t('collect.add');
  by('cancel').hidden = true;
}

const remove = (i) => replace(shown.entries.filter((_, k) => k !== i), t('collect.removed', { path: shown.entries[i].path }));

by('add').addEventListener('submit', async (event) => {
  event.preventDefault();
  let rest;
  try {
    rest = by('json').value.trim() ? JSON.parse(by('json').value) : {};
  } catch (error) {
    by('refused').textContent = error.message;
    by('refused').hidden = false;
    return;
  }
  const entry = { path: by('path').value.trim(), topic: by('topic').value.trim(), ...rest };
  const all = Array.isArray(shown?.entries) ? [...shown.entries] : [];
  if (changing === null) all.push(...await meant(entry));
  else all[changing] = entry;
  if (await replace(all, t('collect.saved', { path: entry.path }))) forget();
});
by('cancel').addEventListener('click', forget);
by('path').addEventListener('change', async () => {
  const guess = topic();
  const path = by('path').value.trim();
  const told = changing === null ? await look(path) : null;
  // All that is collected as a folder shares a topic: a file that two of them mean is collected once.
  if (told?.kind === 'folder' && guess && by('topic').value === guess) by('topic').value = told.entries[0].topic;
});

// Writes a topic that may be meant: the folder's name, or the file's without its ending.
function topic() {
  if (by('topic').value) return null;
  const parts = by('path').value.split('/').filter((part) => part && !/[*?{[]/.test(part));
  by('topic').value = (parts.at(-1) ?? '').replace(/\.(log|txt|json)$/, '').replace(/[^A-Za-z0-9._-]/g, '-');
  return by('topic').value;
}

await load();
document.documentElement.dataset.ready = String(Math.round(performance.now()));
setInterval(() => { if (!document.hidden) load(); }, 2000);
