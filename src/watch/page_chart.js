// The part of the report page's script that draws: scales, ticks, texts of numbers, and one class for a chart.
// page.js, which follows it in the page, lays the page out.
const svgTag = (tag, attributes, parent) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const name in attributes) element.setAttribute(name, attributes[name]);
  if (parent) parent.append(element);
  return element;
};

// Text of numbers -----------------------------------------------------------------------------------------------------
const trim = text => text.includes('.') ? text.replace(/\.?0+$/, '') : text;
const short = value => {
  if (value === null || !isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size >= 1000) {
    for (const [unit, name] of [[1e12, 'T'], [1e9, 'B'], [1e6, 'M'], [1e3, 'k']])
      if (size >= unit * 0.9995) return trim((value / unit).toPrecision(3)) + name;
  }
  if (size > 0 && size < 0.99e-4) return value.toExponential(2).replace(/\.?0+e/, 'e').replace('e-', 'e−');
  return trim(value.toPrecision(4));
};
const whole = value => Math.round(value).toLocaleString('en-US');
const fixed = value => value === null || !isFinite(value) ? '–' : value.toFixed(4);
const duration = seconds => {
  const s = Math.round(seconds), two = n => String(n).padStart(2, '0');
  if (seconds < 10) return trim(seconds.toFixed(1)) + ' s';
  if (s < 60) return s + ' s';
  if (s < 3600) return Math.floor(s / 60) + 'm' + (s % 60 ? ' ' + two(s % 60) + 's' : '');
  if (s < 86400) return Math.floor(s / 3600) + 'h' + (s % 3600 >= 60 ? ' ' + two(Math.floor(s / 60) % 60) + 'm' : '');
  return Math.floor(s / 86400) + 'd' + (s % 86400 >= 3600 ? ' ' + two(Math.floor(s / 3600) % 24) + 'h' : '');
};
const bytes = value => value >= 2 ** 30 ? (value / 2 ** 30).toFixed(2) + ' GiB' : Math.round(value / 2 ** 20) + ' MiB';

// Ticks ---------------------------------------------------------------------------------------------------------------
const multiplesOf = (step, low, high) => {
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) ticks.push(i ? i * step : 0);
  return ticks;
};
const linearTicks = (low, high, most) => {
  const rough = (high - low) / Math.max(most, 1), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough * 0.999);
  return multiplesOf(step, low, high);
};
const timeTicks = (low, high, most) => {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
  const step = steps.find(s => (high - low) / s <= most);
  return step && high - low > 4 ? multiplesOf(step, low, high) : linearTicks(low, high, most);
};
const logTicks = (low, high, most) => {
  for (const mantissas of [[1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 5], [1, 3], [1]]) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); ++power)
      for (const m of mantissas) {
        const tick = m * 10 ** power;
        if (tick >= low * 0.9999 && tick <= high * 1.0001) ticks.push(tick);
      }
    if (ticks.length <= most) return ticks.length >= 3 ? ticks : linearTicks(low, high, most);
  }
  const step = Math.ceil((Math.log10(high) - Math.log10(low)) / most), ticks = [];
  for (let power = Math.ceil(Math.log10(low)); power <= Math.log10(high); power += step) ticks.push(10 ** power);
  return ticks;
};
const scale = (low, high, from, to, log) => {
  const f = log ? Math.log10 : v => v, a = f(low), b = f(high);
  const map = value => from + (f(value) - a) / (b - a) * (to - from);
  map.invert = pixel => { const v = a + (pixel - from) / (to - from) * (b - a); return log ? 10 ** v : v; };
  return map;
};

// Data ----------------------------------------------------------------------------------------------------------------
// The index of the value nearest to x in ascending xs.
const nearest = (xs, x) => {
  let low = 0, high = xs.length - 1;
  while (high - low > 1) { const mid = (low + high) >> 1; if (xs[mid] < x) low = mid; else high = mid; }
  return high >= 0 && Math.abs(xs[high] - x) < Math.abs(xs[low] - x) ? high : low;
};
const interpolate = (xs, ys, x) => {
  if (!xs.length) return x;
  let low = 0, high = xs.length - 1;
  if (x <= xs[0]) return xs[0] > 0 ? ys[0] * x / xs[0] : ys[0];
  if (x >= xs[high]) return ys[high];
  while (high - low > 1) { const mid = (low + high) >> 1; if (xs[mid] <= x) low = mid; else high = mid; }
  return ys[low] + (ys[high] - ys[low]) * (x - xs[low]) / (xs[high] - xs[low]);
};
// An exponential mean that starts without a bias towards zero.
const smoothed = (ys, weight) => {
  let sum = 0, norm = 0;
  return ys.map(y => { sum = weight * sum + (1 - weight) * y; norm = weight * norm + (1 - weight); return sum / norm; });
};
const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(q * (sorted.length - 1))))];

// A chart: `curves` are {key, label, smooth, dots}; `page` answers what all charts share (runs, colours, the x axis);
// `text` writes a value under the cursor.
let clips = 0;
class Chart {
  constructor(page, parent, title, curves, height, text) {
    Object.assign(this, {page, curves, height, text, log: page.state['log ' + title] || false, title});
    this.root = make('section', {class: 'panel chart'}, parent);
    const head = make('header', {}, this.root);
    make('h2', {}, head, title);
    const label = make('label', {}, head);
    const box = make('input', {type: 'checkbox'}, label);
    box.checked = this.log;
    make('span', {}, label, 'log y');
    box.onchange = () => { this.log = page.state['log ' + title] = box.checked; page.save(); this.draw(); };
    this.svg = svgTag('svg', {height, role: 'img', 'aria-label': title}, this.root);
    this.svg.onpointermove = e => this.pointer(e);
    this.svg.onpointerleave = () => { if (!this.drag) page.hover(null); };
    this.svg.onpointerdown = e => { this.drag = e.offsetX; this.svg.setPointerCapture(e.pointerId); };
    this.svg.onpointercancel = () => { this.drag = undefined; page.hover(null); };
    this.svg.onpointerup = e => this.release(e);
    this.svg.ondblclick = () => page.zoom(null);
    this.clip = 'clip' + ++clips;
  }

  lines() {
    const page = this.page, lines = [];
    for (const run of page.visible()) this.curves.forEach((curve, i) => {
      const c = run.curves[curve.key];
      if (!c || !c.x.length) return;
      const smooth = curve.smooth && page.state.smooth > 0;
      const my = c.mean_y || c.y, mx = c.mean_x || c.x;
      lines.push({
        run, curve, colour: page.runs.length > 1 ? run.colour : `var(--c${i})`, dash: page.runs.length > 1 && i > 0,
        raw: {x: c.x.map(s => page.xOf(run, s)), y: c.y}, dots: curve.dots && c.x.length <= 200,
        main: smooth ? {x: mx.map(s => page.xOf(run, s)), y: smoothed(my, page.state.smooth), steps: mx} : null,
        steps: c.x});
    });
    return lines;
  }

  // The curve drawn in full sets the range; of the noise behind it the outer half per cents may leave the picture, and
  // so may, if asked, the steep start.
  yRange(lines, [x0, x1]) {
    let low = Infinity, high = -Infinity;
    const {tail, range, logx} = this.page.state;
    if (tail && !range && !logx && this.curves[0].smooth) x0 += 0.04 * (x1 - x0);
    const take = v => { if (!this.log || v > 0) { low = Math.min(low, v); high = Math.max(high, v); } };
    for (const line of lines) {
      const inside = ({x, y}) => y.filter((_, i) => x[i] >= x0 && x[i] <= x1);
      const raw = inside(line.raw).sort((a, b) => a - b);
      if (line.main) {
        inside(line.main).forEach(take);
        if (raw.length) { take(quantile(raw, 0.005)); take(quantile(raw, 0.995)); }
      } else raw.forEach(take);
    }
    if (low > high) return this.log ? [0.1, 1] : [0, 1];
    if (this.log) return high / low < 1.02 ? [low / 1.1, high * 1.1] : [low / (high / low) ** 0.04, high * (high / low) ** 0.04];
    const pad = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
    return [low >= 0 && low < (high - low) * 0.3 ? 0 : low - pad, high + pad];
  }

  draw() {
    const page = this.page, state = page.state, svg = this.svg;
    const width = Math.max(240, this.root.clientWidth - 24), m = {left: 56, right: 24, top: 8, bottom: 38};
    svg.replaceChildren();
    svg.setAttribute('width', width);
    svg.setAttribute('viewBox', `0 0 ${width} ${this.height}`);
    const lines = this.now = this.lines();
    const xRange = page.xRange(), yRange = this.yRange(lines, xRange);
    const x = this.x = scale(...xRange, m.left, width - m.right, state.logx);
    const y = this.y = scale(...yRange, this.height - m.bottom, m.top, this.log);
    const bottom = this.height - m.bottom, right = width - m.right;
    this.box = {...m, right, bottom};

    const ys = (this.log ? logTicks : linearTicks)(...yRange, Math.max(3, Math.floor((bottom - m.top) / 42)));
    for (const tick of ys) {
      svgTag('line', {x1: m.left, x2: right, y1: y(tick), y2: y(tick), class: 'grid'}, svg);
      svgTag('text', {x: m.left - 8, y: y(tick) + 4, class: 'tick', 'text-anchor': 'end'}, svg).textContent = short(tick);
    }
    const most = Math.max(2, Math.floor((right - m.left) / 90));
    const xs = state.logx ? logTicks(...xRange, most) : (state.x === 'seconds' ? timeTicks : linearTicks)(...xRange, most);
    for (const tick of xs) {
      svgTag('line', {x1: x(tick), x2: x(tick), y1: m.top, y2: bottom, class: 'grid'}, svg);
      svgTag('text', {x: x(tick), y: bottom + 17, class: 'tick', 'text-anchor': 'middle'}, svg).textContent = page.xText(tick);
    }
    svgTag('line', {x1: m.left, x2: right, y1: bottom, y2: bottom, class: 'axis'}, svg);
    svgTag('text', {x: (m.left + right) / 2, y: bottom + 33, class: 'axis-name', 'text-anchor': 'middle'}, svg)
      .textContent = page.xName();
    const clip = svgTag('clipPath', {id: this.clip}, svg);
    svgTag('rect', {x: m.left, y: m.top - 2, width: right - m.left + 3, height: bottom - m.top + 3}, clip);
    const plot = svgTag('g', {'clip-path': `url(#${this.clip})`}, svg);
    const path = (points, line, className) => {
      let d = '', pen = 'M';
      points.x.forEach((px, i) => {
        if ((state.logx && px <= 0) || (this.log && points.y[i] <= 0)) return;
        d += pen + x(px).toFixed(1) + ' ' + y(points.y[i]).toFixed(1);
        pen = 'L';
      });
      const element = svgTag('path', {d, class: className}, plot);
      element.style.stroke = line.colour;
      if (className === 'raw' && page.runs.length > 1) element.style.opacity = 0.14;
      if (line.dash) element.style.strokeDasharray = '6 4';
    };
    for (const line of lines) if (line.main) path(line.raw, line, 'raw');
    for (const line of lines) {
      path(line.main || line.raw, line, 'line');
      if (line.dots) line.raw.x.forEach((px, i) => {
        if ((state.logx && px <= 0) || (this.log && line.raw.y[i] <= 0)) return;
        svgTag('circle', {cx: x(px), cy: y(line.raw.y[i]), r: 2.6}, plot).style.fill = line.colour;
      });
    }
    // Skipped steps: a mark on the axis.
    for (const run of page.visible()) for (const step of run.skipped) {
      const px = page.xOf(run, step);
      if (px < xRange[0] || px > xRange[1]) continue;
      svgTag('path', {d: `M${x(px)} ${bottom}l-4 8h8z`, class: 'skipped'}, svg);
    }
    if (!lines.length) svgTag('text', {x: (m.left + right) / 2, y: (m.top + bottom) / 2, class: 'axis-name', 'text-anchor': 'middle'}, svg)
      .textContent = 'nothing logged yet';
    this.overlay = svgTag('g', {}, svg);
  }

  pointer(event) {
    const at = Math.min(Math.max(event.offsetX, this.box.left), this.box.right);
    this.page.hover(this.x.invert(at), this, event);
    if (this.drag !== undefined) {
      const [a, b] = [this.drag, at].sort((p, q) => p - q);
      svgTag('rect', {x: a, width: b - a, y: this.box.top, height: this.box.bottom - this.box.top, class: 'drag'}, this.overlay);
    }
  }

  release(event) {
    const from = this.drag, to = Math.min(Math.max(event.offsetX, this.box.left), this.box.right);
    this.drag = undefined;
    if (from !== undefined && Math.abs(to - from) > 6)
      this.page.zoom([this.x.invert(Math.min(from, to)), this.x.invert(Math.max(from, to))]);
  }

  // Draws the cursor; returns what lies under it: [{line, step, value, raw}].
  cursor(at) {
    this.overlay.replaceChildren();
    if (at === null) return [];
    svgTag('line', {x1: this.x(at), x2: this.x(at), y1: this.box.top, y2: this.box.bottom, class: 'cursor'}, this.overlay);
    const slack = 0.01 * (this.x.invert(this.box.right) - this.x.invert(this.box.left));
    const reached = this.now.filter(({raw}) => raw.x[raw.x.length - 1] >= at - slack || this.now.length === 1);
    return reached.map(line => {
      const points = line.main || line.raw, i = nearest(points.x, at), value = points.y[i];
      const cy = this.y(value);
      if (cy >= this.box.top - 2 && cy <= this.box.bottom + 2 && isFinite(cy))
        svgTag('circle', {cx: this.x(points.x[i]), cy, r: 4, class: 'dot'}, this.overlay).style.fill = line.colour;
      return {line, step: (line.main ? line.main.steps : line.steps)[i], value, raw: line.raw.y[nearest(line.raw.x, at)]};
    });
  }
}
