// The fields of what is found, beside the lines.

import { ask, by, el, keep, sign, t } from './util.js';
import { setFields } from './bar.js';
import { columns, span } from './state.js';
import { column, top } from './rows.js';

const place = by('fields');
const toggle = by('fields-toggle');
const SIGNS = { text: 't', keyword: 'a', integer: '#', float: '#', boolean: '✓', date: '◷' };

/** Which fields there are in the span; the bar completes them, too. */
export async function load(signal) {
  const known = await ask('fields', span(), signal).catch(() => []);
  setFields(known);
  const open = place.querySelector('[aria-expanded="true"]')?.dataset.field;
  place.replaceChildren(el('h2', {}, t('fields')), ...known.map((field) => {
    const tops = el('div', { class: 'tops', hidden: true });
    const button = el('button', { type: 'button', class: 'quiet', 'aria-expanded': 'false', 'data-field': field.name, disabled: field.kind === 'text', onclick: () => {
      tops.hidden = !tops.hidden;
      button.setAttribute('aria-expanded', tops.hidden ? 'false' : 'true');
      if (!tops.hidden) top(tops, field.name);
    } }, el('span', { class: 'kind', title: t(`kind.${field.kind}`) }, SIGNS[field.kind]), field.name);
    if (open === field.name) button.click();
    return el('div', { class: 'field' }, button, field.kind !== 'text' && sign('column', t('column.toggle', { name: field.name }), () => column(field.name),
      { 'aria-pressed': columns().includes(field.name) ? 'true' : 'false' }), tops);
  }));
}

function show(open) {
  place.hidden = !open;
  toggle.setAttribute('aria-expanded', open ? 'true' : 'false');
  keep.set('fields', open ? '1' : '0');
}

export function begin() {
  toggle.addEventListener('click', () => show(place.hidden));
  show(keep.get('fields') === '1' && innerWidth > 900);
}
