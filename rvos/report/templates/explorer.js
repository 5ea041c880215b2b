"use strict";
// "What if": other rules, windows and thresholds, decided in the browser.
function startExplorer(data, section, labels, reveal) {
  const { expressions, windows, taus, unit } = data;
  expressions.forEach(Vote.prepare);
  const $ = (name) => section.querySelector(`[data-part=${name}]`);
  const state = { ...data.run, one: -1 }; // rule, window, k (position of the threshold), expression
  const frames = Math.max(1, ...expressions.map((e) => e.frames));
  const maps = new Map(); // of a rule and an expression: J&F by window and threshold
  let waiting = 0;

  function results(rule, window, k, chosen = expressions) {
    return chosen.map((e) => {
      const decision = Vote.decide(e, rule, window, k);
      return { decision, ...Vote.score(e, decision, data.presence) };
    });
  }
  const run = results(data.run.rule, data.run.window, data.run.k);
  const first = data.run.known
    ? "the setting of this run"
    : `the ${data.run.rule} with this run’s window and threshold`;
  const JF = (result) => (result.meanJ + result.meanF) / 2 / unit;

  // ---- the map: J&F by window and threshold, filled in between other work

  function mapOf(rule, one) {
    const key = `${rule} ${one}`;
    if (!maps.has(key))
      maps.set(
        key,
        windows.map(() => taus.map(() => undefined)),
      );
    return maps.get(key);
  }

  function valueOf(rule, one, window, k) {
    const chosen = one < 0 ? expressions : [expressions[one]];
    return Vote.totals(chosen, results(rule, window, k, chosen), unit).JF ?? null;
  }

  function fillMap() {
    clearTimeout(waiting);
    const { rule, one } = state,
      values = mapOf(rule, one),
      until = performance.now() + 12;
    for (let w = 0; w < windows.length; w++)
      for (let k = 0; k < taus.length; k++) {
        if (values[w][k] !== undefined) continue;
        if (performance.now() > until) {
          waiting = setTimeout(fillMap, 4);
          return;
        }
        const same = rule === "whole_video" && w ? values[0][k] : undefined;
        values[w][k] = same !== undefined ? same : valueOf(rule, one, windows[w], k);
      }
    drawMap(values);
  }

  function drawMap(values) {
    const coarse = mean((state.one < 0 ? expressions : [expressions[state.one]]).map(coarseOf));
    const reach = Math.max(
      1e-9,
      ...values.flat().map((value) => Math.abs((value ?? coarse) - coarse)),
    );
    const best = Math.max(...values.flat());
    $("map")
      .querySelectorAll("td")
      .forEach((cell, i) => {
        const value = values[Math.floor(i / taus.length)][i % taus.length];
        cell.firstChild.textContent = percent(value, 1);
        cell.classList.toggle("best", value === best);
        cell.dataset.sign = value < coarse ? "below" : "above";
        cell.style.setProperty("--shade", Math.abs((value ?? coarse) - coarse) / reach);
      });
    const at = values.flat().indexOf(best);
    $("best").textContent =
      best > 0
        ? `Best (bold): W = ${windows[Math.floor(at / taus.length)]}, ` +
          `τ = ${taus[at % taus.length]} with ${percent(best)}.`
        : "";
    markMap();
  }

  function markMap() {
    $("map")
      .querySelectorAll("td")
      .forEach((cell, i) => {
        const here =
          windows[Math.floor(i / taus.length)] === state.window && i % taus.length === state.k;
        cell.classList.toggle("chosen", here);
        cell.firstChild.setAttribute("aria-pressed", String(here));
      });
  }

  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const coarseOf = (e) => (mean(e.coarse.J) + mean(e.coarse.F)) / 2 / unit;

  function makeMap() {
    const head = element(
      "tr",
      {},
      element("th", {}, "W \\ τ"),
      ...taus.map((tau) => element("th", {}, String(tau))),
    );
    const body = windows.map((window) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, String(window)),
        ...taus.map((tau, k) => {
          const button = element(
            "button",
            { type: "button", "aria-label": `window ${window}, threshold ${tau}` },
            "…",
          );
          button.addEventListener("click", () => set({ window, k }));
          return element("td", {}, button);
        }),
      ),
    );
    $("map").append(
      element(
        "table",
        { class: "heat" },
        element("thead", {}, head),
        element("tbody", {}, ...body),
      ),
    );
  }

  // ---- all expressions at once: a row of pixels for each, J left, decisions right

  function overview(found) {
    const J = $("J"),
      C = $("C"),
      height = expressions.length;
    for (const canvas of [J, C]) Object.assign(canvas, { width: frames, height });
    const left = new Uint32Array(frames * height),
      right = new Uint32Array(frames * height); // RGBA
    found.forEach((result, row) => {
      for (const [start, stop, selected] of result.decision.windows)
        for (let t = start, at = row * frames + start; t < stop; t++, at++) {
          if (result.J[t] !== null) left[at] = RAMP[Math.round((100 * result.J[t]) / unit)];
          right[at] = !selected ? KEPT : result.decision.at[t] === selected ? SAME : OTHER;
        }
    });
    for (const [canvas, pixels] of [
      [J, left],
      [C, right],
    ])
      canvas
        .getContext("2d")
        .putImageData(new ImageData(new Uint8ClampedArray(pixels.buffer), frames, height), 0, 0);
  }

  // Dark blue to light yellow: told apart with any colour vision, and in grey.
  const rgba = (...color) => new Uint32Array(Uint8ClampedArray.of(...color, 255).buffer)[0];
  const ramp = (x) =>
    rgba(20 + 235 * x * x, 20 + 210 * x, 90 + 60 * Math.sin(Math.PI * x) + 20 * x);
  const RAMP = Array.from({ length: 101 }, (_, i) => ramp(i / 100));
  const KEPT = rgba(150, 150, 150),
    SAME = rgba(0, 114, 178),
    OTHER = rgba(230, 159, 0);

  // ---- everything that follows the controls

  function totalsOf(found, chosen) {
    const totals = Vote.totals(chosen, found, unit);
    const count = chosen.reduce((sum, e) => sum + e.frames, 0);
    const rows = [
      ["J", totals.J],
      ["F", totals.F],
      ["J&F", totals.JF],
    ];
    if (totals.final)
      rows.push(
        ["N-acc", totals.nAcc],
        ["T-acc", totals.tAcc],
        ["Final (all)", totals.final.all],
        ["Final (target)", totals.final.target],
      );
    rows.push(["Frames kept coarse", totals.kept / count]);
    $("totals").replaceChildren(
      ...rows.map(([name, value]) =>
        element(
          "div",
          {},
          element("dt", {}, name),
          element("dd", { "data-score": name, "data-value": value ?? "" }, percent(value)),
        ),
      ),
    );
    return totals.missing;
  }

  function update() {
    const { rule, window, k, one } = state;
    const chosen = one < 0 ? expressions : [expressions[one]];
    const found = results(rule, window, k, chosen);
    const missing = totalsOf(found, chosen);
    $("rule").value = rule;
    $("window").value = window;
    $("window").disabled = rule === "whole_video";
    $("tau").value = k;
    $("one").value = one;
    $("window-value").textContent = rule === "whole_video" ? "the video" : `${window} frames`;
    $("tau-value").textContent = String(taus[k]);
    $("missing").textContent = missing
      ? `${missing} frames have no score here: the grid has no window of ${window} frames, and ` +
        "no rule of the grid selects what is selected here. The decisions are exact; there are " +
        "no totals."
      : "";
    $("all").hidden = one >= 0;
    $("detail").hidden = one < 0;
    if (one < 0) {
      overview(found);
      const better = found.filter((result, i) => JF(result) > JF(run[i]) + 5e-6).length;
      const worse = found.filter((result, i) => JF(result) < JF(run[i]) - 5e-6).length;
      $("versus").textContent = missing
        ? ""
        : `J&F against ${first}: higher for ${better} expressions, lower for ${worse}.`;
    } else drawOne(found[0]);
    markMap();
    clearTimeout(waiting);
    waiting = setTimeout(fillMap, 30);
  }

  function drawOne(result) {
    const e = expressions[state.one],
      toPercent = (value) => (value === null ? null : (100 * value) / unit);
    const detail = {
      ...Vote.spelled(e, result.decision, result.present),
      J: { coarse: e.coarse.J.map(toPercent), refined: result.J.map(toPercent) },
    };
    const box = $("timeline");
    box.replaceChildren(drawTimeline(detail, Math.max(340, box.clientWidth || 900)));
    const jf = JF(result),
      before = JF(run[state.one]);
    $("versus-one").textContent = result.missing
      ? ""
      : `J&F ${percent(jf)}, ${signed(jf - before)} against ${first}.` +
        (result.present ? "" : " The presence rule empties every mask.");
  }

  // The address has the setting, so that it can be kept and sent.
  function set(change) {
    Object.assign(state, change);
    update();
    const text = [`#explore=${state.rule}`, state.window, taus[state.k]]
      .concat(state.one < 0 ? [] : [state.one])
      .join(",");
    try {
      history.replaceState(null, "", text);
    } catch {
      /* a page from disk may not be allowed to */
    }
  }

  function read() {
    const [rule, window, tau, one = "-1"] = (location.hash.match(/^#explore=(.*)/) || [
      "",
      "",
    ])[1].split(",");
    const k = taus.indexOf(Number(tau)),
      number = Number(window);
    if (!Vote.RULES.includes(rule) || k < 0 || !(number >= 1)) return false;
    Object.assign(state, {
      rule,
      window: Math.min(number, windows.at(-1)),
      k,
      one: expressions[one] ? Number(one) : -1,
    });
    return true;
  }

  for (const rule of Vote.RULES)
    $("rule").append(element("option", { value: rule }, rule.replaceAll("_", " ")));
  $("one").append(
    element("option", { value: -1 }, "all expressions"),
    ...labels.map((label, i) => element("option", { value: i }, label)),
  );
  $("window").max = windows.at(-1);
  $("tau").max = taus.length - 1;
  $("windows").append(...windows.map((window) => element("option", { value: window })));
  $("rule").addEventListener("change", (event) => set({ rule: event.target.value }));
  $("window").addEventListener("input", (event) => set({ window: Number(event.target.value) }));
  $("tau").addEventListener("input", (event) => set({ k: Number(event.target.value) }));
  $("one").addEventListener("change", (event) => set({ one: Number(event.target.value) }));
  $("reset").addEventListener("click", () => set({ ...data.run, one: -1 }));
  $("reveal").addEventListener("click", () => reveal(state.one));
  for (const canvas of [$("J"), $("C")])
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      set({
        one: Math.min(
          expressions.length - 1,
          Math.floor(((event.clientY - box.top) / box.height) * expressions.length),
        ),
      });
    });
  makeMap();
  section.hidden = false;
  const still = document.querySelector("#ablation[data-explored]");
  if (still) still.hidden = true; // the same numbers, which do not move
  const linked = read();
  update();
  if (linked) section.scrollIntoView();
  addEventListener("hashchange", () => read() && update());

  function decisions() {
    const { rule, window, k } = state;
    return results(rule, window, k).map((result, i) =>
      Vote.spelled(expressions[i], result.decision, result.present),
    );
  }
  return { set, decisions };
}
