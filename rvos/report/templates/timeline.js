"use strict";
// The timeline of an expression: J per frame, C_t per frame and C_sel per window.

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

// `seek` is called with the frame that is clicked; `cursor` of the element marks a frame.
function drawTimeline(detail, width, seek) {
  const count = detail.combinations.length;
  const members = new Set([...detail.combinations.flat(), ...detail.windows.flatMap((w) => w[2])]);
  const instances = [...members].sort((a, b) => a - b);
  const left = 62,
    right = 8,
    chart = 70,
    lane = 16,
    top = 8;
  const lanes = top + chart + 14;
  const bottom = lanes + lane * Math.max(1, instances.length);
  const x = (t) => left + ((width - left - right) * t) / count;
  const y = (percent) => top + chart * (1 - percent / 100);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "timeline");
  svg.setAttribute("viewBox", `0 0 ${width} ${bottom + 22}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "J per frame; combinations of masklets per frame and per window");

  for (const [start, stop, selected, kept, agreement] of detail.windows) {
    if (kept) {
      const area = shape(svg, "rect", {
        class: "kept",
        x: x(start),
        y: lanes,
        width: x(stop) - x(start),
        height: bottom - lanes,
      });
      const why = selected.length
        ? ` by the guard (agreement ${agreement === null ? "unknown" : agreement.toFixed(2)})`
        : "";
      shape(area, "title", {}, `frames ${start}–${stop - 1}: kept coarse${why}`);
    }
    for (const instance of selected) {
      const row = lanes + lane * instances.indexOf(instance);
      const area = shape(svg, "rect", {
        class: "selected",
        x: x(start),
        y: row + 1,
        width: x(stop) - x(start),
        height: lane - 2,
      });
      shape(
        area,
        "title",
        {},
        `frames ${start}–${stop - 1}: chosen for the window (C_sel): {${selected.join(", ")}}`,
      );
    }
    if (start) shape(svg, "path", { class: "window", d: `M${x(start)} ${top}V${bottom}` });
  }
  for (const percent of [0, 50, 100]) {
    shape(svg, "path", { class: "frame", d: `M${left} ${y(percent)}H${width - right}` });
    shape(svg, "text", { x: left - 6, y: y(percent) + 4, "text-anchor": "end" }, percent);
  }
  shape(svg, "text", { x: 0, y: y(50) + 4 }, "J");
  for (const kind of ["coarse", "refined"]) {
    const values = detail.J[kind];
    for (const [start, stop] of runs(count, (t) => values[t] !== null)) {
      const points = values
        .slice(start, stop)
        .map((value, i) => `${x(start + i + 0.5).toFixed(1)},${y(value).toFixed(1)}`);
      shape(svg, "polyline", { class: kind, points: points.join(" ") });
    }
  }
  instances.forEach((instance, i) => {
    const row = lanes + lane * i;
    shape(svg, "text", { x: left - 6, y: row + 12, "text-anchor": "end" }, `masklet ${instance}`);
    for (const [start, stop] of runs(count, (t) => detail.combinations[t].includes(instance)))
      shape(svg, "rect", {
        class: "member",
        x: x(start),
        y: row + 5.5,
        width: x(stop) - x(start),
        height: 5,
        rx: 1,
      });
  });
  if (!instances.length)
    shape(svg, "text", { x: left + 6, y: lanes + 12 }, "no masklet lies inside the coarse masks");
  for (const t of detail.strip ? detail.strip.frame_idx : [])
    shape(svg, "path", { class: "shown", d: `M${x(t + 0.5)} ${bottom + 2}l-3.5 6h7z` });
  const step =
    [5, 10, 20, 50, 100, 200, 500, 1000].find((s) => (s * (width - left)) / count > 44) || 5000;
  for (let t = 0; t < count; t += step)
    shape(svg, "text", { x: x(t + 0.5), y: bottom + 19, "text-anchor": "middle" }, t);
  const cursor = shape(svg, "path", { class: "cursor" });
  svg.cursor = (t) => cursor.setAttribute("d", `M${x(t + 0.5)} ${top}V${bottom}`);
  if (seek)
    svg.addEventListener("click", (event) => {
      const box = svg.getBoundingClientRect();
      const t = Math.floor(
        ((((event.clientX - box.left) / box.width) * width - left) / (width - left - right)) *
          count,
      );
      if (t >= 0 && t < count) seek(t);
    });
  return svg;
}
