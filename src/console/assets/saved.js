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
    // Somebody else was faster: what they saved is shown, and the name stays for another try.
    if (error.status === 409) await fill(by('saved-name').value);
  }
}

/** What was seen: whoever changed it since is not overwritten. */
const seen = (of) => ({ 'If-Match': String(of?.revision ?? 0) });

async function fill(typed = '') {
  let shown = {};
  const name = el('input', { id: 'saved-name', required: true, maxlength: 100, placeholder: t('saved.name'), 'aria-label': t('saved.name'), value: typed });
  const { ctx, ...kept } = state;
  const form = el('form', { class: 'inline', onsubmit: (event) => {
    event.preventDefault();
    const given = name.value.trim();
    act(() => change('PUT', path(given), JSON.stringify(kept), seen(Object.hasOwn(shown, given) && shown[given])), t('saved.done', { name: given }));
  } }, name, el('button', { type: 'submit', class: 'primary' }, t('saved.save')));
  let list;
  try {
    shown = await ask('searches');
    const all = Object.entries(shown);
    list = all.length
      ? el('ul', {}, all.map(([saved, of]) => el('li', {}, el('a', { href: query(of) }, el('strong', {}, saved), el('code', {}, of.q || '*')),
        sign('close', t('saved.remove', { name: saved }), () => act(() => change('DELETE', path(saved), undefined, seen(of)), t('saved.removed', { name: saved }))))))
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
