"""Where masklets=small and coarse=small end: crowds of one kind, and sentences without a target.

    python benchmarks/small.py --data REAL --out runs/small [--weights DIR]

REAL and DIR are those of benchmarks/real.py. From each video with one object, a crowd is made: four
smaller copies of the object, of other moments, stand in a row before it (real pixels, an unreal
scene; all five are known exactly). The sentences ask for the one on the left, on the right, and for
the object without a word that tells it from the others. Sentences without a target ask each video
for the nouns of the others, people left out, since passers-by are in no annotation.
"""

import argparse
import csv
import os
from pathlib import Path

import cv2
import numpy as np
from machine import describe
from real import ROOT, build_source, open_data

COPIES, SCALE, LAG = 4, 0.35, 5  # LAG: frames between the moments of two copies


def crowd_of(frames, masks):
    """Frames with a row of copies, and the masks of all objects: (1 + COPIES, T, H, W) bool."""
    num_frames, height, width = masks.shape
    small = round(width * SCALE), round(height * SCALE)
    objects = np.zeros((1 + COPIES, num_frames, height, width), bool)
    made = []
    for t in range(num_frames):
        frame, objects[0, t] = frames[t].copy(), masks[t]
        for k in range(COPIES):
            moment = (t + LAG * (k + 1)) % num_frames
            ys, xs = np.nonzero(masks[moment])
            if not len(ys):
                continue
            copy = cv2.resize(frames[moment], small, interpolation=cv2.INTER_AREA)
            mask = cv2.resize(masks[moment].astype(np.uint8), small) > 0
            middle = round((xs.min() + xs.max()) / 2 * SCALE)
            y = height - 4 - round((ys.max() + 1) * SCALE)  # they stand on the lower edge
            x = round((k + 0.5) / COPIES * width) - middle
            rows, columns = np.nonzero(mask)
            inside = (rows + y >= 0) & (columns + x >= 0) & (columns + x < width)
            rows, columns = rows[inside], columns[inside]
            frame[rows + y, columns + x] = copy[rows, columns]
            objects[:, t, rows + y, columns + x] = False
            objects[1 + k, t, rows + y, columns + x] = True
        made.append(frame)
    return made, objects


class Made:
    """Frames in memory, as a source of frames."""

    def __init__(self, name, frames):
        self.source, self.frames = name, frames
        self.names = [f"{t:05d}" for t in range(len(frames))]
        self.size, self.fps = frames[0].shape[:2], None

    def __len__(self):
        return len(self.frames)

    def __iter__(self):
        return iter(self.frames)


def crowd(data, video, noun, first, folder):
    """(best IoU of each object, tracks found, J&F of left, right and unspecific sentences)."""
    from rvos.data.frames import FrameCache
    from rvos.masks import decode, encode
    from rvos.score.measures import FrameScores

    frames = list(data.split.open_frames(video))
    height, width = frames[0].shape[:2]
    track = data.truth.track(video.expressions[0].annotation_ids[0])
    empty = np.zeros((height, width), np.uint8)
    masks = np.stack([empty if m is None else decode(m) for m in track]).astype(bool)
    frames, objects = crowd_of(frames, masks)
    cv2.imwrite(str(folder / f"{video.name}.jpg"), frames[len(frames) // 2][..., ::-1])
    truths = [[encode(m.astype(np.uint8)) if m.any() else None for m in o] for o in objects]
    texts = [f"the {noun} on the left", f"the {noun} on the right", f"the {noun}"]
    with FrameCache(Made(video.name, frames)).fill() as cache:
        answers = first.found(cache, dict.fromkeys(texts))
        remarks = dict(first.remarks)
        instances = first.instances(cache, {noun: first.classes(noun)})[noun]
        tracks = [first.mask_track(cache, instance) for instance in instances]

    def of(truth, track):
        return np.mean([FrameScores()(a, b) for a, b in zip(truth, track, strict=True)], 0)

    best = [max([of(truth, track)[0] for track in tracks], default=0.0) for truth in truths]
    scores = [
        float(np.mean(of(truths[k], answers[t][0]))) for k, t in ((1, texts[0]), (-1, texts[1]))
    ]
    return best, len(tracks), scores, texts[2] in remarks


def absent(data, video, nouns, first):
    """Share of frames with a mask, by noun of another video that is nothing in this one."""
    from rvos.data.frames import FrameCache

    present = {c for noun in nouns[video.name].values() for c in first.classes(noun)}
    others = {noun for of_video in nouns.values() for noun in of_video.values()}
    person = first.classes("person")
    asked = [
        noun
        for noun in sorted(others)
        if (classes := set(first.classes(noun))) and not classes & (present | set(person))
    ]
    texts = {noun: f"the {noun}" for noun in asked}
    with FrameCache(data.split.open_frames(video)).fill() as frames:
        answers = first.found(frames, dict.fromkeys(texts.values()))
    return {n: float(np.mean([m is not None for m in answers[t][0]])) for n, t in texts.items()}


def known_nouns():
    """(sentences of this repository's tests with a noun, those whose noun is something of COCO)."""
    from rvos.nouns.coco import classes_of

    with open(ROOT / "tests" / "nouns" / "expressions.tsv", newline="") as file:
        nouns = [row["lemma"] for row in csv.DictReader(file, delimiter="\t") if row["lemma"]]
    return len(nouns), sum(bool(classes_of(noun)) for noun in nouns)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="default: RVOS_WEIGHTS")
    parser.add_argument("--max-videos", type=int)
    options = parser.parse_args()
    if options.weights:
        os.environ["RVOS_WEIGHTS"] = str(options.weights)
    from rvos.masks import write_json

    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    data = open_data(options.data, options.max_videos)
    first = build_source("coarse", "small", {})
    first.prepare(None)
    nouns = build_source("masklets", "small", {}).noun.for_split(data.split)
    rows = {"crowd": {}, "absent": {}}
    for video in data.videos:
        if data.kinds.get(video.name) == "single":
            noun = next(iter(nouns[video.name].values()))
            best, found, scores, remarked = crowd(data, video, noun, first, options.out)
            rows["crowd"][video.name] = {
                "noun": noun,
                "best_iou": [round(float(x), 3) for x in best],
                "tracks": found,
                "left_right": scores,
                "said_to_be_unclear": remarked,
            }
            print(video.name, rows["crowd"][video.name], flush=True)
        rows["absent"][video.name] = absent(data, video, nouns, first)
        print(video.name, rows["absent"][video.name], flush=True)
    write_json(options.out / "small.json", rows)
    crowds = rows["crowd"].values()
    best = np.array([row["best_iou"] for row in crowds])  # (videos, 1 + COPIES)
    sides = np.array([row["left_right"] for row in crowds])
    shares = [share for of_video in rows["absent"].values() for share in of_video.values()]
    print(describe(["opencv-python-headless"]))
    print("{1} of {0} nouns of the tests' sentences are something of COCO".format(*known_nouns()))
    print(
        f"{len(best)} crowds of {1 + COPIES}: {(best >= 0.5).sum()} of {best.size} objects have a "
        f"masklet of IoU 0.5 and more (mean {best.mean():.2f}; of the large one "
        f"{best[:, 0].mean():.2f}, of the copies {best[:, 1:].mean():.2f})"
    )
    print(
        f"left and right: J&F {100 * sides.mean():.1f}, above 50 for {(sides > 0.5).sum()} of "
        f"{sides.size}; 'the noun' alone is said to be unclear in "
        f"{sum(row['said_to_be_unclear'] for row in crowds)} of {len(best)}"
    )
    print(
        f"{len(shares)} sentences without a target: {sum(s > 0 for s in shares)} get a mask in "
        f"some frame; {100 * np.mean(shares):.0f} % of all frames have one"
    )


if __name__ == "__main__":
    main()
