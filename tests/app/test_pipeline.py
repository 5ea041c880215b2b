"""eval.py and predict.py with networks: frames and sentences in, masks, scores and pages out."""

import os
import subprocess
import sys
import zipfile
from html import unescape

import av
import numpy as np
import pytest
from fork_server import forked_python
from made_data import REPOSITORY, small_synthetic
from PIL import Image

from rvos.data.frames import FrameFolder, VideoFile
from rvos.masks import decode, read_json, write_video

pytestmark = pytest.mark.slow
CPU = ["trainer.accelerator=cpu"]
SHAPES = ["experiment=shapes", "coarse.short_side=64", "device=cpu"]
MODEL = ["model=mutr_tiny", "model.num_queries=1", "coarse=mutr_tiny", "coarse.short_side=64"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline") / "data"
    small_synthetic(
        folder,
        num_videos={"valid_u": 3, "valid": 1},
        hidden_truth=["valid"],
        num_frames=6,
        no_target=0.2,
    )
    return folder


def run(program, *arguments):
    done = subprocess.run(
        [forked_python(), f"{program}.py", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def evaluate(data, stores, out, *arguments):
    common = ["data=synthetic", f"data.root={data}", f"paths.stores={stores}", "masklets=flow"]
    return run("eval", *common, *MODEL, *CPU, f"output_dir={out}", *arguments)


@pytest.fixture(scope="module")
def first_run(data):
    stores, out = data.parent / "stores", data.parent / "first"
    evaluate(data, stores, out, "submission=true")
    return stores, out


def test_all_stages(first_run):
    stores, out = first_run
    metrics = read_json(out / "metrics.json")
    assert metrics["num_frames"] == 6 * metrics["num_expressions"] > 0
    assert 0 < metrics["coarse"]["J&F"] <= 1
    page = (out / "report/index.html").read_text()
    assert "C_sel" in page and len(page) > 10_000
    with zipfile.ZipFile(out / "submission.zip") as archive:
        assert len(archive.namelist()) == metrics["num_frames"]
    assert len(list((stores / "masklets").glob("*/*.json.gz"))) == 3


def test_expressions_without_target_have_their_scores(data, first_run):
    """N-acc counted from the refined masks; tables, page and compare show it."""
    stores, out = first_run
    metrics = read_json(out / "metrics.json")
    meta = read_json(data / "valid_u" / "meta_expressions.json")["videos"]
    silent = [
        not any(read_json(out / "refined" / f"{video}.json.gz")[key])
        for video, entry in meta.items()
        for key, expression in entry["expressions"].items()
        if not expression["anno_id"]
    ]
    assert 0 < len(silent) == metrics["slices"]["no_target"]["num_expressions"]
    assert metrics["N-acc"] == pytest.approx(np.mean(silent))
    final = (metrics["J&F"] + metrics["N-acc"] + metrics["T-acc"]) / 3
    assert metrics["Final"]["all"] == pytest.approx(final)
    page = (out / "report" / "index.html").read_text()
    assert "N-acc" in page and "no target" in page and f"{100 * final:.2f}" in page
    printed = subprocess.run(
        [forked_python(), "-m", "rvos", "compare", out, out],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    ).stdout
    assert "Final (all)" in printed and "J&F, no target" in printed


def test_another_window_runs_no_stage_again(data, first_run):
    stores, _ = first_run
    before = {p: p.stat().st_mtime_ns for p in stores.rglob("*.json.gz")}
    printed = evaluate(data, stores, data.parent / "second", "refine.window=3", "report=none")
    assert {p: p.stat().st_mtime_ns for p in stores.rglob("*.json.gz")} == before
    assert "all 3 videos are in" in printed


def test_presence_reads_the_scores_that_the_network_wrote(data, first_run, tmp_path):
    """The scores lie beside the store of the first run: mean over the frames of both sub-clips."""
    stores, _ = first_run
    evaluate(data, stores, tmp_path / "out", "presence=coarse_score", "report=none")
    (scores,) = (stores / "coarse_scores").glob("*-valid_u-*")
    for path in (tmp_path / "out" / "decisions").glob("*.json"):
        entries = read_json(scores / f"{path.name}.gz")["expressions"]
        for key, decision in read_json(path).items():
            first, second = entries[key]["clips"]
            assert (first["frames"], second["frames"]) == (3, 3)
            value = (first["scores"][first["query"]] + second["scores"][second["query"]]) / 2
            assert decision["presence"]["value"] == pytest.approx(value, abs=1e-12)
            assert decision["presence"]["present"] == (value >= 0.5)


def test_predict_empties_what_is_not_there(data, tmp_path):
    """No probability is 1: every mask goes, and the page is there all the same."""
    folder = data / "valid_u" / "JPEGImages" / "valid_u_0000"
    arguments = [f"video={folder}", "expression=the circle", *SHAPES]
    given = ["presence=coarse_score", "presence.threshold=1", f"output_dir={tmp_path}"]
    run("predict", *arguments, *given)
    (refined,) = (tmp_path / "refined").iterdir()
    assert read_json(refined) == {"0": [None] * 6}
    assert (tmp_path / "index.html").is_file()


def test_a_split_without_truth_gives_a_submission_and_no_scores(data, first_run):
    stores, _ = first_run
    out = data.parent / "hidden"
    evaluate(data, stores, out, "data.split=valid", "submission=true")
    assert (out / "submission.zip").is_file() and not (out / "metrics.json").exists()


@pytest.mark.parametrize("sentence", ["the red circle", 'the dog\'s hat, (a = b): "x" é'])
def test_predict_on_a_video_file(data, tmp_path, sentence):
    video = next((data / "valid_u/JPEGImages").iterdir())
    clip = tmp_path / "my clip, one.mp4"
    write_video(clip, FrameFolder(video), 10)
    out = tmp_path / "out"
    printed = run(
        "predict",
        f"video={clip}",
        f"expression={sentence}",
        f"output_dir={out}",
        *SHAPES,
    )
    assert "coloured shapes" in printed  # says what its weights are
    with av.open(str(out / "overlay/0.mp4")) as container:  # what browsers play
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
    overlay = VideoFile(out / "overlay/0.mp4")
    assert len(overlay) == 6 and overlay.size == (64, 96)
    (track,) = read_json(out / "refined" / f"{clip.stem}.json.gz").values()
    for mask, path in zip(track, sorted((out / "masks/0").glob("*.png")), strict=True):
        pixels = np.asarray(Image.open(path))
        assert pixels.shape == (64, 96) and set(np.unique(pixels)) <= {0, 255}
        assert (pixels > 0).sum() == (0 if mask is None else decode(mask).sum())
    assert sentence in unescape((out / "index.html").read_text())


@pytest.mark.parametrize("given", [True, False])
def test_ctrl_c_says_how_predict_goes_on(data, tmp_path, monkeypatch, capsys, given):
    """Each start has a folder of its own, with its stores, unless one is given."""
    from rvos.app.evaluation import Evaluation
    from rvos.app.predict import main

    def stopped(self, work):
        raise KeyboardInterrupt

    monkeypatch.setattr(Evaluation, "make", stopped)
    (video,) = (data / "valid" / "JPEGImages").iterdir()
    words = [*SHAPES, f"video={video}", "expression=the red square", f"paths.runs={tmp_path}"]
    words += [f"output_dir={tmp_path / 'given'}"] * given
    monkeypatch.setattr("sys.argv", ["predict.py", *words])
    with pytest.raises(SystemExit, match="130"):
        main()
    (folder,) = [tmp_path / "given"] if given else (tmp_path / "predict" / "default").iterdir()
    told = capsys.readouterr().err
    assert folder.is_dir()
    assert (f"To go on, add output_dir={folder} to this command." in told) is not given
    assert ("The same command makes what is missing." in told) is given


def test_predict_many_sentences_on_a_folder(data, tmp_path):
    """A file of sentences; what is there is used again for the same sentences only."""
    video = next((data / "valid_u/JPEGImages").iterdir())
    lines, out = tmp_path / "sentences.txt", tmp_path / "out"
    lines.write_text("the red circle\n\nthe blue star\n")
    arguments = [
        f"video={video}",
        f"expressions={lines}",
        "masks=rle",
        f"output_dir={out}",
        *SHAPES,
    ]
    run("predict", *arguments)
    (coarse,) = (out / "stores" / "coarse").glob(f"*/{video.name}.json.gz")
    first, made = (out / "refined" / f"{video.name}.json.gz").read_bytes(), coarse.stat()
    assert set(read_json(coarse)) == {"0", "1"} and not (out / "masks").exists()
    drawn = out / "overlay" / "0.mp4"
    (out / "overlay" / "1.mp4").write_bytes(drawn.read_bytes())  # of other masks: drawn again
    overlay = drawn.stat()
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    path = os.pathsep.join(map(str, (tmp_path, REPOSITORY)))
    again = [sys.executable, "predict.py", *arguments]  # what is made needs no torch
    subprocess.run(again, cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": path}, check=True)
    assert coarse.stat().st_mtime_ns == made.st_mtime_ns
    assert drawn.stat().st_mtime_ns == overlay.st_mtime_ns
    assert (out / "refined" / f"{video.name}.json.gz").read_bytes() == first

    assert (out / "overlay" / "1.mp4").read_bytes() != drawn.read_bytes()

    lines.write_text("the blue star\nthe red circle\n")
    command = [forked_python(), "predict.py", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1 and "holds results of other settings" in done.stderr
    assert "the blue star" in done.stderr and "Traceback" not in done.stderr


def test_wrong_settings_are_found_before_a_network_runs(data, tmp_path):
    command = [
        forked_python(),
        "eval.py",
        "data=synthetic",
        f"data.root={data}",
        *MODEL,
        *CPU,
        "masklets=flow",
        f"paths.stores={tmp_path / 'stores'}",
        f"output_dir={tmp_path / 'out'}",
    ]
    for wrong in ("score.missing=foo", "report.frames=0", "masklets.noun.method=foo"):
        done = subprocess.run([*command, wrong], cwd=REPOSITORY, capture_output=True, text=True)
        key = wrong.partition("=")[0]
        assert done.returncode == 1 and key in done.stderr and "expected" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "stores" / "coarse").exists()
