// Before something is written: what is wrong with it, or what it changes. And when somebody else was faster: both versions,
// and what can be done without losing either.

import { ask, by, change, el, t, toast } from './util.js';

/** A unified difference, its lines coloured and named for those who don't see colours. */
export function shownDiff(text) {
  const kind = (line) => (line.startsWith('@@') ? 'hunk' : line.startsWith('+++') || line.startsWith('---') ? 'file' : line[0] === '+' ? 'added' : line[0] === '-' ? 'removed' : '');
  const shown = (line) => {
    const made = kind(line);
    return made === 'added' ? el('ins', {}, `${line}\n`) : made === 'removed' ? el('del', {}, `${line}\n`) : el('span', { class: made }, `${line}\n`);
  };
  return el('pre', { class: 'diff', tabindex: '0', 'aria-label': t('entries.diff') }, text.replace(/\n$/, '').split('\n').map(shown));
}

const address = (key) => `entries/key?${new URLSearchParams({ key })}`;

/** Writes a text (`null` deletes the key), or says why not. */
async function write(key, text, seen) {
  return change(text === null ? 'DELETE' : 'PUT', address(key), text ?? undefined, { 'If-Match': `"${seen}"` });
}

/**
 * Shows what would change and writes it when that is wanted. `wanted`: `{key, text, seen, onto}`; `onto(text)` makes the
 * same change to another version of the text, or answers null. Resolves to `{saved}`, `{mistake}`, or null.
 */
export async function save(wanted) {
  const checked = await change('POST', 'entries/check', JSON.stringify({ key: wanted.key, text: wanted.text }));
  if (checked.mistake) return { mistake: checked.mistake };
  if (checked.revision !== wanted.seen) return conflict(wanted, await theirs(wanted));
  if (checked.same) {
    toast(t('entries.same'));
    return null;
  }
  const content = [el('p', {}, wanted.text === null ? t('entries.review.delete') : t('entries.review')), shownDiff(checked.diff)];
  return dialog(wanted.text === null ? t('entries.delete.key', { key: wanted.key }) : wanted.key, content, [
    { name: wanted.text === null ? t('entries.delete') : t('entries.save'), primary: true, run: () => put(wanted) },
  ]);
}

async function put(wanted) {
  try {
    const { revision } = await write(wanted.key, wanted.text, wanted.seen);
    return { saved: revision };
  } catch (error) {
    if (error.status === 409) return conflict(wanted, error);
    if (error.status === 400 && 'entry' in error) return { mistake: { ...error, reason: error.message } };
    throw error;
  }
}

async function theirs(wanted) {
  const now = await ask('entries/key', { key: wanted.key });
  return { revision: now.revision, text: now.revision ? now.text : null };
}

function version(name, text) {
  return el('section', {}, el('h3', {}, name), text === null || text === undefined
    ? el('p', { class: 'faint' }, t('entries.conflict.gone')) : el('pre', { class: 'version', tabindex: '0', 'aria-label': name }, text));
}

/** Somebody else was faster. */
function conflict(wanted, now) {
  const onto = now.text === null || !wanted.onto ? null : wanted.onto(now.text);
  const again = (text) => save({ ...wanted, text, seen: now.revision });
  const content = [el('p', { role: 'alert' }, now.text === null ? t('entries.conflict.deleted') : t('entries.conflict')),
    el('div', { class: 'versions' }, version(t('entries.conflict.theirs'), now.text), version(t('entries.conflict.yours'), wanted.text))];
  const actions = [{ name: t('entries.conflict.over'), run: () => again(wanted.text) }];
  if (onto !== null) actions.unshift({ name: t('entries.conflict.onto'), primary: true, run: () => again(onto) });
  return dialog(t('entries.conflict.title', { key: wanted.key }), content, actions, t('entries.conflict.keep'));
}

/** Asks. An action that fails leads back to the question, with the reason; null: nothing is to be done. */
export function dialog(title, content, actions, leave = t('cancel'), problem = '') {
  const place = by('review');
  return new Promise((resolve) => {
    let chosen = null;
    const choose = (action) => {
      chosen = action;
      place.close();
    };
    const buttons = actions.map((action) => el('button', { type: 'button', class: action.primary && 'primary', onclick: () => choose(action) }, action.name));
    place.replaceChildren(el('header', {}, el('h2', { id: 'review-title' }, title)),
      el('div', { class: 'body' }, content.flat(Infinity), problem && el('p', { class: 'banner bad', role: 'alert' }, problem)),
      el('footer', {}, el('button', { type: 'button', onclick: () => place.close() }, leave), buttons));
    place.addEventListener('close', async () => {
      if (!chosen) return resolve(null);
      try {
        resolve(await chosen.run());
      } catch (error) {
        resolve(dialog(title, content, actions, leave, error.message));
      }
    }, { once: true });
    place.showModal();
    (buttons.find((button) => button.classList.contains('primary')) ?? buttons[0])?.focus();
  });
}
