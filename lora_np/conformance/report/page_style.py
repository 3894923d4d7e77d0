"""How the page of HTML looks: both colour schemes, blue against vermilion, and never colour alone.  Floor 6."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --ink: #1c2024; --soft: #57606a; --line: #d0d7de; --panel: #f6f8fa;
  --pass: #005f9e; --fail: #b34700; --link: #0550ae;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171a; --ink: #e8eaed; --soft: #a0a8b0; --line: #3a4149; --panel: #1d2126;
    --pass: #6cb8f0; --fail: #ff9a5c; --link: #8ab8ff;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 68rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 0; }
a { color: var(--link); }
.soft { color: var(--soft); }
.skip { position: absolute; left: -999px; } .skip:focus { position: static; }
.facts { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; padding: 0; list-style: none; }
.facts li { border: 1px solid var(--line); border-radius: .5rem; background: var(--panel); padding: .5rem .9rem; }
.facts b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.verdict { font-weight: 700; } .good { color: var(--pass); } .bad { color: var(--fail); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 600; }
.method { border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin: 1rem 0;
  display: grid; gap: 1rem; grid-template-columns: minmax(0, 1fr); }
@media (min-width: 60rem) {
  .method { grid-template-columns: minmax(0, 1fr) 28rem; } .method h3 { grid-column: 1 / -1; }
}
.chart { width: 100%; max-width: 30rem; height: auto; font: 13px system-ui, sans-serif; }
.chart .pass { fill: var(--pass); } .chart .fail { fill: var(--fail); stroke: var(--ink); stroke-dasharray: 2 2; }
.chart .axis { fill: none; stroke: var(--soft); } .chart text { fill: var(--ink); text-anchor: middle; }
.chart .tick { fill: var(--soft); } .chart .end { text-anchor: end; }
.legend { display: flex; gap: 1.2rem; font-size: .9rem; }
.legend i { display: inline-block; width: .9em; height: .9em; vertical-align: -.1em; margin-right: .35em;
  background: var(--pass); }
.legend .fail i { background: var(--fail); outline: 1px dashed var(--ink); }
details { border: 1px solid var(--line); border-left: .3rem solid var(--fail); border-radius: .35rem; margin: .5rem 0;
  padding: .4rem .8rem; }
details.expected { border-left-color: var(--soft); }
summary { cursor: pointer; } summary code { font-weight: 700; }
summary:focus-visible, a:focus-visible, pre:focus-visible, .scroll:focus-visible {
  outline: 3px solid var(--link); outline-offset: 2px; }
pre { background: var(--panel); border: 1px solid var(--line); padding: .75rem; overflow-x: auto; border-radius: .35rem;
  font-size: .82rem; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1rem; }
dt { color: var(--soft); } dd { margin: 0; }
@media print { details { break-inside: avoid; } }
"""
