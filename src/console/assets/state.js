// What is looked at, as the page's address: whoever gets the address sees the same, and "back" goes back.

import { now } from './util.js';

const DEFAULTS = { q: '', from: '-1h', to: '', order: 'newest_first', cols: 'log.file.path', live: '', ctx: '', refresh: '' };

export const state = { ...DEFAULTS };

export function load() {
  const given = new URLSearchParams(location.search);
  for (const name of Object.keys(DEFAULTS)) state[name] = given.get(name) ?? DEFAULTS[name];
}

export function query(of = state) {
  const changed = Object.keys(DEFAULTS).map((name) => [name, of[name] ?? DEFAULTS[name]]).filter(([name, value]) => value !== DEFAULTS[name]);
  return changed.length ? `?${new URLSearchParams(changed)}` : '/';
}

/** Takes over changes; `replace` for those that "back" should not undo. */
export function set(changes, replace = false) {
  Object.assign(state, changes);
  const url = query();
  if (url === (location.search || '/')) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', url);
}

export const columns = () => state.cols.split(',').filter(Boolean);

const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** Length of `-15m` in milliseconds; null for another time. */
export function ago(text) {
  const found = /^(?:now)?-(\d+)([smhdw])$/.exec(text);
  return found ? Number(found[1]) * UNITS[found[2]] : null;
}

function time(text, at) {
  if (text === '' || text === 'now') return null;
  const before = ago(text);
  return before === null ? (/^-?\d+$/.test(text) ? Number(text) : Date.parse(text)) : at - before;
}

/** The span in milliseconds, at this moment; null where it is open. */
export function span() {
  const at = now();
  return { from: time(state.from, at), to: time(state.to, at) ?? at + 1 };
}

/** Whether new lines may come into the span. */
export const moves = () => state.to === '' || state.to === 'now' || ago(state.to) !== null;
