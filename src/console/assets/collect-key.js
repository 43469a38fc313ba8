// One key: its text, what each agent made of it, and its history.

import { save, shownDiff, dialog } from './collect-review.js';
import { ask, by, change, count, el, full, t, toast, zone } from './util.js';

let shown = null;
let told = () => {};
const mayEdit = () => by('collection').dataset.editor === 'true';

const when = (ms) => `${full(ms).slice(0, 19)} ${zone.label(ms)}`;
const name = (agent) => el('a', { href: `/agents?q=${encodeURIComponent(agent.host)}` }, agent.instance ? `${agent.host} (${agent.instance})` : agent.host);

/** Numbers of agents, those that need somebody first. */
export function verdicts(answers) {
  const size = (list) => (Array.isArray(list) ? list.length : list);
  const mark = (kind, n) => n > 0 && el('span', { class: `verdict ${kind}` }, t(`entries.${kind}`, { count: count(n) }));
  const all = ['refused', 'waiting', 'applied', 'gone'].map((kind) => mark(kind, size(answers[kind]))).filter(Boolean);
  return all.length ? all : el('span', { class: 'faint' }, t('entries.nobody'));
}

function agents(answers) {
  const group = (kind, reason) => answers[kind].length > 0 && el('details', { open: kind === 'refused', class: kind },
    el('summary', {}, t(`entries.${kind}`, { count: count(answers[kind].length) })),
    el('ul', {}, answers[kind].slice(0, 200).map((agent) => el('li', {}, name(agent), reason && `: ${agent.reason}`))));
  const groups = [group('refused', true), group('waiting'), group('applied'), group('gone')].filter(Boolean);
  return groups.length ? groups : [el('p', { class: 'faint' }, t('entries.nobody.long'))];
}

function mistake(now) {
  if (!now.mistake) return '';
  const { line, column, reason } = now.mistake;
  return el('p', { class: 'banner bad' }, t('entries.wrong'), ' ', line ? t('entries.at', { line, column }) : '', ' ', reason);
}

/** Asks for the key again; the text is left alone while somebody is at it. */
export async function refresh() {
  if (!shown || !by('of-key').open) return;
  const key = shown.key;
  const now = await ask('entries/key', { key });
  if (shown?.key !== key) return;
  const text = by('key-text');
  if (text.value === shown.text) {
    if (now.text !== shown.text) text.value = now.text;
    shown = now;
  }
  by('key-newer').hidden = now.revision === shown.revision;
  by('key-facts').replaceChildren(now.revision
    ? t('entries.facts', { revision: now.revision, entries: count(now.entries), time: when(now.seen_ms) }) : t('entries.absent'));
  by('key-mistake').replaceChildren(mistake(now));
  by('key-agents').replaceChildren(...agents(now.answers));
}

export async function open(key) {
  const now = await ask('entries/key', { key });
  shown = now;
  by('of-key-title').textContent = now.scope ? `${now.scope} – ${key}` : key;
  by('key-text').value = now.text;
  by('key-text').readOnly = !mayEdit() || !now.may_write;
  by('key-save').hidden = by('key-delete').hidden = by('key-text').readOnly;
  by('key-delete').hidden ||= !now.revision;
  by('key-refused').hidden = true;
  if (!by('of-key').open) by('of-key').showModal();
  await Promise.all([refresh(), history(key)]);
}

async function submit(text) {
  by('key-refused').hidden = true;
  const result = await save({ key: shown.key, text, seen: shown.revision });
  if (result?.saved) {
    toast(t('entries.saved', { key: shown.key }));
    await told();
    await open(shown.key);
  } else if (result?.mistake) {
    const { line, column, reason } = result.mistake;
    by('key-refused').textContent = `${line ? t('entries.at', { line, column }) : ''} ${reason}`.trim();
    by('key-refused').hidden = false;
    point(line, column);
  }
}

/** Puts the cursor where the mistake is. */
function point(line, column) {
  const text = by('key-text');
  text.focus();
  if (!line) return;
  const rows = text.value.split('\n');
  const start = rows.slice(0, line - 1).reduce((sum, row) => sum + row.length + 1, 0);
  const at = start + [...(rows[line - 1] ?? '')].slice(0, column - 1).join('').length;
  text.setSelectionRange(at, at + 1);
}

const author = (record) => (record.from === 'outside' ? t('entries.from.outside')
  : record.from === 'console' ? record.author : t('entries.from.line', { author: record.author }));

function row(key, record) {
  const body = el('div', { class: 'record' });
  const what = record.deleted ? t('entries.deleted') : t('entries.size', { added: count(record.size.added), removed: count(record.size.removed) });
  const restore = mayEdit() && !record.omitted_bytes
    ? el('button', { type: 'button', onclick: () => back(key, record) }, record.deleted ? t('entries.delete.again') : t('entries.restore')) : '';
  return el('li', {}, el('details', { ontoggle: async (event) => {
    if (!event.target.open || body.childElementCount) return;
    const { diff } = await ask('entries/record', { key, at: record.at }).catch((error) => ({ diff: error.message }));
    body.replaceChildren(record.omitted_bytes ? el('p', {}, t('entries.omitted', { count: count(record.omitted_bytes) })) : shownDiff(diff), restore);
  } }, el('summary', {}, el('time', {}, when(record.time_ms)), ' ', el('strong', {}, author(record)), ' ', el('span', { class: 'faint' }, what)), body));
}

async function history(key, before) {
  const place = by('key-history');
  const { records, next, unrecorded } = await ask('entries/history', { key, before }).catch((error) => ({ records: [], failed: error.message, unrecorded: false }));
  if (shown?.key !== key) return;
  const more = next ? el('button', { type: 'button', class: 'quiet', onclick: (event) => { event.target.remove(); history(key, next); } }, t('entries.older')) : '';
  if (before === undefined) place.replaceChildren();
  if (unrecorded) place.append(el('p', { class: 'faint' }, t('entries.unrecorded')));
  if (before === undefined && !records.length) place.append(el('p', { class: 'faint' }, t('entries.history.none')));
  place.append(el('ol', { class: 'history' }, records.map((record) => row(key, record))), more);
}

/** Back to an old text: its difference from what there is now is shown first. */
async function back(key, record) {
  const [{ from_now: diff, same_as_now: same }, now] = await Promise.all([ask('entries/record', { key, at: record.at }), ask('entries/key', { key })]);
  if (same) return toast(t('entries.same'));
  const run = async () => {
    const body = JSON.stringify({ key, at: record.at, seen: now.revision });
    return change('POST', 'entries/restore', body);
  };
  const done = await dialog(t('entries.restore.title', { time: when(record.time_ms) }), [shownDiff(diff)], [{ name: t('entries.restore'), primary: true, run }]);
  if (!done) return null;
  toast(t('entries.restored', { key }));
  await told();
  return open(key);
}

/** `changed` is called when something was written. */
export function begin(changed) {
  told = changed;
  const tell = (error) => {
    by('key-refused').textContent = error.message;
    by('key-refused').hidden = false;
  };
  by('key-save').addEventListener('click', () => submit(by('key-text').value).catch(tell));
  by('key-delete').addEventListener('click', () => submit(null).catch(tell));
  by('key-reload').addEventListener('click', () => open(shown.key).catch(tell));
  by('key-close').addEventListener('click', () => by('of-key').close());
  by('of-key').addEventListener('close', () => { shown = null; });
}
