"""Damaged input of every kind: a result that can be checked, or one clear error.

Never another exception, a hang, a file outside the run folder, or a number from damaged input.
`make fuzz` runs 3,000 cases (RVOS_FUZZ), the test suite 300: here, and in the other test_fuzz*.py.
RVOS_FUZZ_SEED=1 takes other cases than those of each time.
"""

import io
import json
import os
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from fuzzing import EDITS, NAMES, VALUES, broken, damage, folder, fuzzed
from hypothesis import strategies as st
from made_data import MadeData
from pycocotools import mask as coco

from rvos import InputError, preset
from rvos.data.formats import open_split, open_truth
from rvos.masks import FileError, TrackFiles, encode, read_pixels
from rvos.refine import Candidates, Masklets, Vote, make_rule
from rvos.report.csv_tables import write_tables
from rvos.report.metrics import Metrics
from rvos.report.submission import check, pack
from rvos.score.ablation import labelled
from rvos.score.evaluate import Scorer
from rvos.score.inputs import Inputs
from rvos.score.results import read_results
from rvos.stages.store import given_nouns

# ----------------------------------------------------------------------------- given masks, scores

with tempfile.TemporaryDirectory() as made:
    MADE = MadeData(Path(made))
FILES = ("meta", "mask_dict", "coarse", "masklets", "nouns")
WHOLE = {name: getattr(MADE, name) for name in FILES}


def write(root, files):
    """The files of a small evaluation: contents as JSON, or as the bytes they are."""
    for name, content in files.items():
        within = {"meta": "data/valid_u/meta_expressions", "mask_dict": "data/valid_u/mask_dict"}
        path = root / f"{within.get(name, name)}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def score(root):
    """Refine and score what `write` wrote: metrics.json's content and the checked inputs."""
    os.environ["RVOS_STORES"] = str(root / "stores")
    split = open_split("mevis", root / "data", "valid_u")
    inputs = Inputs(
        split,
        open_truth("mevis", split),
        TrackFiles(root / "coarse.json"),
        TrackFiles(root / "masklets.json"),
        given_nouns("masklets.nouns", str(root / "nouns.json")),
    )
    videos = [inputs.read_video(video) for video in split.videos]
    rules = labelled(Vote(window=3, tau=0.5))
    scorer = Scorer(rules, {}, root / "out")
    for video in videos:
        scorer(video)
    results = read_results(root / "out", [video.name for video in split.videos])
    metrics = Metrics.of_results(results, split="valid_u", refine={"name": "vote"})
    write_tables(root / "out", metrics, results)
    return metrics.as_dict(), videos


def check_scores(root, files):
    """Either one clear error, or scores of masks that pycocotools reads alike."""
    write(root, files)
    try:
        content, videos = score(root)
    except InputError as error:
        assert len(str(error)) > 10
        return
    for key in ("J", "F", "J&F"):
        assert 0 <= content[key] <= 1 and 0 <= content["coarse"][key] <= 1
    coarse = json.loads((root / "coarse.json").read_bytes().decode("utf-8-sig"))
    for video in videos:
        for key, track in video.coarse.items():
            for ours, given_mask in zip(track, coarse[video.video.name][key], strict=True):
                pixels = 0 if given_mask is None else coco.decode(given_mask)
                assert np.array_equal(coco.decode(ours) if ours else 0 * pixels, pixels)


@fuzzed(data=st.data(), name=st.sampled_from(FILES))
def test_damaged_json(data, name):
    with folder() as root:
        check_scores(root, WHOLE | {name: data.draw(damage(WHOLE[name]))})


@fuzzed(name=st.sampled_from(FILES), edits=EDITS)
def test_damaged_bytes_of_json(name, edits):
    with folder() as root:
        content = broken(json.dumps(WHOLE[name]).encode(), edits)
        check_scores(root, WHOLE | {name: content})


@fuzzed(data=st.data(), name=st.sampled_from(["ref_davis", "ref_youtube_vos"]))
def test_damaged_meta_of_other_formats(data, name):
    entry = {"exp": "a bar", "obj_id": "1"}
    whole = {"videos": {"v": {"expressions": {"0": entry, "1": entry}, "frames": ["0", "1"]}}}
    with folder() as root:
        (root / "valid").mkdir()
        meta = root / "meta_expressions" / "valid" / "meta_expressions.json"
        meta.parent.mkdir(parents=True)
        meta.write_text(json.dumps(data.draw(damage(whole))))
        try:
            split = open_split(name, root, "valid")
        except InputError as error:
            assert str(meta) in str(error)
            return
        for video in split.videos:
            for frame in video.frames:
                assert split.frame_path(video.name, frame).resolve().is_relative_to(root.resolve())


# --------------------------------------------------------------------------------------- images


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


PIXELS = np.zeros((40, 60), np.uint8)
PIXELS[5:15, 3:30] = 255


@fuzzed(edits=EDITS)
def test_damaged_png(edits):
    """Pixels are those that OpenCV sees, or the file is named."""
    with folder() as root:
        path = root / "v" / "0" / "0.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(broken(png(PIXELS), edits))
        try:
            found = read_pixels(path)
        except FileError as error:
            assert str(path) in str(error)
            return
        theirs = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if theirs is None:  # all pixels are there, and the mark of the file's end is not
            assert np.array_equal(found, PIXELS > 0)
        else:
            assert np.array_equal(found, theirs > 0)


# ------------------------------------------------------------------------------------------ zips


@fuzzed(edits=EDITS, added=st.none() | NAMES)
def test_damaged_submissions(edits, added):
    """A zip that passes holds readable images of every expression and frame, nothing else."""
    with folder() as root:
        write(root, WHOLE)
        split = open_split("mevis", root / "data", "valid_u")
        sound = root / "sound.zip"
        count = pack(root / "coarse.json", sound, split)
        path = root / "x.zip"
        if added is None:
            path.write_bytes(broken(sound.read_bytes(), edits))
        else:
            with zipfile.ZipFile(sound) as archive, zipfile.ZipFile(path, "w") as other:
                for name in archive.namelist():
                    other.writestr(name, archive.read(name))
                other.writestr(added or "x", broken(png(PIXELS), edits))
        try:
            assert check(path, split) == count
        except InputError as error:
            assert str(path) in str(error)


# ----------------------------------------------------------------------------------- checkpoints


@cache
def checkpoint():
    """A small network, its weights, and their file's bytes."""
    torch = pytest.importorskip("torch")
    from rvos.mutr import load_model

    torch.manual_seed(0)
    model = load_model("mutr_tiny", num_queries=1)
    buffer = io.BytesIO()
    torch.save({"model": model.state_dict()}, buffer)
    return model, {n: t.clone() for n, t in model.state_dict().items()}, buffer.getvalue()


@fuzzed(share=0.5, edits=EDITS, edge=st.sampled_from([0, 20_000]))
def test_damaged_checkpoints(edits, edge):
    """Half of the damage goes to the pickle at the start and the directory at the end."""
    from rvos.mutr.checkpoint import load_weights

    model, state, content = checkpoint()
    ends = content[:edge] + content[len(content) - edge :]
    damaged = broken(ends if edge else content, edits)
    if edge:
        damaged = damaged[:edge] + content[edge:-edge] + damaged[edge:]
    with folder() as root:
        path = root / "mutr.pth"
        path.write_bytes(damaged)
        try:
            load_weights(model, path)
        except InputError as error:
            assert str(path) in str(error)
    changed = [n for n, t in model.state_dict().items() if not t.equal(state[n])]
    assert not changed


# --------------------------------------------------------------------------------- command lines

KEYS = st.sampled_from(
    "refine refine.window refine.tau ablation ablation.windows ablation.taus ablation.rules score "
    "score.workers score.missing score.max_videos score.extra +score.extra.x coarse coarse.path "
    "coarse.clip_length masklets masklets.path masklets.nouns masklets.flow.size data data.root "
    "data.split data.format submission seed name report report.frames report.oracle logger "
    "paths.stores output_dir trainer.devices ~refine ++x hydra.verbose é".split()
)
TEXTS = st.one_of(
    st.sampled_from(
        "null true 0 -1 1.5 1e400 nan [] [1 {} {a:1} '' a,b range(1,3) ${x} ${oc.env:X} vote none "
        "files flow oracle sam2 mutr paper grid html mevis José a=b nowhere/x 15 0.8".split()
    ),
    st.text(max_size=12),
)


@fuzzed(share=0.5, extra=st.lists(st.tuples(KEYS, TEXTS), min_size=1, max_size=3))
def test_command_lines(run_eval, monkeypatch, extra):
    """A run ends well, or with one error; never with a traceback."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    with folder() as root:
        write(root, WHOLE)
        monkeypatch.chdir(root)
        base = ["data.root=data", "coarse=files", "coarse.path=coarse.json", "output_dir=out"]
        base += ["masklets=files", "masklets.path=masklets.json", "masklets.nouns=nouns.json"]
        base += ["score.workers=1", "report=none"]
        status, told = run_eval([*base, *(f"{key}={text}" for key, text in extra)])
        assert status == 0 or (status in (1, 2) and told.strip() and "Traceback" not in told)


# -------------------------------------------------------------------------------------- settings


PRESETS = {n: preset("refine", n) for n in ("vote", "weighted_vote", "instance_vote", "none")}


@fuzzed(data=st.data(), name=st.sampled_from(list(PRESETS)))
def test_settings_of_rules(data, name):
    """A value of the wrong kind never reaches arithmetic."""
    values = PRESETS[name]
    key = data.draw(st.sampled_from([key for key in values if key != "name"]))
    try:
        rule = make_rule(**values | {key: data.draw(VALUES)})
    except InputError as error:
        assert key in str(error)
        return
    square = encode((PIXELS > 0).astype(np.uint8))
    track = rule(Candidates([square] * 5, Masklets([[square] * 5]))).track
    assert track == [square] * 5
