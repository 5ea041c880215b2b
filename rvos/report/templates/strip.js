"use strict";
// Some frames of an expression side by side: coarse, refined, ground truth.
function drawStrip(
  strip,
  labels = { coarse: "coarse", refined: "refined", truth: "ground truth" },
) {
  const box = element("div", { class: "strip", tabindex: "0" });
  const names = element("div", { class: "names" });
  for (const name of strip.names) names.append(element("span", {}, name));
  const [width, height] = strip.size;
  for (const [kind, source] of Object.entries(strip.images)) {
    const label = labels[kind];
    const figure = element("figure", { class: kind });
    figure.append(
      element("figcaption", {}, label),
      element("img", { src: source, alt: `${label} masks`, width, height }),
    );
    box.append(figure);
  }
  box.append(names);
  return box;
}
