// The page's look. The curve colours are those of Okabe and Ito (2008), which colour-blind readers can tell apart, made
// lighter on a dark background.
#include "watch/report_page.h"

namespace bittern {

const char* const report_style = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --panel: #ffffff; --text: #1c2430; --faint: #5d6878; --edge: #dfe3e9; --grid: #eceff3; --axis: #9aa4b2;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #b6488f; --c4: #c98a00; --c5: #3aa0d8; --c6: #6b5bd2; --c7: #5a6472;
  --accent: #0072b2; --warn: #a53d00; --warn-page: #fdf1e8; --good: #00795a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --panel: #1a2029; --text: #e4e9f0; --faint: #94a1b3; --edge: #2b3441; --grid: #262e3a; --axis: #66748a;
    --c0: #56b4e9; --c1: #ff9248; --c2: #2fc79b; --c3: #e38ac3; --c4: #f0c419; --c5: #9ad0f5; --c6: #a99bff; --c7: #a7b0bd;
    --accent: #56b4e9; --warn: #ffb27a; --warn-page: #33261b; --good: #3fd0a4;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 25px; line-height: 1.25; margin: 0; font-weight: 650; overflow-wrap: anywhere; }
h2 { font-size: 15px; margin: 0; font-weight: 600; }
.top { display: flex; flex-wrap: wrap; align-items: baseline; gap: 6px 14px; }
.pill { font-size: 13px; padding: 1px 10px; border-radius: 99px; border: 1px solid currentColor; color: var(--faint); }
.pill.live { color: var(--good); } .pill.bad { color: var(--warn); }
.about { color: var(--faint); margin: 4px 0 18px; overflow-wrap: anywhere; }
.panel { background: var(--panel); border: 1px solid var(--edge); border-radius: 10px; padding: 12px; margin: 0 0 14px; min-width: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(148px, 1fr)); gap: 10px; margin: 0 0 14px; }
.tile { background: var(--panel); border: 1px solid var(--edge); border-radius: 10px; padding: 10px 14px; }
.tile .name { color: var(--faint); font-size: 12.5px; }
.tile .value { font-size: 21px; font-weight: 620; font-variant-numeric: tabular-nums; white-space: nowrap; line-height: 1.3; }
.tile .note { color: var(--faint); font-size: 12.5px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; min-height: 19px; }
.controls { display: flex; flex-wrap: wrap; gap: 8px 22px; align-items: center; position: sticky; top: 0; z-index: 2; font-size: 14px; }
.controls label, .chart header label { display: inline-flex; gap: 7px; align-items: center; cursor: pointer; white-space: nowrap; }
.controls input[type=range] { width: 150px; accent-color: var(--accent); }
input[type=checkbox] { accent-color: var(--accent); margin: 0; }
.value-text { display: inline-block; min-width: 32px; font-variant-numeric: tabular-nums; color: var(--faint); }
.choice { display: inline-flex; border: 1px solid var(--edge); border-radius: 7px; overflow: hidden; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 2px 11px; cursor: pointer; }
.choice button + button { border-left: 1px solid var(--edge); }
button[aria-pressed=true] { background: var(--accent); color: var(--panel); }
button.alone { border: 1px solid var(--edge); border-radius: 7px; }
button:focus-visible, input:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; align-items: center; font-size: 13px; color: var(--faint); margin: 0 auto 0 14px; }
.key { display: inline-flex; align-items: center; gap: 7px; overflow-wrap: anywhere; }
.key svg { flex: none; }
.chart header { display: flex; align-items: center; justify-content: space-between; margin: 0 2px 6px; font-size: 13px; color: var(--faint); }
.chart h2 { color: var(--text); }
.chart svg { display: block; max-width: 100%; touch-action: pan-y; cursor: crosshair; user-select: none; -webkit-user-select: none; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 0 14px; }
.grid { stroke: var(--grid); } .axis { stroke: var(--axis); } .cursor { stroke: var(--faint); stroke-dasharray: 3 3; }
.tick { fill: var(--faint); font-size: 12px; font-variant-numeric: tabular-nums; } .axis-name { fill: var(--faint); font-size: 12px; }
.line { fill: none; stroke-width: 1.9; stroke-linejoin: round; stroke-linecap: round; }
.raw { fill: none; stroke-width: 1; opacity: 0.28; stroke-linejoin: round; }
.dot { stroke: var(--panel); stroke-width: 1.5; } .drag { fill: var(--accent); opacity: 0.15; } .skipped { fill: var(--warn); }
#tip { position: fixed; z-index: 3; pointer-events: none; background: var(--panel); border: 1px solid var(--edge); border-radius: 8px;
  padding: 7px 11px; font-size: 13px; box-shadow: 0 4px 18px rgb(0 0 0 / 0.16); max-width: 440px; display: none; }
#tip .at { color: var(--faint); margin-bottom: 2px; }
#tip .entry { display: flex; gap: 9px; align-items: center; font-variant-numeric: tabular-nums; }
#tip .entry b { margin-left: auto; padding-left: 12px; font-weight: 620; } #tip .entry i { color: var(--faint); font-style: normal; }
#tip .entry span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: right; color: var(--faint); font-weight: 500; font-size: 12.5px; white-space: nowrap; }
td { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: 5px 10px; border-bottom: 1px solid var(--grid); } tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 150px; }
tr.off td { opacity: 0.45; } td.best { font-weight: 680; color: var(--good); }
table.config td { text-align: left; white-space: normal; overflow-wrap: anywhere; font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 12.5px; }
table.config th { text-align: left; } table.config td:first-child { color: var(--faint); width: 260px; }
summary { cursor: pointer; font-weight: 600; }
details table { margin-top: 8px; }
pre { margin: 10px 0 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13.5px/1.55 ui-monospace, "DejaVu Sans Mono", monospace; max-height: 340px; overflow-y: auto; }
.sample-head { display: flex; flex-wrap: wrap; gap: 6px 16px; align-items: center; }
.sample-head input { flex: 1; min-width: 120px; max-width: 420px; accent-color: var(--accent); } .sample-head span { color: var(--faint); font-size: 13.5px; }
.sample + .sample { border-top: 1px solid var(--grid); margin-top: 12px; padding-top: 12px; }
.notice { background: var(--warn-page); color: var(--warn); border-radius: 8px; padding: 8px 14px; margin: 0 0 14px; font-size: 14px; overflow-wrap: anywhere; }
footer { color: var(--faint); font-size: 13px; margin-top: 22px; }
@media print { .controls { position: static; } body { background: none; } }
)css";

}  // namespace bittern
