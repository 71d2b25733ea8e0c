const said=JSON.parse(document.getElementById('provenance').textContent);
const box=document.getElementById('box'),origins=document.getElementById('origins');
const element=(tag,text)=>{const e=document.createElement(tag);if(text)e.textContent=text;return e};
const list=pairs=>{const dl=element('dl');
  for(const [key,text] of pairs)dl.append(element('dt',key),element('dd',text));return dl};
const recordOf=id=>new Map(said.cells[id].map((text,key)=>[said.keys[key],said.texts[text]])
  .filter(pair=>pair[1]!==undefined));
const unique=values=>[...new Set(values)];
const natural=(a,b)=>a.localeCompare(b,undefined,{numeric:true});
function show(cell){
  const records=cell.dataset.cells.split(' ').map(recordOf),td=cell.closest('td');
  const heads=td.closest('table').tHead.rows,head=heads[heads.length-1].cells[td.cellIndex];
  const name=td.parentElement.cells[0].textContent.trim();
  document.getElementById('box-title').textContent=`${name}: ${head.textContent.trim()}`;
  document.getElementById('box-value').textContent=cell.textContent.trim().replace('[',' [');
  origins.replaceChildren();
  records.sort((a,b)=>natural(a.get('domain'),b.get('domain'))||natural(a.get('seed'),b.get('seed')));
  const all=key=>unique(records.map(r=>r.get(key)).filter(Boolean)).sort(natural);
  if(records.length===1){origins.append(list(records[0]));}else{
    const scores=records.map(r=>parseFloat(r.get('mIoU')));
    const more=Number(cell.dataset.more||0),seeds=all('seed');
    origins.append(list([
      ['records',`${records.length+more}${more?` (the first ${records.length} below)`:''}`],
      [all('domain').length>1?'domains':'domain',all('domain').join(', ')],
      [seeds.length>1?'seeds':'seed',seeds.join(', ')],
      ['mIoU',`${Math.min(...scores).toFixed(2)} to ${Math.max(...scores).toFixed(2)}`]]));
    const keys=said.keys.filter(key=>records.some(r=>r.has(key)));
    const differs=keys.filter(key=>new Set(records.map(r=>r.get(key))).size>1);
    const lines=element('div');lines.className='lines';
    for(const r of records){const one=element('details');
      one.append(element('summary',`${r.get('domain')}, seed ${r.get('seed')}: mIoU ${
        r.get('mIoU')}, finished ${(r.get('finished')||'').slice(0,10)||'unknown'}`));
      one.append(list(differs.filter(key=>r.has(key)).map(key=>[key,r.get(key)])));
      lines.append(one)}
    origins.append(element('h4','By record'),lines,element('h4','The same in all of them'),
      list(keys.filter(key=>!differs.includes(key)).map(key=>[key,records[0].get(key)])))}
  box.showModal();box.scrollTop=0}
function sort(th){
  const table=th.closest('table'),body=table.tBodies[0];
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
document.addEventListener('click',event=>{
  const cell=event.target.closest('[data-cells]'),head=event.target.closest('.board th button');
  if(cell)show(cell);else if(head)sort(head.parentElement);
  else if(event.target===box)box.close()});
document.querySelectorAll('input[type=search]').forEach(input=>input.addEventListener('input',()=>{
  const words=input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const table=document.getElementById(input.dataset.table);
  input.closest('.block').classList.toggle('searched',words.length>0);
  for(const row of table.tBodies[0].rows)if(!row.classList.contains('section'))
    row.hidden=!words.every(word=>row.textContent.toLowerCase().includes(word))}));
