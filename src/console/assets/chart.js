// How many lines, over time. Drag over bars to look closer, or click one; with the keyboard: arrows and Enter.

import { by, count, full, lines, moment, t } from './util.js';

const svg = by('bars');
const tip = by('tip');
const HEIGHT = 92;
const FLOOR = 74;
let shown = null;
let zoomed = () => {};
let at = -1;
let drag = null;

const NS = 'http://www.w3.org/2000/svg';
function shape(tag, attributes, text) {
  const made = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** What `GET histogram` answered. */
export function draw(histogram) {
  shown = histogram;
  at = -1;
  render();
}

export function grey() { svg.classList.add('old'); }

function render() {
  if (!shown) return;
  svg.classList.remove('old');
  const width = svg.clientWidth || 800;
  const { from_ms: from, to_ms: to, interval_ms: step, bars } = shown;
  const first = Math.floor(from / step) * step;
  const x = (ms) => ((ms - first) / Math.max(to - first, step)) * width;
  const top = Math.max(1, ...bars.map(([, n]) => n));
  svg.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`);
  const shapes = [shape('line', { x1: 0, x2: width, y1: FLOOR + 0.5, y2: FLOOR + 0.5, class: 'axis' }),
    shape('line', { x1: 0, x2: width, y1: 14.5, y2: 14.5, class: 'grid' })];
  const gap = Math.min(2, (x(first + step) - x(first)) * 0.2);
  bars.forEach(([begin, n], i) => {
    const height = Math.max(1.5, (n / top) * (FLOOR - 15));
    const left = x(begin);
    const right = Math.min(x(begin + step), width);
    shapes.push(shape('rect', { x: left + gap / 2, width: Math.max(1, right - left - gap), y: FLOOR - height, height, class: 'bar', 'data-i': i }));
  });
  for (const [ms, label] of ticks(first, to, Math.max(2, Math.floor(width / 110)))) {
    const place = x(ms);
    if (place < 20 || place > width - 20) continue;
    shapes.push(shape('line', { x1: place, x2: place, y1: FLOOR, y2: FLOOR + 4, class: 'axis' }));
    shapes.push(shape('text', { x: place, y: HEIGHT - 3, class: 'tick' }, label));
  }
  shapes.push(shape('text', { x: 2, y: 11, class: 'most' }, bars.length ? t('chart.most', { count: count(top), step: length(step) }) : ''));
  shapes.push(shape('rect', { id: 'brush', y: 0, height: FLOOR, x: 0, width: 0 }));
  svg.replaceChildren(...shapes);
  svg.setAttribute('aria-label', t('chart.label', { count: count(shown.total), from: full(from), to: full(to) }));
}

/** `30 s` of a width in milliseconds. */
function length(ms) {
  const [unit, size] = [['d', 864e5], ['h', 36e5], ['min', 6e4], ['s', 1e3], ['ms', 1]].find(([, size]) => ms >= size);
  return `${ms / size} ${unit}`;
}

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 108e5,
  216e5, 432e5, 864e5, 1728e5, 6048e5, 2592e6, 7776e6, 31536e6];
function ticks(from, to, most) {
  const step = STEPS.find((s) => (to - from) / s <= most) ?? (to - from) / most;
  const shift = step >= 36e5 ? new Date(from).getTimezoneOffset() * 6e4 : 0;
  const found = [];
  for (let ms = Math.ceil((from - shift) / step) * step + shift; ms < to; ms += step) {
    const m = moment(ms);
    const label = step >= 864e5 ? m.date : m.minute === '00:00' && step >= 6e4 ? m.day : step >= 6e4 ? m.minute : step >= 1e3 ? m.clock : `${m.clock}.${m.milli}`;
    found.push([ms, label]);
  }
  return found;
}

function timeAt(clientX) {
  const box = svg.getBoundingClientRect();
  const { from_ms: from, to_ms: to, interval_ms: step } = shown;
  const first = Math.floor(from / step) * step;
  const share = Math.min(1, Math.max(0, (clientX - box.left) / box.width));
  return first + share * Math.max(to - first, step);
}

function barAt(ms) {
  const begin = Math.floor(ms / shown.interval_ms) * shown.interval_ms;
  return { begin, end: begin + shown.interval_ms, n: shown.bars.find(([b]) => b === begin)?.[1] ?? 0 };
}

function tell(bar, clientX) {
  const box = svg.getBoundingClientRect();
  const a = moment(bar.begin);
  const b = moment(bar.end);
  const fine = shown.interval_ms < 1000;
  tip.textContent = `${lines(bar.n)} · ${a.date} ${a.clock}${fine ? `.${a.milli}` : ''} – ${a.date === b.date ? '' : `${b.date} `}${b.clock}${fine ? `.${b.milli}` : ''}`;
  tip.hidden = false;
  tip.style.left = `${Math.min(Math.max(0, clientX - box.left - tip.offsetWidth / 2), Math.max(0, box.width - tip.offsetWidth))}px`;
}

function brush(a, b) {
  const box = svg.getBoundingClientRect();
  const [left, right] = [Math.min(a, b), Math.max(a, b)].map((x) => ((x - box.left) / box.width) * (svg.clientWidth || 800));
  by('brush')?.setAttribute('x', left);
  by('brush')?.setAttribute('width', Math.max(0, right - left));
}

/** `zoom(from, to)` is called with milliseconds. */
export function begin(zoom) {
  zoomed = zoom;
  svg.addEventListener('pointerdown', (event) => {
    if (!shown || event.button !== 0) return;
    drag = { begun: event.clientX };
    svg.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  svg.addEventListener('pointermove', (event) => {
    if (!shown) return;
    tell(barAt(timeAt(event.clientX)), event.clientX);
    if (drag) brush(drag.begun, event.clientX);
  });
  svg.addEventListener('pointerup', (event) => {
    if (!drag) return;
    const begun = drag.begun;
    drag = null;
    if (Math.abs(event.clientX - begun) < 5) {
      const bar = barAt(timeAt(event.clientX));
      brush(0, 0);
      if (bar.n && shown.interval_ms > 10) zoomed(bar.begin, bar.end);
    } else {
      const [a, b] = [timeAt(begun), timeAt(event.clientX)].sort((one, other) => one - other);
      zoomed(Math.floor(a), Math.ceil(b));
    }
  });
  svg.addEventListener('pointercancel', () => { drag = null; brush(0, 0); });
  svg.addEventListener('pointerleave', () => { if (!drag) tip.hidden = true; });
  svg.addEventListener('blur', () => { tip.hidden = true; mark(-1); });
  svg.addEventListener('keydown', (event) => {
    if (!shown?.bars.length) return;
    if (event.key === 'ArrowRight' || event.key === 'ArrowLeft') {
      mark(Math.min(shown.bars.length - 1, Math.max(0, at < 0 ? (event.key === 'ArrowLeft' ? shown.bars.length - 1 : 0) : at + (event.key === 'ArrowRight' ? 1 : -1))));
    } else if (event.key === 'Enter' && at >= 0) {
      const [begin] = shown.bars[at];
      zoomed(begin, begin + shown.interval_ms);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  new ResizeObserver(render).observe(svg);
}

function mark(i) {
  at = i;
  svg.querySelectorAll('.bar').forEach((bar, k) => bar.classList.toggle('chosen', k === i));
  const bar = svg.querySelectorAll('.bar')[i];
  if (bar) {
    const box = bar.getBoundingClientRect();
    tell(barAt(shown.bars[i][0]), box.left + box.width / 2);
  }
}
