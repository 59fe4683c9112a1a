/**
 * The style sheet of the page. Its hash, which the page's policy names, is in `page.ts`: a test says
 * so when it is out of date.
 */
export const style = `
:root{color-scheme:light dark;--bg:#fff;--card:#f6f8fa;--text:#1f2328;--soft:#59636e;--line:#d1d9e0;--link:#0550ae;
--good:#116329;--good-bg:#dafbe1;--warn:#7d4e00;--warn-bg:#fff8c5;--bad:#a40e26;--bad-bg:#ffebe9;--dim:#59636e;--dim-bg:#eaeef2;
--s0:#0969da;--s1:#9a3b00;--s2:#116329;--s3:#8250df;--s4:#a40e26;--s5:#59636e;--high:#9a6700;--max:#cf222e;--mark:#6639ba}
@media (prefers-color-scheme:dark){:root{--bg:#0d1117;--card:#161b22;--text:#e6edf3;--soft:#9ea7b3;--line:#3d444d;--link:#79b8ff;
--good:#7ee787;--good-bg:#12261e;--warn:#eac54f;--warn-bg:#2e2409;--bad:#ffa198;--bad-bg:#3c1618;--dim:#b1bac4;--dim-bg:#262c36;
--s0:#58a6ff;--s1:#ffa657;--s2:#7ee787;--s3:#d2a8ff;--s4:#ff7b72;--s5:#b1bac4;--high:#e3b341;--max:#ff7b72;--mark:#d2a8ff}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main,header,footer{max-width:1040px;margin:0 auto;padding:0 24px}
header{padding-top:24px}
h1{font-size:1.5rem;line-height:1.25;margin:0 0 8px;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:40px 0 12px;padding-top:16px;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:0 0 4px;display:flex;gap:8px;align-items:baseline;flex-wrap:wrap}
p{margin:0 0 8px}
a{color:var(--link)}
a:focus-visible,summary:focus-visible,[tabindex]:focus-visible{outline:3px solid var(--s0);outline-offset:2px}
code,pre{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.skip{position:absolute;left:-9999px}
.skip:focus{left:16px;top:8px;background:var(--bg);padding:8px 12px;z-index:1}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.verdict{border:1px solid var(--line);border-left:8px solid var(--dim);background:var(--card);border-radius:6px;padding:16px 20px;margin:0 0 16px}
.verdict.healthy{border-left-color:var(--good)}
.verdict.unhealthy{border-left-color:var(--bad)}
.verdict.inconclusive{border-left-color:var(--warn)}
.verdict .word{font-size:1.6rem;font-weight:700;line-height:1.2;margin:0 0 4px}
.healthy .word{color:var(--good)}.unhealthy .word{color:var(--bad)}.inconclusive .word{color:var(--warn)}
.about{color:var(--soft);overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(180px,1fr));gap:12px;margin:16px 0;padding:0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:10px 14px;min-width:0}
.tiles dt{color:var(--soft);font-size:.85rem}
.tiles dd{margin:0;font-size:1.15rem;font-weight:600;overflow-wrap:anywhere}
.tiles small{display:block;font-weight:400;font-size:.85rem;color:var(--soft)}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:4px 16px;margin:0 0 8px;padding:0}
.unknown{color:var(--soft);font-style:italic}
p.unknown strong{font-style:normal}
.note{color:var(--soft);font-size:.9rem}
.checks{list-style:none;margin:0;padding:0}
.checks li{border:1px solid var(--line);border-left-width:6px;border-radius:6px;padding:10px 14px;margin:0 0 8px;overflow-wrap:anywhere}
.checks li[data-verdict=fail]{border-left-color:var(--bad)}
.checks li[data-verdict=warn]{border-left-color:var(--warn)}
.checks li[data-verdict=unknown]{border-left-color:var(--dim)}
.checks p{margin:0 0 4px}
.badge,.state,.trend{display:inline-block;border-radius:999px;padding:0 10px;font-size:.85rem;font-weight:600;white-space:nowrap;background:var(--dim-bg);color:var(--dim)}
.badge.pass,.state.proven,.trend.better{background:var(--good-bg);color:var(--good)}
.badge.warn,.state.awaiting,.state.unproven{background:var(--warn-bg);color:var(--warn)}
.badge.fail,.state.failed,.state.undone,.trend.worse{background:var(--bad-bg);color:var(--bad)}
details{margin:6px 0}
summary{cursor:pointer;color:var(--link)}
pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:10px 12px;margin:8px 0;overflow:auto;max-height:32em;white-space:pre;color:var(--text)}
.diff span{display:block;min-width:max-content}
.diff .added{background:var(--good-bg);color:var(--good)}.diff .removed{background:var(--bad-bg);color:var(--bad)}.diff .head{color:var(--soft)}
.scroll{overflow:auto;max-height:32em;border:1px solid var(--line);border-radius:6px;margin:8px 0}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:6px 12px;border-top:1px solid var(--line);vertical-align:top}
thead th{position:sticky;top:0;background:var(--card);border-top:0;white-space:nowrap}
tbody th{font-weight:600}
td data,th data,time{white-space:nowrap}
.whole,.data table td{white-space:nowrap}
svg.chart{display:block;width:100%;height:auto;font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
svg.narrow{display:none}
svg text{fill:var(--soft)}
svg .end{text-anchor:end}svg .middle{text-anchor:middle}svg .start{text-anchor:start}
.grid path{stroke:var(--line);stroke-width:1;fill:none}
.axis{stroke:var(--soft);fill:none}
.series .line{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round}
.series .range{fill:var(--c);fill-opacity:.35;stroke:none}
.series .below{fill:var(--c);fill-opacity:.1}
.series circle{fill:var(--c)}
.s0{--c:var(--s0)}.s1{--c:var(--s1)}.s2{--c:var(--s2)}.s3{--c:var(--s3)}.s4{--c:var(--s4)}.s5{--c:var(--s5)}
.s1 .line{stroke-dasharray:8 3}.s2 .line{stroke-dasharray:2 3}.s3 .line{stroke-dasharray:10 3 2 3}.s4 .line{stroke-dasharray:5 5}.s5 .line{stroke-dasharray:14 4}
.level path{fill:none;stroke-width:1.5}
.level.high path{stroke:var(--high);stroke-dasharray:6 4}.level.high text{fill:var(--high);font-weight:600}
.level.max path{stroke:var(--max)}.level.max text{fill:var(--max);font-weight:600}
.mark .pole{stroke:var(--mark);stroke-opacity:.45;stroke-dasharray:1 3;fill:none}
.mark .glyph{fill:var(--mark)}
.mark.oom .glyph,.mark.undo .glyph,.mark.reboot .glyph,.mark.restart .glyph{fill:var(--max)}
.mark.job .glyph{fill:var(--s2)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 18px;margin:4px 0;padding:0;font-size:.9rem;color:var(--soft)}
.legend li{display:flex;align-items:center;gap:6px;overflow-wrap:anywhere}
.key{width:28px;height:12px;flex:none}.key.mark{width:14px;height:14px}
.bar{width:200px;height:16px;display:block}.bar .slow{fill:var(--s0);fill-opacity:.35}.bar .median{fill:var(--s0)}
.strip{list-style:none;display:flex;flex-wrap:wrap;gap:3px;margin:8px 0;padding:0}
.hour{position:relative;display:inline-flex;width:26px;height:30px;align-items:center;justify-content:center;border-radius:4px;border:1px solid var(--line);background:var(--bg);font-weight:700;flex:none}
.legend .hour{width:20px;height:20px;font-size:.8rem}
.hour.good{background:var(--good-bg);color:var(--good);border-color:var(--good)}
.hour.part{background:var(--warn-bg);color:var(--warn);border-color:var(--warn)}
.hour.bad{background:var(--bad-bg);color:var(--bad);border-color:var(--bad)}
.hour.gap{background:var(--dim-bg);color:var(--dim);border:1px dashed var(--dim)}
footer{margin-top:48px;padding-bottom:32px;color:var(--soft);font-size:.9rem}
@media (max-width:640px){main,header,footer{padding-left:16px;padding-right:16px}h1{font-size:1.25rem}.tiles{grid-template-columns:1fr 1fr}
.tiles dd{font-size:1rem}svg.wide{display:none}svg.narrow{display:block}.bars{display:none}th,td{padding:6px 8px}}
@media print{:root{--bg:#fff;--card:#fff;--text:#000;--soft:#444;--line:#bbb;--link:#000}*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
main,header,footer{max-width:none;padding:0}nav,.skip,.data{display:none}.checks li,svg,.tiles div,tr{break-inside:avoid}h2,h3{break-after:avoid}
pre,.scroll{max-height:none;overflow:visible;white-space:pre-wrap}details::details-content{content-visibility:visible;height:auto}}
`;
