// What has come of what is collected: the first line, and how far the files of this machine are.

import { ask, by, bytes, count, el, moment, t, zone } from './util.js';

const lagOf = (file) => Math.max(0, (file.size ?? file.read) - file.settled);

export async function load() {
  const shown = await ask('collected');
  const time = (ms) => (ms === null ? el('span', { class: 'faint' }, t('collect.none.yet')) : `${moment(ms).date} ${moment(ms).clock} ${zone.label(ms)}`);
  const fact = (name, ...what) => el('div', {}, el('dt', {}, name), el('dd', {}, ...what));
  const facts = [fact(t('collect.first'), time(shown.first_ms)), fact(t('collect.last'), time(shown.last_ms))];
  if (shown.files) {
    const lag = shown.files.reduce((sum, file) => sum + lagOf(file), 0);
    facts.push(fact(t('collect.files'), count(shown.files.length)), fact(t('collect.lag'), bytes(lag)));
  }
  by('facts').replaceChildren(...facts);
  by('problems').hidden = !shown.problems.length;
  by('problems').textContent = shown.problems.join('; ');
  by('of-files').hidden = shown.files === null;
  files(shown.files);
}

function files(list) {
  if (!list?.length) return by('files').replaceChildren(el('p', { class: 'faint' }, t('collect.files.none')));
  const rows = [...list].sort((a, b) => lagOf(b) - lagOf(a) || a.path.localeCompare(b.path)).slice(0, 500);
  return by('files').replaceChildren(el('table', {}, el('thead', {}, el('tr', {}, [t('collect.file'), t('collect.topic'), t('collect.size'), t('collect.lag')].map((name) => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, rows.map((file) => el('tr', {}, el('td', {}, el('a', { href: `/?q=${encodeURIComponent(`log.file.path:"${file.path.replace(/["\\]/g, '\\$&')}"`)}` }, file.path)), el('td', {}, file.topic),
      el('td', { class: 'number' }, file.size === null ? t('collect.gone') : bytes(file.size)), el('td', { class: `number ${lagOf(file) ? 'behind' : ''}` }, lagOf(file) ? bytes(lagOf(file)) : t('collect.done')))))),
  list.length > rows.length ? el('p', { class: 'faint' }, t('collect.files.rest', { count: count(list.length - rows.length) })) : '');
}
