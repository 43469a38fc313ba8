// What a path means on the machine that collects: a folder is offered as everything below it, as on the command line.

import { ask, by, t } from './util.js';

let told = null;

/** Asks about the path in the form, and shows what there is to choose. */
export async function look(path) {
  told = null;
  // A console of other machines' files has no answer, and then there is nothing to choose.
  const meaning = path ? await ask('paths', { path }).catch(() => null) : null;
  if (by('path').value.trim() !== path) return null;
  told = meaning && { asked: path, ...meaning };
  const below = told?.entries.find((entry) => entry.path.endsWith('/**'));
  by('below-row').hidden = !below || path.endsWith('/**');
  by('meant').textContent = told?.problem ? t('collect.problem', { reason: told.problem }) : told?.kind === 'missing' ? t('collect.missing') : '';
  return told;
}

/** The entries for what is in the form. */
export async function meant(entry) {
  if (told?.asked !== entry.path) await look(entry.path);
  if (by('below-row').hidden || !by('below').checked || !told) return [entry];
  return told.entries.map((one) => {
    const exclude = [...(one.exclude ?? []), ...(entry.exclude ?? [])];
    return { ...entry, path: one.path, ...(exclude.length && { exclude }) };
  });
}

/** A form for another path. */
export function forget() {
  told = null;
  by('below-row').hidden = true;
  by('meant').textContent = '';
}
