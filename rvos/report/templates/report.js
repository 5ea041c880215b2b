"use strict";
// The page of a run: what opens under an expression, and the explorer.
async function addPlayer(place, detail, timeline) {
  const clip = await clipOf(detail.clip);
  const panes = [{ layers: layersOf(clip.layers) }];
  const player = makePlayer({ ...clip, panes, changes: changesOf(detail.combinations) }, (t) =>
    timeline.cursor(t),
  );
  timeline.classList.add("seekable");
  place.replaceWith(player);
  return player;
}

function fill(box, index) {
  if (box.childElementCount) return;
  const detail = details[index];
  if (detail.strip) box.append(drawStrip(detail.strip));
  let player = null;
  const timeline = drawTimeline(
    detail,
    Math.max(340, box.clientWidth || 900),
    (t) => player && player.seek(t),
  );
  if (detail.clip) {
    const place = element("p", { class: "note" }, "Unpacking the frames…");
    box.append(place);
    addPlayer(place, detail, timeline).then((made) => {
      player = made;
    });
  }
  box.append(
    timeline,
    element(
      "p",
      { class: "note" },
      "Bars: C_t, the masklets that lie in the coarse mask of each frame. " +
        "Blue: C_sel, what most frames of the window agree on. " +
        "Grey: the window keeps its coarse masks.",
    ),
  );
  if (explorer) {
    const button = element("button", { type: "button" }, "What if …");
    button.addEventListener("click", () =>
      explorer.then(({ set }) => {
        set({ one: index });
        showAt(document.getElementById("explorer"), "start");
      }),
    );
    box.append(button);
  }
}

const section = document.getElementById("explorer");
const explorer =
  section &&
  unpack("explorer-data").then((data) => {
    const labels = data.expressions.map((_, i) => {
      const { video, id, expression } = rowOf(i).dataset;
      return `${video} · ${id} · ${expression}`;
    });
    return startExplorer(data, section, labels, (index) => reveal(rowOf(index)));
  });

for (const highlight of document.querySelectorAll(".highlight")) {
  const show = () =>
    highlight.open && fill(highlight.querySelector(".detail"), Number(highlight.dataset.row));
  highlight.addEventListener("toggle", show);
  show();
}
