const {chunk,classes,episodes,methods}=JSON.parse(document.getElementById('values').textContent);
const $=id=>document.getElementById(id),SIZE=24;
const make=(tag,text,name)=>{const e=document.createElement(tag);if(text)e.textContent=text;
  if(name)e.className=name;return e};
const wanted=new Map(),loaded=new Map();let page=0;
// Every file of masks calls this; a page from disk may add scripts but fetch nothing.
function masks(cell,number,drawn){loaded.set(`${cell}-${number}`,drawn);fill(`${cell}-${number}`)}
function fill(key){const drawn=loaded.get(key);if(!drawn)return;
  for(const frame of document.querySelectorAll(`[data-masks="${key}"]`)){
    frame.querySelector('span')?.remove();
    const image=make('img');image.alt='';
    image.src=`data:image/png;base64,${drawn[Number(frame.dataset.episode)%chunk]}`;
    frame.append(image);delete frame.dataset.masks}}
function want(key){
  if(loaded.has(key)){fill(key);return}
  if(wanted.has(key))return;
  const script=make('script');wanted.set(key,script);script.src=`masks/${key}.js`;
  script.onerror=()=>{for(const span of document.querySelectorAll(`[data-masks="${key}"] span`))
    span.textContent='no picture of it'};
  document.head.append(script)}
const near=new IntersectionObserver(entries=>{for(const entry of entries)if(entry.isIntersecting){
  near.unobserve(entry.target);want(entry.target.dataset.masks)}},{rootMargin:'400px'});
function frame(picture,told,truth){
  const box=make('div','','frame');box.setAttribute('role','img');box.setAttribute('aria-label',told);
  for(const end of truth?['jpg','png']:['jpg']){if(!picture)break;const image=make('img');
    image.loading='lazy';image.alt='';image.src=`pictures/${picture}.${end}`;box.append(image)}
  if(!picture)box.append(make('span','the data are not here'));
  return box}
function tile(box,text,name){const div=make('div','',name);div.append(box,make('div',text));return div}
function card(at){
  const [cls,name,query,supports]=episodes[at],figure=make('figure'),tiles=make('div','','tiles');
  const label=classes[cls]??cls;
  figure.append(make('figcaption',`episode ${at}: ${label}, ${name}`));
  for(const support of supports)
    tiles.append(tile(frame(support,'support with its mask',true),'support',
      supports.length>1?'small':''));
  tiles.append(tile(frame(query,`query ${name} with its true mask`,true),'query, truth'));
  for(const m of shown()){
    const box=frame(query,`prediction of ${m.label}, IoU ${m.iou[at]}`,false);
    if(m.reason&&query)box.append(make('span',m.reason));
    else if(query){box.dataset.masks=`${m.cell}-${Math.floor(at/chunk)}`;box.dataset.episode=at;
      box.append(make('span',''));near.observe(box)}
    tiles.append(tile(box,`${m.label}: ${m.iou[at].toFixed(1)}`))}
  figure.append(tiles);return figure}
const shown=()=>methods.filter((_,i)=>$(`m${i}`).checked);
const gap=at=>Math.abs(methods[$('a').value].iou[at]-methods[$('b').value].iou[at]);
function found(){
  const own=methods[$('of').value].iou,low=Number($('low').value),high=Number($('high').value);
  const least=Number($('gap').value),cls=$('class').value,order=$('order').value;
  const kept=[...episodes.keys()].filter(at=>(cls===''||String(episodes[at][0])===cls)
    &&own[at]>=low&&own[at]<=high&&gap(at)>=least);
  if(order==='worst')kept.sort((x,y)=>own[x]-own[y]);
  if(order==='best')kept.sort((x,y)=>own[y]-own[x]);
  if(order==='gap')kept.sort((x,y)=>gap(y)-gap(x));
  return kept}
function draw(){
  near.disconnect();
  const kept=found(),pages=Math.max(1,Math.ceil(kept.length/SIZE));
  page=Math.min(Math.max(page,0),pages-1);
  $('episodes').replaceChildren(...kept.slice(page*SIZE,(page+1)*SIZE).map(card));
  $('count').textContent=`${kept.length} of ${episodes.length} episodes, page ${page+1} of ${pages}`;
  $('previous').disabled=page===0;$('next').disabled=page===pages-1}
methods.forEach((m,i)=>{
  const label=make('label'),box=make('input');box.type='checkbox';box.id=`m${i}`;box.checked=i<3;
  label.append(box,` ${m.label}${m.reason?' (no pictures)':''}`);$('methods').append(label);
  for(const id of ['of','a','b']){const o=make('option',m.label);o.value=i;$(id).append(o)}});
$('b').value=String(Math.min(1,methods.length-1));
for(const id of [...new Set(episodes.map(e=>e[0]))]){
  const o=make('option',classes[id]??String(id));o.value=id;$('class').append(o)}
$('filters').addEventListener('input',()=>{page=0;draw()});
$('filters').addEventListener('submit',event=>event.preventDefault());
$('previous').addEventListener('click',()=>{page--;draw();scrollTo(0,0)});
$('next').addEventListener('click',()=>{page++;draw();scrollTo(0,0)});
draw();
