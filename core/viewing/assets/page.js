"use strict";
/* One model, or a source beside its result. Boxes are placed by ELK (in a worker) one level of nesting at a time, when it is opened. */
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("page");
const NS = "http://www.w3.org/2000/svg";
const FAMILIES = {conv: "conv", image: "conv", norm: "norm", softmax: "act", activation: "act", pool: "pool", reduce: "pool", linear: "linear", attention: "linear",
  rnn: "linear", blocks: "linear", shape: "move", joining: "move", indexing: "move", scatter: "move", constants: "move", sorting: "move", arithmetic: "math", quant: "math"};

const el = (tag, attrs = {}, ...children) => {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs)) if (k.startsWith("on")) e.addEventListener(k.slice(2), v); else if (v !== "") e.setAttribute(k, v);
  for (const c of children) if (c !== null && c !== undefined) e.append(c);
  return e;
};
const svg = (tag, attrs = {}) => {
  const e = document.createElementNS(NS, tag);
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  return e;
};
const num = x => typeof x !== "number" ? String(x) : x === 0 ? "0" : Math.abs(x) < 1e-3 || Math.abs(x) >= 1e6 ? x.toExponential(2) : String(+x.toPrecision(4));
const list = (lines, cls = "") => el("ul", {class: cls}, ...lines.map(l => el("li", {}, l)));

/* ---------------------------------------------------------------- placing boxes */
class Elk {
  constructor() { this.next = 1; this.waiting = new Map(); this.ready = null; }
  async start() {
    const packed = Uint8Array.from(atob(document.getElementById("elk").textContent), c => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const url = URL.createObjectURL(new Blob([await new Response(stream).text()], {type: "text/javascript"}));
    this.worker = new Worker(url);
    this.worker.onmessage = e => {
      const [done, failed] = this.waiting.get(e.data.id) || [];
      this.waiting.delete(e.data.id);
      if (done) e.data.error ? failed(new Error(JSON.stringify(e.data.error).slice(0, 300))) : done(e.data.data);
    };
    this.worker.onerror = e => { for (const [, failed] of this.waiting.values()) failed(new Error(e.message)); };
    await this.ask({cmd: "register", algorithms: ["layered"]});
  }
  ask(message) {
    return new Promise((done, failed) => {
      const id = this.next++;
      this.waiting.set(id, [done, failed]);
      this.worker.postMessage({id, ...message});
    });
  }
  async layout(graph) {
    this.ready = this.ready || this.start();
    await this.ready;
    return this.ask({cmd: "layout", graph, layoutOptions: {}, options: {}});
  }
}
const elk = new Elk();
const LAYERED = {"elk.algorithm": "layered", "elk.direction": "DOWN", "elk.layered.spacing.nodeNodeBetweenLayers": "26", "elk.spacing.nodeNode": "18",
  "elk.layered.thoroughness": "4", "elk.edgeRouting": "POLYLINE", "elk.layered.nodePlacement.strategy": "BRANDES_KOEPF",
  "elk.padding": "[top=12,left=12,bottom=12,right=12]"};
const HEAD = 26;

const width = text => Math.min(260, Math.max(84, 7 * text.length + 24));

class Graph {
  constructor(which, g) {
    this.which = which; this.items = g.items; this.name = g.name;
    this.children = new Map([[-1, []]]);
    this.items.forEach((it, i) => { it.i = i; it.open = false; (this.children.get(it.p) || this.children.set(it.p, []).get(it.p)).push(i); });
    this.edges = g.edges;
    this.levels = new Map();
    this.unwrap();
  }
  holds(i) { return this.children.has(i); }
  /* Open a box that is nearly all there is to see, and so on in it. */
  unwrap() {
    for (let at = -1; ;) {
      const kids = (this.children.get(at) || []).filter(k => this.items[k].k === "op" || this.items[k].k === "scope"), boxes = kids.filter(k => this.holds(k));
      if (kids.length > 4 || boxes.length !== 1 || this.children.get(boxes[0]).length > 100) return;
      this.items[at = boxes[0]].open = true;
    }
  }
  chain(i) { const out = []; for (let at = i; at !== -1; at = this.items[at].p) out.push(at); out.push(-1); return out; }
  /* For each level: the edges between what stands in it, and what comes from or goes to outside. */
  project() {
    if (this.projected) return this.projected;
    const out = new Map();
    const level = p => out.get(p) || out.set(p, {edges: new Set(), enter: new Set(), leave: new Set()}).get(p);
    for (const [a, b] of this.edges) {
      const up = this.chain(a), vp = this.chain(b), inside = new Set(up);
      let common = vp.findIndex(x => inside.has(x));
      if (common === 0) { common = 1; }  /* an edge from a box to what is in it: into its region */
      const top = vp[common], j = up.indexOf(top);
      if (j > 0) level(top).edges.add(up[j - 1] + " " + vp[common - 1]);
      for (let k = 0; k + 1 < common; k++) level(vp[k + 1]).enter.add(vp[k]);
      for (let k = 0; k + 1 < j; k++) level(up[k + 1]).leave.add(up[k]);
    }
    return this.projected = out;
  }
  async level(p) {
    const kids = this.children.get(p) || [];
    for (const k of kids) if (this.items[k].open && this.holds(k)) await this.level(k);
    const l = this.project().get(p) || {edges: new Set(), enter: new Set(), leave: new Set()};
    const nodes = kids.map(k => {
      const it = this.items[k], inner = it.open && this.levels.get(k);
      return inner ? {id: String(k), width: Math.max(inner.w, width(it.n)) , height: inner.h + HEAD} : {id: String(k), width: width(it.n.length > (it.t || "").length ? it.n : it.t || "") + (this.holds(k) ? 26 : 0), height: 38};
    });
    const edges = [...l.edges].map((e, n) => { const [a, b] = e.split(" "); return {id: "e" + n, sources: [a], targets: [b]}; });
    if (p !== -1 && l.enter.size) { nodes.push({id: "in", width: 10, height: 10}); [...l.enter].forEach((b, n) => edges.push({id: "i" + n, sources: ["in"], targets: [String(b)]})); }
    if (p !== -1 && l.leave.size) { nodes.push({id: "out", width: 10, height: 10}); [...l.leave].forEach((a, n) => edges.push({id: "o" + n, sources: [String(a)], targets: ["out"]})); }
    const done = await elk.layout({id: "root", layoutOptions: LAYERED, children: nodes, edges});
    this.levels.set(p, {w: done.width, h: done.height, nodes: done.children, edges: done.edges});
  }
  /* Everything that is open, in coordinates of the picture: boxes from the outermost in, and edges. */
  flatten() {
    const boxes = [], lines = [];
    const walk = (p, x, y, depth) => {
      const l = this.levels.get(p);
      for (const e of l.edges) for (const s of e.sections || [])
        lines.push([s.startPoint, ...(s.bendPoints || []), s.endPoint].map(q => [x + q.x, y + q.y]));
      for (const n of l.nodes) {
        const b = {x: x + n.x, y: y + n.y, w: n.width, h: n.height, depth, i: n.id === "in" || n.id === "out" ? -1 : +n.id};
        boxes.push(b);
        if (b.i >= 0 && this.items[b.i].open && this.levels.has(b.i)) walk(b.i, b.x, b.y + HEAD, depth + 1);
      }
    };
    walk(-1, 0, 0, 0);
    const l = this.levels.get(-1);
    return {boxes, lines, w: l.w, h: l.h};
  }
}

/* ---------------------------------------------------------------- one picture */
class Picture {
  constructor(graph) {
    this.g = graph; this.scale = 1; this.x = 0; this.y = 0; this.shown = new Map(); this.picked = -1; this.paired = new Set();
    this.svg = svg("svg", {tabindex: 0, role: "img", "aria-label": "graph of " + graph.name});
    this.world = this.svg.appendChild(svg("g"));
    this.far = this.world.appendChild(svg("g"));
    this.near = this.world.appendChild(svg("g"));
    this.wait = el("div", {class: "wait"}, "placing " + graph.items.length + " boxes...");
    this.find = el("input", {type: "search", placeholder: "find a layer", "aria-label": "find a layer", onkeydown: e => { if (e.key === "Enter") this.search(e.target.value); }});
    this.detail = el("div", {class: "detail"});
    this.hint();
    const button = (text, label, act) => el("button", {title: label, "aria-label": label, onclick: act}, text);
    this.element = el("section", {class: "graph", id: "graph-" + graph.which},
      el("div", {class: "bar"}, el("b", {}, (data.graphs.result ? graph.which + ": " : "") + graph.name), this.find, button("+", "closer", () => this.zoom(1.4)), button("−", "further", () => this.zoom(1 / 1.4)),
        button("⤢", "whole graph", () => this.fit()), button("⊞", "open every box", () => this.openAll(true)), button("⊟", "close every box", () => this.openAll(false))),
      el("div", {class: "view"}, this.svg, this.wait), this.detail);
    this.listen();
  }
  async draw(keep) {
    await this.g.level(-1);
    this.flat = this.g.flatten();
    this.index();
    this.near.replaceChildren(); this.far.replaceChildren(); this.shown.clear(); this.edges = null;
    this.farDrawn = false;
    this.wait.remove();
    if (!keep) this.fit(); else this.place();
    this.element.dataset.drawn = this.flat.boxes.length;
  }
  index() {
    this.at = new Map();
    this.flat.boxes.forEach((b, n) => { if (b.i >= 0) this.at.set(b.i, b); b.n = n; });
    const rows = this.rows = new Map(), cell = this.cell = 400;
    const put = (y0, y1, kind, n) => { for (let r = Math.floor(y0 / cell); r <= Math.floor(y1 / cell); r++) (rows.get(r) || rows.set(r, {b: [], l: []}).get(r))[kind].push(n); };
    this.flat.boxes.forEach((b, n) => put(b.y, b.y + b.h, "b", n));
    this.flat.lines.forEach((l, n) => put(Math.min(...l.map(p => p[1])), Math.max(...l.map(p => p[1])), "l", n));
  }
  size() { const r = this.svg.getBoundingClientRect(); return [r.width || 600, r.height || 400]; }
  fit() {
    const [w, h] = this.size();
    this.scale = Math.min(1.2, w / (this.flat.w + 20), Math.max(h / (this.flat.h + 20), 0.02));
    if (this.scale < 0.3 && this.flat.w < this.flat.h) { this.scale = Math.min(1, w / (this.flat.w + 20)); this.y = 8; } else this.y = (h - this.flat.h * this.scale) / 2;
    this.x = (w - this.flat.w * this.scale) / 2;
    this.place();
  }
  zoom(by, cx, cy) {
    const [w, h] = this.size(), s = Math.min(4, Math.max(0.01, this.scale * by));
    cx = cx === undefined ? w / 2 : cx; cy = cy === undefined ? h / 2 : cy;
    this.x = cx - (cx - this.x) * s / this.scale; this.y = cy - (cy - this.y) * s / this.scale; this.scale = s;
    this.place();
  }
  place() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => { this.asked = false; this.render(); });
  }
  render() {
    this.world.setAttribute("transform", `translate(${this.x} ${this.y}) scale(${this.scale})`);
    const far = this.scale < 0.28;
    this.far.style.display = far ? "" : "none"; this.near.style.display = far ? "none" : "";
    if (far) { this.drawFar(); return; }
    const [w, h] = this.size(), margin = 300;
    const x0 = (-this.x - margin) / this.scale, x1 = (w - this.x + margin) / this.scale, y0 = (-this.y - margin) / this.scale, y1 = (h - this.y + margin) / this.scale;
    const boxes = new Set(), lines = new Set();
    for (let r = Math.floor(y0 / this.cell); r <= Math.floor(y1 / this.cell); r++) {
      const row = this.rows.get(r);
      if (row) { row.b.forEach(n => boxes.add(n)); row.l.forEach(n => lines.add(n)); }
    }
    const want = [...boxes].filter(n => { const b = this.flat.boxes[n]; return b.x < x1 && b.x + b.w > x0; }).sort((a, b) => a - b);
    const keep = new Set(want);
    for (const [n, e] of this.shown) if (!keep.has(n)) { e.remove(); this.shown.delete(n); }
    for (const n of want) if (!this.shown.has(n)) {
      const e = this.box(this.flat.boxes[n]);
      this.shown.set(n, e);
      const depth = this.flat.boxes[n].depth;
      while (this.near.children.length <= depth) this.near.append(svg("g"));
      this.near.children[depth].append(e);
    }
    const key = [...lines].sort((a, b) => a - b).join();
    if (key !== this.edges) { this.edges = key; this.lines(lines); }
  }
  lines(which) {
    if (this.path) { this.path.remove(); this.heads.remove(); }
    let d = "", heads = "";
    for (const n of which) {
      const l = this.flat.lines[n], [x, y] = l[l.length - 1], [px, py] = l[l.length - 2], a = Math.atan2(y - py, x - px);
      d += "M" + l.map(p => p[0].toFixed(1) + " " + p[1].toFixed(1)).join("L");
      heads += `M${x.toFixed(1)} ${y.toFixed(1)}L${(x - 7 * Math.cos(a - .4)).toFixed(1)} ${(y - 7 * Math.sin(a - .4)).toFixed(1)}L${(x - 7 * Math.cos(a + .4)).toFixed(1)} ${(y - 7 * Math.sin(a + .4)).toFixed(1)}Z`;
    }
    this.path = svg("path", {class: "edges", d}); this.heads = svg("path", {class: "arrow", d: heads});
    this.near.append(this.path, this.heads);
  }
  /* From far: one path for each colour, no letters. */
  drawFar() {
    if (this.farDrawn) return;
    this.farDrawn = true;
    const by = {};
    for (const b of this.flat.boxes) {
      const c = b.i < 0 ? "edge" : this.look(this.g.items[b.i]);
      by[c] = (by[c] || "") + `M${b.x.toFixed(0)} ${b.y.toFixed(0)}h${b.w.toFixed(0)}v${b.h.toFixed(0)}h${-b.w.toFixed(0)}z`;
    }
    let d = "";
    for (const l of this.flat.lines) d += "M" + l.map(p => p[0].toFixed(0) + " " + p[1].toFixed(0)).join("L");
    this.far.replaceChildren(...Object.entries(by).sort((a, b) => (b[0] === "scope") - (a[0] === "scope")).map(([c, p]) => svg("path", {class: "box " + c, d: p})), svg("path", {class: "edges", d}));
  }
  look(it) {
    if (it.k === "scope") return this.g.holds(it.i) && it.open ? "scope" : "f-" + (FAMILIES[it.f] || "other");
    return it.k === "op" ? "f-" + (FAMILIES[it.f] || "other") : "f-io";
  }
  box(b) {
    if (b.i < 0) return svg("circle", {cx: b.x + b.w / 2, cy: b.y + b.h / 2, r: 4, class: "arrow"});
    const it = this.g.items[b.i], e = svg("g", {class: "item" + (it.y ? " why" : "") + (b.i === this.picked ? " picked" : "") + (this.paired.has(b.i) ? " pair" : ""), transform: `translate(${b.x} ${b.y})`});
    e.append(svg("rect", {class: "box " + this.look(it), width: b.w, height: b.h, rx: it.k === "op" ? 5 : it.k === "scope" ? 3 : 18}));
    const room = b.w - (this.g.holds(b.i) ? 34 : 14), cut = (t, px) => t.length * px <= room ? t : t.slice(0, Math.max(3, Math.floor(room / px) - 1)) + "…";
    const name = svg("text", {class: "n", x: 8, y: 16}), type = svg("text", {class: "t", x: 8, y: 30});
    name.textContent = cut(it.n, 6.6); type.textContent = cut(it.t || "", 6);
    e.append(name);
    if (!(it.open && this.levels(b.i))) e.append(type);
    if (this.g.holds(b.i)) {
      const t = svg("g", {class: "toggle", transform: `translate(${b.w - 24} 5)`, "data-toggle": b.i}), sign = svg("text", {x: 9, y: 13.5});
      sign.textContent = it.open ? "−" : "+";
      t.append(svg("rect", {width: 18, height: 18, rx: 4}), sign);
      e.append(t);
    }
    e.dataset.i = b.i;
    const title = svg("title"); title.textContent = it.n + (it.t ? " (" + it.t + ")" : "") + (it.y ? "\n" + it.y : "");
    e.append(title);
    return e;
  }
  levels(i) { return this.g.levels.has(i); }
  /* What a press meets: a + or -, a box, or nothing. */
  listen() {
    const held = new Map();
    let moved = 0, pinch = 0;
    const local = e => { const r = this.svg.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };
    this.svg.addEventListener("wheel", e => { if (!this.flat) return; e.preventDefault(); this.zoom(Math.exp(-e.deltaY * (e.deltaMode ? .05 : .0015)), ...local(e)); }, {passive: false});
    this.svg.addEventListener("pointerdown", e => { held.set(e.pointerId, local(e)); this.svg.setPointerCapture(e.pointerId); moved = 0; pinch = 0; this.svg.classList.add("drag"); });
    this.svg.addEventListener("pointermove", e => {
      if (!held.has(e.pointerId) || !this.flat) return;
      const [ox, oy] = held.get(e.pointerId), [x, y] = local(e);
      held.set(e.pointerId, [x, y]);
      moved += Math.abs(x - ox) + Math.abs(y - oy);
      if (held.size === 1) { this.x += x - ox; this.y += y - oy; this.place(); return; }
      const [a, b] = [...held.values()], d = Math.hypot(a[0] - b[0], a[1] - b[1]);
      if (pinch) this.zoom(d / pinch, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
      pinch = d;
    });
    const up = e => {
      if (!held.delete(e.pointerId)) return;
      pinch = 0; this.svg.classList.remove("drag");
      if (moved > 5 || e.type === "pointercancel" || !this.flat) return;
      const hit = document.elementFromPoint(e.clientX, e.clientY), toggle = hit && hit.closest("[data-toggle]"), item = hit && hit.closest("[data-i]");
      if (toggle) this.toggle(+toggle.dataset.toggle); else if (item) this.pick(+item.dataset.i);
    };
    this.svg.addEventListener("pointerup", up); this.svg.addEventListener("pointercancel", up);
    this.svg.addEventListener("dblclick", e => { const item = document.elementFromPoint(e.clientX, e.clientY).closest("[data-i]"); if (item && this.g.holds(+item.dataset.i)) this.toggle(+item.dataset.i); });
    this.svg.addEventListener("keydown", e => {
      const step = {ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60]}[e.key];
      if (!this.flat) return;
      if (step) { this.x += step[0]; this.y += step[1]; this.place(); } else if (e.key === "+" || e.key === "=") this.zoom(1.25); else if (e.key === "-") this.zoom(.8); else if (e.key === "0") this.fit(); else return;
      e.preventDefault();
    });
  }
  async toggle(i) {
    const it = this.g.items[i], b = this.at.get(i), before = b ? [this.x + b.x * this.scale, this.y + b.y * this.scale] : null;
    it.open = !it.open;
    await this.draw(true);
    const now = this.at.get(i);
    if (before && now) { this.x = before[0] - now.x * this.scale; this.y = before[1] - now.y * this.scale; this.place(); }
  }
  async openAll(open) { for (const it of this.g.items) if (this.g.holds(it.i)) it.open = open; await this.draw(false); }
  search(text) {
    const found = this.g.items.filter(it => it.n.toLowerCase().includes(text.toLowerCase()) || (it.t || "").toLowerCase() === text.toLowerCase());
    if (!text || !found.length) { this.detail.textContent = text ? "no layer has " + text + " in its name" : ""; return; }
    const now = found.findIndex(it => it.i === this.picked);
    this.pick(found[(now + 1) % found.length].i, true);
  }
  async show(i) {
    let opened = false;
    for (const p of this.g.chain(i).slice(1)) if (p !== -1 && !this.g.items[p].open) { this.g.items[p].open = true; opened = true; }
    if (opened || !this.flat) await this.draw(true);
    const b = this.at.get(i), [w, h] = this.size();
    if (!b) return;
    if (this.scale < .45) this.scale = .8;
    this.x = w / 2 - (b.x + b.w / 2) * this.scale; this.y = h / 2 - (b.y + Math.min(b.h, h / this.scale) / 2) * this.scale;
    this.place();
  }
  mark(picked, paired) {
    this.picked = picked; this.paired = paired;
    for (const [n, e] of this.shown) { const i = this.flat.boxes[n].i; e.classList.toggle("picked", i === picked); e.classList.toggle("pair", paired.has(i)); }
  }
  async pick(i, centre) {
    const other = this.other, mates = new Set(other ? this.mates(i) : []);
    this.mark(i, new Set());
    if (centre) await this.show(i);
    this.describe(i, mates);
    if (!other) return;
    const first = mates.size ? Math.min(...mates) : -1;
    other.mark(-1, mates);
    if (first >= 0) { other.describe(first, other.mates(first)); await other.show(first); } else other.hint();
  }
  hint() { this.detail.className = "detail soft"; this.detail.textContent = "Click a box to see what it is; + opens it. Drag to move, wheel or pinch to zoom."; }
  describe(i, mates) {
    const it = this.g.items[i], other = this.other;
    const line = (what, xs) => xs && xs.length ? el("div", {}, el("span", {class: "soft"}, what + " "), el("code", {}, xs.join("; "))) : null;
    this.detail.className = "detail";
    this.detail.replaceChildren(el("b", {}, it.n), " ", el("span", {class: "soft"}, it.t || it.k), ...[
      it.y ? el("div", {class: "bad"}, it.y) : null, line("", it.a), line("gives", it.o), line("weights", it.w), it.q ? line("parameters", [it.q.toLocaleString("en")]) : null,
      other ? line("in the " + other.g.which + ":", [...mates].length ? [...mates].map(m => other.g.items[m].n) : ["no counterpart of its own"]) : null].filter(Boolean));
  }
  /* Counterparts of an item, or of what is in it. */
  mates(i) {
    const inside = new Set([i]);
    this.g.items.forEach((it, n) => { if (this.g.chain(n).includes(i)) inside.add(n); });
    const side = this.g.which === "source" ? 0 : 1;
    const own = data.pairs.filter(p => p[side] === i), all = own.length ? own : data.pairs.filter(p => inside.has(p[side]));
    return all.map(p => p[1 - side]);
  }
}

/* ---------------------------------------------------------------- the page */
const CHIP = {ok: ["ok", "good"], weak: ["weak", "warn"], mismatch: ["MISMATCH", "bad"], "not verified": ["NOT VERIFIED", "warn"], "not converted": ["not converted", "bad"]};
const chip = data.verdict && (CHIP[data.verdict] || [data.verdict, ""]);
page.append(el("h1", {}, data.title, chip ? el("span", {class: "chip " + chip[1], id: "verdict"}, chip[0]) : null));
if (data.unverified) page.append(el("p", {class: "warn"}, "Not verified: " + data.unverified));
page.append(el("div", {class: "facts"}, ...Object.entries(data.facts).filter(([, f]) => Object.keys(f).length).map(([what, f]) =>
  el("dl", {}, el("h2", {}, what), ...Object.entries(f).flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, typeof v === "number" ? v.toLocaleString("en") : String(v))])))));
if (data.problems.length)
  page.append(el("h2", {class: "bad"}, data.problems.length + (data.problems.length > 1 ? " problems" : " problem")), list(data.problems.map(p =>
    el("span", {}, el("b", {}, p.layer || p.type), p.layer ? " (" + p.type + ")" : "", ": " + p.why, p.hint ? el("div", {class: "soft"}, p.hint) : null)), "problems"));
if (data.outputs && data.outputs.length)
  page.append(el("h2", {}, "Outputs, " + data.runtimes[0] + " against " + data.runtimes[1]), el("table", {}, el("tr", {}, ...["output", "largest error", "relative to range", ""].map(t => el("th", {}, t))),
    ...data.outputs.map(o => el("tr", {}, el("td", {}, String(o.name)), el("td", {}, num(o.max_abs)), el("td", {}, num(o.max_rel)), el("td", {class: o.ok ? "good" : "bad"}, (o.ok ? "ok" : "differs") + (o.note ? ": " + o.note : ""))))));
if (data.first) page.append(el("p", {class: "bad"}, "First difference: " + data.first));
if (data.weak && data.weak.length) page.append(el("h2", {class: "warn"}, "What the check could not have noticed"), list(data.weak));

const pictures = {};
for (const [which, g] of Object.entries(data.graphs)) pictures[which] = new Picture(new Graph(which, g));
if (pictures.result) { pictures.source.other = pictures.result; pictures.result.other = pictures.source; }

page.append(el("h2", {}, pictures.result ? "Both graphs: click a layer to see its counterpart" : "Graph"), el("div", {class: "graphs"}, ...Object.values(pictures).map(p => p.element)));
if (data.errors && data.errors.length) {
  const limit = data.tolerance[0] || 1e-4, worst = [...data.errors].sort((a, b) => (b[2] === "inf" ? Infinity : b[2]) - (a[2] === "inf" ? Infinity : a[2])).slice(0, 15);
  const share = e => e === "inf" ? 100 : e <= 0 ? 0 : Math.max(1, Math.min(100, 100 * (Math.log10(e) + 10) / (Math.log10(limit) + 11)));
  const off = worst.filter(x => x[2] !== 0), same = data.errors.filter(x => x[2] === 0).length;
  page.append(el("h2", {}, off.length ? "Error by layer: the largest " + off.length + " of " + data.errors.length + ", relative to the range of its values (logarithmic; the limit is " + num(limit) + ")" : "Error by layer"));
  if (same) page.append(el("p", {class: "good"}, (off.length ? same + " of " : "All ") + data.errors.length + " values between are the same to the last bit."));
  if (off.length) page.append(el("div", {class: "chart", id: "errors"}, ...off.flatMap(([layer, tensor, e]) => [
    el("button", {title: tensor, onclick: () => { const at = pictures.source.g.items.find(it => it.n === layer || (it.o || []).some(o => o.startsWith(tensor + ":"))); if (at) pictures.source.pick(at.i, true); }}, layer || tensor),
    el("div", {class: "meter"}, el("i", {class: e === "inf" || e > limit ? "over" : "", style: `width:${share(e)}%`})), el("span", {}, num(e))])));
}
for (const s of data.sections || []) page.append(el("details", {class: "more", ...(s.lines.length < 12 ? {open: "open"} : {})}, el("summary", {}, s.title), list(s.lines)));
if (data.notes && data.notes.length) page.append(el("h2", {}, "Notes"), list(data.notes));

(async () => {
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  for (const p of Object.values(pictures)) {
    try { await p.draw(false); } catch (e) { p.wait.textContent = "the graph cannot be drawn here: " + e.message; }
  }
  document.documentElement.dataset.ready = "1";
})();
window.convcore = {pictures, data};
})();
