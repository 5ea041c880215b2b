"use strict";
// A player over the frames of one video, with masks as outlines that can be switched on.
//
//   makePlayer({ size: [width, height], names: [of each frame], fps,
//     frames: [address of each frame's picture or null],
//     masks: [of each mask its contours: [x, y, dx, dy, dx, dy, ...]],
//     panes: [{ title, layers: [{ key, label, color, dash, on, numbered,
//       tracks: [[position in masks per frame, -1 for none]] }] }],
//     changes: [frames to which "next change" jumps] })
//
// Panes stand side by side and show the same frame. The element has `seek(t)`; `onframe` is called.
function makePlayer(clip, onframe = () => {}) {
  const count = clip.names.length,
    [width, height] = clip.size;
  const pictures = new Map(); // frame -> image, the few that were shown last
  let now = -1,
    timer = 0;

  // ---- pictures are decoded when they are needed: the frame shown and the next few

  function picture(t) {
    if (!clip.frames[t]) return null;
    if (!pictures.has(t)) {
      const image = new Image();
      image.onload = () => t === now && draw();
      image.src = clip.frames[t];
      pictures.set(t, image);
      if (pictures.size > 24) pictures.delete(pictures.keys().next().value);
    }
    return pictures.get(t);
  }

  // ---- drawing

  const scale = Math.max(1, Math.ceil(640 / width)); // outlines stay thin on large screens
  const paths = new Map();

  function pathOf(position) {
    if (!paths.has(position)) {
      const path = new Path2D();
      for (const contour of clip.masks[position]) {
        let x = contour[0] + 0.5,
          y = contour[1] + 0.5;
        path.moveTo(x, y);
        for (let i = 2; i < contour.length; i += 2)
          path.lineTo((x += contour[i]), (y += contour[i + 1]));
        path.closePath();
      }
      paths.set(position, path);
    }
    return paths.get(position);
  }

  function drawPane({ canvas, layers }) {
    const context = canvas.getContext("2d"),
      image = picture(now);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.fillStyle = "#484848";
    context.fillRect(0, 0, width, height);
    if (image && image.complete && image.naturalWidth)
      context.drawImage(image, 0, 0, width, height);
    context.lineJoin = "round";
    for (const layer of layers.filter((layer) => shown.get(layer.key)))
      layer.tracks.forEach((track, number) => {
        if (track[now] < 0) return;
        const path = pathOf(track[now]),
          color = layer.numbered ? numberColor(number) : layer.color;
        context.fillStyle = color;
        context.globalAlpha = layer.numbered ? 0.12 : 0.25;
        context.fill(path, "evenodd");
        context.globalAlpha = 1;
        context.setLineDash([]);
        context.lineWidth = 5 / scale;
        context.strokeStyle = "rgb(0 0 0 / .6)"; // a dark rim, to be seen on any background
        context.stroke(path);
        context.setLineDash((layer.dash || []).map((length) => length / scale));
        context.lineWidth = 3 / scale;
        context.strokeStyle = color;
        context.stroke(path);
        if (layer.numbered) writeNumber(context, clip.masks[track[now]], number, color);
      });
    context.setLineDash([]);
  }

  function writeNumber(context, contours, number, color) {
    const box = [Infinity, Infinity, -Infinity];
    for (const contour of contours) {
      let x = contour[0],
        y = contour[1];
      for (let i = 0; i < contour.length; i += 2) {
        if (i) [x, y] = [x + contour[i], y + contour[i + 1]];
        [box[0], box[1], box[2]] = [Math.min(box[0], x), Math.min(box[1], y), Math.max(box[2], x)];
      }
    }
    const size = 22 / scale,
      text = String(number);
    context.font = `bold ${size}px system-ui, sans-serif`;
    const wide = context.measureText(text).width + size * 0.5;
    const left = Math.min(Math.max((box[0] + box[2] - wide) / 2, 0), width - wide),
      top = Math.max(0, box[1] - size);
    context.fillStyle = color;
    context.fillRect(left, top, wide, size * 1.2);
    context.fillStyle = "#000";
    context.fillText(text, left + size * 0.25, top + size);
  }

  function draw() {
    for (const pane of panes) drawPane(pane);
  }

  // ---- moving

  function seek(t) {
    t = Math.min(count - 1, Math.max(0, t));
    if (t === now) return;
    now = t;
    slider.value = t;
    where.textContent = `${t + 1} / ${count} · ${clip.names[t]}`;
    slider.setAttribute("aria-valuetext", `frame ${t + 1} of ${count}`);
    draw();
    for (let ahead = 1; ahead <= 4; ahead++) if (t + ahead < count) picture(t + ahead);
    onframe(t);
  }

  function play(on) {
    clearInterval(timer);
    timer = on
      ? setInterval(
          () => (box.isConnected ? seek((now + 1) % count) : play(false)),
          1000 / (clip.fps || 6),
        )
      : 0;
    button.play.textContent = on ? "❚❚" : "▶";
    button.play.setAttribute("aria-label", on ? "Pause" : "Play");
  }

  const jump = (direction) => {
    const changes = clip.changes || [];
    const to = direction > 0 ? changes.find((t) => t > now) : changes.findLast((t) => t < now);
    if (to !== undefined) seek(to);
  };
  const actions = {
    before: ["« change", "Change before", "p", () => jump(-1)],
    back: ["|◀", "Frame before", "ArrowLeft", () => seek(now - 1)],
    play: ["▶", "Play", " ", () => play(!timer)],
    next: ["▶|", "Next frame", "ArrowRight", () => seek(now + 1)],
    change: ["change »", "Next change", "n", () => jump(1)],
  };

  // ---- elements

  const box = element("div", {
    class: "player",
    tabindex: "0",
    role: "group",
    "aria-label": "Frames; arrow keys step, space plays, n and p jump to changes",
  });
  const layers = new Map(
    clip.panes.flatMap((pane) => pane.layers).map((layer) => [layer.key, layer]),
  );
  const shown = new Map([...layers].map(([key, layer]) => [key, layer.on]));
  const row = element("div", { class: "panes" });
  const panes = clip.panes.map((pane) => {
    const canvas = element("canvas", {
      width: width * scale,
      height: height * scale,
      role: "img",
      "aria-label": pane.title || "frame with masks",
    });
    row.append(
      element("figure", {}, ...(pane.title ? [element("figcaption", {}, pane.title)] : []), canvas),
    );
    return { canvas, layers: pane.layers };
  });
  const bar = element("div", { class: "bar" }),
    button = {};
  for (const [name, [text, label, , act]] of Object.entries(actions)) {
    if (!(clip.changes || []).length && (name === "before" || name === "change")) continue;
    button[name] = element("button", { type: "button", "aria-label": label, title: label }, text);
    button[name].addEventListener("click", act);
    bar.append(button[name]);
  }
  const slider = element("input", {
    type: "range",
    min: 0,
    max: count - 1,
    value: 0,
    "aria-label": "Frame",
  });
  slider.addEventListener("input", () => seek(Number(slider.value)));
  const where = element("output");
  bar.append(slider, where);
  const switches = element("div", { class: "switches" });
  for (const [key, layer] of layers) {
    const input = element("input", { type: "checkbox", name: key });
    input.checked = layer.on;
    input.addEventListener("change", () => {
      shown.set(key, input.checked);
      draw();
    });
    const swatch = element("i", {
      class: "line",
      style:
        `border-color: ${layer.color || numberColor(0)}; ` +
        `border-style: ${layer.dash ? "dashed" : "solid"}`,
    });
    switches.append(element("label", {}, input, swatch, layer.label));
  }
  box.append(row, bar, switches);
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const own = event.target.matches("input, button"); // these have keys of their own
    const extra = { Home: () => seek(0), End: () => seek(count - 1) };
    const action = Object.values(actions).find(([, , key]) => key === event.key);
    const act = action ? action[3] : extra[event.key];
    if (
      !act ||
      (own && event.key === " ") ||
      (event.target === slider && !["n", "p"].includes(event.key))
    )
      return;
    event.preventDefault();
    act();
  });
  box.seek = seek;
  seek(0);
  return box;
}

// Okabe-Ito colours, as rvos/masks/draw.py numbers masks.
function numberColor(number) {
  return ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"][number % 7];
}
