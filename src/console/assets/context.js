// The lines around one line in its own file, in the file's order, however many share a timestamp.

import { ask, by, count, el, full, moment, t, toast } from './util.js';
import { level, show } from './text.js';
import { set, state } from './state.js';

const dialog = by('context');
const STEP = 50;
const CUT = 2000;
let list;

const line = (hit, found = false) => {
  const m = moment(hit.time_ms);
  const message = show(el('span', { class: 'message' }), String(hit.fields.message ?? ''), hit.marks.message);
  if (hit.cut?.message) message.append(el('span', { class: 'cut' }, ` … ${t('cut', { count: count(hit.cut.message) })}`));
  const made = el('li', { class: `line ${level(hit.fields)}${found ? ' found' : ''}`, 'aria-current': found ? 'true' : null },
    el('span', { class: 'offset', title: t('context.offset') }, String(hit.offset)), el('time', { title: full(hit.time_ms) }, `${m.clock}.${m.milli}`), message);
  made.hit = hit;
  return made;
};

const lines = (at, before, after) => ask('around', { file: at.file, offset: at.offset, before, after, cut: CUT, q: state.q });

/** Opens it for a hit (its `file` and `offset`). */
export async function open(at) {
  if (!at.file) return toast(t('context.none'), true);
  let found;
  try {
    found = await lines(at, STEP, STEP);
  } catch (error) {
    return toast(error.message, true);
  }
  set({ ctx: `${at.file}:${at.offset}` }, state.ctx !== '');
  const any = found.line ?? found.before.at(-1) ?? found.after[0];
  list = el('ol', { class: 'around', tabindex: '0' }, found.before.map((hit) => line(hit)), found.line && line(found.line, true), found.after.map((hit) => line(hit)));
  const box = el('div', { class: 'scroll' }, more('before', !found.more_before), list, more('after', !found.more_after));
  dialog.replaceChildren(el('header', {}, el('h2', { id: 'context-title' }, t('context.title'), ' ', el('code', {}, any?.fields['log.file.path'] ?? at.file)),
    el('button', { type: 'button', class: 'icon', 'aria-label': t('close'), title: `${t('close')} (Esc)`, onclick: () => dialog.close() }, '×')),
  found.line ? '' : el('p', { class: 'banner bad' }, t('context.gone')), box);
  if (!dialog.open) dialog.showModal();
  list.querySelector('.found')?.scrollIntoView({ block: 'center' });
  list.focus({ preventScroll: true });
}

/** The button for more lines at one end; says so when there are none. */
function more(way, ended) {
  const button = el('button', { type: 'button', class: 'more', 'data-more': way, disabled: ended, onclick: load }, ended ? t(`context.${way}.end`) : t(`context.${way}`));
  async function load() {
    button.disabled = true;
    const before = way === 'before';
    const edge = (before ? list.firstElementChild : list.lastElementChild)?.hit;
    try {
      const found = await lines(edge, before ? STEP : 0, before ? 0 : STEP);
      const box = list.parentElement;
      const height = box.scrollHeight;
      if (before) {
        list.prepend(...found.before.map((hit) => line(hit)));
        box.scrollTop += box.scrollHeight - height;
      } else {
        list.append(...found.after.map((hit) => line(hit)));
      }
      const ended = !found[`more_${way}`];
      button.disabled = ended;
      if (ended) button.textContent = t(`context.${way}.end`);
    } catch (error) {
      button.disabled = false;
      toast(error.message, true);
    }
  }
  return button;
}

/** As the page's address has it. */
export function follow() {
  const [file, offset] = state.ctx.split(':');
  if (file && offset) open({ file, offset });
  else if (dialog.open) dialog.close();
}

dialog.addEventListener('close', () => { if (state.ctx) set({ ctx: '' }, true); });
dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
