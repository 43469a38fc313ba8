// Who collects and carries: a table of all processes, the worst first, and everything that one of them tells.

import { ask, by, bytes, change, count, el, sign, t, toast } from './util.js';
import { away, fact, length, number, rate, repeat, table, time } from './fleet.js';

const SIZE = 100;
const COLUMNS = ['state', 'host', 'kind', 'version', 'uptime', 'files', 'lag', 'rate', 'told', 'trouble'];
const SORTS = { state: 'worst', host: 'host', kind: 'kind', version: 'version', uptime: 'uptime', files: 'files', lag: 'lag', rate: 'rate', told: 'told' };

const asked = Object.fromEntries(new URLSearchParams(location.search));
const from = () => Number(asked.from) || 0;
let opened = null;

function remember() {
  const given = Object.entries(asked).filter(([, value]) => value);
  history.replaceState(null, '', given.length ? `?${new URLSearchParams(given)}` : location.pathname);
}

function set(changes) {
  Object.assign(asked, { from: '' }, changes);
  remember();
  turn();
}

async function load() {
  const { q, kind, state, troubled, sort, reverse } = asked;
  const told = await ask('agents', { q, kind, state, troubled, sort, reverse, from: from(), size: SIZE });
  away(told);
  const { alive, gone, stopped, troubled: bad } = told.counts;
  by('facts').replaceChildren(fact(t('state.alive'), count(alive)), fact(t('state.gone'), count(gone), gone > 0),
    fact(t('state.stopped'), count(stopped)), fact(t('agents.need'), count(bad), bad > 0));
  const active = document.activeElement?.dataset?.focus;
  by('list').replaceChildren(told.agents.length ? table(COLUMNS.map(head), told.agents.map((one) => row(one, told.now_ms)))
    : el('p', { class: 'faint' }, told.total || q || kind || state || troubled ? t('agents.none') : t('agents.nobody')));
  if (active) by('list').querySelector(`[data-focus="${CSS.escape(active)}"]`)?.focus();
  pager(told.total);
  if (opened) await details();
}

function head(name) {
  const by_ = SORTS[name];
  const title = t(`agents.column.${name}`);
  if (!by_) return el('th', { scope: 'col' }, title);
  const on = (asked.sort || 'worst') === by_;
  const order = on ? (asked.reverse ? 'descending' : 'ascending') : 'none';
  const flip = () => set({ sort: by_, reverse: on && !asked.reverse ? 'true' : '' });
  return el('th', { scope: 'col', 'aria-sort': order }, el('button', { type: 'button', class: 'quiet sort', 'data-focus': `sort-${name}`, onclick: flip }, title, on && el('span', { 'aria-hidden': 'true' }, asked.reverse ? ' ↑' : ' ↓')));
}

const mayEdit = by('fleet').dataset.editor === 'true';
const path = (called) => `agents/${called.split('/').map(encodeURIComponent).join('/')}`;
/** Its last sign: of one that nobody watched when it went, what it told last. */
const last = (one) => (one.unwatched ? one.told_ms : one.went_ms ?? one.told_ms);
const name = (one) => `${one.kind}/${one.host}/${one.instance}`;
const lag = (one) => (one.kind === 'transfer' ? t('records', { count: count(one.lag) }) : bytes(one.lag));

/** Who may not see all topics is told only that there is one. */
const errorOf = (one) => one.last_error ?? (one.last_error_ms ? t('agents.error.hidden') : '');

function trouble(one) {
  if (one.unreadable) return one.unreadable;
  if (one.refused.length) return one.refused[0].reason;
  if (one.bytes_lost) return t('agents.lost', { bytes: bytes(one.bytes_lost) });
  return errorOf(one);
}

function row(one, now) {
  const open = () => { opened = name(one); details(); };
  const state = el('td', {}, el('span', { class: `state ${one.state}` }, t(`state.${one.state}`)));
  const working = one.kind === 'agent' || one.kind === 'transfer' || one.kind === 'standalone';
  return el('tr', { 'data-name': name(one), class: one.state }, state,
    el('td', {}, el('button', { type: 'button', class: 'link', 'data-focus': name(one), onclick: open }, one.instance === '1' ? one.host : `${one.host} (${one.instance})`)),
    el('td', {}, t(`process.${one.kind}`)), el('td', {}, one.version), number(one.state === 'alive' ? length(now - one.started_ms) : '–'),
    number(working ? count(one.files) : '–'), number(working ? lag(one) : '–', one.lag > 0), number(working ? rate(one.lines_per_second) : '–'),
    number(t('ago', { time: length(now - last(one)) })), el('td', { class: 'trouble', title: trouble(one) }, trouble(one)));
}

function pager(total) {
  by('pager').hidden = total <= SIZE && !from();
  by('before').disabled = from() === 0;
  by('next').disabled = from() + SIZE >= total;
  const text = t('agents.where', { from: count(Math.min(from() + 1, total)), to: count(Math.min(from() + SIZE, total)), total: count(total) });
  if (by('where').textContent !== text) by('where').textContent = text;
}

// ---- one of them ----------------------------------------------------------------------------------------------------

let files = null;
let listed = 0;

async function details() {
  const wanted = opened;
  let told;
  try {
    told = await ask(path(wanted));
  } catch (error) {
    if (error.status !== 404) throw error;
    opened = null;
    by('details').close();
    return;
  }
  if (opened !== wanted) return;
  const { row: one, status } = told;
  const place = by('details');
  if (!place.open) {
    files = null;
    listed = 0;
    place.replaceChildren(el('header', {}, el('h2', { id: 'details-title' }, `${t(`process.${one.kind}`)} ${one.host}`),
      mayEdit && el('button', { type: 'button', class: 'small', id: 'forget', hidden: one.state === 'alive', title: t('agents.forget.title'), onclick: () => forget(wanted, one.host) }, t('agents.forget')),
      sign('close', t('close'), () => place.close(), { id: 'details-close', autofocus: true })), el('div', { class: 'scroll body', tabindex: '0', id: 'details-body' }));
    place.dataset.of = wanted;
    place.showModal();
  }
  if (mayEdit) by('forget').hidden = one.state === 'alive';
  const scrolled = by('details-body').scrollTop;
  by('details-body').replaceChildren(...facts(one, status, told.now_ms), files ?? el('p', { class: 'faint' }, answers(one) ? t('loading') : ''));
  by('details-body').scrollTop = scrolled;
  if (answers(one) && Date.now() - listed > 5000) {
    listed = Date.now();
    list(wanted);
  }
}

async function forget(called, host) {
  // It isn't asked for any more.
  opened = null;
  try {
    await change('DELETE', path(called));
  } catch (error) {
    opened = called;
    toast(error.message, true);
    return;
  }
  toast(t('agents.forgotten', { host }));
  by('details').close();
  turn();
}

const reads = (one) => one.kind === 'agent' || one.kind === 'standalone';
/** Whether it can be asked for its files. */
const answers = (one) => reads(one) && one.state === 'alive';

const went = (one) => (one.unwatched ? t('agents.unwatched', { from: time(one.told_ms), to: time(one.went_ms) }) : time(one.went_ms));

function facts(one, status, now) {
  const made = [el('dl', { class: 'facts' }, fact(t('agents.column.state'), t(`state.${one.state}`), one.state === 'gone'), fact(t('agents.column.version'), one.version),
    fact(t('agents.first'), time(one.first_ms)), fact(t('agents.started'), time(one.started_ms)), one.went_ms !== null && fact(t('agents.went'), went(one)), fact(t('agents.column.told'), t('ago', { time: length(now - one.told_ms) })),
    fact(t('agents.column.files'), count(one.files)), fact(t('agents.column.lag'), lag(one), one.lag > 0), fact(t('agents.column.rate'), rate(one.lines_per_second)),
    fact(t('agents.bytes'), `${bytes(one.bytes_per_second)}/s`), reads(one) && fact(t('agents.lost.name'), bytes(one.bytes_lost), one.bytes_lost > 0))];
  if (one.unreadable) made.push(el('p', { class: 'banner bad' }, one.unreadable));
  if (errorOf(one)) made.push(el('p', { class: 'banner' }, el('strong', {}, t('agents.error', { time: time(one.last_error_ms) })), ' ', errorOf(one)));
  const keys = [...new Set([...(status.keys ?? []), ...Object.keys(status.sources ?? {})])];
  if (keys.length) {
    made.push(el('h3', {}, t('agents.keys')), table([t('agents.key'), t('agents.applied'), t('agents.refused')], keys.map((key) => {
      const source = status.sources[key];
      return el('tr', {}, el('td', {}, el('code', {}, key)), number(source ? source.applied_revision ?? '✓' : t('agents.key.none')), el('td', { class: source?.refused ? 'bad' : '' }, source?.refused ?? ''));
    })));
  }
  const topics = Object.entries(status.topics ?? {}).sort(([, a], [, b]) => b.lag - a.lag);
  if (topics.length) {
    made.push(el('h3', {}, t('pipeline.topics')), table([t('pipeline.topic'), t('agents.column.lag'), t('agents.column.rate')],
      topics.map(([topic, of]) => el('tr', {}, el('td', {}, topic), number(lag({ kind: one.kind, lag: of.lag }), of.lag > 0), number(rate(of.lines_per_second))))));
  }
  return made;
}

async function list(wanted) {
  let made;
  try {
    const told = await ask(`${path(wanted)}/files`);
    const behind = (file) => Math.max(0, Math.max(file.size ?? file.read, file.read) - file.settled);
    made = el('div', {}, el('h3', {}, t('agents.column.files')), table([t('collect.file'), t('pipeline.topic'), t('agents.position'), t('agents.size'), t('agents.column.lag')],
      told.files.map((file) => el('tr', {}, el('td', {}, el('code', {}, file.path)), el('td', {}, file.topic), number(count(file.settled)),
        number(file.size === null ? t('collect.gone') : count(file.size)), number(bytes(behind(file)), behind(file) > 0))), { id: 'files' }),
    told.left_out > 0 && el('p', { class: 'faint' }, t('collect.files.rest', { count: count(told.left_out) })));
  } catch (error) {
    made = el('p', { class: 'banner', id: 'files' }, error.message);
  }
  if (opened !== wanted) return;
  (files ?? by('details-body').lastElementChild).replaceWith(made);
  files = made;
}

by('details').addEventListener('close', () => {
  // Told a moment later: another one may have been asked for since, and even be there.
  if (by('details').open) return;
  const closed = by('details').dataset.of;
  if (opened === closed) opened = null;
  if (closed) by('list').querySelector(`[data-focus="${CSS.escape(closed)}"]`)?.focus();
});

// ---- begin ----------------------------------------------------------------------------------------------------------

const turn = repeat(load);
by('find').value = asked.q ?? '';
by('kind').value = asked.kind ?? '';
by('state').value = asked.state ?? '';
by('troubled').checked = asked.troubled === 'true';
by('filter').addEventListener('submit', (event) => event.preventDefault());
by('find').addEventListener('input', () => set({ q: by('find').value.trim() }));
by('kind').addEventListener('change', () => set({ kind: by('kind').value }));
by('state').addEventListener('change', () => set({ state: by('state').value }));
by('troubled').addEventListener('change', () => set({ troubled: by('troubled').checked ? 'true' : '' }));
by('before').addEventListener('click', () => set({ from: String(Math.max(0, from() - SIZE) || '') }));
by('next').addEventListener('click', () => set({ from: String(from() + SIZE) }));
await turn();
document.documentElement.dataset.ready = String(Math.round(performance.now()));
