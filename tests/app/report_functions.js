// The functions of the report page's script, one by one: texts of numbers, ticks, scales, smoothing, places in a curve.
//   node report_functions.js src/watch/page_chart.js
'use strict';
const assert = require('assert');
const code = require('fs').readFileSync(process.argv[2], 'utf8');
const names = ['trim', 'short', 'whole', 'fixed', 'duration', 'bytes', 'multiplesOf', 'linearTicks', 'timeTicks', 'logTicks', 'scale',
  'nearest', 'interpolate', 'smoothed', 'quantile'];
const page = new Function(`${code}\nreturn {${names}};`)();
const near = (a, b) => assert(Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(b)), `${a} is not ${b}`);

// Texts of numbers
for (const [value, text] of [[0, '0'], [0.5, '0.5'], [12.3456, '12.35'], [999, '999'], [999.9, '999.9'], [1000, '1k'], [12345, '12.3k'],
  [999600, '1M'], [5172992, '5.17M'], [3e9, '3B'], [2e12, '2T'], [-1500, '-1.5k'], [1e-4, '0.0001'], [2.5e-5, '2.5e−5'], [NaN, '–'], [null, '–']])
  assert.strictEqual(page.short(value), text);
assert.strictEqual(page.fixed(3.14159), '3.1416');
assert.strictEqual(page.fixed(null), '–');
assert.strictEqual(page.whole(1234567.4), '1,234,567');
for (const [seconds, text] of [[0, '0 s'], [2.5, '2.5 s'], [59, '59 s'], [60, '1m'], [65, '1m 05s'], [3600, '1h'], [3900, '1h 05m'], [90000, '1d 01h']])
  assert.strictEqual(page.duration(seconds), text);
assert.strictEqual(page.bytes(3 * 2 ** 29), '1.50 GiB');
assert.strictEqual(page.bytes(100 * 2 ** 20), '100 MiB');

// Ticks: inside the range, in order, not more than about as many as asked for
assert.deepStrictEqual(page.linearTicks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
assert.deepStrictEqual(page.timeTicks(0, 600, 5), [0, 120, 240, 360, 480, 600]);
assert.deepStrictEqual(page.logTicks(1, 1000, 5), [1, 10, 100, 1000]);
for (const make of [page.linearTicks, page.timeTicks, page.logTicks])
  for (const [low, high] of [[1, 2], [0.001, 5000], [3, 3.0001], [1e-9, 1e9], [17, 86400]])
    for (const most of [2, 3, 8, 20]) {
      const ticks = make(low, high, most);
      assert(ticks.length <= 2 * most + 2, `${ticks.length} ticks from ${low} to ${high}, ${most} were asked for`);
      assert(ticks.every((tick, i) => tick >= low * 0.999 - 1e-9 && tick <= high * 1.001 + 1e-9 && (i === 0 || tick > ticks[i - 1])),
             `${make.name}(${low}, ${high}, ${most}): ${ticks}`);
    }

// Scales go from the one end to the other, and back
for (const log of [false, true]) {
  const map = page.scale(1, 100, 50, 250, log);
  near(map(1), 50);
  near(map(100), 250);
  near(map(log ? 10 : 50.5), 150);
  for (const value of [1, 2, 33, 100]) near(map.invert(map(value)), value);
}

// Places in a curve
assert.strictEqual(page.nearest([1, 2, 4, 8], 5.9), 2);
assert.strictEqual(page.nearest([1, 2, 4, 8], 6.1), 3);
assert.strictEqual(page.nearest([], 1), 0);
near(page.interpolate([10, 20], [100, 200], 15), 150);
near(page.interpolate([10, 20], [100, 200], 5), 50);  // from nothing at 0
near(page.interpolate([10, 20], [100, 200], 25), 200);
near(page.interpolate([], [], 7), 7);

// The smoothed curve of a constant is the constant from its first point on; of a step it follows the weight
page.smoothed([3, 3, 3, 3], 0.9).forEach(y => near(y, 3));
near(page.smoothed([0, 1], 0.5)[1], 2 / 3);
assert.deepStrictEqual(page.smoothed([5, 1, 4], 0), [5, 1, 4]);
assert.strictEqual(page.quantile([1, 2, 3, 4, 5], 0.5), 3);
assert.strictEqual(page.quantile([1, 2, 3, 4, 5], 1), 5);
console.log('report: the functions of its script');
