"""The shipped checkpoint segments held-out synthetic videos, and it reads."""

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

from hydra.utils import instantiate  # noqa: E402
from made_data import REPOSITORY  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from pytorch_lightning import Trainer  # noqa: E402
from test_conf import composed  # noqa: E402

from rvos.coarse.settings import coarse_settings  # noqa: E402
from rvos.data.formats import open_checked  # noqa: E402
from rvos.data.synthetic import synthesize  # noqa: E402
from rvos.train.validation import VideoScores  # noqa: E402

CHECKPOINT = REPOSITORY / "checkpoints" / "mutr_tiny_demo.pth"


@pytest.mark.slow
def test_the_demo_checkpoint_reads(tmp_path):
    """Two videos of the demo's `valid_u`, which it has not seen; the other text is that of the
    expression as far away as possible in the video's list (neighbours often mean the same)."""
    defaults = OmegaConf.to_container(OmegaConf.load(REPOSITORY / "conf" / "synthesize.yaml"))
    synthesize(
        **defaults
        | {"out": tmp_path, "num_videos": {"valid_u": 2}, "num_frames": 12, "camera_shake": 3}
    )
    split, truth = open_checked("mevis", tmp_path, "valid_u", with_truth=True, skip_bad=False)
    cfg = composed(
        "train",
        "experiment=demo",
        f"model.weights={CHECKPOINT}",
        "output_dir=x",
        "coarse.short_side=128",
    )  # the frames' own
    model = instantiate(cfg.model)()

    def score(videos) -> float:
        scores = VideoScores(
            replace(split, videos=videos),
            truth,
            coarse_settings(OmegaConf.to_container(cfg.coarse, resolve=True)),
            max_videos=None,
            num_overlays=0,
            folder=tmp_path,
        )
        trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
        return 100 * scores(model, trainer)["JF"]

    def turned(video):
        texts = [expression.text for expression in video.expressions]
        half = len(texts) // 2
        pairs = zip(video.expressions, texts[half:] + texts[:half], strict=True)
        return replace(video, expressions=tuple(replace(e, text=text) for e, text in pairs))

    as_it_is = score(split.videos)
    assert as_it_is >= 45
    assert score(tuple(turned(video) for video in split.videos)) <= as_it_is - 20, as_it_is


def test_the_demo_checkpoint_is_small():
    assert CHECKPOINT.stat().st_size < 12e6
    content = torch.load(CHECKPOINT, weights_only=True)
    assert set(content) == {"model"} and "query_embed.weight" in content["model"]
