// Who may do what: users, tokens for programs, one's own password, and who did what.

import { ask, by, change, el, moment, sign, t, toast } from './util.js';
import { begin as connection } from './connect.js';

const page = by('people');
const self = page.dataset.name;
const ROLES = ['viewer', 'editor', 'admin'];
const ACTIONS = ['entries', 'login', 'logout', 'user', 'token', 'connection'];

const time = (ms) => `${moment(ms).date} ${moment(ms).clock}`;
const topicsOf = (text) => text.split(/[\s,]+/).filter(Boolean);
const whole = (text) => el('span', { class: 'number' }, text);
const roleOf = (role) => el('span', { class: 'number', title: t(`role.${role}`) }, t(`rank.${role}`));
const cells = (...all) => all.map((cell) => el('td', {}, cell));
const roles = (select, up, chosen) => select.replaceChildren(...ROLES.slice(0, ROLES.indexOf(up) + 1)
  .map((role) => el('option', { value: role, selected: role === chosen }, t(`role.${role}`))));

function table(names, rows) {
  return el('table', {}, el('thead', {}, el('tr', {}, names.map((name) => el('th', { scope: 'col' }, name)))), el('tbody', {}, rows));
}

/** Does something, and tells where it was refused. */
async function act(place, doing) {
  by(place).hidden = true;
  try {
    await doing();
    return true;
  } catch (error) {
    by(place).textContent = error.message;
    by(place).hidden = false;
    return false;
  }
}

const send = (method, path, body) => change(method, path, body === undefined ? undefined : JSON.stringify(body));

async function users() {
  const all = await ask('users');
  if (!all.length) return by('users').replaceChildren(el('p', {}, t('users.none')));
  by('users').replaceChildren(table([t('user.name'), t('role'), t('topics'), t('user.state'), t('user.changed'), el('span', { class: 'hidden' }, t('collect.acts'))], all.map((user) => el('tr', { 'data-user': user.name },
    cells(whole(user.name), roleOf(user.role), el('code', {}, user.topics.join(' ')), user.disabled ? el('span', { class: 'bad' }, t('user.disabled')) : t('user.enabled'), whole(time(user.changed_ms))),
    el('td', { class: 'actions' }, sign('edit', t('user.edit', { name: user.name }), () => edit(user)),
      el('button', { type: 'button', class: 'small', 'data-act': 'toggle', onclick: () => toggle(user) }, user.disabled ? t('user.enable') : t('user.disable')))))));
}

async function toggle(user) {
  if (await act('users-refused', () => send('PUT', `users/${encodeURIComponent(user.name)}`, { disabled: !user.disabled }))) {
    toast(user.disabled ? t('user.enabled.done', { name: user.name }) : t('user.disabled.done', { name: user.name }));
    await Promise.all([users(), tokens(), audit()]);
  }
}

function edit(user) {
  const dialog = by('edit-user');
  const role = el('select', { name: 'role' });
  roles(role, 'admin', user.role);
  const refused = el('p', { class: 'banner bad', role: 'alert', id: 'edit-refused', hidden: true });
  const form = el('form', { class: 'fields', method: 'dialog' },
    el('label', {}, t('role'), role),
    el('label', { class: 'wider' }, t('topics'), el('input', { name: 'topics', required: true, spellcheck: 'false', value: user.topics.join(' ') })),
    el('label', { class: 'wider' }, t('password.reset'), el('input', { name: 'password', type: 'password', minlength: 12, maxlength: 1000, autocomplete: 'new-password' })),
    el('p', { class: 'faint hint' }, t('password.hint')),
    refused,
    el('button', { type: 'submit', class: 'primary' }, t('user.save')), el('button', { type: 'button', onclick: () => dialog.close() }, t('cancel')));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const { role, topics, password } = Object.fromEntries(new FormData(form));
    const body = { role, topics: topicsOf(topics), ...(password ? { password } : {}) };
    if (await act('edit-refused', () => send('PUT', `users/${encodeURIComponent(user.name)}`, body))) {
      dialog.close();
      toast(t('user.saved', { name: user.name }));
      await Promise.all([users(), tokens(), audit()]);
    }
  });
  dialog.replaceChildren(el('header', {}, el('h2', { id: 'edit-title' }, t('user.edit', { name: user.name })), sign('close', t('close'), () => dialog.close())), form);
  dialog.showModal();
  role.focus();
}

async function tokens() {
  if (!self) return;
  const all = await ask('tokens');
  if (!all.length) return by('tokens').replaceChildren(el('p', {}, t('tokens.none')));
  by('tokens').replaceChildren(table([t('token.name'), t('token.owner'), t('role'), t('topics'), t('token.until'), t('token.used'), el('span', { class: 'hidden' }, t('collect.acts'))], all.map((token) => el('tr', {},
    cells(token.name, whole(token.user), roleOf(token.role), el('code', {}, token.topics.join(' ')), whole(time(token.expires_ms)), whole(token.last_used_ms ? time(token.last_used_ms) : t('token.never'))),
    el('td', { class: 'actions' }, sign('close', t('token.end', { name: token.name }), () => end(token)))))));
}

async function end(token) {
  if (await act('tokens-refused', () => send('DELETE', `tokens/${encodeURIComponent(token.id)}`))) {
    toast(t('token.ended', { name: token.name }));
    await Promise.all([tokens(), audit()]);
  }
}

let before = null;
async function audit(more = false) {
  const filter = by('audit-filter');
  if (!filter) return;
  const wanted = Object.fromEntries(new FormData(filter));
  await act('audit-refused', async () => {
    const answer = await ask('audit', { ...wanted, ...(more && before ? { before } : {}) });
    before = answer.before;
    by('audit-more').hidden = before === null;
    const rows = answer.records.map((record) => el('tr', {}, cells(whole(time(record.time_ms)), whole(record.author), whole(record.action), record.subject, record.detail, record.address)));
    const body = by('audit').querySelector('tbody');
    if (more && body) return body.append(...rows);
    by('audit').replaceChildren(rows.length
      ? table([t('audit.time'), t('audit.author'), t('audit.action'), t('audit.subject'), t('audit.detail'), t('audit.address')], rows)
      : el('p', {}, t('audit.none')));
  });
}

by('add-user')?.addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = event.target;
  const { topics, ...body } = Object.fromEntries(new FormData(form));
  if (!await act('users-refused', () => send('POST', 'users', { ...body, topics: topicsOf(topics) }))) return;
  // With the first one people log in.
  if (!self) return location.replace('/login?to=/people');
  toast(t('user.added', { name: body.name }));
  form.reset();
  await Promise.all([users(), audit()]);
});

by('add-token')?.addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = event.target;
  const { topics, days, ...body } = Object.fromEntries(new FormData(form));
  let made;
  if (!await act('tokens-refused', async () => { made = await send('POST', 'tokens', { ...body, topics: topicsOf(topics), days: Number(days) }); })) return;
  const shown = el('input', { readonly: true, value: made.token, 'aria-label': t('token.text'), class: 'secret', size: 86 });
  const copy = () => navigator.clipboard.writeText(made.token).then(() => toast(t('copied')), () => toast(t('copy.failed'), true));
  by('made').replaceChildren(el('p', {}, t('token.once')), el('div', { class: 'inline' }, shown, el('button', { type: 'button', onclick: copy }, t('token.copy'))));
  by('made').hidden = false;
  shown.select();
  form.reset();
  await Promise.all([tokens(), audit()]);
});

by('own')?.addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = event.target;
  const { old, new: next, again } = Object.fromEntries(new FormData(form));
  const done = await act('own-refused', async () => {
    if (next !== again) throw new Error(t('password.differ'));
    const me = await send('PUT', 'me/password', { old, new: next });
    document.documentElement.dataset.csrf = me.csrf;
  });
  if (!done) return;
  form.reset();
  toast(t('password.changed'));
  await Promise.all([tokens(), audit()]);
});

by('audit-filter')?.addEventListener('submit', (event) => {
  event.preventDefault();
  audit();
});
by('audit-more')?.addEventListener('click', () => audit(true));

if (by('add-user')) {
  roles(by('add-user').elements.role, 'admin', self ? 'viewer' : 'admin');
  by('audit-filter').elements.action.append(...ACTIONS.map((action) => el('option', { value: action }, t(`audit.${action}`))));
  await act('users-refused', users);
  await audit();
  await act('connection-refused', connection);
}
if (by('add-token')) {
  roles(by('add-token').elements.role, page.dataset.role, 'viewer');
  await act('tokens-refused', tokens);
}
document.documentElement.dataset.ready = String(Math.round(performance.now()));
