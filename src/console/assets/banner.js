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

/** Notices that are seen at once; the others are a click away, so that the page itself stays in sight. */
const SEEN = 2;

let shown = '';
let all = false;

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
  draw(told.notices);
}

function draw(notices) {
  const rest = notices.length - SEEN;
  const lines = notices.map(line);
  lines.slice(SEEN).forEach((one) => { one.hidden = !all && rest > 0; });
  const flip = () => { all = !all; draw(notices); by('notices').querySelector('button').focus(); };
  const more = rest > 0 && el('li', { class: 'more' }, el('button', { type: 'button', class: 'quiet', 'aria-expanded': String(all), onclick: flip }, all ? t('banner.less') : t('banner.more', { count: count(rest) })));
  by('notices').firstElementChild.replaceChildren(...lines, ...(more ? [more] : []));
  by('notices').hidden = notices.length === 0;
}

if (by('notices')) {
  load();
  setInterval(() => { if (!document.hidden) load(); }, EVERY_MS);
}
