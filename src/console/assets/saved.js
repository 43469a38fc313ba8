// Saved searches: what the address holds, under a name.

import { ask, by, change, el, menu, sign, t, toast } from './util.js';
import { query, state } from './state.js';

const panel = by('saved-panel');
const path = (name) => `searches/${encodeURIComponent(name)}`;

async function act(doing, done) {
  try {
    await doing();
    toast(done);
    await fill();
  } catch (error) {
    toast(error.message, true);
  }
}

async function fill() {
  const name = el('input', { id: 'saved-name', required: true, maxlength: 100, placeholder: t('saved.name'), 'aria-label': t('saved.name'), value: '' });
  const { ctx, ...kept } = state;
  const form = el('form', { class: 'inline', onsubmit: (event) => {
    event.preventDefault();
    act(() => change('PUT', path(name.value.trim()), JSON.stringify(kept)), t('saved.done', { name: name.value.trim() }));
  } }, name, el('button', { type: 'submit', class: 'primary' }, t('saved.save')));
  let list;
  try {
    const all = Object.entries(await ask('searches'));
    list = all.length
      ? el('ul', {}, all.map(([saved, of]) => el('li', {}, el('a', { href: query(of) }, el('strong', {}, saved), el('code', {}, of.q || '*')),
        sign('close', t('saved.remove', { name: saved }), () => act(() => change('DELETE', path(saved)), t('saved.removed', { name: saved }))))))
      : el('p', { class: 'faint' }, t('saved.none'));
  } catch (error) {
    list = el('p', { class: 'bad' }, error.message);
  }
  const focused = panel.contains(document.activeElement) || panel.childElementCount === 0;
  panel.replaceChildren(form, list);
  if (focused) name.focus();
}

export function begin() {
  menu(by('saved'), panel, fill);
}
