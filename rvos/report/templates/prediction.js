"use strict";
// The page of one's own video: the sentences side by side, over the same frames.
(async () => {
  const sentences = JSON.parse(document.getElementById("sentences").textContent);
  const clip = await unpack("clip-0");
  const frames = JSON.parse(document.getElementById("frames-0").textContent);
  const panes = sentences.map(({ id, text }) => ({
    title: text,
    layers: [
      { key: "mask", label: "mask", color: "#e69f00", on: true, tracks: clip.layers[id].mask },
      {
        key: "coarse",
        label: "before refinement",
        color: "#4aa8e0",
        dash: [8, 5],
        on: false,
        tracks: clip.layers[id].coarse,
      },
      {
        key: "masklets",
        label: "masklets",
        numbered: true,
        on: false,
        tracks: clip.layers[id].masklets || [],
      },
    ],
  }));
  const fps = Number(document.getElementById("frames-0").dataset.fps);
  document.getElementById("player").replaceWith(makePlayer({ ...clip, frames, panes, fps }));
})();
