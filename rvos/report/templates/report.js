"use strict";
const details = JSON.parse(document.getElementById("details").textContent);
const table = document.querySelector(".expressions");
const rows = [...table.querySelectorAll("tr.row")];
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, text = "") {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.textContent = text;
  return node;
}

function shape(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

// ---- what opens under an expression

function drawStrip(strip) {
  const box = element("div", { class: "strip", tabindex: "0" });
  const names = element("div", { class: "names" });
  for (const name of strip.names) names.append(element("span", {}, name));
  const [width, height] = strip.size;
  for (const [kind, source] of Object.entries(strip.images)) {
    const label = { coarse: "coarse", refined: "refined", truth: "ground truth" }[kind];
    const figure = element("figure", { class: kind });
    figure.append(element("figcaption", {}, label), element("img", { src: source, alt: `${label} masks`, width, height }));
    box.append(figure);
  }
  box.append(names);
  return box;
}

// Runs of equal truth of test(t) over the frames, as [start, stop].
function runs(count, test) {
  const found = [];
  for (let t = 0; t < count; t++) {
    if (!test(t)) continue;
    if (found.length && found.at(-1)[1] === t) found.at(-1)[1] = t + 1;
    else found.push([t, t + 1]);
  }
  return found;
}

function drawTimeline(detail, width) {
  const count = detail.combinations.length;
  const members = new Set([...detail.combinations.flat(), ...detail.windows.flatMap((w) => w[2])]);
  const instances = [...members].sort((a, b) => a - b);
  const left = 62, right = 8, chart = 70, lane = 16, top = 8;
  const lanes = top + chart + 14;
  const bottom = lanes + lane * Math.max(1, instances.length);
  const x = (t) => left + ((width - left - right) * t) / count;
  const y = (percent) => top + chart * (1 - percent / 100);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "timeline");
  svg.setAttribute("viewBox", `0 0 ${width} ${bottom + 22}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "J per frame; combinations of masklets per frame and per window");

  for (const [start, stop, selected, kept] of detail.windows) {
    if (kept) {
      const area = shape(svg, "rect", { class: "kept", x: x(start), y: lanes, width: x(stop) - x(start), height: bottom - lanes });
      shape(area, "title", {}, `frames ${start}–${stop - 1}: kept coarse`);
    }
    for (const instance of selected) {
      const row = lanes + lane * instances.indexOf(instance);
      const area = shape(svg, "rect", { class: "selected", x: x(start), y: row + 1, width: x(stop) - x(start), height: lane - 2 });
      shape(area, "title", {}, `frames ${start}–${stop - 1}: C_sel = {${selected.join(", ")}}`);
    }
    if (start) shape(svg, "path", { class: "window", d: `M${x(start)} ${top}V${bottom}` });
  }
  for (const percent of [0, 50, 100]) {
    shape(svg, "path", { class: "frame", d: `M${left} ${y(percent)}H${width - right}` });
    shape(svg, "text", { x: left - 6, y: y(percent) + 4, "text-anchor": "end" }, percent);
  }
  shape(svg, "text", { x: 0, y: y(50) + 4 }, "J");
  for (const kind of ["coarse", "refined"]) {
    const points = detail.J[kind].map((value, t) => `${x(t + 0.5).toFixed(1)},${y(value).toFixed(1)}`);
    shape(svg, "polyline", { class: kind, points: points.join(" ") });
  }
  instances.forEach((instance, i) => {
    const row = lanes + lane * i;
    shape(svg, "text", { x: left - 6, y: row + 12, "text-anchor": "end" }, `masklet ${instance}`);
    for (const [start, stop] of runs(count, (t) => detail.combinations[t].includes(instance)))
      shape(svg, "rect", { class: "member", x: x(start), y: row + 5.5, width: x(stop) - x(start), height: 5, rx: 1 });
  });
  if (!instances.length)
    shape(svg, "text", { x: left + 6, y: lanes + 12 }, "no masklet lies inside the coarse masks");
  for (const t of detail.strip ? detail.strip.frame_idx : [])
    shape(svg, "path", { class: "shown", d: `M${x(t + 0.5)} ${bottom + 2}l-3.5 6h7z` });
  const step = [5, 10, 20, 50, 100, 200, 500, 1000].find((s) => (s * (width - left)) / count > 44) || 5000;
  for (let t = 0; t < count; t += step)
    shape(svg, "text", { x: x(t + 0.5), y: bottom + 19, "text-anchor": "middle" }, t);
  return svg;
}

function fill(box, index) {
  if (box.childElementCount) return;
  const detail = details[index];
  if (detail.strip) box.append(drawStrip(detail.strip));
  box.append(drawTimeline(detail, Math.max(340, box.clientWidth || 900)));
  box.append(element("p", { class: "note" },
    "Bars: the masklets of each frame's combination C_t. Blue: the window's C_sel. Grey: the window keeps its coarse masks."));
}

for (const highlight of document.querySelectorAll(".highlight")) {
  const show = () => highlight.open && fill(highlight.querySelector(".detail"), Number(highlight.dataset.row));
  highlight.addEventListener("toggle", show);
  show();
}

// ---- the table: open, sort, filter

const opened = new Map(); // row -> the row under it

function toggle(row) {
  let under = opened.get(row);
  if (!under) {
    under = element("tr", { class: "opened" });
    const visible = [...table.querySelectorAll("th")].filter((th) => th.offsetWidth); // fewer on phones
    const cell = element("td", { colspan: visible.length });
    const box = element("div", { class: "detail" });
    cell.append(box);
    under.append(cell);
    under.hidden = true;
    opened.set(row, under);
    row.after(under);
  }
  under.hidden = !under.hidden;
  row.querySelector("button").setAttribute("aria-expanded", String(!under.hidden));
  if (!under.hidden) fill(under.querySelector(".detail"), Number(row.dataset.row));
}

function reveal(row) {
  if (row.hidden) {
    document.getElementById("filter").value = "";
    document.getElementById("show").value = "all";
    applyFilter();
  }
  if (!opened.get(row) || opened.get(row).hidden) toggle(row);
  row.scrollIntoView({ block: "start", behavior: "smooth" });
}

function sortBy(button) {
  const key = button.dataset.sort;
  const header = button.closest("th");
  const isText = ["video", "expression", "noun"].includes(key);
  const before = header.getAttribute("aria-sort");
  const direction = before === "none" ? (isText ? "ascending" : "descending")
    : before === "ascending" ? "descending" : "ascending";
  for (const other of table.querySelectorAll("th")) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const compare = isText
    ? (a, b) => a.dataset[key].localeCompare(b.dataset[key], "en", { numeric: true })
    : (a, b) => Number(a.dataset[key]) - Number(b.dataset[key]);
  rows.sort((a, b) => sign * compare(a, b) || Number(a.dataset.row) - Number(b.dataset.row));
  const body = table.tBodies[0];
  for (const row of rows) {
    body.append(row);
    if (opened.has(row)) body.append(opened.get(row));
  }
}

function applyFilter() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const show = document.getElementById("show").value;
  let count = 0;
  for (const row of rows) {
    const { video, id, expression, noun, kind, pictured } = row.dataset;
    const text = `${video} ${id} ${expression} ${noun}`.toLowerCase();
    const wanted = show === "all" || (show === "pictured" ? pictured === "1" : kind === show);
    row.hidden = !(wanted && words.every((word) => text.includes(word)));
    if (row.hidden && opened.has(row)) {
      opened.get(row).hidden = true;
      row.querySelector("button").setAttribute("aria-expanded", "false");
    }
    count += !row.hidden;
  }
  document.getElementById("count").textContent = `${count} of ${rows.length}`;
}

for (const button of table.querySelectorAll("thead button"))
  button.addEventListener("click", () => sortBy(button));
for (const row of rows) row.addEventListener("click", () => toggle(row));
for (const point of document.querySelectorAll(".scatter circle"))
  point.addEventListener("click", () => reveal(rows.find((row) => row.dataset.row === point.dataset.row)));
document.getElementById("filter").addEventListener("input", applyFilter);
document.getElementById("show").addEventListener("change", applyFilter);
