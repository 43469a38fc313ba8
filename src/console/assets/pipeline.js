// How lines flow: what waits where, topic by topic, how fast it is carried, and what was refused.

import { ask, by, bytes, count, el, t } from './util.js';
import { away, fact, number, rate, repeat, table, time } from './fleet.js';

async function load() {
  const told = await ask('pipeline');
  away(told);
  facts(told);
  topics(told);
  by('waits').hidden = told.paused.length === 0;
  by('paused').replaceChildren(table([t('pipeline.name'), t('pipeline.reason')], told.paused.map((one) => el('tr', {}, el('td', {}, el('code', {}, one.name)), el('td', { class: 'bad' }, one.reason)))));
  letters(told);
}

function facts(told) {
  const dead = told.dead_letters.reduce((sum, one) => sum + one.count, 0);
  const sum = (name) => told.topics.reduce((all, topic) => all + topic[name], 0);
  by('facts').replaceChildren(fact(t('process.agent'), count(told.agents)), fact(t('process.transfer'), count(told.transfers)),
    fact(t('pipeline.in'), rate(sum('lines_per_second_in'))), fact(t('pipeline.out'), rate(told.bulk.documents_per_second)),
    fact(t('pipeline.requests'), count(told.bulk.requests)), fact(t('pipeline.retries'), count(told.bulk.retries), told.bulk.retries > 0),
    fact(t('pipeline.letters'), count(dead), dead > 0), fact(t('agents.lost.name'), bytes(told.bytes_lost), told.bytes_lost > 0));
}

function topics(told) {
  if (!told.topics.length) return by('topics').replaceChildren(el('p', { class: 'faint' }, t('pipeline.none')));
  by('topics').replaceChildren(table([t('pipeline.topic'), t('pipeline.unsent'), t('pipeline.in'), t('pipeline.unread'), t('pipeline.out'), t('pipeline.state')],
    told.topics.map((one) => el('tr', { 'data-topic': one.topic }, el('td', {}, el('a', { href: `/?q=${encodeURIComponent(`logweir.topic:"${one.topic}"`)}` }, one.topic)),
      number(one.agents ? bytes(one.lag_bytes) : '–', one.lag_bytes > 0), number(one.agents ? rate(one.lines_per_second_in) : '–'),
      number(one.transfers ? count(one.lag_records) : '–', one.lag_records > 0), number(one.transfers ? rate(one.lines_per_second_out) : '–'),
      el('td', { class: one.paused ? 'bad' : '' }, one.paused ? t('pipeline.paused', { reason: one.paused }) : t('pipeline.flows'))))));
}

function letters(told) {
  if (!told.dead_letters.length) return by('letters').replaceChildren(el('p', { class: 'faint' }, t('pipeline.letters.none')));
  const open = new Set([...by('letters').querySelectorAll('details[open]')].map((one) => one.dataset.reason));
  by('letters').replaceChildren(table([t('pipeline.reason'), t('pipeline.count'), t('pipeline.samples')], told.dead_letters.map((one) => el('tr', { 'data-reason': one.reason },
    el('td', {}, el('code', {}, one.reason)), number(count(one.count)), el('td', {}, one.samples.length ? samples(one, open) : '')))));
}

function samples(one, open) {
  const [first, ...more] = one.samples.map((of) => el('div', { class: 'sample' }, el('p', {}, of.error),
    el('p', { class: 'faint' }, t('pipeline.sample', { topic: of.topic, partition: of.partition, offset: count(of.offset), index: of.index, time: time(of.time_ms) }))));
  if (!more.length) return first;
  return [first, el('details', { 'data-reason': one.reason, open: open.has(one.reason) }, el('summary', {}, t('collect.files.rest', { count: count(more.length) })), more)];
}

const turn = repeat(load);
await turn();
document.documentElement.dataset.ready = String(Math.round(performance.now()));
