"""The page's look and its few lines of behaviour."""

from __future__ import annotations

COLORS = 12
_CLASSES = "".join(
    f".c{i}{{fill:var(--c{i});stroke:var(--c{i})}}.i{i}{{background:var(--c{i})}}\n"
    for i in range(COLORS)
)
CSS = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#667080;--line:#d9dee5;--soft:#f4f6f8;
--accent:#0b62c4;--good:#d7f0dd;--bad:#f9dcd9;--truth:#0a6ec2;--found:#c9300c;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#a8418a;--c4:#8a6d00;--c5:#3b8ea5;
--c6:#7f5539;--c7:#5b5f97;--c8:#c2255c;--c9:#5c940d;--c10:#495057;--c11:#7950f2}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e6e9ed;--dim:#98a2b0;--line:#323944;
--soft:#1d2127;--accent:#6cb2ff;--good:#1f4430;--bad:#552b29;--truth:#4db2ff;--found:#ff7a55;
--c0:#56b4e9;--c1:#ff9d57;--c2:#3fcf9f;--c3:#e08bc6;--c4:#e6c94c;--c5:#7fd0e3;
--c6:#cfa27f;--c7:#a3a7e8;--c8:#ff8fab;--c9:#b5e655;--c10:#adb5bd;--c11:#b197fc}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1400px;padding:1.5rem 1rem 4rem;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:1.6rem;margin:0 0 .2rem}h2{font-size:1.2rem;margin:2.5rem 0 .6rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}p{margin:.3rem 0}.dim,.note{color:var(--dim)}
.note{font-size:.85rem}nav a{margin-right:1rem}a{color:var(--accent)}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.84rem}
th,td{padding:.34rem .36rem;text-align:left;white-space:nowrap;border-bottom:1px solid var(--line)}
td.num,th.num{text-align:right}
.board td:is(:first-child,:nth-child(3),:last-child){white-space:normal}
.board td:nth-child(3){min-width:6.5rem}.board td:first-child{min-width:8rem}
.board th:first-child,.board tr:not(.section) td:first-child{position:sticky;left:0;z-index:1;
background:var(--bg);font-weight:600}.board th:first-child{background:var(--soft);z-index:2}
tbody tr:last-child td{border-bottom:0}
thead th{white-space:normal;vertical-align:bottom;background:var(--soft);position:sticky;top:0}
th button{all:unset;cursor:pointer;font-weight:600}th button:hover,td button:hover{
color:var(--accent)}th button:focus-visible,td button:focus-visible{
outline:2px solid var(--accent)}th[aria-sort=ascending] button::after{content:" ▲"}
th[aria-sort=descending] button::after{content:" ▼"}
tr.section td{background:var(--soft);font-style:italic;color:var(--dim)}
tbody tr:hover:not(.section),.board tr:hover:not(.section) td:first-child{background:var(--soft)}
td button{all:unset;cursor:pointer;border-bottom:1px dotted var(--dim)}
td.best{font-weight:700}
td.second button,td.second{text-decoration:underline}td.tied{font-style:italic}
.grey,.outdated table{opacity:.5}small{color:var(--dim);font-weight:400}
td small{display:block;font-size:.78rem;line-height:1.1}figcaption small{margin-left:.35em}
input[type=search]{font:inherit;padding:.3rem .6rem;margin:.4rem 0;width:min(22rem,100%);
border:1px solid var(--line);border-radius:6px;background:var(--bg);color:var(--fg)}
.charts{display:grid;align-items:start;margin-bottom:1rem;
grid-template-columns:repeat(auto-fill,minmax(min(100%,460px),1fr));gap:1rem}
.flow{columns:2 460px;column-gap:1rem}.flow figure{break-inside:avoid;margin:0 0 1rem}
figure{margin:0;padding:.6rem;border:1px solid var(--line);border-radius:8px}
figcaption{font-size:.9rem;margin-bottom:.3rem}
svg{width:100%;height:auto;display:block}svg text{fill:var(--fg);font-size:12px}
.grid{stroke:var(--line)}.front{fill:none;stroke:var(--dim);stroke-dasharray:4 4}
.whisker{stroke-width:2.5}
@COLORS@
.pale{fill-opacity:.25}.whisker.pale{stroke-opacity:.35}.way{stroke-dasharray:1 3}
.ring{fill:none}
rect{stroke:none!important}
.legend span{display:inline-block;margin-right:1rem}.legend i{display:inline-block;width:.8em;
height:.8em;border-radius:2px;margin-right:.35em}
td.won{background:var(--good)}td.lost{background:var(--bad)}
dialog{max-width:min(46rem,94vw);
border:1px solid var(--line);border-radius:10px;
background:var(--bg);color:var(--fg)}dialog dl{display:grid;grid-template-columns:max-content 1fr;
gap:.2rem 1rem;
font-size:.88rem}dialog dl+dl{border-top:1px solid var(--line);padding-top:.8rem}
dialog::backdrop{background:#0008}dialog form{text-align:right}
dialog button{font:inherit;padding:.3rem 1rem}dialog dt{color:var(--dim)}
dialog dd{margin:0;overflow-wrap:anywhere}
details{margin:.5rem 0}summary{cursor:pointer;font-weight:600;padding:.3rem 0}
h4{font-size:.9rem;margin:.8rem 0 .3rem}.store{position:absolute}
.triple{display:grid;gap:.8rem;grid-template-columns:repeat(3,1fr)}
@media (max-width:860px){.triple{grid-template-columns:1fr}}
@media (max-width:600px){svg text{font-size:15px}dialog dl{grid-template-columns:1fr}
.board[id^=t] tr:not(.section)>:is(:nth-child(2),:nth-child(3),:nth-child(4)){display:none}}
.panel{padding:.5rem}.panel figcaption{margin:.3rem 0 0;font-size:.82rem}
.strip{display:grid;grid-auto-flow:column;grid-auto-columns:1fr;gap:4px}
.strip.many{margin-bottom:4px}.tile span{display:block;
font-size:.72rem;line-height:1.5;color:var(--dim)}
.tile svg{border-radius:4px;background:var(--soft)}
.truth,.prediction{font-weight:600}.truth{color:var(--truth)}.prediction{color:var(--found)}
@media print{input,nav{display:none}body{max-width:none}.scroll{overflow:visible;border:0}
figure,tr{break-inside:avoid}details::details-content{content-visibility:visible;
block-size:auto}dialog{display:none}.triple{grid-template-columns:repeat(3,1fr);gap:.4rem}
h2,h3,h4,h3+p,summary{break-after:avoid}.charts{grid-template-columns:1fr 1fr}.flow{columns:1}
.flow svg{max-height:155mm;max-width:170mm}.board{font-size:.62rem}.board small{font-size:.55rem}
.board th,.board td{padding:.2rem .25rem}
body{padding:0}.board :is(td,th):first-child,thead th{position:static!important}
@page{size:A4 landscape;margin:10mm}}
""".replace("@COLORS@", _CLASSES)

SCRIPT = """
const said=JSON.parse(document.getElementById('provenance').textContent);
const box=document.getElementById('box'),origins=document.getElementById('origins');
document.addEventListener('click',event=>{
  const cell=event.target.closest('[data-cells]');
  if(cell){origins.replaceChildren();
    for(const id of cell.dataset.cells.split(' ')){const list=document.createElement('dl');
     said.cells[id].forEach((text,key)=>{if(text<0)return;
      const dt=document.createElement('dt'),dd=document.createElement('dd');
      dt.textContent=said.keys[key];dd.textContent=said.texts[text];list.append(dt,dd)});
     origins.append(list)}
    box.showModal();return}
  const head=event.target.closest('th button');
  if(head){const th=head.parentElement,table=th.closest('table'),body=table.tBodies[0];
    const up=th.getAttribute('aria-sort')==='descending';
    for(const other of th.parentElement.children)other.removeAttribute('aria-sort');
    th.setAttribute('aria-sort',up?'ascending':'descending');
    const at=th.cellIndex,value=row=>row.cells[at].dataset.value??row.cells[at].textContent;
    const groups=[];for(const row of [...body.rows]){
      if(row.classList.contains('section')||!groups.length)groups.push([]);
      groups.at(-1).push(row)}
    for(const group of groups){
      const fixed=group.filter(r=>r.classList.contains('section'));
      const rows=group.filter(r=>!r.classList.contains('section'));
      rows.sort((a,b)=>{const x=value(a),y=value(b),m=parseFloat(x),n=parseFloat(y);
        const order=isNaN(m)||isNaN(n)?(isNaN(m)-isNaN(n))||String(x).localeCompare(y):m-n;
        return isNaN(m)!==isNaN(n)?order:(up?order:-order)});
      body.append(...fixed,...rows)}}
});
document.querySelectorAll('input[type=search]').forEach(input=>input.addEventListener('input',()=>{
  const words=input.value.toLowerCase().split(/\\s+/).filter(Boolean);
  const table=document.getElementById(input.dataset.table);
  for(const row of table.tBodies[0].rows)if(!row.classList.contains('section'))
    row.hidden=!words.every(word=>row.textContent.toLowerCase().includes(word))}));
"""
