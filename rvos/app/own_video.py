"""What predict.py takes and gives: sentences in, overlay videos, masks and a page out."""

import hashlib
import json
import logging
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from pydantic import Field
from rich.progress import track as progress

from rvos import __version__
from rvos.app.evaluation import Evaluation
from rvos.app.results import keep_masklets
from rvos.data.frames import fingerprint
from rvos.data.split import OwnSplit, Split
from rvos.errors import InputError
from rvos.masks import (
    FileError,
    comment_of,
    read_json,
    read_text,
    split_lines,
    write_overlays,
)
from rvos.report.prediction import DOWNLOADS, write_masks, write_page
from rvos.score.ablation import REFINED
from rvos.score.evaluate import evaluate_video
from rvos.score.inputs import Inputs, VideoInputs
from rvos.settings import Count, Positive, Text, checked
from rvos.weights.local import find, here

log = logging.getLogger(__name__)
DEMO_NOTE = (
    "The masks come from mutr_tiny, the demo's model: a few million parameters, trained on "
    "synthetic videos of textured, coloured shapes. It knows nothing of real objects, nor of plain "
    "drawings; docs/weights.md says where real weights come from."
)
SMALL = (
    "experiment=small answers without torch and without a GPU, by three networks of 10.4 MB "
    "together (`rvos weights get small`)"
)
FRAMES_PER_SECOND = 10  # of an overlay whose source does not say


def refine(todo: Evaluation, inputs: Inputs, folder: Path) -> VideoInputs:
    """Write the refined masks and the decisions into `folder`; returns what they were made of.

    Raises InputError for masks that do not fit the video, and given decisions without masklets.
    """
    video = inputs.read_video(inputs.split.videos[0])
    todo.check_masklets(video)
    keep_masklets(folder, inputs)
    evaluate_video(video, {REFINED: todo.rules[REFINED]}, {}, folder)
    return video


@checked
class Output:
    """What is written of a video: `masks` as png files, or only as `rle`; `fps` of the overlay.

    `fps` None takes that of the video.
    """

    video: Annotated[Text, Field(description="a file or a folder of frames")]
    masks: Literal["png", "rle"]
    fps: Positive | None

    def write(self, folder: Path, split: Split, inputs: VideoInputs, *, note: str) -> Path:
        """Overlays, masks and the page of what `folder` holds in refined/; returns the page."""
        (video,) = split.videos
        frames = split.open_frames(video)
        fps = self.fps or frames.fps or FRAMES_PER_SECOND
        refined = read_json(folder / "refined" / f"{video.name}.json.gz")
        for expression_id, track in progress(refined.items(), "Drawing", total=len(refined)):
            path = folder / "overlay" / f"{expression_id}.mp4"
            made_of = json.dumps([__version__, split.meta_sha256, fps, track]).encode()
            comment = f"rvos {hashlib.sha256(made_of).hexdigest()}"
            if comment_of(path) != comment:  # else an earlier start drew these very masks
                write_overlays(path, frames, track, fps, comment=comment)
            if self.masks == "png":
                write_masks(folder / "masks" / expression_id, frames, track)
        kinds = [kind for kind in DOWNLOADS if kind != "png" or self.masks == "png"]
        page = folder / "index.html"
        files = split.files(video)
        write_page(page, inputs, refined, frames, files=files, fps=fps, note=note, kinds=kinds)
        if note:
            log.warning(note)
        return page


@checked
class Thinning:
    """Which frames are used: every `every`-th from the first on, at most `max_frames` of them."""

    every: Count
    max_frames: Count | None


def read_sentences(expression: str | None, path: str | None) -> list[str]:
    """The sentences of `expression=`, or of the lines of the file `expressions=`.

    Raises InputError unless exactly one of them is given.
    """
    if bool(expression) == bool(path):
        raise InputError("expected either expression=SENTENCE or expressions=FILE")
    if not path:
        return [str(expression)]
    try:
        lines = split_lines(read_text(Path(path)))
    except FileError as error:
        raise InputError(f"expressions: {error}") from None
    if sentences := [line.strip() for line in lines if line.strip()]:
        return sentences
    raise InputError(f"expressions: {path}: expected a sentence per line, the file is empty")


def inputs_of(cfg: DictConfig, split: OwnSplit) -> dict[str, Any]:
    """What the results depend on beside the settings: contents, not paths."""
    (video,) = split.videos
    keys = ("coarse.checkpoint", "coarse.path", "masklets.path", "masklets.nouns", "refine.path")
    paths = {key: OmegaConf.select(cfg, key) for key in keys}
    files = {
        key: fingerprint(Path(path)) for key, path in paths.items() if path and Path(path).exists()
    }
    sentences = [expression.text for expression in video.expressions]
    return {"video": split.fingerprint, "sentences": sentences} | files


def check_device(device: str, *, uses_gpu: bool) -> None:
    """Raises InputError for a device that is not there, where a stage uses it."""
    if device in ("auto", "cpu") or not uses_gpu:
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device: expected auto or a device that is here, got {device!r}: {reason}"
        ) from None


def choose_device(device: str, *, uses_gpu: bool) -> str:
    """The device as torch names it: `auto` is the GPU if a stage uses one and there is one."""
    if device != "auto" or not uses_gpu:
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def offer_small(cfg: DictConfig, *, uses_gpu: bool) -> None:
    """Say that smaller networks answer, where the run's are heavy for this machine.

    Raises InputError where the run's networks need torch, which is not installed.
    """
    if not uses_gpu:
        return
    if find_spec("torch") is None:
        raise InputError(f"these networks need torch: pip install 'rvos[models]'. {SMALL}")
    weights = cfg.coarse.get("weights")
    row = find(weights) if weights and not Path(weights).exists() else None
    if row is not None and here(row) is None and shutil.which("nvidia-smi") is None:
        log.warning(SMALL)


def note_of(cfg: DictConfig, inputs: Inputs) -> str:
    """What the page says of weights that know coloured shapes only, and of doubtful answers."""
    checkpoint = cfg.coarse.get("checkpoint")
    notes = [DEMO_NOTE] if checkpoint and cfg.model.tokenizer == "words" else []
    folder = inputs.coarse.folder_beside("coarse_scores")
    for video in inputs.split.videos:
        path = folder / f"{video.name}.json.gz" if folder else None
        kept = read_json(path)["expressions"] if path and path.is_file() else {}
        for e in video.expressions:
            if remark := kept.get(e.expression_id, {}).get("remark"):
                notes.append(f"{e.text}: {remark}.")
    return " ".join(notes)
