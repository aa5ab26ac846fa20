// The part of the report page's script that lays out: header, controls, charts, samples, configuration. Every text of
// a run is set as text, never as markup.
const make = (tag, attributes, parent, text) => {
  const element = document.createElement(tag);
  for (const name in attributes) element.setAttribute(name, attributes[name]);
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
};
const data = JSON.parse(document.getElementById('data').textContent);
const main = document.querySelector('main');
const storeKey = 'bittern ' + location.pathname;
const storage = { // a browser may forbid it for files
  get: () => { try { return JSON.parse(sessionStorage.getItem(storeKey)) || {}; } catch { return {}; } },
  set: value => { try { sessionStorage.setItem(storeKey, JSON.stringify(value)); } catch { /* then nothing is kept */ } }};
const runs = data.runs.map((run, i) => ({...run, index: i, name: run.summary.name, colour: `var(--c${i % 8})`}));
const several = runs.length > 1;

// What all charts share.
const page = {
  runs, charts: [],
  state: {smooth: 0.6, x: 'step', logx: false, range: null, tail: several, hidden: [], refresh: true, ...storage.get()},
  save() { storage.set(this.state); },
  visible() { return runs.filter(run => !this.state.hidden.includes(run.index)); },
  xOf(run, step) {
    if (this.state.x === 'step') return step;
    const c = run.curves[this.state.x];
    return interpolate(c.x, c.y, step);
  },
  xName() { return {step: 'step', tokens: 'tokens', seconds: 'training time'}[this.state.x]; },
  xText(v) { return this.state.x === 'seconds' ? duration(v) : this.state.x === 'step' && v < 1e5 ? whole(v) : short(v); },
  xRange() {
    if (this.state.range) return this.state.range;
    let low = Infinity, high = -Infinity;
    for (const run of this.visible()) for (const key of ['loss', 'valid_loss']) {
      const xs = run.curves[key].x;
      if (!xs.length) continue;
      const [a, b] = [this.xOf(run, xs[0]), this.xOf(run, xs[xs.length - 1])];
      low = Math.min(low, a > 0 || !this.state.logx ? a : Math.max(b / 1e4, 1e-3));
      high = Math.max(high, b);
    }
    if (!(high > low)) return high > 0 ? [this.state.logx ? high / 2 : 0, high * 1.5] : [this.state.logx ? 0.5 : 0, 1];
    return [this.state.logx ? low : Math.min(low, high * 0.02) === low ? 0 : low, high];
  },
  zoom(range) { this.state.range = range; this.draw(); },
  draw() {
    this.save();
    reset.style.visibility = this.state.range ? 'visible' : 'hidden';
    for (const chart of this.charts) chart.draw();
  },
  hover(at, chart, event) {
    let under = [];
    for (const other of this.charts) { const found = other.cursor(at); if (other === chart) under = found; }
    tip.style.display = under.length ? 'block' : 'none';
    if (!under.length) return;
    tip.replaceChildren();
    const {line, step} = under[0];
    const tokens = line.run.curves.tokens, seconds = line.run.curves.seconds;
    make('div', {class: 'at'}, tip, `step ${whole(step)} · ${short(interpolate(tokens.x, tokens.y, step))} tokens · ` +
      duration(interpolate(seconds.x, seconds.y, step)));
    for (const {line, value, raw} of under) {
      const entry = make('div', {class: 'entry'}, tip);
      entry.append(swatch(line.colour, line.dash));
      make('span', {}, entry, (several ? line.run.name + (line.curve.label ? ' · ' : '') : '') + (line.curve.label || (several ? '' : chart.title)));
      make('b', {}, entry, chart.text(value));
      if (line.main) make('i', {}, entry, chart.text(raw));
    }
    const width = tip.offsetWidth, height = tip.offsetHeight;
    tip.style.left = Math.max(4, event.clientX + 18 + width > innerWidth ? event.clientX - 18 - width : event.clientX + 18) + 'px';
    tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - height - 6)) + 'px';
  }};
const swatch = (colour, dash) => {
  const svg = svgTag('svg', {width: 22, height: 8});
  const line = svgTag('line', {x1: 1, x2: 21, y1: 4, y2: 4, 'stroke-width': 2.6}, svg);
  line.style.stroke = colour;
  if (dash) line.style.strokeDasharray = '5 3';
  return svg;
};

// Header --------------------------------------------------------------------------------------------------------------
const top_ = make('div', {class: 'top'}, main);
make('h1', {}, top_, several ? `${runs.length} runs` : runs[0].name);
const pill = make('span', {class: 'pill'}, top_);
const age = () => {
  if (!data.live) return pill.textContent = [several ? '' : runs[0].summary.status, new Date(data.time * 1000).toLocaleString()].filter(t => t).join(' · ');
  const seconds = Math.max(0, Date.now() / 1000 - data.time), status = runs[0].summary.status, quiet = seconds > 600;
  pill.className = 'pill' + (quiet ? ' bad' : ' live');
  pill.textContent = status + ' · ' + (quiet ? 'no news for ' : 'updated ') + duration(seconds) + (quiet ? '' : ' ago');
};
age();
if (data.live) setInterval(age, 1000);
else if (!several && runs[0].summary.status === 'failed') pill.className = 'pill bad';
const about = run => {
  const c = Object.fromEntries(run.config), parts = [];
  const add = (key, text) => { if (c[key] !== undefined) parts.push(text(c[key])); };
  add('model.architecture', v => v);
  if (c['model.num_hidden_layers'] && c['model.hidden_size']) parts.push(`${c['model.num_hidden_layers']} layers × ${c['model.hidden_size']}`);
  add('model.num_attention_heads', v => `${v} heads`);
  add('model.vocab_size', v => isFinite(v) ? `vocabulary ${whole(v)}` : `vocabulary ${v}`);
  add('data.sequence_length', v => `sequences of ${v}`);
  add('train.batch_sequences', v => `${v} per step`);
  add('optimizer.rule', v => v);
  add('schedule.shape', v => v + (c['schedule.lr'] ? ` to ${c['schedule.lr']}` : ''));
  add('precision.compute', v => v);
  return parts.join(' · ');
};
if (!several && about(runs[0])) make('p', {class: 'about'}, main, about(runs[0]));
else if (several) make('p', {class: 'about'}, main, runs.map(run => run.name).join(' · '));
else make('p', {class: 'about'}, main);

for (const {summary: s, skipped, fork, name} of runs) {
  const whose = several ? name + ': ' : '', notes = [];
  if (fork) make('div', {class: 'about'}, main, whose + fork);
  if (s.skipped_steps > 0) notes.push(`${whole(s.skipped_steps)} step${s.skipped_steps === 1 ? ' was' : 's were'} skipped because the loss or the gradients were not finite, or far above their mean` +
    (skipped.length ? ` (${skipped.slice(0, 12).map(whole).join(', ')}${s.skipped_steps > 12 ? ', …' : ''}; marked ▲ on the axis).` : '.'));
  if (s.bad_lines > 0) notes.push(`${whole(s.bad_lines)} line${s.bad_lines === 1 ? '' : 's'} of metrics.jsonl could not be read and ${s.bad_lines === 1 ? 'was' : 'were'} left out.`);
  if (notes.length) make('div', {class: 'notice'}, main, whose + notes.join(' '));
}

// Final numbers: tiles for one run, a table for several ---------------------------------------------------------------
if (!several) {
  const s = runs[0].summary, tiles = make('div', {class: 'tiles'}, main);
  const tile = (name, value, note) => {
    const box = make('div', {class: 'tile'}, tiles);
    make('div', {class: 'name'}, box, name);
    make('div', {class: 'value'}, box, value);
    make('div', {class: 'note', title: note}, box, note);
  };
  tile('Step', whole(s.steps), s.total_steps ? `of ${whole(s.total_steps)} · ${Math.floor(100 * s.steps / s.total_steps)} %` : '');
  tile('Train loss', fixed(s.loss_recent), 'mean of 100 steps');
  tile('Best valid loss', fixed(s.best_valid_loss), s.best_valid_loss === null ? '' : `step ${whole(s.best_valid_step)} · ppl ${short(Math.exp(s.best_valid_loss))}`);
  tile('Tokens', short(s.tokens), s.parameters ? `${(s.tokens / s.parameters).toFixed(1)} per parameter` : '');
  tile('Parameters', s.parameters ? short(s.parameters) : '–', s.parameters ? whole(s.parameters) : '');
  tile('Tokens / s', short(s.tokens_per_second), 'mean of 100 steps');
  tile('Time', duration(s.seconds || 0), s.peak_rss ? bytes(s.peak_rss) + ' peak' : '');
} else {
  const box = make('div', {class: 'panel scroll'}, main), table = make('table', {}, box);
  const head = make('tr', {}, make('thead', {}, table)), body = make('tbody', {}, table);
  const columns = [['parameters', s => s.parameters ? short(s.parameters) : '–'], ['steps', s => whole(s.steps)], ['tokens', s => short(s.tokens)],
    ['train loss', s => fixed(s.loss_recent), 'loss_recent'], ['last valid', s => fixed(s.valid_loss), 'valid_loss'],
    ['best valid', s => fixed(s.best_valid_loss), 'best_valid_loss'], ['at step', s => s.best_valid_loss === null ? '–' : whole(s.best_valid_step)],
    ['tokens / s', s => short(s.tokens_per_second)], ['time', s => duration(s.seconds || 0)], ['skipped', s => whole(s.skipped_steps)]];
  make('th', {}, head, 'run');
  for (const [name] of columns) make('th', {title: name === 'train loss' ? 'mean of the last 100 logged steps' : ''}, head, name);
  for (const run of runs) {
    const row = make('tr', {}, body), key = make('label', {class: 'key'}, make('td', {}, row));
    const box = make('input', {type: 'checkbox'}, key);
    box.checked = !page.state.hidden.includes(run.index);
    row.className = box.checked ? '' : 'off';
    box.onchange = () => {
      page.state.hidden = page.state.hidden.filter(i => i !== run.index).concat(box.checked ? [] : [run.index]);
      row.className = box.checked ? '' : 'off';
      page.draw();
    };
    key.append(swatch(run.colour));
    make('span', {}, key, run.name);
    for (const [, text, field] of columns) {
      const values = field ? runs.map(r => r.summary[field]).filter(v => v !== null) : [];
      make('td', values.length > 1 && run.summary[field] === Math.min(...values) ? {class: 'best'} : {}, row, text(run.summary));
    }
  }
}

// Controls ------------------------------------------------------------------------------------------------------------
const bar = make('div', {class: 'panel controls'}, main);
const smooth = make('label', {}, bar, 'Smoothing');
const slider = make('input', {type: 'range', min: 0, max: 0.99, step: 0.01}, smooth);
const shown = make('span', {class: 'value-text'}, smooth);
slider.value = page.state.smooth;
slider.oninput = () => { page.state.smooth = +slider.value; shown.textContent = (+slider.value).toFixed(2); page.draw(); };
shown.textContent = (+slider.value).toFixed(2);
const choice = make('span', {class: 'choice', role: 'group', 'aria-label': 'horizontal axis'}, bar);
const choices = [['step', 'steps'], ['tokens', 'tokens'], ['seconds', 'time']].map(([value, name]) => {
  const button = make('button', {type: 'button'}, choice, name);
  button.onclick = () => { page.state.x = value; page.state.range = null; press(); page.draw(); };
  return [value, button];
});
const press = () => { for (const [value, button] of choices) button.setAttribute('aria-pressed', value === page.state.x); };
press();
const tick = (name, key, changed) => {
  const label = make('label', {}, bar), box = make('input', {type: 'checkbox'}, label);
  make('span', {}, label, name);
  box.checked = page.state[key];
  box.onchange = () => { page.state[key] = box.checked; changed(); };
};
tick('log x', 'logx', () => page.zoom(null));
tick('fit to the tail', 'tail', () => page.draw());
if (data.live) tick('refresh', 'refresh', () => page.save());
const reset = make('button', {type: 'button', class: 'alone'}, bar, 'reset zoom');
reset.onclick = () => page.zoom(null);

// Charts --------------------------------------------------------------------------------------------------------------
// What tells a chart's curves apart: colours, or, with several runs, a dash.
const legend = chart => {
  const box = make('span', {class: 'legend'});
  chart.curves.forEach(({label}, i) => {
    const key = make('span', {class: 'key'}, box);
    key.append(swatch(several ? 'var(--faint)' : `var(--c${i})`, several && i > 0));
    make('span', {}, key, label);
  });
  chart.root.querySelector('h2').after(box);
};
// Which charts there are, and of which metrics, is in the data (report_page.cpp, from the table of metrics). A chart of
// roles has a curve for each role that has the number, and is not there if none has.
const rows = {};
const sideBySide = kind => rows[kind] ??= make('div', {class: 'row'}, main);
for (const {title, large, roles, curves} of data.charts) {
  const names = new Set(roles ? runs.flatMap(run => Object.keys(run.curves)).filter(name => name.endsWith('.' + roles)) : []);
  const drawn = roles ? [...names].map(name => ({key: name, label: name.slice(0, -roles.length - 1)})) : curves;
  if (!drawn.length) continue;
  const chart = new Chart(page, large ? main : sideBySide(roles ? 'roles' : 'steps'), title, drawn, large ? 400 : 230, large ? fixed : short);
  page.charts.push(chart);
  if (drawn.some(curve => curve.label)) legend(chart);
}

// Samples -------------------------------------------------------------------------------------------------------------
if (runs.some(run => run.samples.length)) {
  const box = make('section', {class: 'panel'}, main);
  for (const run of runs) {
    const samples = run.samples;
    if (!samples.length) continue;
    const part = make('div', {class: 'sample'}, box), head = make('div', {class: 'sample-head'}, part);
    make('h2', {}, head, several ? `Samples · ${run.name}` : 'Samples');
    const pick = make('input', {type: 'range', min: 0, max: samples.length - 1, step: 1, 'aria-label': 'which sample'}, head);
    const label = make('span', {}, head), text = make('pre', {}, part);
    const show = () => { const s = samples[pick.value]; label.textContent = `step ${whole(s.step)}`; text.textContent = s.text; };
    pick.value = samples.length - 1;
    if (samples.length < 2) pick.style.display = 'none';
    pick.oninput = show;
    show();
  }
}

// Configuration: for several runs, first what tells them apart --------------------------------------------------------
const configured = runs.filter(run => run.config.length);
if (configured.length) {
  const box = make('section', {class: 'panel'}, main);
  const maps = configured.map(run => new Map(run.config)), keys = [...new Set(configured.flatMap(run => run.config.map(e => e[0])))];
  const differs = key => new Set(maps.map(map => map.get(key))).size > 1;
  const table = (parent, keys) => {
    const element = make('table', {class: 'config'}, make('div', {class: 'scroll'}, parent));
    if (several) { const head = make('tr', {}, make('thead', {}, element)); make('th', {}, head, ''); for (const run of configured) make('th', {}, head, run.name); }
    const body = make('tbody', {}, element);
    for (const key of keys) {
      const line = make('tr', {}, body);
      make('td', {}, line, key);
      for (const map of maps) make('td', {}, line, map.has(key) ? map.get(key) : '–');
    }
  };
  const different = keys.filter(differs);
  if (configured.length > 1 && different.length) {
    const open = make('details', {open: ''}, box);
    make('summary', {}, open, `What differs (${different.length} of ${keys.length} settings)`);
    table(open, different);
  }
  const all = make('details', {}, box);
  make('summary', {}, all, configured.length > 1 ? 'All settings' : 'Configuration');
  table(all, keys);
}
make('footer', {}, main, 'Drag in a chart to zoom, double-click to reset. Curves of long runs are reduced to 2,000 points, extremes kept; ' +
  'smoothed curves are means of all points. Losses are in nats per token.');

const tip = make('div', {id: 'tip', role: 'status'}, document.body);
page.draw();
new ResizeObserver(() => page.draw()).observe(main);
if (data.live) setInterval(() => {
  if (page.state.refresh && !document.hidden && tip.style.display !== 'block') location.reload();
}, 15000);
