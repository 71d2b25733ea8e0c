"""The page's look and its few lines of behaviour."""

from __future__ import annotations

CSS = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#667080;--line:#d9dee5;--soft:#f4f6f8;
--accent:#0b62c4;--good:#d7f0dd;--bad:#f9dcd9;
--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#a8418a;--c4:#8a6d00;--c5:#3b8ea5;
--c6:#7f5539;--c7:#5b5f97}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e6e9ed;--dim:#98a2b0;--line:#323944;
--soft:#1d2127;--accent:#6cb2ff;--good:#1f4430;--bad:#552b29;
--c0:#56b4e9;--c1:#ff9d57;--c2:#3fcf9f;--c3:#e08bc6;--c4:#e6c94c;--c5:#7fd0e3;
--c6:#cfa27f;--c7:#a3a7e8}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:1.5rem 1rem 4rem;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{font-size:1.6rem;margin:0 0 .2rem}h2{font-size:1.2rem;margin:2.5rem 0 .6rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}p{margin:.3rem 0}.dim,.note{color:var(--dim)}
.note{font-size:.85rem}nav a{margin-right:1rem}a{color:var(--accent)}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.88rem}
th,td{padding:.38rem .6rem;text-align:left;white-space:nowrap;border-bottom:1px solid var(--line)}
td.num,th.num{text-align:right}tbody tr:last-child td{border-bottom:0}
thead th{background:var(--soft);position:sticky;top:0}
th button{all:unset;cursor:pointer;font-weight:600}th button:focus-visible,td button:focus-visible{
outline:2px solid var(--accent)}th[aria-sort=ascending] button::after{content:" ▲"}
th[aria-sort=descending] button::after{content:" ▼"}
tr.section td{background:var(--soft);font-style:italic;color:var(--dim)}
tbody tr:hover:not(.section){background:var(--soft)}
td button{all:unset;cursor:pointer;border-bottom:1px dotted var(--dim)}
td.best{font-weight:700}
td.second button,td.second{text-decoration:underline}td.tied{font-style:italic}
.grey,.outdated table{opacity:.5}small{color:var(--dim);font-weight:400;margin-left:.35em}
input[type=search]{font:inherit;padding:.3rem .6rem;margin:.4rem 0;width:min(22rem,100%);
border:1px solid var(--line);border-radius:6px;background:var(--bg);color:var(--fg)}
.charts{display:grid;align-items:start;
grid-template-columns:repeat(auto-fill,minmax(min(100%,460px),1fr));gap:1rem}
figure{margin:0;padding:.6rem;border:1px solid var(--line);border-radius:8px}
figcaption{font-size:.9rem;margin-bottom:.3rem}
svg{width:100%;height:auto;display:block}svg text{fill:var(--fg);font-size:12px}
.grid{stroke:var(--line)}.front{fill:none;stroke:var(--dim);stroke-dasharray:4 4}
.whisker{stroke-width:2.5}
.c0{fill:var(--c0);stroke:var(--c0)}.c1{fill:var(--c1);stroke:var(--c1)}
.c2{fill:var(--c2);stroke:var(--c2)}.c3{fill:var(--c3);stroke:var(--c3)}
.c4{fill:var(--c4);stroke:var(--c4)}.c5{fill:var(--c5);stroke:var(--c5)}
.c6{fill:var(--c6);stroke:var(--c6)}.c7{fill:var(--c7);stroke:var(--c7)}rect{stroke:none!important}
.legend span{display:inline-block;margin-right:1rem}.legend i{display:inline-block;width:.8em;
height:.8em;border-radius:2px;margin-right:.35em}
.i0{background:var(--c0)}.i1{background:var(--c1)}.i2{background:var(--c2)}.i3{background:var(--c3)}

.i4{background:var(--c4)}.i5{background:var(--c5)}
.i6{background:var(--c6)}.i7{background:var(--c7)}
td.won{background:var(--good)}td.lost{background:var(--bad)}
dialog{max-width:min(46rem,94vw);
border:1px solid var(--line);border-radius:10px;
background:var(--bg);color:var(--fg)}dialog dl{display:grid;grid-template-columns:max-content 1fr;
gap:.2rem 1rem;
font-size:.88rem}dialog dt{color:var(--dim)}dialog dd{margin:0;overflow-wrap:anywhere}
details summary{cursor:pointer}
@media print{input,nav{display:none}body{max-width:none}.scroll{overflow:visible;border:0}
figure,tr{break-inside:avoid}thead th{position:static}}
"""

SCRIPT = """
const said=JSON.parse(document.getElementById('provenance').textContent);
const box=document.getElementById('box'),list=box.querySelector('dl');
document.addEventListener('click',event=>{
  const cell=event.target.closest('[data-cells]');
  if(cell){list.replaceChildren();
    for(const id of cell.dataset.cells.split(' '))
     for(const [key,value] of Object.entries(said[id])){
      const dt=document.createElement('dt'),dd=document.createElement('dd');
      dt.textContent=key;dd.textContent=value;list.append(dt,dd)}
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
