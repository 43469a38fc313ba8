// The bar: completion of fields and values while one types, and for a wrong query the very character.

import { by, el, t, ask } from './util.js';
import { state, span } from './state.js';

const input = by('q');
const list = by('suggestions');
const wrong = by('wrong');
let fields = [];
let chosen = -1;
let asked = 0;

export const setFields = (known) => { fields = known; };

export function setText(text) {
  input.value = text;
  by('clear').hidden = text === '';
}

export const text = () => input.value.trim();
export const focus = () => { input.focus(); input.select(); };

/** A field's name or a value as it is written in a query. */
export const name = (field) => field.replace(/[^\p{L}\p{N}_.@-]/gu, '\\$&');
export function value(of) {
  return typeof of === 'string' && !/^[\p{L}\p{N}_][\p{L}\p{N}_.-]*$/u.test(of) || /^(?:and|or|not)$/i.test(of)
    ? `"${String(of).replace(/["\\]/g, '\\$&')}"` : String(of);
}

/** The query with one more condition; in parentheses where an OR would swallow it. */
export function and(query, condition) {
  const q = query.trim();
  if (!q || q === '*') return condition;
  if (` ${q} `.includes(` ${condition} `)) return q;
  return /\bOR\b/.test(q) && !/^\([^()]*\)/.test(q) ? `(${q}) ${condition}` : `${q} ${condition}`;
}

export function showWrong(failure) {
  wrong.replaceChildren();
  wrong.hidden = !failure;
  input.setAttribute('aria-invalid', failure ? 'true' : 'false');
  if (!failure) return;
  if (failure.position !== undefined) {
    const characters = [...state.q];
    const at = failure.position;
    const begin = Math.max(0, at - 60);
    wrong.append(el('p', {}, t('wrong.at', { at: at + 1 }), ' ', el('strong', {}, t('wrong.expected', { what: failure.expected }))));
    wrong.append(el('pre', {}, begin ? '…' : '', characters.slice(begin, at).join(''),
      el('b', { id: 'wrong-character' }, characters[at] ?? '␣'), characters.slice(at + 1, at + 60).join('')));
  } else {
    wrong.append(el('p', {}, failure.message));
  }
  wrong.append(el('button', { type: 'button' }, t('empty.help')));
}

/** The piece of a query that ends at the caret. */
function piece() {
  const before = input.value.slice(0, input.selectionStart);
  const found = /(?:^|[\s(])-?((?:[\p{L}_@][\p{L}\p{N}_.@-]*):)?("(?:[^"\\]|\\.)*|[^\s()":]*)$/u.exec(before);
  if (!found) return null;
  return { field: found[1]?.slice(0, -1), typed: found[2], start: before.length - found[2].length };
}

async function suggest() {
  const at = ++asked;
  const here = piece();
  if (!here || (here.typed === '' && !here.field)) return hide();
  let offers = [];
  if (here.field) {
    const field = fields.find((known) => known.name === here.field);
    if (!field || field.kind === 'text') return hide();
    const { from, to } = span();
    const found = await ask('values', { field: field.name, from, to, size: 50 }).catch(() => null);
    if (at !== asked || !found) return;
    const typed = here.typed.replace(/^"/, '').toLowerCase();
    offers = found.values.filter(([v]) => v.toLowerCase().includes(typed)).slice(0, 10)
      .map(([v, n]) => ({ shown: v, note: n.toLocaleString(), put: `${value(v)} ` }));
  } else {
    const typed = here.typed.toLowerCase();
    const rank = (f) => (f.name.toLowerCase().startsWith(typed) ? 0 : 1);
    offers = fields.filter((f) => f.name.toLowerCase().includes(typed)).sort((a, b) => rank(a) - rank(b)).slice(0, 8)
      .map((f) => ({ shown: f.name, note: t(`kind.${f.kind}`), put: `${name(f.name)}:` }));
    offers.push(...['AND', 'OR', 'NOT'].filter((word) => word.startsWith(here.typed) && word !== here.typed)
      .map((word) => ({ shown: word, note: '', put: `${word} ` })));
  }
  if (!offers.length) return hide();
  chosen = -1;
  list.replaceChildren(...offers.map((offer, i) => el('li', { id: `offer-${i}`, role: 'option', 'aria-selected': 'false',
    'data-put': offer.put, 'data-start': here.start, onpointerdown: (event) => { event.preventDefault(); take(i); } },
    el('span', {}, offer.shown), el('span', { class: 'faint' }, offer.note))));
  list.hidden = false;
  input.setAttribute('aria-expanded', 'true');
}

function hide() {
  asked++;
  list.hidden = true;
  chosen = -1;
  input.setAttribute('aria-expanded', 'false');
  input.removeAttribute('aria-activedescendant');
}

function choose(step) {
  const options = [...list.children];
  chosen = (chosen + step + options.length) % options.length;
  options.forEach((option, i) => option.setAttribute('aria-selected', i === chosen ? 'true' : 'false'));
  options[chosen].scrollIntoView({ block: 'nearest' });
  input.setAttribute('aria-activedescendant', options[chosen].id);
}

function take(i) {
  const { put, start } = list.children[i].dataset;
  const end = input.selectionStart;
  input.setRangeText(put, Number(start), end, 'end');
  hide();
  input.focus();
  by('clear').hidden = false;
  if (put.endsWith(':')) suggest();
}

/** `run(text)` is called when a query is entered. */
export function begin(run) {
  const enter = () => { hide(); run(text()); };
  by('bar').addEventListener('submit', (event) => { event.preventDefault(); enter(); });
  by('clear').addEventListener('click', () => { setText(''); enter(); input.focus(); });
  input.addEventListener('input', () => { by('clear').hidden = input.value === ''; suggest(); });
  input.addEventListener('blur', hide);
  input.addEventListener('keydown', (event) => {
    if (list.hidden) {
      if (event.key === 'Escape') input.blur();
      return;
    }
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') choose(event.key === 'ArrowDown' ? 1 : chosen < 0 ? 0 : -1);
    else if (event.key === 'Enter' && chosen >= 0) take(chosen);
    else if (event.key === 'Tab' && !event.shiftKey) take(Math.max(chosen, 0));
    else if (event.key === 'Escape') hide();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
