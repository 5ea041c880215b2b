"use strict";
// The refinement rules of rvos/refine and their scores, for one expression of the explorer's data.
//
// An expression has `ranks` [masklet][frame]: masklet i is in C_t at the k-th threshold if its rank
// is above k. A combination is a number, its position in `sets`: 0 is the empty one, then those
// whose scores are known, then others. Scores are whole numbers, null where they are not known.
const Vote = (() => {
  const RULES = ["vote", "whole_video", "sliding_vote", "instance_vote"];
  const counts = []; // of combinations or masklets; all 0 between two votes

  function prepare(expression) {
    expression.sets = [[], ...expression.combinations.map((c) => c.members)];
    expression.numbers = new Map(expression.sets.map((members, i) => [members.join(), i]));
    expression.scores = [expression.coarse, ...expression.combinations];
    expression.frames = expression.coarse.J.length;
    for (const scores of expression.scores) {
      scores.isEmpty = new Uint8Array(expression.frames);
      for (const t of scores.empty) scores.isEmpty[t] = 1;
    }
    expression.at = []; // C_t of every frame by threshold
  }

  function numberOf(expression, members) {
    const key = members.join();
    if (!expression.numbers.has(key)) {
      expression.numbers.set(key, expression.sets.length);
      expression.sets.push(members);
    }
    return expression.numbers.get(key);
  }

  // C_t = {i : f_i^t > tau} of every frame, as numbers.
  function combinations(expression, k) {
    if (!expression.at[k]) {
      const found = new Array(expression.frames);
      for (let t = 0; t < found.length; t++) {
        const members = [];
        expression.ranks.forEach((ranks, i) => {
          if (ranks[t] > k) members.push(i);
        });
        found[t] = numberOf(expression, members);
      }
      expression.at[k] = found;
    }
    return expression.at[k];
  }

  // The most frequent of values[start .. stop - 1]; of equals the one that occurs first.
  function mostFrequent(values, start, stop) {
    let best = values[start];
    for (let t = start; t < stop; t++) counts[values[t]] = (counts[values[t]] || 0) + 1;
    for (let t = start; t < stop; t++) if (counts[values[t]] > counts[best]) best = values[t];
    for (let t = start; t < stop; t++) counts[values[t]] = 0;
    return best;
  }

  // The masklets that are in more than half of the frames' combinations.
  function eachByItself(expression, values, start, stop) {
    for (let t = start; t < stop; t++)
      for (const i of expression.sets[values[t]]) counts[i] = (counts[i] || 0) + 1;
    const members = [];
    for (let i = 0; i < expression.ranks.length; i++) {
      if (2 * (counts[i] || 0) > stop - start) members.push(i);
      counts[i] = 0;
    }
    return numberOf(expression, members);
  }

  // {at: C_t per frame, windows: [start, stop, C_sel]}, combinations as numbers.
  function decide(expression, rule, size, k) {
    const at = combinations(expression, k),
      count = expression.frames,
      windows = [];
    if (rule === "sliding_vote") {
      let first = 0,
        stop = 0; // of the window, in which `counts` counts
      for (let t = 0; t < count; t++) {
        for (; stop < Math.min(count, t + Math.floor(size / 2) + 1); stop++)
          counts[at[stop]] = (counts[at[stop]] || 0) + 1;
        for (; first < t - Math.floor((size - 1) / 2); first++) counts[at[first]]--;
        let selected = at[first];
        for (let u = first + 1; u < stop; u++)
          if (counts[at[u]] > counts[selected]) selected = at[u];
        const last = windows.at(-1);
        if (last && last[2] === selected) last[1] = t + 1;
        else windows.push([t, t + 1, selected]);
      }
      for (; first < stop; first++) counts[at[first]] = 0;
      return { at, windows };
    }
    const step = rule === "whole_video" ? Math.max(1, count) : size;
    for (let start = 0; start < count; start += step) {
      const stop = Math.min(count, start + step);
      const selected =
        rule === "instance_vote"
          ? eachByItself(expression, at, start, stop)
          : mostFrequent(at, start, stop);
      windows.push([start, stop, selected]);
    }
    return { at, windows };
  }

  // What the decision scores. `known` is false where some frame's score is not among the data.
  function score(expression, decision, presence) {
    const { frames } = expression,
      J = new Array(frames),
      F = new Array(frames);
    let sumJ = 0,
      sumF = 0,
      missing = 0,
      full = 0,
      kept = 0;
    for (const [start, stop, selected] of decision.windows) {
      const scores = expression.scores[selected];
      if (!selected) kept += stop - start;
      for (let t = start; t < stop; t++) {
        J[t] = scores ? scores.J[t] : null;
        F[t] = scores ? scores.F[t] : null;
        if (J[t] === null) missing++;
        else full += 1 - scores.isEmpty[t];
        sumJ += J[t];
        sumF += F[t];
      }
    }
    const value = presence && (expression.presence ?? (missing ? null : full / frames));
    const present = !presence || value >= presence.threshold;
    if (!present && value !== null) {
      const { J, F } = expression.nothing,
        sum = (values) => values.reduce((a, b) => a + b, 0);
      return {
        J,
        F,
        meanJ: sum(J) / frames,
        meanF: sum(F) / frames,
        missing: 0,
        kept: 0,
        silent: true,
        present,
      };
    }
    return {
      J,
      F,
      meanJ: sumJ / frames,
      meanF: sumF / frames,
      missing,
      kept,
      silent: !full,
      present,
    };
  }

  // Means over expressions in 0..1, as metrics.json has them; null where a score is not known.
  function totals(expressions, results, unit) {
    const mean = (values) =>
      values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
    const JF = (chosen) =>
      mean(chosen.map((i) => (results[i].meanJ + results[i].meanF) / 2 / unit));
    const all = expressions.map((_, i) => i);
    const target = all.filter((i) => expressions[i].targets),
      none = all.filter((i) => !expressions[i].targets);
    const missing = results.reduce((sum, result) => sum + result.missing, 0);
    const found = { missing, kept: results.reduce((sum, result) => sum + result.kept, 0) };
    if (missing) return found;
    found.J = mean(results.map((result) => result.meanJ / unit));
    found.F = mean(results.map((result) => result.meanF / unit));
    found.JF = (found.J + found.F) / 2;
    if (none.length && target.length) {
      found.nAcc = mean(none.map((i) => Number(results[i].silent)));
      found.tAcc = mean(target.map((i) => Number(!results[i].silent)));
      found.final = {
        all: (JF(all) + found.nAcc + found.tAcc) / 3,
        target: (JF(target) + found.nAcc + found.tAcc) / 3,
      };
    }
    return found;
  }

  // The decision with the members of its combinations, as the timeline draws it.
  function spelled(expression, decision, present) {
    return {
      combinations: decision.at.map((number) => expression.sets[number]),
      windows: decision.windows.map(([start, stop, number]) => [
        start,
        stop,
        expression.sets[number],
        present && !number,
      ]),
    };
  }

  return { RULES, prepare, decide, score, totals, spelled };
})();
