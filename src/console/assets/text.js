// A line of a log as elements. It comes from anywhere: nothing in it is ever markup. Colours of terminals (SGR) become
// classes, other escape sequences vanish, control characters and those that turn the direction of text are shown as signs.

import { el } from './util.js';

// Colour and other CSI sequences, OSC sequences with their end, two-character escapes.
const ESCAPES = /\u001b\[([0-9;:]*)([ -/]*[@-~])|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|\u001b[ -/]*[0-~]|\u009b[0-9;:]*[ -/]*[@-~]/g;
// Control characters but tab; direction marks; characters without width.
const SIGNS = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/;

/** The pieces of a text: `{text, at, style}`, `at` counting in the text as it came. */
function pieces(text) {
  if (!text.includes('\u001b') && !text.includes('\u009b')) return [{ text, at: 0, style: '' }];
  const found = [];
  let at = 0;
  let style = new Set();
  const add = (end) => { if (end > at) found.push({ text: text.slice(at, end), at, style: [...style].join(' ') }); };
  for (const escape of text.matchAll(ESCAPES)) {
    add(escape.index);
    at = escape.index + escape[0].length;
    if (escape[2] === 'm') style = styled(style, escape[1]);
  }
  add(text.length);
  return found;
}

function styled(before, codes) {
  const style = new Set(before);
  const drop = (kind) => [...style].filter((name) => name.startsWith(kind)).forEach((name) => style.delete(name));
  const list = codes.split(/[;:]/).map(Number);
  for (let i = 0; i < list.length; i++) {
    const code = list[i];
    if (code === 0) style.clear();
    else if (code === 1 || code === 3 || code === 4) style.add(`sgr-${code}`);
    else if (code === 22 || code === 23 || code === 24) style.delete(`sgr-${code === 22 ? 1 : code - 20}`);
    else if (code === 38 || code === 48) i += list[i + 1] === 5 ? 2 : 4; // colours beyond the sixteen: as plain text
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) { drop('fg-'); style.add(`fg-${code % 10}`); }
    else if (code === 39) drop('fg-');
  }
  return style;
}

/** A text without what only terminals understand. */
export const plain = (text) => text.replace(ESCAPES, '');

/** Puts a text with its marks (`[[start, end], ..]`, UTF-16 code units) into an element. */
export function show(into, text, marks = []) {
  for (const piece of pieces(text)) {
    let at = 0;
    const put = (end, marked) => {
      if (end <= at) return;
      const nodes = visible(piece.text.slice(at, end));
      if (!marked && !piece.style) into.append(...nodes);
      else into.append(el(marked ? 'mark' : 'span', { class: piece.style || null }, nodes));
      at = end;
    };
    for (const [start, end] of marks) {
      const from = Math.max(start - piece.at, at);
      const to = Math.min(end - piece.at, piece.text.length);
      if (to <= from) continue;
      put(from, false);
      put(to, true);
    }
    put(piece.text.length, false);
  }
  return into;
}

function visible(text) {
  if (!SIGNS.test(text)) return [text];
  const nodes = [];
  let run = '';
  for (const c of text) {
    if (!SIGNS.test(c)) { run += c; continue; }
    const code = c.codePointAt(0);
    if (c === '\n' || c === '\r') { run += c === '\n' ? '\n' : ''; continue; }
    if (run) nodes.push(run);
    run = '';
    const name = code < 0x20 ? String.fromCharCode(0x2400 + code) : code === 0x7f ? '␡' : `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
    nodes.push(el('span', { class: 'sign', title: `U+${code.toString(16).toUpperCase().padStart(4, '0')}` }, name));
  }
  if (run) nodes.push(run);
  return nodes;
}

const LEVELS = [['error', /^(?:fatal|panic|crit(?:ical)?|alert|emerg(?:ency)?|err(?:or)?|severe)$/i], ['warn', /^warn(?:ing)?$/i],
  ['info', /^(?:info(?:rmation)?|notice)$/i], ['debug', /^(?:debug|trace|fine|verbose)$/i]];
const WORD = /\b(?:FATAL|PANIC|CRIT(?:ICAL)?|ALERT|EMERG|ERR(?:OR)?|SEVERE|WARN(?:ING)?|INFO|NOTICE|DEBUG|TRACE)\b|(?<=\[|level=|"level": ?")(?:fatal|panic|crit|alert|emerg|error|warn(?:ing)?|info|notice|debug|trace)\b/;

/** `error`, `warn`, `info`, `debug` or nothing: from a field, else from the beginning of the message. */
export function level(fields) {
  const field = fields['log.level'] ?? fields.level ?? fields.severity;
  const word = typeof field === 'string' ? field : WORD.exec(String(fields.message ?? '').slice(0, 160))?.[0];
  return word ? LEVELS.find(([, pattern]) => pattern.test(word))?.[0] ?? '' : '';
}
