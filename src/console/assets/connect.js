// How Elasticsearch is reached: what is secret can be written, never read.

import { ask, by, change, el, t, toast } from './util.js';

const KINDS = ['api_key', 'password', 'none'];
const form = by('connect');
let revision = 0;

const kind = () => form.elements.kind.value;
const show = () => form.querySelectorAll('[data-of]').forEach((label) => {
  label.hidden = label.dataset.of !== kind();
  label.querySelector('input').required = !label.hidden;
});

async function load() {
  const now = await ask('connection');
  revision = now.revision;
  form.elements.urls.value = now.urls.join(' ');
  form.elements.kind.replaceChildren(...KINDS.map((one) => el('option', { value: one, selected: one === now.kind }, t(`connection.kind.${one}`))));
  form.elements.username.value = now.username ?? '';
  by('connection-now').textContent = now.problem ?? (revision ? t(`connection.now.${now.kind}`) : t('connection.nothing'));
  show();
  by('connection').hidden = false;
}

async function save(event) {
  event.preventDefault();
  by('connection-refused').hidden = true;
  const given = Object.fromEntries(new FormData(form));
  const wanted = { api_key: ['api_key'], password: ['username', 'password'], none: [] }[kind()];
  const body = { url_address: given.urls.split(/[\s,]+/).filter(Boolean) };
  for (const name of [...wanted, 'ca_cert']) if (given[name].trim()) body[name] = given[name].trim();
  try {
    await change('PUT', 'connection', JSON.stringify(body), { 'If-Match': `"${revision}"` });
    toast(t('connection.saved'));
    form.reset();
    await load();
  } catch (error) {
    by('connection-refused').textContent = error.message;
    by('connection-refused').hidden = false;
  }
}

/** Nothing is shown where the connection isn't in the store. */
export async function begin() {
  if (!form) return;
  form.addEventListener('submit', save);
  form.elements.kind.addEventListener('change', show);
  try {
    await load();
  } catch (error) {
    if (error.status !== 404) throw error;
  }
}
