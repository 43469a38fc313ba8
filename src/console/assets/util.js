// What every module needs: words, elements, calls to the server, numbers and times.

const root = document.documentElement;
const words = (await import(`${root.dataset.base}/lang/${root.lang}.js`)).default;

/** The text of a key in the reader's language; `{name}` is filled from `values`. */
export function t(key, values = {}) {
  return (words[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');
}

/** An element. Strings become text, never markup; `on...` are listeners; false and null are left out. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export const by = (id) => document.getElementById(id);

/** A button that is only a sign, with its name for those who don't see it. */
export function sign(shape, name, onclick, more = {}) {
  return el('button', { type: 'button', class: 'icon quiet small', title: name, 'aria-label': name, onclick, ...more }, drawn(shape));
}

/** A failed call: `status` 0 when nobody answered; `position` and `expected` of a wrong query. */
export class Failure extends Error {
  constructor(status, answer) {
    super(answer.error);
    this.status = status;
    Object.assign(this, answer);
  }
}

export function address(call, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== '');
  return `/api/v1/${call}?${new URLSearchParams(given)}`;
}

export async function ask(call, parameters, signal) {
  return answer(await reach(address(call, parameters), { signal }));
}

export async function change(method, path, body, headers = {}) {
  return answer(await reach(`/api/v1/${path}`, { method, body, headers: { 'X-Logweir': '1', 'X-CSRF-Token': root.dataset.csrf, ...headers } }));
}

// A page that lies open asks again and again by itself, and that doesn't keep a session from ending. What a person does
// there does: the next call tells of it. (A page that grows scrolls by itself.)
let touched = false;
for (const kind of ['pointerdown', 'keydown', 'input', 'wheel']) {
  addEventListener(kind, (event) => { touched ||= event.isTrusted; }, { capture: true, passive: true });
}

/** Marks a call that no person caused since the last one. */
function own(headers) {
  const caused = touched;
  touched = false;
  return caused ? headers : { ...headers, 'X-Logweir-Background': '1' };
}

async function reach(url, options) {
  try {
    return await fetch(url, { ...options, headers: own(options.headers) });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Failure(0, { error: t('error.unreachable') });
  }
}

async function answer(response) {
  if (response.ok) return response.status === 204 ? null : response.json();
  // The session is over: back to the way in, and from there to here again.
  if (response.status === 401 && !by('enter')) location.assign(`/login?${new URLSearchParams({ to: location.pathname + location.search })}`);
  const told = await response.json().catch(() => ({ error: `${response.status} ${response.statusText}` }));
  throw new Failure(response.status, told);
}

/** Signs of 16 by 16, drawn with one line each. */
const SIGNS = {
  in: 'M8 2a6 6 0 1 1 0 12a6 6 0 0 1 0-12M8 5.2v5.6M5.2 8h5.6',
  out: 'M8 2a6 6 0 1 1 0 12a6 6 0 0 1 0-12M5.2 8h5.6',
  exists: 'M2.5 2.5h11v11h-11zM5 8.2l2.2 2.2L11.2 6',
  column: 'M2 3h12v10h-12zM6 3v10M10 3v10',
  top: 'M2 3.5h11M2 8h8M2 12.5h5',
  close: 'M4 4l8 8M12 4l-8 8',
  copy: 'M5.5 5.5h8v8h-8zM3.5 10.5h-1v-8h8v1',
  edit: 'M3 13l1-3.5L11 2.5l2.5 2.5L6.5 12z',
};

export function drawn(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(document.createElementNS('http://www.w3.org/2000/svg', 'path'));
  svg.firstChild.setAttribute('d', SIGNS[name]);
  return svg;
}

const numbers = new Intl.NumberFormat(root.lang);
export const count = (n) => numbers.format(n);

export const lines = (n) => (n === 1 ? t('lines.one') : t('lines.count', { count: count(n) }));

export function bytes(n) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  for (; n >= 1000 && unit < units.length - 1; unit++) n /= 1000;
  return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

// The server's clock counts: it stamps the lines.
const skew = Number(root.dataset.now) - Date.now();
export const now = () => Date.now() + (Math.abs(skew) > 2000 ? skew : 0);

export const keep = {
  get: (name) => { try { return localStorage.getItem(`logweir.${name}`); } catch { return null; } },
  set: (name, value) => { try { localStorage.setItem(`logweir.${name}`, value); } catch { /* private window */ } },
};

let utc = keep.get('utc') === '1';
export const zone = {
  get utc() { return utc; },
  set utc(value) { utc = value; keep.set('utc', value ? '1' : '0'); },
  /** `UTC+8`, of that moment. */
  label(ms) {
    if (utc) return 'UTC';
    const minutes = -new Date(ms).getTimezoneOffset();
    const [hours, rest] = [Math.trunc(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
    return minutes === 0 ? 'UTC' : `UTC${minutes < 0 ? '−' : '+'}${hours}${rest ? `:${String(rest).padStart(2, '0')}` : ''}`;
  },
};

const two = (n) => String(n).padStart(2, '0');
function parts(ms) {
  const d = new Date(ms);
  return utc
    ? [d.getUTCFullYear(), d.getUTCMonth() + 1, d.getUTCDate(), d.getUTCHours(), d.getUTCMinutes(), d.getUTCSeconds(), d.getUTCMilliseconds()]
    : [d.getFullYear(), d.getMonth() + 1, d.getDate(), d.getHours(), d.getMinutes(), d.getSeconds(), d.getMilliseconds()];
}

/** Day, clock and milliseconds of a moment in the reader's zone. */
export function moment(ms) {
  const [year, month, day, hour, minute, second, milli] = parts(ms);
  return { date: `${year}-${two(month)}-${two(day)}`, day: `${two(month)}-${two(day)}`,
    minute: `${two(hour)}:${two(minute)}`, clock: `${two(hour)}:${two(minute)}:${two(second)}`,
    milli: String(milli).padStart(3, '0') };
}

export function full(ms) {
  const m = moment(ms);
  return `${m.date} ${m.clock}.${m.milli}`;
}

/** Milliseconds of `2026-11-21 10:00[:00[.123]]` in the reader's zone, or with a zone of its own; NaN when it is none. */
export function read(text) {
  const plain = /^(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2})(:\d{2}(?:\.\d{1,3})?)?)?$/.exec(text.trim());
  if (!plain) return Date.parse(text);
  return Date.parse(`${plain[1]}T${plain[2] ?? '00:00'}${plain[3] ?? ':00'}${utc ? 'Z' : ''}`);
}

let toastTimer;
export function toast(text, bad = false) {
  const place = by('toast');
  place.textContent = text;
  place.className = bad ? 'shown bad' : 'shown';
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { place.className = ''; }, 4000);
}

/** A button that opens a panel; closes by Escape, a click elsewhere, or `close()`. */
export function menu(button, panel, fill) {
  const close = () => {
    if (panel.hidden) return;
    const inside = panel.contains(document.activeElement);
    panel.hidden = true;
    button.setAttribute('aria-expanded', 'false');
    if (inside) button.focus();
  };
  const open = () => {
    fill?.();
    panel.hidden = false;
    button.setAttribute('aria-expanded', 'true');
    panel.querySelector('button, input, a')?.focus();
  };
  button.addEventListener('click', () => (panel.hidden ? open() : close()));
  document.addEventListener('pointerdown', (event) => {
    if (!panel.contains(event.target) && !button.contains(event.target)) close();
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !panel.hidden) { event.stopImmediatePropagation(); close(); }
  });
  return { open, close };
}

// Language and colours: the server has to know them before it writes the page.
const remember = (name, value) => { document.cookie = `logweir_${name}=${value}; path=/; max-age=31536000; samesite=strict`; };
by('language').addEventListener('change', (event) => {
  remember('language', event.target.value);
  location.reload();
});
by('theme').addEventListener('click', () => {
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  remember('theme', root.dataset.theme);
});

if (by('who')) {
  menu(by('who'), by('who-panel'));
  by('log-out').addEventListener('click', async () => {
    try {
      await change('POST', 'logout');
      location.assign('/login');
    } catch (error) {
      toast(error.message, true);
    }
  });
}
