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
  const words=input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const table=document.getElementById(input.dataset.table);
  for(const row of table.tBodies[0].rows)if(!row.classList.contains('section'))
    row.hidden=!words.every(word=>row.textContent.toLowerCase().includes(word))}));
