"""Does the model read? Coarse J&F with the expressions as they are and shuffled within each video.

    python demo/text_matters.py WEIGHTS [data.root=data/synthetic data.split=valid_u ...]

Model, data and coarse settings are those of `experiment=demo`; overrides as for train.py.
The two baselines that never read the text: demo/text_blind.py.
"""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from machine import describe, write  # noqa: E402

from rvos.coarse.settings import coarse_settings
from rvos.data.formats import open_checked
from rvos.data.split import Split
from rvos.mutr.checkpoint import load_weights
from rvos.train.validation import VideoScores

CONF = Path(__file__).parents[1] / "conf"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(
            "train",
            [
                "experiment=demo",
                "model.weights=null",
                "output_dir=none",
                "score.max_videos=null",
                *options.overrides,
            ],
        )
    model = instantiate(cfg.model)()
    load_weights(model, options.weights)
    split, truth = open_checked(
        cfg.data.format, cfg.data.root, cfg.data.split, with_truth=True, skip_bad=False
    )
    result: dict[str, Any] = describe(["torch"]) | {
        "weights": options.weights.name,
        "split": f"{cfg.data.name} {split.name}",
        "videos": len(split.videos[: cfg.score.max_videos]),
        "threads": torch.get_num_threads(),
    }
    one_process: Any = SimpleNamespace(world_size=1, global_rank=0, is_global_zero=True)
    for name, expressions in (("as_they_are", split), ("shuffled", shuffled(split, cfg.seed))):
        scores = VideoScores(
            expressions,
            truth,
            coarse_settings(OmegaConf.to_container(cfg.coarse, resolve=True)),
            num_overlays=0,
            max_videos=cfg.score.max_videos,
            folder=Path("none"),
        )
        started = time.monotonic()
        percent = {k: round(100 * v, 2) for k, v in scores(model, one_process).items()}
        result[name] = percent | {"seconds": round(time.monotonic() - started)}
        print(name, result[name], file=sys.stderr)
    write(f"text_matters_{options.weights.stem}", result)


def shuffled(split: Split, seed: int) -> Split:
    """The same expressions and targets; within each video the texts change places at random."""
    rng = np.random.default_rng(seed)
    videos = []
    for video in split.videos:
        texts = [expression.text for expression in video.expressions]
        order = rng.permutation(len(texts))
        expressions = tuple(
            replace(expression, text=texts[i])
            for expression, i in zip(video.expressions, order, strict=True)
        )
        videos.append(replace(video, expressions=expressions))
    return replace(split, videos=tuple(videos))


if __name__ == "__main__":
    main()
