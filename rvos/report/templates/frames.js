"use strict";
// What the page holds of the expressions: their details, and the frames of those with pictures.
const details = JSON.parse(document.getElementById("details").textContent);
const clips = new Map(); // video -> the promise of its unpacked clip

// Frames t at which C_t is another than in the frame before.
function changesOf(combinations) {
  return combinations.flatMap((c, t) => (t && c.join() !== combinations[t - 1].join() ? [t] : []));
}

const LAYERS = [
  // Okabe-Ito colours, lighter than print for dark pictures
  { key: "coarse", label: "coarse", color: "#e69f00", dash: [8, 5], on: true },
  { key: "refined", label: "refined", color: "#4aa8e0", on: true },
  { key: "truth", label: "ground truth", color: "#2fc499", dash: [2, 4], on: true },
  { key: "masklets", label: "masklets", numbered: true, on: false },
];

// The clip of an expression with the addresses of its pictures; `layers` are the expression's.
async function clipOf({ video, id, number }) {
  if (!clips.has(video)) clips.set(video, unpack(`clip-${number}`));
  const clip = await clips.get(video);
  return {
    ...clip,
    frames: JSON.parse(document.getElementById(`frames-${number}`).textContent),
    layers: clip.layers[id],
  };
}

// Layers for a player's pane: those of LAYERS that the expression has, by the keys in `from`.
function layersOf(tracks, from = {}) {
  return LAYERS.map((layer) => ({ ...layer, tracks: tracks[from[layer.key] || layer.key] })).filter(
    (layer) => layer.tracks,
  );
}
