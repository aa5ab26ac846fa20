// Runs the script of a report in a document of its own: the few parts of the DOM that the script uses, without a browser. Prints what
// was drawn, as JSON: {charts: [{title, legend, lines, circles, skipped, texts}], text, hovered}. Anything drawn at NaN is an error.
//   node report_page.js report.html [use]     use: after every control was used, a chart zoomed and the zoom reset
'use strict';
const [page, use] = process.argv.slice(2);
const html = require('fs').readFileSync(page, 'utf8');

class Element {
  constructor(tag) {
    Object.assign(this, {tag, attributes: {}, children: [], parent: null, style: {}, clientWidth: 900, offsetWidth: 100, offsetHeight: 50});
  }
  setAttribute(name, value) {
    if (value === undefined || Number.isNaN(value) || String(value).includes('NaN') || String(value).includes('undefined'))
      throw new Error(`<${this.tag}> got ${name}="${value}"`);
    this.attributes[name] = String(value);
  }
  append(...nodes) { for (const node of nodes) { this.children.push(node); node.parent = this; } }
  replaceChildren(...nodes) { this.children = []; this.append(...nodes); }
  after(node) { this.parent.children.splice(this.parent.children.indexOf(this) + 1, 0, node); node.parent = this.parent; }
  setPointerCapture() {}
  set textContent(text) { this.text = String(text); }
  get textContent() { return (this.text || '') + this.children.map(child => child.textContent).join(' '); }
  *all() { yield this; for (const child of this.children) yield* child.all(); }
  find(tag) { return [...this.all()].filter(element => element.tag === tag); }
  querySelector(tag) { return this.find(tag)[0] || null; }
}
const body = new Element('body'), main = new Element('main'), data = new Element('script');
body.append(main);
const between = (open, close) => html.slice(html.indexOf(open) + open.length, html.indexOf(close, html.indexOf(open) + open.length));
data.textContent = between('<script type="application/json" id="data">', '</script>');
const drawn = [];
Object.assign(globalThis, {
  document: {body, hidden: false, createElement: tag => new Element(tag), createElementNS: (_, tag) => new Element(tag),
             querySelector: tag => body.querySelector(tag), getElementById: id => id === 'data' ? data : null},
  location: {pathname: '/report.html', reload() { throw new Error('the page reloads itself'); }},
  sessionStorage: {getItem: () => null, setItem() {}},
  innerWidth: 1200, innerHeight: 900, setInterval() {},
  ResizeObserver: class { constructor(action) { drawn.push(action); } observe() {} },
});
(0, eval)(between('<script>\n', '</script>'));

const charts = main.find('section').filter(section => section.attributes.class === 'panel chart');
const button = name => main.find('button').find(element => element.text === name);
const box = name => main.find('label').find(label => label.textContent.trim() === name).find('input')[0];
const pointer = (chart, kind, at) => chart.find('svg').find(e => e.attributes.role === 'img')[kind]({offsetX: at, clientX: at, clientY: 50, pointerId: 1});
pointer(charts[0], 'onpointermove', 450);
const hovered = body.children.find(element => element.attributes.id === 'tip').textContent;
if (use) {
  for (const name of ['time', 'tokens']) button(name).onclick();
  for (const input of [box('log x'), box('fit to the tail'), ...charts.map(chart => chart.find('input')[0])]) {
    input.checked = !input.checked;
    input.onchange();
  }
  for (const key of main.find('label').filter(label => label.attributes.class === 'key')) {  // a run is hidden, and shown again
    const input = key.find('input')[0];
    for (const checked of [false, true]) { input.checked = checked; input.onchange(); }
  }
  const slider = main.find('input').find(input => input.attributes.type === 'range');
  slider.value = 0;
  slider.oninput();
  pointer(charts[0], 'onpointerdown', 300);
  pointer(charts[0], 'onpointermove', 500);
  pointer(charts[0], 'onpointerup', 500);
  button('reset zoom').onclick();
}
for (const action of drawn) action();  // the window has another width
const finite = text => { if (/NaN|Infinity|undefined/.test(text)) throw new Error('drawn: ' + text); return text; };
console.log(JSON.stringify({
  charts: charts.map(chart => {
    const svg = chart.find('svg').find(element => element.attributes.role === 'img');
    return {title: chart.find('h2')[0].text, legend: chart.find('span').filter(e => e.attributes.class === 'key').map(e => e.textContent.trim()),
            lines: svg.find('path').filter(e => e.attributes.class === 'line').map(e => finite(e.attributes.d)),
            circles: svg.find('circle').length, skipped: svg.find('path').filter(e => e.attributes.class === 'skipped').length,
            texts: svg.find('text').map(e => finite(e.text))};
  }),
  text: main.textContent, hovered}));
