"""eval.py as people run it: exact numbers on the bundled masks, one clear error for bad input."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import time

import pytest
from fork_server import forked_python
from made_data import DAVIS, REPOSITORY, davis_arguments, square

from rvos.masks import TrackFiles, canonical_track, read_json, write_json
from rvos.masks.tracks import _Unpacked
from rvos.report.best import main as best


def command(arguments, **kwargs):
    return subprocess.run(
        [forked_python(), "eval.py", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        **kwargs,
    )


@pytest.fixture(scope="module")
def expected():
    return json.loads((DAVIS / "expected.json").read_text())


@pytest.fixture(scope="module")
def grid_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid") / "out"
    done = command([*davis_arguments(), "ablation=grid", f"output_dir={folder}"])
    assert done.returncode == 0, done.stderr
    return folder


def refined_sha256(folder):
    """As data/davis_masks/README describes it, from the files in `refined/`."""
    digest = hashlib.sha256()
    refined = TrackFiles(folder / "refined")
    for video, entry in read_json(DAVIS / "meta_expressions.json")["videos"].items():
        tracks = refined.read(video)
        for expression_id in entry["expressions"]:
            for frame, mask in zip(entry["frames"], tracks[expression_id], strict=True):
                counts = mask["counts"] if mask else "-"
                digest.update(f"{video}/{expression_id}/{frame}:{counts}\n".encode())
    return digest.hexdigest()


def test_all_cells_of_the_grid(grid_run, expected):
    rows = list(csv.DictReader((grid_run / "ablation.csv").open()))
    assert len(rows) == 64
    for row in rows:
        cell = f"{row['window']}:{row['tau']}" if row["window"] else None
        truth = expected["grid"][cell] if cell else expected["baseline"]
        for key in ("J", "F", "J&F"):
            assert float(row[key]) == pytest.approx(truth[key], abs=1e-9), cell
        assert row["sha256"] == truth["sha256"], cell
        if cell:
            assert int(row["frames_kept_coarse"]) == truth["frames_kept_coarse"], cell
    assert (grid_run / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_the_grid_is_that_of_the_runs_own_rule(tmp_path, capsys):
    """The cell of the run's own window and threshold has the run's own numbers, and its name."""
    folder = tmp_path / "out"
    given = [*davis_arguments(), "refine=instance_vote", "ablation=paper", "report=none"]
    done = command([*given, f"output_dir={folder}"])
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((folder / "ablation.csv").open()))
    (cell,) = (row for row in rows if (row["window"], row["tau"]) == ("15", "0.8"))
    metrics = read_json(folder / "metrics.json")
    assert float(cell["J&F"]) == metrics["J&F"] and round(100 * metrics["J&F"], 2) == 54.06
    assert cell["sha256"] == refined_sha256(folder) and cell["rule"] == "instance_vote"
    assert rows[0]["rule"] == "none"  # the coarse masks
    assert "J&F of instance_vote by window and tau" in " ".join(done.stdout.split())
    assert best([str(folder), "--window", "15"]) == 0
    printed = capsys.readouterr().out
    assert printed == "refine=instance_vote refine.window=15 refine.tau=0.8\n"
    refused = command([*davis_arguments(), "refine=whole_video", "ablation=paper"])
    assert refused.returncode == 1 and "got refine=whole_video" in refused.stderr


def test_per_expression_and_metrics(grid_run, expected):
    """The run's own setting is 15 / 0.8; the coarse columns are the baseline's."""
    rows = list(csv.DictReader((grid_run / "per_expression.csv").open()))
    assert len(rows) == 70
    for row in rows:
        J, F = expected["per_expression"][row["video"]][row["expression_id"]]["baseline"]
        assert float(row["coarse_J"]) == pytest.approx(J, abs=1e-9)
        assert float(row["coarse_F"]) == pytest.approx(F, abs=1e-9)
    metrics = read_json(grid_run / "metrics.json")
    cell = expected["grid"]["15:0.8"]
    for key in ("J", "F", "J&F"):
        assert metrics[key] == pytest.approx(cell[key], abs=1e-9)
        assert metrics["coarse"][key] == pytest.approx(expected["baseline"][key], abs=1e-9)
    assert (metrics["num_expressions"], metrics["num_frames"]) == (70, 4784)
    assert metrics["extra"]["frames_kept_coarse"] == cell["frames_kept_coarse"]
    assert refined_sha256(grid_run) == cell["sha256"]


@pytest.mark.parametrize("window, tau", [(1, 0.5), (15, 0.5), (60, 0.5), (20, 0.3)])
def test_single_runs(run_eval, tmp_path, expected, window, tau):
    overrides = [f"refine.window={window}", f"refine.tau={tau}", f"output_dir={tmp_path}/out"]
    status, errors = run_eval([*davis_arguments(), *overrides])
    assert status == 0, errors
    cell = expected["grid"][f"{window}:{tau}"]
    assert read_json(tmp_path / "out/metrics.json")["J&F"] == pytest.approx(cell["J&F"], abs=1e-9)
    assert refined_sha256(tmp_path / "out") == cell["sha256"]
    name = f"{window}:{tau}"
    for row in csv.DictReader((tmp_path / "out/per_expression.csv").open()):
        values = expected["per_expression"][row["video"]][row["expression_id"]]
        if name in values:
            assert [float(row["J"]), float(row["F"])] == pytest.approx(values[name], abs=1e-9)


def test_decisions_explain_the_refined_masks(grid_run):
    for video in TrackFiles(grid_run / "refined").videos():
        decisions = read_json(grid_run / "decisions" / f"{video}.json")
        for decision in decisions.values():
            frames = [t for w in decision["windows"] for t in range(w["start"], w["stop"])]
            assert frames == list(range(len(decision["combinations"])))
            for window in decision["windows"]:
                assert window["kept_coarse"] == (window["selected"] == [])
                votes = decision["combinations"][window["start"] : window["stop"]]
                assert votes.count(window["selected"]) == max(votes.count(v) for v in votes)


def test_refine_none_is_the_baseline_with_the_same_keys(run_eval, tmp_path, expected):
    arguments = [*davis_arguments(), "refine=none", "refine.window=15", f"output_dir={tmp_path}/o"]
    status, errors = run_eval(arguments)
    assert status == 0, errors
    metrics = read_json(tmp_path / "o/metrics.json")
    assert metrics["J&F"] == metrics["coarse"]["J&F"]
    assert metrics["J&F"] == pytest.approx(expected["baseline"]["J&F"], abs=1e-9)
    assert refined_sha256(tmp_path / "o") == expected["baseline"]["sha256"]


def test_rules_of_an_ablation_have_masklets_whatever_the_main_rule(run_eval, made_data):
    """Also with `refine=none`; the rules' window and tau are those of `refine`."""
    arguments = [part for part in made_data.write() if not part.startswith("refine.")]
    out = made_data.root / "rules"
    arguments = [part for part in arguments if not part.startswith("output_dir=")]
    assert run_eval([*arguments, "refine=none", "ablation=rules", f"output_dir={out}"]) == (0, "")
    with open(out / "rules.csv") as file:
        assert len({row["sha256"] for row in csv.DictReader(file)}) > 1  # not all the coarse masks
    alone = made_data.root / "alone"
    status, _ = run_eval(
        [*arguments, "refine.window=3", "refine.tau=0.5", "ablation=rules", f"output_dir={alone}"]
    )
    assert status == 0
    with open(alone / "rules.csv") as file:
        vote = {row["rule"]: row for row in csv.DictReader(file)}["vote"]
    assert (vote["window"], vote["tau"]) == ("3", "0.5")
    assert float(vote["J&F"]) == read_json(alone / "metrics.json")["J&F"]


def test_multirun_makes_one_folder_per_job(tmp_path, made_data):
    arguments = [*made_data.write(), f"output_dir={tmp_path}/sweep", "refine.window=1,3"]
    done = command(["-m", *arguments])
    assert done.returncode == 0, done.stderr
    found = sorted(tmp_path.glob("sweep/*/metrics.json"))
    assert [read_json(path)["refine"]["window"] for path in found] == [1, 3]


def test_made_data_scores_by_hand(made_data, run_eval):
    """long/0: 2 of 7 frames wrong before, none after. short/0: right. */1: coarse has 1 of 2
    squares of equal area, J = 1/2. */2: no target and an empty prediction, 1."""
    status, errors = run_eval(made_data.write())
    assert status == 0, errors
    metrics = read_json(made_data.root / "out/metrics.json")
    assert metrics["coarse"]["J"] == pytest.approx((5 / 7 + 1 + 4 * 1 - 1) / 6)
    assert metrics["J"] == pytest.approx((1 + 1 + 0.5 + 0.5 + 1 + 1) / 6)
    assert (metrics["num_expressions"], metrics["num_frames"]) == (6, 24)


def test_files_of_all_videos_are_parsed_once(made_data, run_eval, monkeypatch):
    parsed = []
    original = _Unpacked.__init__
    monkeypatch.setattr(
        _Unpacked, "__init__", lambda self, path: parsed.append(path.name) or original(self, path)
    )
    assert run_eval([*made_data.write(), "presence=none"])[0] == 0
    assert sorted(parsed) == ["coarse.json", "masklets.json"]


def test_a_key_that_is_gone_says_what_to_write_instead(made_data, run_eval):
    status, errors = run_eval([*made_data.write(), "claims.stale_after=600"])
    assert status == 1 and "claims.stale_after: there is no such key" in errors
    assert "shard=i/n" in errors


@pytest.mark.parametrize("workers", [1, 2])
def test_forms_and_workers_do_not_matter(made_data, run_eval, workers):
    """Folders of per-video files give byte for byte what single files give."""
    run_eval(made_data.write())
    reference = made_data.root / "out"
    for name in ("coarse", "masklets"):
        for video, value in getattr(made_data, name).items():
            write_json(made_data.root / name / f"{video}.json.gz", value)
    arguments = [*made_data.write(), f"score.workers={workers}"]
    arguments += [f"{name}.path={made_data.root / name}" for name in ("coarse", "masklets")]
    other = made_data.root / "other"
    status, errors = run_eval([*arguments, f"output_dir={other}"])
    assert status == 0, errors
    files = [p.relative_to(reference) for p in reference.rglob("*") if p.suffix in (".gz", ".csv")]
    assert len(files) == 9  # refined, inputs, scores (two kinds) of two videos, one table
    for file in [*files, "metrics.json", "decisions/long.json"]:
        assert (reference / file).read_bytes() == (other / file).read_bytes(), file


def test_missing_empty_scores_what_is_missing_as_empty(made_data, run_eval):
    """long/0 gone (7 frames), long/1 two frames short, short/1 of another size."""
    del made_data.coarse["long"]["0"]
    made_data.coarse["long"]["1"] = made_data.coarse["long"]["1"][:5]
    made_data.coarse["short"]["1"] = [square(0, 0, size=(20, 30))]
    arguments = made_data.write()
    status, errors = run_eval(arguments)
    assert status == 1 and "Coarse masks missing (1)" in errors and "wrong length (1)" in errors
    arguments += ["score.missing=empty", "refine=none", f"output_dir={made_data.root / 'empty'}"]
    status, errors = run_eval(arguments)
    assert status == 0, errors
    metrics = read_json(made_data.root / "empty/metrics.json")
    assert metrics["extra"]["frames_scored_as_empty"] == 7 + 2 + 1
    assert metrics["J"] == pytest.approx((0 + 0.5 * 5 / 7 + 1 + 1 + 0 + 1) / 6)


# ------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("max_videos", ["null", "1"])
def test_a_video_without_expressions_needs_no_masks(made_data, run_eval, max_videos):
    """It counts as no video. Of the other, one of two equal squares is missed once: J = 2.5 / 3."""
    made_data.meta["videos"]["long"]["expressions"] = {}
    for table in (made_data.coarse, made_data.masklets, made_data.nouns):
        del table["long"]
    arguments = [*made_data.write(), f"score.max_videos={max_videos}"]
    assert run_eval(arguments)[0] == 0
    metrics = read_json(made_data.root / "out" / "metrics.json")
    assert (metrics["num_expressions"], metrics["J"]) == (3, pytest.approx(2.5 / 3))
    log = (made_data.root / "out" / "eval.log").read_text()
    assert "videos without expressions in the meta file (1):\n  long" in log


def test_a_video_whose_nouns_are_empty_has_no_masklets(made_data, run_eval):
    """Its coarse masks stay. Its largest masklet is nothing, which is right for "2" alone; of the
    other video it is one of two equal squares: J is 1, 1/2 and, without masklets, 1."""
    made_data.nouns["long"] = dict.fromkeys("012", "")
    status, errors = run_eval(made_data.write())
    assert status == 0, errors
    metrics = read_json(made_data.root / "out" / "metrics.json")
    assert metrics["J"] == metrics["coarse"]["J"]
    assert metrics["trivial"]["largest masklet"]["J"] == pytest.approx((1 + 1 + 0.5 + 1) / 6)


def test_a_metric_that_is_no_number_has_no_mean(made_data, run_eval):
    """The standard deviation over frames, with Bessel's correction, of a video of one frame."""
    extra = "+score.extra.spread={_target_: made_data.spread}"
    arguments = [*made_data.write(), "score=volumetric", extra, "report=html"]
    assert run_eval(arguments)[0] == 0
    out = made_data.root / "out"
    assert read_json(out / "metrics.json")["extra"]["spread"] is None
    assert "score.extra.spread: no mean" in (out / "eval.log").read_text()
    page = (out / "report" / "index.html").read_text()
    assert "<dt>JF volume (our formula; that of arXiv" in page
    assert "nan" not in page.lower().split("</style>")[-1]


def spoil(change):
    """A case that changes the data before it is written."""
    return lambda data: (change(data), data.write())[1]


def after_writing(name, content):
    def prepare(data):
        arguments = data.write()
        (data.root / name).write_bytes(content)
        return arguments

    return prepare


def with_overrides(*overrides):
    return lambda data: [*data.write(), *(o.format(root=data.root) for o in overrides)]


def cut(track):
    track[2] = {**track[2], "counts": track[2]["counts"][:-1]}


LONG = ("video long", "expression 0")
ERRORS = {
    "bad data left out": (with_overrides("data.skip_bad=true"), ["data.skip_bad", "training"]),
    "no data folder": (with_overrides("data.root={root}/nowhere"), ["nowhere"]),
    "no split": (with_overrides("data.split=train"), ["data/train"]),
    "no coarse file": (with_overrides("coarse.path={root}/no.json"), ["coarse.path", "no.json"]),
    "no path": (with_overrides("coarse.path=null"), ["coarse.path"]),
    "no masklets file": (with_overrides("masklets.path={root}/no"), ["masklets.path"]),
    "no nouns": (with_overrides("masklets.nouns={root}/no.json"), ["masklets.nouns", "no.json"]),
    "coarse not JSON": (after_writing("coarse.json", b"{nope"), ["coarse.json", "JSON"]),
    "nouns not JSON": (after_writing("nouns.json", b"[1"), ["nouns.json", "JSON"]),
    "nouns that are no text": (
        after_writing("nouns.json", b'{"long": {"0": "\\udce9"}}'),
        ["nouns.json", "cannot be written as UTF-8"],
    ),
    "nouns of another form": (after_writing("nouns.json", b'{"long": 3}'), ["nouns.json"]),
    "meta not JSON": (
        after_writing("data/valid_u/meta_expressions.json", b"x"),
        ["meta_expressions.json", "JSON"],
    ),
    "duplicate expression ids": (
        after_writing(
            "data/valid_u/meta_expressions.json",
            b'{"videos":{"v":{"frames":["0"],"expressions":{"0":{"exp":"a"},"0":{"exp":"b"}}}}}',
        ),
        ["meta_expressions.json", "'0' occurs twice"],
    ),
    "empty split": (spoil(lambda d: d.meta["videos"].clear()), ["the split is empty"]),
    "missing video": (spoil(lambda d: d.coarse.pop("short")), ["coarse.json", "video short"]),
    "missing expression": (
        spoil(lambda d: d.coarse["long"].pop("0")),
        ["coarse.json", *LONG],
    ),
    "missing frame": (
        spoil(lambda d: d.coarse["long"]["0"].pop()),
        ["coarse.json", *LONG, "expected 7 masks", "got 6"],
    ),
    "truth of the wrong length": (
        spoil(lambda d: d.mask_dict["long-moving"].pop()),
        ["mask_dict.json", "long-moving", "expected 7"],
    ),
    "unknown annotation": (
        spoil(lambda d: d.mask_dict.pop("long-still")),
        ["mask_dict.json", "long-still", "video long", "expression 1"],
    ),
    "wrong size": (
        spoil(lambda d: d.coarse["long"]["0"].__setitem__(2, square(0, 0, size=(40, 61)))),
        ["coarse.json", *LONG, "frame 00002", "expected a mask of 40 x 60", "got 40 x 61"],
    ),
    "corrupt counts": (
        spoil(lambda d: cut(d.coarse["long"]["0"])),
        ["coarse.json", *LONG, "frame 00002", "corrupt counts"],
    ),
    "corrupt masklet": (
        spoil(lambda d: cut(d.masklets["long"]["square"][1])),
        ["masklets.json", "video long", "noun square, instance 1", "frame 00002"],
    ),
    "missing masklets": (
        spoil(lambda d: d.masklets.pop("short")),
        ["masklets.json", "video short"],
    ),
    "missing noun": (spoil(lambda d: d.nouns["long"].pop("2")), ["video long", "expression 2"]),
    "unknown noun": (
        spoil(lambda d: d.nouns["long"].update({"0": "cat"})),
        ["masklets.json", "video long", "noun cat", "circle, square"],
    ),
    "tau NaN": (with_overrides("refine.tau=nan"), ["refine.tau", ">= 0 and < 1"]),
    "tau 1": (with_overrides("refine.tau=1"), ["refine.tau"]),
    "tau below 0": (with_overrides("refine.tau=-0.1"), ["refine.tau", "-0.1"]),
    "window 0": (with_overrides("refine.window=0"), ["refine.window", "got 0"]),
    "bad cell": (with_overrides("ablation=grid", "ablation.taus=[0.5,1.0]"), ["tau", "1.0"]),
    "half an ablation": (with_overrides("ablation.windows=[5]"), ["ablation.taus"]),
    "unknown key": (with_overrides("refine.windows=5"), ["windows"]),
    "unknown choice": (with_overrides("refine=vot"), ["vot", "vote"]),
    "bad score.missing": (with_overrides("score.missing=skip"), ["score.missing", "skip"]),
    "bad score.workers": (with_overrides("score.workers=-1"), ["score.workers", "-1"]),
    "output_dir in a file": (with_overrides("output_dir={root}/coarse.json/x"), ["output_dir"]),
}


# Found when the video's turn comes; the other video is refined and scored.
MASKS_OF_A_VIDEO = {
    "missing expression",
    "missing frame",
    "wrong size",
    "corrupt counts",
    "corrupt masklet",
    "unknown noun",
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_input_gives_one_clear_error(made_data, run_eval, case):
    prepare, parts = ERRORS[case]
    status, errors = run_eval(prepare(made_data))
    assert status == 1
    assert errors.startswith("error: ") and "Traceback" not in errors
    for part in parts:
        assert part in errors, errors
    left = list((made_data.root / "out").glob("[!e]*"))  # not the log
    if case in MASKS_OF_A_VIDEO:
        assert not (made_data.root / "out/metrics.json").exists()
        assert (made_data.root / "out/refined/short.json.gz").exists()
    else:
        assert not left, "nothing but the log may remain"


def test_all_problems_are_listed_together(made_data, run_eval):
    for t in range(7):
        made_data.coarse["long"]["0"][t] = square(0, 0, size=(t + 11, 99))
        made_data.coarse["long"]["1"][t] = {"size": [40, 60], "counts": "~"}
    del made_data.masklets["short"]["square"]
    status, errors = run_eval(made_data.write())
    assert status == 1
    assert "Bad masks (14):" in errors and "... and 4 more" in errors
    assert errors.count("corrupt counts") == 3 and "frame 00006" in errors
    assert "Unknown nouns (1):" in errors
    made_data.mask_dict["long-still"].pop()
    del made_data.nouns["short"]
    status, errors = run_eval([*made_data.write(), f"output_dir={made_data.root / 'other'}"])
    assert status == 1  # what names and lengths tell is found before the first mask is read
    assert "Nouns missing (3):" in errors and "wrong length (1):" in errors
    assert "Bad masks" not in errors


def test_folder_of_other_settings_is_refused(made_data, run_eval):
    arguments = made_data.write()
    assert run_eval(arguments)[0] == 0
    before = (made_data.root / "out/metrics.json").read_bytes()
    status, errors = run_eval([*arguments, "refine.window=3"])
    assert status == 1 and "refine.window: was 15, now 3" in errors
    assert (made_data.root / "out/metrics.json").read_bytes() == before
    assert run_eval([*arguments, "score.workers=2"])[0] == 0  # same settings: run again
    (made_data.root / "out/config.yaml").unlink()
    status, errors = run_eval(arguments)
    assert status == 1 and "unknown settings" in errors


def test_folder_of_other_data_is_refused(made_data, run_eval):
    assert run_eval(made_data.write())[0] == 0
    made_data.meta["videos"]["long"]["expressions"]["0"]["exp"] = "another sentence"
    status, errors = run_eval(made_data.write())
    assert status == 1 and "meta_expressions_sha256" in errors


def test_kill_and_run_again(tmp_path, expected):
    """SIGKILL while videos are being written; the second run is right and leaves nothing else."""
    out = tmp_path / "out"
    arguments = [*davis_arguments(), f"output_dir={out}", "score.workers=1"]
    process = subprocess.Popen(
        [forked_python(), "eval.py", *arguments],
        cwd=REPOSITORY,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("refined/*.gz"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "metrics.json").exists()
    for path in out.glob("refined/*.json.gz"):  # what is there is whole
        assert all(canonical_track(track) for track in read_json(path).values())
    assert command(arguments).returncode == 0
    assert refined_sha256(out) == expected["grid"]["15:0.8"]["sha256"]
    assert len(list((out / "refined").glob("*.json.gz"))) == 15


def test_all_wrong_settings_are_named_at_once(made_data, run_eval):
    """Of every group, values of a wrong kind among them; and nothing was written."""
    wrong = {
        "refine.window": "0",
        "refine.tau": "high",
        "ablation.windows": "[1,x]",
        "ablation.taus": "[0.5,7]",
        "ablation.presence": "3",
        "score.workers": "-1",
        "score.missing": "skip",
        "report.frames": "0",
        "report.confidence": "2",
        "coarse.detect.stride": "0",  # an inner object, which Hydra makes first
        "coarse.precision": "fp16",
        "masklets.detect.nms_iou": "often",
        "masklets.tracker": "eyes",
    }
    data = [a for a in made_data.write() if a.startswith(("data", "output_dir"))]
    names = ["coarse=grounded", "masklets=sam2", "ablation.rules=[vote,none,vite,vate]"]
    changes = [f"{key}={value}" for key, value in wrong.items()]
    status, errors = run_eval([*data, *names, *changes, "+refine.width=3"])
    assert status == 1 and "Traceback" not in errors
    lines = errors.splitlines()
    assert lines[0] == f"error: Wrong settings ({len(wrong) + 3}):"
    assert "  refine=vote: no such key: width" in lines
    for name in ("vite", "vate"):
        assert any(line.startswith(f"  refine={name}: no such preset") for line in lines)
    for key in wrong:
        (line,) = (line for line in lines if line.startswith(f"  {key}: "))
        assert "expected" in line and "got" in line
    assert not (made_data.root / "out" / "config.yaml").exists()
