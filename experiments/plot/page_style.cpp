#include "experiments/plot/html.hpp"

namespace scalevec::experiments::html {

// --c0 … --c6 are Okabe and Ito's colours, as gnuplot draws them; on a dark page lighter ones of the same order.
const char* const kStyle = R"(
:root { color-scheme: light; --paper: #fff; --panel: #f5f7fa; --ink: #1c2128; --soft: #57616e; --line: #e2e5e9;
  --rule: #c8cdd4; --accent: #0072b2; --link: #0a5c96; --mark: #a34700; --good: #00694d; --bad: #a3231f;
  --doubt: #8a5a00; --grid: #e4e6e9; --axis: #4a525c; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7;
  --c4: #e69f00; --c5: #56b4e9; --c6: #000; }
@media screen and (prefers-color-scheme: dark) {
  :root { color-scheme: dark; --paper: #12161b; --panel: #1b2128; --ink: #e4e8ed; --soft: #a0abb8; --line: #2c333c;
    --rule: #4a5460; --accent: #58b0ea; --link: #7cc4f2; --mark: #ffa265; --good: #4fd0a3; --bad: #ff8d85;
    --doubt: #e6b455; --grid: #2a3038; --axis: #98a2ae; --c0: #4c9fe6; --c1: #ff8a45; --c2: #27c796; --c3: #e79dc6;
    --c4: #edb734; --c5: #a9dcff; --c6: #f2f2f2; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; color: var(--ink);
  background: var(--paper); max-width: 1120px; margin: 0 auto; padding: 36px 28px 72px; overflow-wrap: break-word; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 6px; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 20px; line-height: 1.3; margin: 48px 0 12px; padding-top: 14px; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
h3 { font-size: 16px; margin: 22px 0 4px; }
p { max-width: 76ch; margin: 8px 0; }
a { color: var(--link); }
.defs { position: absolute; }
.meta { color: var(--soft); margin: 0 0 20px; overflow-wrap: anywhere; }
.findings { background: var(--panel); border-left: 4px solid var(--accent); padding: 12px 20px;
  border-radius: 0 6px 6px 0; overflow-wrap: anywhere; }
ul.findings { padding-left: 38px; margin: 20px 0; }
ul.findings li { max-width: 84ch; margin: 5px 0; }
.sub { color: var(--soft); font-size: 13px; }
.mark { color: var(--mark); font-size: 13px; font-weight: 600; }
.clear { font-weight: 600; }
.verdict { white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .doubt { color: var(--doubt); } .soft { color: var(--soft); }

.scroll { overflow-x: auto; margin: 14px 0; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: left; vertical-align: bottom; font-weight: 600; color: var(--soft);
  border-bottom: 2px solid var(--rule); }
th, td { padding: 7px 16px 7px 0; }
td { border-bottom: 1px solid var(--line); vertical-align: top; }
td.t { overflow-wrap: anywhere; } td.t > div { min-width: 9ch; }
th.n, td.n { text-align: right; }
td.n > div { min-width: 5ch; } td.n .sub { white-space: nowrap; }
th.n { min-width: 7.5ch; }
.wide { min-width: 26ch; }
.unit { color: var(--soft); font-size: 13px; white-space: normal; }

figure { margin: 26px 0 36px; }
figure > h3 { margin: 0 0 6px; }
figcaption { color: var(--soft); font-size: 14.5px; max-width: 84ch; margin-top: 8px; overflow-wrap: anywhere; }
.files { font-size: 13px; white-space: nowrap; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 20px 28px; }
.panels.one { max-width: 760px; }
.panel { min-width: 0; }
.panel h4 { font-size: 14.5px; margin: 0; overflow-wrap: anywhere; }
.axis { color: var(--soft); font-size: 13px; line-height: 1.4; overflow-wrap: anywhere; }
.axis.x { text-align: center; }
svg.plot { display: block; width: 100%; height: auto; overflow: visible; touch-action: pan-y; }
svg.plot text { font-size: 13px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.grid { stroke: var(--grid); stroke-width: 1; fill: none; }
.frame { stroke: var(--axis); stroke-width: 1.2; fill: none; }
.cross-hair { stroke: var(--axis); stroke-width: 1; stroke-dasharray: 3 3; visibility: hidden; }
.s path, .key path { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linejoin: round; }
.s .bars { stroke-width: 1.4; stroke-dasharray: none; }
.s .area, .key .area { fill: currentColor; fill-opacity: 0.16; stroke: none; }
.s use, .key use { fill: currentColor; stroke: currentColor; stroke-width: 1; }
.s.thin path { stroke-width: 1.6; }
.open { fill: none; stroke: currentColor; stroke-width: 1.6; }
.cross { fill: none; stroke: currentColor; stroke-width: 2; }
.k0 { color: var(--c0); } .k1 { color: var(--c1); } .k2 { color: var(--c2); } .k3 { color: var(--c3); }
.k4 { color: var(--c4); } .k5 { color: var(--c5); } .k6 { color: var(--c6); }
.d1 { stroke-dasharray: 9 4; } .d2 { stroke-dasharray: 2.5 3; } .d3 { stroke-dasharray: 10 3 2.5 3; }
.d4 { stroke-dasharray: 16 5; } .d5 { stroke-dasharray: 5 2.5; } .d6 { stroke-dasharray: 9 5; }
.heat svg.data, .heat .key svg { --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #e69f00;
  --c5: #56b4e9; --c6: #000; }
.heat .key svg { background: #f7f7f7; border-radius: 3px; }
.off { display: none; }
.keys { display: flex; flex-wrap: wrap; gap: 2px 8px; margin: 6px 0 10px; padding: 0; list-style: none; }
.keys li { max-width: 100%; }
.key { font: inherit; font-size: 14px; line-height: 1.35; color: var(--ink); background: none; border: 1px solid
  transparent; border-radius: 5px; padding: 3px 7px; display: flex; align-items: center; gap: 8px; text-align: left;
  max-width: 100%; }
.key svg { flex: none; width: 38px; height: 14px; overflow: visible; }
.key span { overflow-wrap: anywhere; min-width: 0; }
.js button.key { cursor: pointer; }
.js button.key:hover { border-color: var(--rule); }
.js button.key:focus-visible { outline: 2px solid var(--accent); }
.key[aria-pressed="false"] { color: var(--soft); text-decoration: line-through; }
.key[aria-pressed="false"] svg { opacity: 0.3; }
.hint { display: none; } .js .hint { display: block; }
.color-bar { display: flex; align-items: center; gap: 8px; font-size: 13px; color: var(--soft); flex-wrap: wrap; }
.color-bar i { width: 150px; height: 11px; border: 1px solid var(--rule);
  background: linear-gradient(90deg, #2166ac, #92c5de, #f7f7f7, #f4a582, #b2182b); print-color-adjust: exact; }
.tip { position: absolute; z-index: 2; pointer-events: none; background: var(--paper); color: var(--ink);
  border: 1px solid var(--rule); border-radius: 6px; padding: 6px 10px; font-size: 13px; line-height: 1.45;
  box-shadow: 0 3px 12px #0003; max-width: 330px; font-variant-numeric: tabular-nums; }
.tip div { display: flex; gap: 12px; justify-content: space-between; }
.tip div span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.tip div span:last-child { white-space: nowrap; }
.tip i { display: inline-block; width: 9px; height: 9px; border-radius: 50%; background: currentColor;
  margin-right: 6px; }

.forest { margin: 10px 0 4px; }
.forest .row { display: grid; grid-template-columns: minmax(0, 13rem) minmax(0, 1fr) minmax(0, 14.5rem); gap: 0 18px;
  align-items: center; border-top: 1px solid var(--line); font-size: 14.5px; }
.forest .row.head, .forest .row.scale { border-top: 0; color: var(--soft); font-size: 13px; }
.forest .name { overflow-wrap: anywhere; padding: 5px 0; line-height: 1.35; }
.forest .strong .name { font-weight: 600; }
.forest .name .sub { font-weight: 400; }
.forest .middle { align-self: stretch; display: flex; flex-direction: column; justify-content: center; min-width: 0; }
.forest .strip { position: relative; flex: 1; min-height: 44px; }
.forest .scale .strip { min-height: 24px; }
.forest .strip svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible; }
.forest .value { font-variant-numeric: tabular-nums; padding: 5px 0; line-height: 1.35; }
.forest text { font-size: 12.5px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.forest .ends { display: flex; justify-content: space-between; gap: 12px; }
.forest .zero { stroke: var(--ink); stroke-width: 1.4; }
.forest .tick { stroke: var(--grid); stroke-width: 1; }
.forest .effect { stroke: var(--c1); stroke-width: 1.5; stroke-dasharray: 5 3; }
.forest .ci, .legend .ci { stroke: currentColor; stroke-width: 5; }
.forest .outer, .legend .outer { stroke: currentColor; stroke-width: 1.5; }
.forest .estimate { fill: var(--paper); stroke: currentColor; stroke-width: 2.2; }
.forest .strong .estimate, .legend .strong .estimate { fill: currentColor; }
.forest .dot, .legend .dot { fill: currentColor; fill-opacity: 0.45; }
.forest .beyond, .legend .beyond { fill: currentColor; }
.forest .strip, .legend svg { color: var(--soft); }
.forest .strong .strip, .legend .strong svg { color: var(--accent); }
.legend .estimate { fill: var(--paper); stroke: currentColor; stroke-width: 2.2; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; padding: 0; margin: 8px 0; list-style: none;
  font-size: 13.5px; color: var(--soft); }
.legend li { display: flex; align-items: center; gap: 8px; }
.legend svg { width: 46px; height: 16px; flex: none; }
.legend .zero { stroke: var(--ink); stroke-width: 1.4; }
.legend .effect { stroke: var(--c1); stroke-width: 1.5; stroke-dasharray: 5 3; }

details { margin: 12px 0; } summary { cursor: pointer; color: var(--link); }
details details { margin: 2px 0 10px; font-size: 14px; }
pre, code { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--panel); padding: 12px 16px; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere; }
code { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: fit-content(24ch) minmax(0, 1fr); gap: 6px 24px; font-size: 15px; }
dt { color: var(--soft); overflow-wrap: anywhere; } dd { margin: 0; max-width: 82ch; overflow-wrap: anywhere; }
.policies dt { color: inherit; font-weight: 600; }

@media screen and (max-width: 820px) {
  .scroll { overflow: visible; }
  table, tbody, tr, td { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { border-top: 2px solid var(--rule); padding: 8px 0; }
  td, td.n { display: grid; grid-template-columns: minmax(0, 42%) minmax(0, 1fr); gap: 0 12px; padding: 3px 0;
    border: 0; text-align: left; }
  td::before { content: attr(data-label); color: var(--soft); }
  td.t:first-child { display: block; font-size: 15px; } td.t:first-child::before { content: none; }
  td.none { display: none; }
  td.t > div, td.n > div, .wide { min-width: 0; }
}
@media screen and (max-width: 640px) {
  body { padding: 20px 16px 48px; }
  h1 { font-size: 25px; }
  h2 { margin-top: 36px; }
  .findings { padding: 10px 14px; } ul.findings { padding-left: 30px; }
  dl { display: block; } dd { margin: 0 0 8px; }
  .panel svg.plot text { font-size: 17px; } .one svg.plot text { font-size: 22px; }
  .s path { stroke-width: 2.8; }
  .forest .row { grid-template-columns: minmax(0, 1fr); }
  .forest .name { padding-bottom: 0; } .forest .value { padding-top: 0; }
  .forest .strip { min-height: 38px; }
  .forest .row.head .name, .forest .row.head .value, .forest .row.scale .name, .forest .row.scale .value {
    display: none; }
}
@media print {
  body { padding: 0; max-width: none; font-size: 11pt; }
  figure, tr, .forest .row, li { break-inside: avoid; }
  h2, h3, h4 { break-after: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 9pt; } th, td { padding-right: 8px; }
  .panels { grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); }
  .js .hint, .files, .tip { display: none; }
}
)";

}  // namespace scalevec::experiments::html
