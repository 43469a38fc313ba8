// Many keys at once: a file in, and what one host goes by.

import { dialog, shownDiff } from './collect-review.js';
import { ask, by, change, count, el, t, toast } from './util.js';

/** A file is looked at, then written key by key, each only as it was looked at. */
async function take(file, changed) {
  let keys;
  try {
    keys = JSON.parse(await file.text());
    if (!keys || typeof keys !== 'object' || Array.isArray(keys)) throw new Error(t('entries.import.object'));
  } catch (error) {
    return toast(`${file.name}: ${error.message}`, true);
  }
  const look = await change('POST', 'entries/import', JSON.stringify({ keys }));
  const changes = look.keys.filter((row) => ['new', 'change', 'delete'].includes(row.result));
  const seen = Object.fromEntries(changes.map((row) => [row.key, row.revision]));
  const run = async () => change('POST', 'entries/import', JSON.stringify({ keys, seen }));
  const actions = changes.length ? [{ name: t('entries.import.write', { count: count(changes.length) }), primary: true, run }] : [];
  const done = await dialog(t('entries.import.title', { name: file.name }), [results(look.keys)], actions);
  if (!done) return null;
  await changed();
  return dialog(t('entries.import.done'), [results(done.keys)], [], t('close'));
}

function results(rows) {
  const same = rows.filter((row) => row.result === 'same').length;
  const told = rows.filter((row) => row.result !== 'same').sort((a, b) => ('mistake' in b) - ('mistake' in a) || a.key.localeCompare(b.key));
  const reason = (row) => (row.mistake ? `${row.mistake.line ? t('entries.at', row.mistake) : ''} ${row.mistake.reason}` : row.reason ?? '');
  const word = (row) => t(`entries.result.${row.result.replace('_', '.')}`);
  return el('div', {}, same > 0 && el('p', { class: 'faint' }, t('entries.import.same', { count: count(same) })), told.map((row) => el('details', { open: told.length < 4 },
    el('summary', {}, el('strong', { class: row.mistake || ['conflict', 'no_key', 'too_large'].includes(row.result) ? 'bad' : '' }, word(row)), ' ', el('code', {}, row.key), ' ', reason(row)),
    row.diff ? shownDiff(row.diff) : '')));
}

function effective(keys, entries, wrong) {
  const line = (row) => el('tr', { class: row.overridden_by && 'lost' }, el('td', {}, el('code', {}, row.entry.path)), el('td', {}, row.entry.topic),
    el('td', {}, el('code', {}, row.key), row.overridden_by ? el('p', { class: 'faint' }, t('entries.overridden', { key: row.overridden_by })) : ''));
  return [el('p', { class: 'faint' }, t('entries.effective.keys'), ' ', el('code', {}, keys.join('  →  '))),
    wrong.map((key) => el('p', { class: 'banner bad' }, t('entries.effective.wrong', { key }))),
    entries.length ? el('div', { class: 'scroll' }, el('table', {}, el('thead', {}, el('tr', {}, [t('collect.path'), t('collect.topic'), t('entries.key')].map((name) => el('th', { scope: 'col' }, name)))),
      el('tbody', {}, entries.map(line)))) : el('p', {}, t('entries.effective.none'))];
}

/** What one host collects, and by which key. */
async function host(name) {
  const answer = await ask('entries/effective', { host: name });
  const one = (agent) => el('section', {}, agent.instance && answer.agents.length > 1 && el('h3', {}, agent.instance),
    agent.alive === false && el('p', { class: 'banner bad' }, t('entries.effective.gone')), effective(agent.keys, agent.entries, agent.wrong));
  const content = answer.agents.length ? answer.agents.map(one)
    : [el('p', { class: 'banner' }, t('entries.effective.unknown', { host: name })), effective(answer.assumed.keys, answer.assumed.entries, answer.assumed.wrong)];
  return dialog(t('entries.effective.title', { host: name }), content, [], t('close'));
}

/** `changed` is called when something was written. */
export function begin(changed) {
  by('import')?.addEventListener('change', async (event) => {
    const [file] = event.target.files;
    event.target.value = '';
    if (file) await take(file, changed).catch((error) => toast(error.message, true));
  });
  by('effective').addEventListener('submit', (event) => {
    event.preventDefault();
    host(by('host').value.trim()).catch((error) => toast(error.message, true));
  });
  by('host').addEventListener('focus', async () => {
    const { agents } = await ask('agents', { size: 1000 }).catch(() => ({ agents: [] }));
    by('hosts').replaceChildren(...[...new Set(agents.map((agent) => agent.host))].map((name) => el('option', { value: name })));
  });
  const asked = new URLSearchParams(location.search).get('host');
  if (asked) host(asked).catch((error) => toast(error.message, true));
}
