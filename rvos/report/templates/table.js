"use strict";
// The table of expressions: open, sort, filter. `fill(box, index)` draws what opens under a row.

const table = document.querySelector(".expressions");
const rows = [...table.querySelectorAll("tr.row")];
const rowOf = (index) => rows.find((row) => row.dataset.row === String(index));
const opened = new Map(); // row -> the row under it

function toggle(row) {
  let under = opened.get(row);
  if (!under) {
    under = element("tr", { class: "opened" });
    // fewer on phones
    const visible = [...table.querySelectorAll("th")].filter((th) => th.offsetWidth);
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
    only = null;
    applyFilter();
  }
  if (!opened.get(row) || opened.get(row).hidden) toggle(row);
  showAt(row, "start");
}

function sortBy(button) {
  const key = button.dataset.sort;
  const header = button.closest("th");
  const isText = ["video", "expression", "noun"].includes(key);
  const before = header.getAttribute("aria-sort");
  const direction =
    before === "none"
      ? isText
        ? "ascending"
        : "descending"
      : before === "ascending"
        ? "descending"
        : "ascending";
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

let only = null; // rows of a slice: { name, rows }

function filterBy(name, chosen) {
  only = { name, rows: new Set(chosen) };
  applyFilter();
  showAt(document.getElementById("expressions"), "start");
}

function applyFilter() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const show = document.getElementById("show").value;
  let count = 0;
  for (const row of rows) {
    const { video, id, expression, noun, kind, pictured } = row.dataset;
    const text = `${video} ${id} ${expression} ${noun}`.toLowerCase();
    const wanted =
      show === "all" ||
      (show === "pictured"
        ? pictured === "1"
        : show === "changed"
          ? kind !== "same"
          : kind === show);
    row.hidden = !(
      wanted &&
      (!only || only.rows.has(Number(row.dataset.row))) &&
      words.every((word) => text.includes(word))
    );
    if (row.hidden && opened.has(row)) {
      opened.get(row).hidden = true;
      row.querySelector("button").setAttribute("aria-expanded", "false");
    }
    count += !row.hidden;
  }
  document.getElementById("count").textContent = `${count} of ${rows.length}`;
  const slice = document.getElementById("slice");
  slice.hidden = !only;
  slice.textContent = only ? `${only.name} ✕` : "";
}

for (const button of table.querySelectorAll("thead button"))
  button.addEventListener("click", () => sortBy(button));
for (const row of rows) row.addEventListener("click", () => toggle(row));
for (const point of document.querySelectorAll("[data-reveal]"))
  point.addEventListener("click", () => reveal(rowOf(point.dataset.reveal)));
for (const slice of document.querySelectorAll("[data-rows]"))
  slice.addEventListener("click", () =>
    filterBy(slice.dataset.name, JSON.parse(slice.dataset.rows)),
  );
document.getElementById("slice").addEventListener("click", () => {
  only = null;
  applyFilter();
});
document.getElementById("filter").addEventListener("input", applyFilter);
document.getElementById("show").addEventListener("change", applyFilter);
