"""What the sources and the vote are worth on real frames with ground truth.

    python benchmarks/real.py --data REAL --out runs/real [--weights DIR] [--every N]

REAL is a folder in MeViS' layout with `valid_u/` and `coarse.json.gz`, the coarse masks that the
vote refines, and optionally `kinds.json`, {video: kind}. DIR holds the networks of masklets=small.
Masks are kept in OUT, per video, so that a second start goes on. OUT/real.md has the tables,
OUT/index.html shows a frame of every expression: mind the licence of REAL.
"""

import argparse
import base64
import io
import os
import sys
import time
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(1, str(ROOT))  # behind this folder

from machine import describe  # noqa: E402

SOURCES = ("oracle", "small", "flow")
WINDOWS, TAUS, AGREES = (1, 5, 15, 30), (0.3, 0.5, 0.8), (None, 0.3, 0.5)
BOOTSTRAP = {"resamples": 10_000, "confidence": 0.95, "seed": 42}


def build_source(group, name, changes):
    """A choice of conf/ as predict.py and eval.py build it."""
    from rvos.settings import build, preset

    node = preset(group, name)
    for key, value in changes.items():
        node[key] = node[key] | value
    return build(node, group)


def make_masks(data, out, every):
    """{source: {video: {noun: tracks}}} and {video: (answers, seconds)} of coarse=small."""
    from rvos.data.frames import FrameCache
    from rvos.masklets.source import VideoTask
    from rvos.masks import read_json, write_json
    from rvos.stages.work import Work

    changes = {"masks": {"every": every}}
    masklets = {
        "oracle": build_source("masklets", "oracle", {}),
        "small": build_source("masklets", "small", changes),
        "flow": build_source("masklets", "flow", {}),
    }
    first = build_source("coarse", "small", changes)
    nouns = masklets["small"].noun.for_split(data.split)
    masklets["oracle"].bind(Work(data.split, None, None, data.truth), None, nouns)
    masklets["small"].prepare(None)
    first.prepare(None)
    tracks, answers = {name: {} for name in masklets}, {}
    for video in data.videos:
        frames = FrameCache(data.split.open_frames(video)).fill()
        wanted = tuple(sorted(set(nouns[video.name].values())))
        for name, source in masklets.items():
            path = out / f"{name}-{every}" / f"{video.name}.json.gz"
            if not path.is_file():
                task = VideoTask(video, wanted, nouns[video.name])
                start = time.process_time()
                made = source.make(task, frames)
                write_json(path, {"tracks": made, "seconds": time.process_time() - start})
            tracks[name][video.name] = read_json(path)
        path = out / f"answer-{every}" / f"{video.name}.json.gz"
        if not path.is_file():
            start = time.process_time()
            answers_of_video = first.answers(frames, sorted({e.text for e in video.expressions}))
            made = {text: answer.track for text, answer in answers_of_video.items()}
            remarks = {t: answer.remark for t, answer in answers_of_video.items() if answer.remark}
            seconds = time.process_time() - start
            write_json(path, {"tracks": made, "seconds": seconds, "remarks": remarks})
        answers[video.name] = read_json(path)
        frames.close()
        print(f"{video.name}: masks are there", flush=True)
    return nouns, tracks, answers


def best_ious(data, nouns, tracks):
    """{source: {annotation: mean IoU of the best masklet over the frames}}, as J of the track."""
    from rvos.score.measures import FrameScores

    result = {}
    for name, of_videos in tracks.items():
        result[name] = {}
        for video in data.videos:
            of_nouns = of_videos[video.name]["tracks"]
            candidates = [track for of_noun in of_nouns.values() for track in of_noun]
            for id_ in dict.fromkeys(i for e in video.expressions for i in e.annotation_ids):
                truth = data.truth.track(id_)
                means = [
                    np.mean([FrameScores()(a, b)[0] for a, b in zip(truth, track, strict=True)])
                    for track in candidates
                ]
                result[name][f"{video.name}/{id_}"] = float(max(means, default=0.0))
    return result


def scored(data, tracks_of):
    """J&F of each expression's track against its truth, in the order of the split."""
    from rvos.data.split import merge_tracks
    from rvos.score.measures import FrameScores

    values = []
    for video in data.videos:
        for e in video.expressions:
            truth = merge_tracks([data.truth.track(i) for i in e.annotation_ids], len(video.frames))
            track = tracks_of(video, e)
            values.append(np.mean([FrameScores()(a, b) for a, b in zip(truth, track, strict=True)]))
    return np.array(values)


def vote(data, nouns, tracks):
    """{(source, W, tau, agree): J&F per expression}, and that of the coarse masks."""
    from rvos.data.split import merge_tracks
    from rvos.refine import Candidates, KeepCoarse, Masklets, Vote
    from rvos.score.ablation import Expression, score_rules

    grid = list(product(WINDOWS, TAUS, AGREES))
    rules = {"coarse": KeepCoarse()} | {
        key: Vote(window=key[0], tau=key[1], agree=key[2]) for key in grid
    }
    values = {}
    for name, of_videos in tracks.items():
        for video in data.videos:
            of_nouns = {n: Masklets(t) for n, t in of_videos[video.name]["tracks"].items()}
            expressions = []
            for e in video.expressions:
                noun = nouns[video.name][e.expression_id]
                truth = [data.truth.track(i) for i in e.annotation_ids]
                candidates = Candidates(data.coarse[video.name][e.expression_id], of_nouns[noun])
                merged = merge_tracks(truth, len(video.frames))
                expressions.append(Expression(e.expression_id, noun, merged, candidates))
            for row in score_rules(expressions, rules):
                for label, found in row.items():
                    key = "coarse" if label == "coarse" else (name, *label)
                    values.setdefault(key, []).append(float(np.mean([found.J, found.F])))
        coarse = values.pop("coarse")
    return np.array(coarse), {key: np.array(v) for key, v in values.items()}


def tables(data, every, ious, answer, seconds, coarse, votes):
    """The tables in Markdown, in percent."""
    from rvos.report.bootstrap import Bootstrap

    names = [v.name for v in data.videos for _ in v.expressions]
    over = Bootstrap(names, **BOOTSTRAP)
    kinds = np.array([data.kinds.get(name, "single") for name in names])
    machine = describe(["opencv-python-headless"])
    lines = [f"{len(data.videos)} videos, {len(names)} expressions; {machine}"]
    lines += ["", "| masklets | mean of the best IoU per object | lowest |", "|---|---|---|"]
    for name, of_objects in ious.items():
        values = list(of_objects.values())
        lines.append(f"| {name} | {np.mean(values):.2f} | {min(values):.2f} |")
    lines += ["", f"First answer, coarse=small, every {every}:", "", "| videos | J&F | lost |"]
    lines.append("|---|---|---|")
    for kind in [*dict.fromkeys(kinds), "all"]:
        chosen = np.ones(len(kinds), bool) if kind == "all" else kinds == kind
        lost = int((answer[chosen] < 0.1).sum())
        lines.append(f"| {kind} | {100 * answer[chosen].mean():.1f} | {lost} of {chosen.sum()} |")
    lines += ["", f"Seconds of one core a frame: first answer {seconds['answer']:.2f}", ""]
    lines += [f"The vote; coarse masks: {100 * coarse.mean():.2f}", ""]
    lines += ["| masklets | W | tau | agree | J&F | over the coarse masks (95 %) |"]
    lines.append("|---|---|---|---|---|---|")
    for (name, window, tau, agree), values in votes.items():
        gain = over.interval(100 * (values - coarse))
        interval = f"{gain.mean:+.2f} ({gain.low:+.1f} to {gain.high:+.1f})"
        row = [name, window, tau, "off" if agree is None else agree, f"{100 * values.mean():.2f}"]
        lines.append(f"| {' | '.join(map(str, row))} | {interval} |")
    return "\n".join(lines) + "\n"


def page(data, answers, answer, path):
    """A page with the middle frame of every expression and the first answer's outline."""
    from rvos.masks import decode, write_bytes

    parts, values = ["<!doctype html><meta charset=utf-8><title>Real frames</title>"], iter(answer)
    for video in data.videos:
        middle = len(video.frames) // 2
        frame = list(data.split.open_frames(video))[middle]
        for e in video.expressions:
            mask = answers[video.name]["tracks"][e.text][middle]
            shown = frame.copy()
            if mask is not None:
                pixels = decode(mask).astype(bool)
                shown[pixels] = shown[pixels] // 2 + np.array([127, 0, 0], np.uint8)
            small = cv2.resize(shown, (480, round(480 * frame.shape[0] / frame.shape[1])))
            buffer = io.BytesIO()
            Image.fromarray(small).save(buffer, "JPEG", quality=80)
            source = base64.b64encode(buffer.getvalue()).decode()
            parts.append(
                f"<p>{video.name}: {e.text}: J&amp;F {100 * next(values):.1f}<br>"
                f'<img alt="" src="data:image/jpeg;base64,{source}">'
            )
    write_bytes(path, "\n".join(parts).encode())


def open_data(folder, max_videos):
    """The split, its truth, the coarse masks and the kinds of its videos."""
    from rvos.data.formats import open_split, open_truth
    from rvos.masks import read_json

    split = open_split("mevis", folder, "valid_u")
    kinds = folder / "kinds.json"
    return SimpleNamespace(
        split=split,
        videos=split.videos[:max_videos],
        truth=open_truth("mevis", split),
        coarse=read_json(folder / "coarse.json.gz"),
        kinds=read_json(kinds) if kinds.is_file() else {},
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="default: RVOS_WEIGHTS")
    parser.add_argument("--max-videos", type=int)
    parser.add_argument("--every", type=int, default=1, help="masks.every of small")
    options = parser.parse_args()
    if options.weights:
        os.environ["RVOS_WEIGHTS"] = str(options.weights)
    cv2.setNumThreads(1)  # what is said of seconds is of one core
    data = open_data(options.data, options.max_videos)
    nouns, tracks, answers = make_masks(data, options.out, options.every)
    answer = scored(data, lambda video, e: answers[video.name]["tracks"][e.text])
    frames = sum(len(video.frames) for video in data.videos)
    seconds = {"answer": sum(a["seconds"] for a in answers.values()) / frames}
    coarse, votes = vote(data, nouns, tracks)
    ious = best_ious(data, nouns, tracks)
    text = tables(data, options.every, ious, answer, seconds, coarse, votes)
    print(text)
    from rvos.masks import write_bytes

    write_bytes(options.out / "real.md", text.encode())
    page(data, answers, answer, options.out / "index.html")
    expressions = [e for video in data.videos for e in video.expressions]
    for e, value in zip(expressions, answer, strict=True):
        print(f"{100 * value:5.1f}  {e.video}: {e.text}")


if __name__ == "__main__":
    main()
