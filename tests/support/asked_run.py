"""A run over synthetic videos with tagged expressions, for questions and answers."""

import random

from made_data import small_synthetic
from stub_model import tagged

from rvos.ask.oracle import oracle_decisions
from rvos.ask.questions import Asked
from rvos.masks import read_json, write_json


def coarse_of(folder, *, seed=0):
    """Coarse masks that are any object's of the video, right or wrong."""
    draw = random.Random(seed)
    meta, truth = read_json(folder / "meta_expressions.json"), read_json(folder / "mask_dict.json")
    masks = {}
    for video, of_video in meta["videos"].items():
        ids = sorted({str(i) for e in of_video["expressions"].values() for i in e["anno_id"]})
        masks[video] = {key: truth[draw.choice(ids)] for key in of_video["expressions"]}
    return masks


def prepared(folder, *, videos, no_target=0.2, **changes):
    """Write data and coarse masks; returns the tags and the arguments of eval.py."""
    counts = {"train": 0, "valid_u": videos, "valid": 0}
    small_synthetic(folder / "data", num_videos=counts, no_target=no_target, **changes)
    split = folder / "data" / "valid_u"
    write_json(folder / "coarse.json", coarse_of(split))
    tags = tagged(split / "meta_expressions.json")
    return tags, [
        *("data=synthetic", f"data.root={folder / 'data'}", "masklets=oracle", "report=none"),
        *("coarse=files", f"coarse.path={folder / 'coarse.json'}", "score.workers=1"),
        f"paths.stores={folder / 'stores'}",
    ]


def truth_of(run, tags):
    """{tag: the oracle's decision}, from which the stub answers."""
    best = oracle_decisions(run, Asked.of(run))
    return {tag: best[video][key] for tag, (video, key) in tags.items()}
