// One entry in a form: new, changed, or copied. What the server finds wrong is shown at the field it is in.

import { forget as forgetPath, look, meant } from './paths.js';
import { save } from './collect-review.js';
import { ask, by, el, t, toast } from './util.js';

/** An entry a line, as people write it. */
export const written = (all) => (all.length ? `[\n${all.map((entry) => `  ${JSON.stringify(entry)}`).join(',\n')}\n]\n` : '[]\n');

const FIELDS = ['path', 'topic', 'exclude', 'start', 'max_line_bytes', 'partition', 'labels', 'index'];
/** What the form has no field for is kept as it is. */
let rest = {};
/** `{key, n, entry}` of the entry that is changed. */
let changing = null;
let told = () => {};

export const isBusy = () => changing !== null || by('path').value !== '';

const linesOf = (text) => text.split('\n').map((line) => line.trim()).filter(Boolean);

function fill(entry) {
  const known = Object.fromEntries(FIELDS.map((name) => [name, entry[name]]));
  rest = Object.fromEntries(Object.entries(entry).filter(([name]) => !FIELDS.includes(name)));
  by('path').value = known.path ?? '';
  by('topic').value = known.topic ?? '';
  by('exclude').value = (known.exclude ?? []).join('\n');
  by('start').value = known.start ?? '';
  by('max').value = known.max_line_bytes ?? '';
  by('partition').value = known.partition ?? '';
  by('labels').value = Object.entries(known.labels ?? {}).map(([name, value]) => `${name}=${value}`).join('\n');
  by('index').value = known.index ?? '';
  by('json').value = JSON.stringify(entry, null, 1);
  by('advanced').open = Object.keys(entry).some((name) => name !== 'path' && name !== 'topic');
}

/** What is in the form; throws what can't be read. */
function entry() {
  if (by('as-json').checked) return JSON.parse(by('json').value);
  const made = { path: by('path').value.trim(), topic: by('topic').value.trim(), ...rest };
  const exclude = linesOf(by('exclude').value);
  if (exclude.length) made.exclude = exclude;
  if (by('start').value) made.start = by('start').value;
  if (by('max').value) made.max_line_bytes = Number(by('max').value);
  const partition = by('partition').value.trim();
  if (partition) made.partition = /^\d+$/.test(partition) ? Number(partition) : partition;
  const labels = linesOf(by('labels').value).map((line) => [line.split('=')[0].trim(), line.slice(line.indexOf('=') + 1).trim()]);
  if (labels.length) made.labels = Object.fromEntries(labels);
  if (by('index').value.trim()) made.index = by('index').value.trim();
  return made;
}

/** Shows what is wrong where it is; the entry is the one in the form unless another is named. */
function wrong(mistake, own) {
  document.querySelectorAll('#add [aria-invalid]').forEach((input) => input.removeAttribute('aria-invalid'));
  by('refused').hidden = !mistake;
  if (!mistake) return;
  const here = mistake.entry === null || mistake.entry === undefined || mistake.entry === own;
  by('refused').textContent = here ? mistake.reason : t('collect.refused', { entry: mistake.entry + 1, reason: mistake.reason });
  const input = here && !by('as-json').checked && by({ max_line_bytes: 'max' }[mistake.field] ?? mistake.field);
  if (!input || !by('add').contains(input)) return;
  if (by('advanced').contains(input)) by('advanced').open = true;
  input.setAttribute('aria-invalid', 'true');
  input.setAttribute('aria-describedby', 'refused');
  input.focus();
}

/** The keys that an entry can be put into. */
export function offer(keys, templates) {
  const fixed = templates.filter((text) => !text.includes('{'));
  const names = [...new Set([...fixed, ...keys])];
  by('where').hidden = names.length + templates.length < 3;
  const chosen = by('key').value;
  by('keys').replaceChildren(...names.map((name) => el('option', { value: name })), ...templates.filter((text) => text.includes('{')).map((text) => el('option', { value: text })));
  if (!chosen) by('key').value = fixed[0] ?? '';
}

function open(row, name) {
  by('key').value = row.key;
  by('key').disabled = changing !== null;
  by('as-json').checked = false;
  by('add').classList.remove('is-json');
  fill(row.entry);
  by('save').textContent = name;
  by('cancel').hidden = false;
  wrong(null);
  by('add').scrollIntoView({ block: 'center' });
  by('path').focus();
}

export function edit(row) {
  changing = row;
  open(row, t('collect.change'));
}

export function copy(row) {
  changing = null;
  open(row, t('collect.add'));
}

function forget() {
  const key = by('key').value;
  changing = null;
  rest = {};
  by('add').reset();
  by('add').classList.remove('is-json');
  by('key').value = key;
  by('key').disabled = false;
  forgetPath();
  by('save').textContent = t('collect.add');
  by('cancel').hidden = true;
  wrong(null);
}

const same = (a, b) => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
const sorted = (value) => (Array.isArray(value) ? value.map(sorted) : value && typeof value === 'object'
  ? Object.fromEntries(Object.keys(value).sort().map((name) => [name, sorted(value[name])])) : value);

/** The text with an entry replaced by others (none: removed), where it is still there; null: it isn't. */
function replaced(text, before, after) {
  const all = text ? JSON.parse(text) : [];
  if (!Array.isArray(all)) return null;
  if (!before) return written([...all, ...after]);
  const at = all.findIndex((one) => same(one, before));
  return at < 0 ? null : written([...all.slice(0, at), ...after, ...all.slice(at + 1)]);
}

/** Makes one change to a key, as it is now. Answers whether it is made. */
async function apply(key, before, after, done) {
  const now = await ask('entries/key', { key });
  const onto = (text) => {
    try {
      return replaced(text, before, after);
    } catch {
      return null;
    }
  };
  const text = now.revision ? onto(now.text) : before ? null : written(after);
  if (text === null) {
    wrong({ reason: before && !now.mistake ? t('entries.lost') : t('entries.unreadable') });
    return false;
  }
  const result = await save({ key, text, seen: now.revision, onto });
  if (result?.saved) {
    toast(done);
    await told();
    return true;
  }
  if (result?.mistake) {
    const all = JSON.parse(text);
    wrong(result.mistake, all.findIndex((one) => after.some((made) => same(one, made))));
  }
  return false;
}

export const remove = (row) => apply(row.key, row.entry, [], t('collect.removed', { path: row.entry.path }));

async function submit() {
  wrong(null);
  const made = entry();
  const after = changing || by('as-json').checked ? [made] : await meant(made);
  const key = by('key').value.trim();
  if (await apply(key, changing?.entry, after, t('collect.saved', { path: made.path }))) forget();
}

// Writes a topic that may be meant: the folder's name, or the file's without its ending.
function topic() {
  if (by('topic').value) return null;
  const parts = by('path').value.split('/').filter((part) => part && !/[*?{[]/.test(part));
  by('topic').value = (parts.at(-1) ?? '').replace(/\.(log|txt|json)$/, '').replace(/[^A-Za-z0-9._-]/g, '-');
  return by('topic').value;
}

/** `changed` is called when something was written. */
export function begin(changed) {
  told = changed;
  by('add').addEventListener('submit', async (event) => {
    event.preventDefault();
    by('save').disabled = true;
    await submit().catch((error) => wrong({ reason: error.message }));
    by('save').disabled = false;
  });
  by('cancel').addEventListener('click', forget);
  by('path').addEventListener('change', async () => {
    const guess = topic();
    const path = by('path').value.trim();
    const meaning = changing === null ? await look(path) : null;
    // All that is collected as a folder shares a topic: a file that two of them mean is collected once.
    if (meaning?.kind === 'folder' && guess && by('topic').value === guess) by('topic').value = meaning.entries[0].topic;
  });
  by('as-json').addEventListener('change', () => {
    try {
      if (by('as-json').checked) by('json').value = JSON.stringify(entry(), null, 1);
      else fill(JSON.parse(by('json').value));
    } catch (error) {
      by('as-json').checked = true;
      return wrong({ reason: error.message });
    }
    wrong(null);
    by('add').classList.toggle('is-json', by('as-json').checked);
    document.querySelectorAll('#path, #topic').forEach((input) => { input.required = !by('as-json').checked; });
  });
}
