// The keyboard, and the page that tells of it and of the query's syntax.

import { by, el, t } from './util.js';
import * as rows from './rows.js';
import * as context from './context.js';
import * as time from './time.js';
import { focus } from './bar.js';

const dialog = by('keys');
const KEYS = [['/', 'key.search'], ['j / k', 'key.step'], ['Enter', 'key.open'], ['c', 'key.context'], ['l', 'key.live'], ['p', 'key.pause'], ['t', 'key.time'],
  ['?', 'key.help'], ['Esc', 'key.escape']];
const SYNTAX = [['timeout', 'syntax.word'], ['"read timed out"', 'syntax.phrase'], ['conn*  c?nn', 'syntax.wildcard'], ['status:503', 'syntax.field'],
  ['status:>=500', 'syntax.range'], ['log.offset:[10 TO 20]', 'syntax.between'], ['user:*', 'syntax.exists'], ['a b   a OR b   -a', 'syntax.boolean'],
  ['(a OR b) c', 'syntax.group']];

const table = (pairs, tag) => el('table', {}, el('tbody', {}, pairs.map(([what, key]) => el('tr', {}, el('th', { scope: 'row' }, el(tag, {}, what)), el('td', {}, t(key))))));

export function help() {
  dialog.replaceChildren(el('header', {}, el('h2', {}, t('help')), el('button', { type: 'button', class: 'icon', 'aria-label': t('close'), onclick: () => dialog.close() }, '×')),
    el('div', { class: 'two' }, el('section', {}, el('h3', {}, t('help.syntax')), table(SYNTAX, 'code')), el('section', {}, el('h3', {}, t('help.keys')), table(KEYS, 'kbd'))));
  dialog.showModal();
}

/** `live()` switches the live tail, `pause()` holds it. */
export function begin(live, pause) {
  by('help').addEventListener('click', help);
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector('dialog[open]')) return;
    if (event.target.closest('input, textarea, select')) return;
    const button = event.target.closest('button, a, summary');
    const row = rows.selected();
    const act = {
      '/': focus,
      j: () => rows.step(1),
      k: () => rows.step(-1),
      Enter: () => (button || !row ? false : rows.toggle(row)),
      c: () => (row ? context.open(row.hit) : false),
      l: live,
      p: pause,
      t: time.open,
      '?': help,
      Escape: () => { const open = row?.classList.contains('open') ? row : rows.anyOpen(); return open ? rows.toggle(open) : false; },
    }[event.key];
    if (act && act() !== false) event.preventDefault();
  });
}
