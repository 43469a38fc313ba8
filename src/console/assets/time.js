// The time picker: quick spans, a span of one's own, the zone, and how often to look again.

import { by, el, full, menu, moment, now, read, t, zone } from './util.js';
import { ago, moves, set, span, state } from './state.js';

const QUICK = ['-5m', '-15m', '-1h', '-4h', '-12h', '-24h', '-2d', '-7d', '-30d', ''];
const REFRESH = ['', '5', '10', '30', '60'];
let changed = () => {};
let panel;
let timer;

const quickName = (from) => (from === '' ? t('time.all') : from === '-1h' ? t('time.hour') : t(`time.last.${from.slice(-1)}`, { n: from.slice(1, -1) }));

/** The span in words. */
export function label() {
  if (moves() && state.from === '') return t('time.all');
  if (moves() && ago(state.from) !== null && state.to === '') return quickName(state.from.replace('now', ''));
  const { from, to } = span();
  const begin = from === null ? '…' : short(from);
  return `${begin} – ${state.to === '' || state.to === 'now' ? t('time.now') : short(to)}`;
}

function short(ms) {
  const m = moment(ms);
  return `${m.date === moment(now()).date ? '' : `${m.date} `}${m.clock}${ms % 1000 ? `.${m.milli}` : ''}`;
}

export function show() {
  by('time-label').textContent = label();
  by('zone-label').textContent = zone.label(span().from ?? now());
}

/** Looks again as often as chosen, while the page is seen and the span moves. */
export function schedule() {
  clearTimeout(timer);
  if (!state.refresh || !moves() || state.live) return;
  timer = setTimeout(() => (document.hidden ? schedule() : changed(true)), Number(state.refresh) * 1000);
}

function fill() {
  const { from, to } = span();
  const input = (id, ms) => el('input', { id, name: id, spellcheck: 'false', value: ms === null ? '' : full(ms), placeholder: '2026-11-21 10:00:00' });
  const begin = input('from', from);
  const end = input('to', to);
  const wrong = el('p', { class: 'bad', role: 'alert' });
  const choose = (changes) => { panel.close(); set(changes); show(); changed(); };
  const submit = (event) => {
    event.preventDefault();
    const [a, b] = [begin, end].map((field) => (field.value.trim() === '' ? null : read(field.value)));
    for (const [field, ms] of [[begin, a], [end, b]]) field.setAttribute('aria-invalid', Number.isNaN(ms) ? 'true' : 'false');
    if (Number.isNaN(a) || Number.isNaN(b)) wrong.textContent = t('time.wrong');
    else if (a !== null && b !== null && b <= a) wrong.textContent = t('time.backwards');
    else choose({ from: a === null ? '' : new Date(a).toISOString(), to: b === null ? '' : new Date(b).toISOString() });
  };
  by('time-panel').replaceChildren(
    el('div', { class: 'quick', role: 'group', 'aria-label': t('time.quick') }, QUICK.map((from) => el('button', { type: 'button',
      'aria-pressed': state.from === from && state.to === '' ? 'true' : 'false', 'data-from': from || 'all', onclick: () => choose({ from, to: '' }) }, quickName(from)))),
    el('form', { class: 'absolute', onsubmit: submit }, el('label', {}, t('time.from'), begin), el('label', {}, t('time.to'), end), wrong,
      el('button', { type: 'submit', class: 'primary' }, t('time.apply'))),
    el('div', { class: 'side' },
      el('label', {}, t('time.zone'), el('select', { onchange: (event) => { zone.utc = event.target.value === 'utc'; show(); changed(); fill(); } },
        el('option', { value: 'local', selected: !zone.utc }, `${Intl.DateTimeFormat().resolvedOptions().timeZone}`),
        el('option', { value: 'utc', selected: zone.utc }, 'UTC'))),
      el('label', {}, t('time.refresh'), el('select', { id: 'refresh', onchange: (event) => { set({ refresh: event.target.value }, true); schedule(); } },
        REFRESH.map((s) => el('option', { value: s, selected: state.refresh === s }, s ? t('time.every', { n: s }) : t('time.off')))))));
}

/** `run(quietly)` is called when the span has changed or it is time to look again. */
export function begin(run) {
  changed = run;
  panel = menu(by('time'), by('time-panel'), fill);
}

export const open = () => panel.open();
