"""A small MeViS dataset drawn from a seed: textured shapes told apart by colour, shape and motion.

Each video has a few objects on a noisy background. Some share category and colour and differ in
their motion alone ("the red circle moving left"). Objects pass before and behind each other and
behind pillars, may leave the frame and come back, and the camera may shake. A description (colour?,
category, motion?) refers to every object it is true of, so expressions are right by construction.

Written per split: what MeViS has (`meta_expressions.json`, `mask_dict.json`, JPEG frames; no masks
for hidden splits), `nouns.json` `{video: {expression_id: noun}}`, and `objects.json`
`{video: {annotation_id: {"category", "color", "motion", "moving"}}}`.
"""

import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field
from rich.progress import track as progress

from rvos.data import sprites
from rvos.errors import InputError
from rvos.masks import Track, encode, write_bytes, write_json
from rvos.settings import (
    Amount,
    Count,
    LeastMost,
    Part,
    Real,
    Share,
    Whole,
    all_checked,
    checked,
    make,
)

SplitName = Literal["train", "valid_u", "valid"]
SPLITS = get_args(SplitName)  # their position is part of each video's seed

# motion -> what it is called of one object and of several
MOTIONS = {
    "left": ("moving left", "moving left"),
    "right": ("moving right", "moving right"),
    "up": ("moving up", "moving up"),
    "down": ("moving down", "moving down"),
    "still": ("standing still", "standing still"),
    "turn": ("that turns round", "that turn round"),
    "leave": ("that leaves and comes back", "that leave and come back"),
    "first": ("that moves first", "that move first"),
    "last": ("that moves last", "that move last"),
    "lead": ("that is followed", "that are followed"),
    "follow": ("that follows", "that follow"),
}
ALONE = {  # motions that need no partner, and how often each is drawn
    "left": 0.2,
    "right": 0.2,
    "up": 0.12,
    "down": 0.12,
    "still": 0.12,
    "turn": 0.12,
    "leave": 0.12,
}
PAIRS = (("first", "last"), ("lead", "follow"))  # always two objects of one look
SIDEWAYS = ("left", "right", "turn", "leave")
# Objects of one category never have motions of which one phrase would be half true of both.
UNCLEAR = {
    frozenset(pair)
    for pair in [
        *product(("turn", "leave", *PAIRS[1]), SIDEWAYS),
        *product(PAIRS[0], (*ALONE, *PAIRS[1])),
    ]
}


FOLLOWING = 1.5  # diameters: the most from a leader to its follower
CROSSING = 0.3  # share of the frames: the most in which two objects may cover each other


@dataclass(frozen=True)
class Thing:
    """One object of a scene. `path` (T, 2) float64: its centre x, y in pixels, without shake."""

    category: str
    color: str
    motion: str
    diameter: float
    path: NDArray[np.float64]


@dataclass(frozen=True)
class Description:
    """What an expression says: a category, and a colour and a motion where they are given."""

    category: str
    color: str | None
    motion: str | None

    def is_true_of(self, thing: Thing) -> bool:
        return (
            self.category == thing.category
            and self.color in (None, thing.color)
            and self.motion in (None, thing.motion)
        )

    def text(self, count: int) -> str:
        noun = self.category + ("s" if count > 1 else "")
        phrase = MOTIONS[self.motion][count > 1] if self.motion else None
        return " ".join(word for word in ("the", self.color, noun, phrase) if word)


Side = Annotated[Count, Field(ge=32)]


@checked
class Recipe:
    """What every video is drawn with; see conf/synthesize.yaml for units and defaults.

    Raises SettingsError listing every value that makes no sense.
    """

    num_frames: Count
    size: tuple[Side, Side]  # height, width, pixels
    num_objects: LeastMost[Annotated[Count, Field(le=8)]]
    # Diameter as a share of the shorter side.
    object_size: LeastMost[Annotated[Real, Field(ge=0.05, le=0.5)]]
    camera_shake: Amount  # standard deviation of the camera's offset, pixels; 0: none
    pillars: Share  # share of videos with a pillar in front of the objects
    no_target: Part  # share of expressions that are true of no object
    jpeg_quality: Annotated[Count, Field(le=100)]
    seed: Whole


@checked
class Amounts:
    """How much `synthesize` writes, with how many processes; see conf/synthesize.yaml."""

    num_videos: Annotated[
        Mapping[SplitName, Whole],
        Field(description=f"whole numbers >= 0 for the splits {', '.join(SPLITS)}"),
    ]
    hidden_truth: Sequence[SplitName]
    workers: Count


# The objects of a video, their tracks, and its expressions: description, text, referred objects.
Drawn = tuple[list[dict], list[Track], list[tuple[Description, str, list[int]]]]


def synthesize(
    out: Path | str,
    *,
    num_videos: Mapping[str, int],
    hidden_truth: Sequence[str],
    workers: int,
    **recipe: Any,
) -> None:
    """Write the splits named in `num_videos` under `out`; `recipe` as `Recipe`.

    Splits in `hidden_truth` get neither masks nor object ids, as MeViS publishes `valid`. The same
    arguments give the same files, whatever `workers`. Raises SettingsError listing every value that
    makes no sense, and InputError for a split that has been written before.
    """
    amounts = {"num_videos": num_videos, "hidden_truth": hidden_truth, "workers": workers}
    made, _ = all_checked(lambda: make(Recipe, "", recipe), lambda: make(Amounts, "", amounts))
    if present := [s for s in num_videos if (Path(out) / s / "meta_expressions.json").exists()]:
        raise InputError(f"{out}: has the splits {present} already; delete them or choose another")
    with ExitStack() as stack:
        each: Callable[..., Iterable[Drawn]] = map
        if workers > 1:
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,))
            each = partial(stack.enter_context(pool).map, chunksize=4)
        for split, count in num_videos.items():
            if count > 0:
                _write_split(Path(out), split, count, made, split in hidden_truth, each)


def _write_split(
    out: Path,
    split: str,
    count: int,
    recipe: Recipe,
    hidden: bool,
    each: Callable[..., Iterable[Drawn]],
) -> None:
    """One split, its videos drawn through `each`, a kind of map.

    The JSON files come last, so a split that can be read is whole.
    """
    draw = partial(_write_video, out / split, SPLITS.index(split), recipe)
    names = [f"{split}_{idx:04d}" for idx in range(count)]
    results = progress(each(draw, range(count), names), f"{split}", count)
    meta: dict[str, Any] = {}
    mask_dict: dict[str, Track] = {}
    nouns, objects = {}, {}
    for name, (things, tracks, expressions) in zip(names, results, strict=True):
        ids = [str(len(mask_dict) + i) for i in range(len(tracks))]
        mask_dict.update(zip(ids, tracks, strict=True))
        described = {str(k): e for k, e in enumerate(expressions)}
        meta[name] = {
            "vid_id": len(meta),
            "frames": [f"{t:05d}" for t in range(recipe.num_frames)],
            "expressions": {
                k: _expression(text, targets, ids, hidden)
                for k, (_, text, targets) in described.items()
            },
        }
        nouns[name] = {k: description.category for k, (description, _, _) in described.items()}
        objects[name] = dict(zip(ids, things, strict=True))
    write_json(out / split / "nouns.json", nouns)
    if not hidden:
        write_json(out / split / "objects.json", objects)
        write_json(out / split / "mask_dict.json", mask_dict)
    # The recipe, so that splits which differ only in their pixels have different hashes (stores).
    write_json(out / split / "meta_expressions.json", {"videos": meta, "recipe": asdict(recipe)})


def _expression(text: str, targets: Sequence[int], ids: Sequence[str], hidden: bool) -> dict:
    if hidden:
        return {"exp": text}
    return {"exp": text, "obj_id": list(targets), "anno_id": [int(ids[i]) for i in targets]}


def _write_video(folder: Path, split_idx: int, recipe: Recipe, idx: int, name: str) -> Drawn:
    """Draw one video: its frames go to disk, its objects, tracks and expressions come back."""
    rng = np.random.default_rng([recipe.seed, split_idx, idx])
    things = _scene(rng, recipe)
    tracks: list[Track] = [[] for _ in things]
    frames = folder / "JPEGImages" / name
    for t, (image, owner) in enumerate(sprites.render(rng, recipe, things)):
        quality = [cv2.IMWRITE_JPEG_QUALITY, recipe.jpeg_quality]
        jpeg = cv2.imencode(".jpg", image[..., ::-1], quality)[1]  # OpenCV writes BGR
        write_bytes(frames / f"{t:05d}.jpg", jpeg.tobytes())
        for i, track in enumerate(tracks):
            mask = owner == i
            track.append(encode(mask) if mask.any() else None)
    described = [
        {key: getattr(thing, key) for key in ("category", "color", "motion")}
        | {"moving": thing.motion != "still"}
        for thing in things
    ]
    return described, tracks, _expressions(rng, recipe, things)


# ------------------------------------------------------------------------------------ the scene


def _scene(rng: Generator, recipe: Recipe) -> list[Thing]:
    """Objects whose full descriptions are unique, and whose paths cross for a while at most."""
    kinds = _cast(rng, int(rng.integers(recipe.num_objects[0], recipe.num_objects[-1] + 1)))
    things: list[Thing] = []
    for category, color, motion in kinds:
        leader = things[-1] if motion == "follow" else None
        candidates = [_thing(rng, recipe, category, color, motion, leader) for _ in range(20)]
        crowding = [max((_crowding(c, o) for o in things), default=0.0) for c in candidates]
        clear = [i for i, share in enumerate(crowding) if share < CROSSING]
        things.append(candidates[clear[0] if clear else int(np.argmin(crowding))])
    order = rng.permutation(len(things))  # later ones are drawn before earlier ones
    return [things[i] for i in order]


def _cast(rng: Generator, count: int) -> list[tuple[str, str, str]]:
    """(category, colour, motion) each; in most videos the first two to four differ by motion alone.

    A leader stands right before its follower.
    """
    look = str(rng.choice(sprites.CATEGORIES)), str(rng.choice(list(sprites.COLORS)))
    cast: list[tuple[str, str, str]] = []
    alike = 1
    if count > 1 and rng.random() < 0.9:
        alike = int(rng.choice([2, 3, 4], p=[0.6, 0.3, 0.1]))
        if rng.random() < 0.35:
            cast = [(*look, motion) for motion in PAIRS[int(rng.integers(len(PAIRS)))]]
    tries = 0
    while len(cast) < count:
        twin = len(cast) < alike and tries < 50  # some motions go with no third
        tries += 1
        category = look[0] if twin else str(rng.choice(sprites.CATEGORIES))
        color = look[1] if twin else str(rng.choice(list(sprites.COLORS)))
        motion = str(rng.choice(list(ALONE), p=list(ALONE.values())))
        rivals = [other for other in cast if other[0] == category]
        if rivals and not twin and rng.random() < 0.8:
            continue  # another category, mostly
        if all(o[2] != motion and frozenset((o[2], motion)) not in UNCLEAR for o in rivals):
            cast.append((category, color, motion))
    return cast


def _thing(
    rng: Generator, recipe: Recipe, category: str, color: str, motion: str, leader: Thing | None
) -> Thing:
    if leader is not None:
        path = _behind(rng, recipe, leader)
        return Thing(category, color, motion, leader.diameter, path)
    least, most = recipe.object_size
    diameter = rng.uniform(least, most) * min(recipe.size)
    return Thing(category, color, motion, diameter, _path(rng, recipe, motion, diameter))


def _path(rng: Generator, recipe: Recipe, motion: str, diameter: float) -> NDArray[np.float64]:
    """(T, 2) centre x, y in pixels; all but `leave` stay inside the frame."""
    span = np.array([recipe.size[1], recipe.size[0]], float)  # width, height
    low, high = 0.5 * diameter + np.zeros(2), span - 0.5 * diameter
    time = np.linspace(0, 1, recipe.num_frames)
    way = rng.uniform(0.45, 0.7) * (high - low)  # how far it goes, pixels
    side = rng.choice([-1, 1])
    dx, dy = [(side, 0), (0, side)][int(rng.integers(2))]  # where the order of moving matters
    steps = {  # (time, dx, dy) in shares of `way`
        "left": [(0, 0, 0), (1, -1, 0)],
        "right": [(0, 0, 0), (1, 1, 0)],
        "up": [(0, 0, 0), (1, 0, -1)],
        "down": [(0, 0, 0), (1, 0, 1)],
        "still": [(0, 0, 0), (1, 0, 0)],
        "turn": [(0, 0, 0), (0.45, side, 0), (0.55, side, 0), (1, 0, 0)],
        "leave": [(0, 0, 0), (0.4, side, 0), (0.6, side, 0), (1, 0, 0)],
        "first": [(0, 0, 0), (0.05, 0, 0), (0.45, dx, dy), (1, dx, dy)],
        "last": [(0, 0, 0), (0.55, 0, 0), (0.95, dx, dy), (1, dx, dy)],
        "lead": [(0, 0, 0), (1, side, 0)],
    }[motion]
    at, dxs, dys = np.array(steps, float).T
    offset = np.stack([np.interp(time, at, dxs), np.interp(time, at, dys)], 1) * way  # (T, 2)
    if motion == "leave":
        edge = span[0] + diameter if side > 0 else -diameter
        start = rng.uniform(low + 0.15 * (high - low), high - 0.15 * (high - low))
        offset[:, 0] *= (edge - start[0]) / (side * way[0])
    elif motion == "lead":  # its follower has room behind it
        room = np.array([FOLLOWING * diameter, 0])
        ends = low - offset.min(0) + room * (side > 0), high - offset.max(0) - room * (side < 0)
        start = np.where(ends[0] < ends[1], rng.uniform(*np.sort(ends, 0)), np.mean(ends, 0))
    else:
        start = rng.uniform(low - offset.min(0), high - offset.max(0))
    sway = 0.02 * diameter * np.sin(2 * np.pi * (2 * time[:, None] + rng.random(2)))
    return start + offset + sway * (motion != "still")


def _behind(rng: Generator, recipe: Recipe, leader: Thing) -> NDArray[np.float64]:
    """(T, 2) centre of an object that moves as its leader does, some way behind and aside."""
    ahead = np.sign(leader.path[-1, 0] - leader.path[0, 0])
    aside = rng.uniform(-0.25, 0.25) * leader.diameter
    path = leader.path - (ahead * rng.uniform(1.1, FOLLOWING) * leader.diameter, aside)
    rest = 0.5 * leader.diameter
    path[:, 1] = path[:, 1].clip(rest, recipe.size[0] - rest)
    return path


def _crowding(a: Thing, b: Thing) -> float:
    """Share of the frames in which two objects cover each other by a good part."""
    distance = np.linalg.norm(a.path - b.path, axis=1)
    return float((distance < 0.4 * (a.diameter + b.diameter)).mean())


# ------------------------------------------------------------------------------ the expressions


def _expressions(rng: Generator, recipe: Recipe, things: Sequence[Thing]):
    """[(description, text, indices of its objects)]: one or two per object and set of objects."""
    by_targets: dict[tuple[int, ...], list[Description]] = {}
    for names in product(sprites.CATEGORIES, (None, *sprites.COLORS), (None, *MOTIONS)):
        description = Description(*names)
        targets = tuple(i for i, thing in enumerate(things) if description.is_true_of(thing))
        by_targets.setdefault(targets, []).append(description)
    chosen: list[tuple[Description, tuple[int, ...]]] = []
    for targets in sorted(by_targets):
        if targets:
            alternatives = by_targets[targets]
            count = min(int(rng.integers(1, 3)), len(alternatives))
            picked = rng.choice(len(alternatives), count, replace=False)
            chosen += [(alternatives[i], targets) for i in sorted(picked)]
    present = {thing.category for thing in things}
    absent = [d for d in by_targets[()] if d.category in present]  # the rest is too easy
    share = recipe.no_target / (1 - recipe.no_target)
    for _ in range(int(len(chosen) * share + rng.random())):
        chosen.append((absent[int(rng.integers(len(absent)))], ()))
    return [(d, d.text(len(targets)), list(targets)) for d, targets in chosen]
