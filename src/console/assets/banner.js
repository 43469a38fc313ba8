// What needs a person, on every page: what is the matter, and what to do about it.

import { ask, by, bytes, count, el, moment, t, zone } from './util.js';

const EVERY_MS = 5000;

const PLACES = {
  agent_gone: () => '/agents?state=gone&kind=agent',
  transfer_gone: () => '/agents?state=gone&kind=transfer',
  no_transfer: () => '/agents?kind=transfer',
  key_refused: (notice) => `/agents?${new URLSearchParams({ q: notice.who, troubled: 'true' })}`,
  bytes_lost: () => '/agents?troubled=true',
  paused: () => '/pipeline',
  dead_letters: () => '/pipeline',
};

let shown = '';

function since(ms) {
  return ms === null ? '' : `${moment(ms).date} ${moment(ms).clock} ${zone.label(ms)}`;
}

function line(notice) {
  const number = notice.kind === 'bytes_lost' ? bytes(notice.count) : count(notice.count);
  const text = t(`banner.${notice.kind}`, { count: number, who: notice.who, reason: notice.reason, since: since(notice.since_ms) });
  const place = PLACES[notice.kind]?.(notice);
  return el('li', { class: notice.level, 'data-kind': notice.kind }, el('span', {}, text), place && el('a', { href: place }, t('banner.look')));
}

async function load() {
  let told;
  try {
    told = await ask('banner');
  } catch {
    return; // Whoever asks for what the page shows says that nobody answers.
  }
  // Written only when it changes, so that it is read aloud once.
  const now = JSON.stringify(told.notices);
  if (now === shown) return;
  shown = now;
  by('notices').replaceChildren(...told.notices.map(line));
  by('notices').hidden = told.notices.length === 0;
}

if (by('notices')) {
  load();
  setInterval(() => { if (!document.hidden) load(); }, EVERY_MS);
}
