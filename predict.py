"""One's own video + sentences -> masks and overlay videos: `python predict.py video=my.mp4
expression="the cat walking left"`.

Settings: conf/predict.yaml. Results go to the run folder (`output_dir`); a second start with the
same settings goes on from the coarse masks and masklets that are there.
"""

import logging
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import Progress
from rich.progress import track as progress

from rvos import InputError
from rvos.data.mevis import Expression, Split, Video
from rvos.entry import claim_folder, entry_point, run_folder
from rvos.evaluation import evaluate_video
from rvos.frames import Frames, fingerprint, open_frames
from rvos.inputs import Inputs, open_tracks, read_nouns
from rvos.masks import TrackFiles, read_json, write_json
from rvos.refine import make_rule
from rvos.report.overlay import write_overlays
from rvos.report.prediction import write_masks, write_page

log = logging.getLogger(__name__)
DEMO_NOTE = (
    "The masks come from mutr_tiny, the demo's model: a few million parameters, trained on "
    "synthetic videos of coloured shapes. It knows nothing of real objects; docs/weights.md says "
    "where real weights come from."
)


@entry_point("predict", sentences=("expression", "video", "expressions"))
def main(cfg: DictConfig) -> None:
    rule = make_rule(**cfg.refine)
    if cfg.masks not in ("png", "rle"):
        raise InputError(f"masks: expected png or rle, got {cfg.masks!r}")
    if not cfg.video:
        raise InputError("video: expected a file or a folder of frames; expression: a sentence")
    frames = open_frames(Path(cfg.video))
    name = Path(cfg.video).resolve().stem
    fps = cfg.fps or frames.fps or 10
    if fps < 0:
        raise InputError(f"fps: expected frames per second > 0, got {cfg.fps}")
    sentences = read_sentences(cfg.expression, cfg.expressions)
    expressions = [Expression(name, str(i), text, ()) for i, text in enumerate(sentences)]
    video = Video(name, tuple(frames.names), tuple(expressions))
    folder = run_folder()
    claim_folder(
        folder,
        cfg,
        inputs=inputs_of(cfg, sentences),
        results=("index.html", "refined", "decisions", "coarse", "masklets", "nouns.json"),
    )

    coarse = coarse_files(cfg, video, frames, folder)
    masklets, nouns = masklet_files(cfg, video, frames, folder)
    split = Split(Path(cfg.video).parent, "", (video,), "")
    (job,) = Inputs(split, None, coarse, masklets, nouns).jobs()
    evaluate_video(job, rule, [], folder)

    refined = read_json(folder / "refined" / f"{name}.json.gz")
    for e in progress(expressions, "Drawing"):
        write_overlays(
            folder / "overlay" / f"{e.expression_id}.mp4", frames, refined[e.expression_id], fps
        )
        if cfg.masks == "png":
            write_masks(folder / "masks" / e.expression_id, frames, refined[e.expression_id])
    demo = cfg.coarse.name != "files" and cfg.model.tokenizer == "words"
    note = DEMO_NOTE if demo else ""
    write_page(folder / "index.html", video, job.nouns, note=note)
    if note:
        log.warning(note)
    Console().print(f"page: {folder / 'index.html'}", soft_wrap=True)


def read_sentences(expression: str | None, path: str | None) -> list[str]:
    """The sentences of `expression=` or of the lines of the file `expressions=`."""
    if bool(expression) == bool(path):
        raise InputError("expected either expression=SENTENCE or expressions=FILE")
    if not path:
        return [str(expression)]
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expressions: {path}: cannot be read as text: {error}") from None
    if sentences := [line.strip() for line in lines if line.strip()]:
        return sentences
    raise InputError(f"expressions: {path}: expected a sentence per line, the file is empty")


def inputs_of(cfg: DictConfig, sentences: list[str]) -> dict[str, Any]:
    """What the results depend on beside the settings: contents, not paths."""
    given = {
        "coarse.checkpoint": cfg.coarse.get("checkpoint"),
        "coarse.path": cfg.coarse.path,
        "masklets.path": cfg.masklets.path,
        "masklets.nouns": cfg.masklets.nouns,
    }
    files = {
        key: fingerprint(Path(path)) for key, path in given.items() if path and Path(path).exists()
    }
    return {"video": fingerprint(Path(cfg.video)), "sentences": sentences} | files


def device_of(cfg: DictConfig) -> str:
    import torch

    if cfg.device != "auto":
        return cfg.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def coarse_files(cfg: DictConfig, video: Video, frames: Frames, folder: Path) -> TrackFiles:
    """The coarse masks: given files, or MUTR's, kept in `coarse/` of the run folder."""
    if cfg.coarse.name == "files":
        return open_tracks("coarse.path", cfg.coarse.path)
    path = folder / "coarse" / f"{video.name}.json.gz"
    if not path.is_file():
        from rvos.coarse import make_coarse, scores_file, segment_video
        from rvos.mutr.checkpoint import load_weights

        settings = make_coarse(**cfg.coarse)
        file = settings.checkpoint_file()
        model = instantiate(cfg.model)
        load_weights(model, file)
        ids, texts = zip(*((e.expression_id, e.text) for e in video.expressions), strict=True)
        with Progress(*Progress.get_default_columns()) as bar:
            task = bar.add_task("Coarse masks", total=len(frames) * len(texts))
            answers = segment_video(
                model.to(device_of(cfg)),
                frames,
                texts,
                settings,
                report=lambda count: bar.advance(task, count),
            )
        protocol = settings.protocol() | {"checkpoint_sha256": fingerprint(file)}
        write_json(folder / "coarse_scores" / path.name, scores_file(ids, answers, protocol))
        tracks = [a.track for a in answers]
        write_json(path, dict(zip(ids, tracks, strict=True)))
    return TrackFiles(path.parent)


def masklet_files(
    cfg: DictConfig, video: Video, frames: Frames, folder: Path
) -> tuple[TrackFiles, dict[str, dict[str, str]]]:
    """The masklets: given files, or tracked and kept in `masklets/`; and the nouns."""
    if cfg.masklets.name == "files":
        tracks = open_tracks("masklets.path", cfg.masklets.path)
        return tracks, read_nouns("masklets.nouns", cfg.masklets.nouns)
    path, nouns = folder / "masklets" / f"{video.name}.json.gz", folder / "nouns.json"
    if not path.is_file():
        from rvos.masklets.stage import make_masklets

        stage = make_masklets(**OmegaConf.to_container(cfg.masklets, resolve=True))
        device = device_of(cfg) if cfg.masklets.name == "sam2" else "cpu"
        made, found = stage.make_one(video, frames, device=device)
        write_json(nouns, {video.name: found})
        write_json(path, made)
    return TrackFiles(path.parent), read_json(nouns)


if __name__ == "__main__":
    main()
