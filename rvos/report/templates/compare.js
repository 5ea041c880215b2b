"use strict";
// The page of two runs: what opens under an expression, A beside B.
async function addPlayer(place, detail, timelines) {
  const clip = await clipOf(detail.clip);
  const panes = ["a", "b"].map((run) => ({
    title: run.toUpperCase(),
    layers: layersOf(clip.layers, {
      coarse: `${run} coarse`,
      refined: `${run} refined`,
      masklets: `${run} masklets`,
    }),
  }));
  const changes = [
    ...new Set(["a", "b"].flatMap((run) => changesOf(detail[run].combinations))),
  ].sort((x, y) => x - y);
  const player = makePlayer({ ...clip, panes, changes }, (t) =>
    timelines.forEach((timeline) => timeline.cursor(t)),
  );
  for (const timeline of timelines) timeline.classList.add("seekable");
  place.replaceWith(player);
  return player;
}

function fill(box, index) {
  if (box.childElementCount) return;
  const detail = details[index],
    width = Math.max(340, box.clientWidth || 900);
  let player = null;
  const timelines = ["a", "b"].map((run) =>
    drawTimeline(detail[run], width, (t) => player && player.seek(t)),
  );
  if (detail.strip)
    box.append(drawStrip(detail.strip, { coarse: "A", refined: "B", truth: "ground truth" }));
  if (detail.clip) {
    const place = element("p", { class: "note" }, "Unpacking the frames…");
    box.append(place);
    addPlayer(place, detail, timelines).then((made) => {
      player = made;
    });
  }
  timelines.forEach((timeline, i) =>
    box.append(element("p", { class: "note" }, "AB"[i]), timeline),
  );
}
