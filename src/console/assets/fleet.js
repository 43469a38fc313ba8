// What the pages about processes share: lengths of time, tables, and what is said while etcd is away.

import { by, count, el, moment, t, zone } from './util.js';

const lang = document.documentElement.lang;
const UNITS = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];

/** A length of time in its largest unit: `3 h`. */
export function length(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? ['second', 1];
  return new Intl.NumberFormat(lang, { style: 'unit', unit, unitDisplay: 'short' }).format(Math.floor(seconds / size));
}

export const time = (ms) => `${moment(ms).date} ${moment(ms).clock} ${zone.label(ms)}`;
export const rate = (n) => (n >= 100 ? count(Math.round(n)) : count(Math.round(n * 10) / 10));

/** Says that etcd is away, and how old what is shown is. */
export function away(told) {
  by('away').hidden = !told.away;
  const text = told.away ? t('away', { since: time(told.away.since_ms), age: length(told.now_ms - told.away.since_ms), reason: told.away.reason }) : '';
  if (by('away').textContent !== text) by('away').textContent = text;
}

/** One fact of a list of facts. */
export const fact = (name, value, bad = false) => el('div', {}, el('dt', {}, name), el('dd', { class: bad && 'behind' }, value));

/** A table; `heads` are texts or cells, `rows` lists of cells. */
export function table(heads, rows, attributes = {}) {
  const head = (one) => (one instanceof Element ? one : el('th', { scope: 'col' }, one));
  return el('table', attributes, el('thead', {}, el('tr', {}, heads.map(head))), el('tbody', {}, rows));
}

export const number = (text, behind = false) => el('td', { class: `number ${behind ? 'behind' : ''}` }, text);

/** Asks again and again while the page is seen; says when nobody answers. */
export function repeat(load, ms = 2000) {
  let busy = false;
  const turn = async () => {
    if (busy) return;
    busy = true;
    try {
      await load();
      by('offline').hidden = true;
    } catch (error) {
      by('offline').textContent = error.message;
      by('offline').hidden = false;
    }
    busy = false;
  };
  setInterval(() => { if (!document.hidden) turn(); }, ms);
  return turn;
}
