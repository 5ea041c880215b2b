"""Several processes of eval.py fill one run folder: its files are those of one process."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from commands import command
from fork_server import forked_python
from made_data import REPOSITORY, small_synthetic, square
from rich.console import Console

from rvos.app.status import Status
from rvos.data.formats import open_checked
from rvos.data.split import merge_tracks
from rvos.masks import read_json, write_json
from rvos.stages.records import Records

FOLDERS = [REPOSITORY, REPOSITORY / "tests/support", REPOSITORY / "tests/stages"]
PATH = os.pathsep.join(map(str, FOLDERS))
NUM_VIDEOS = 7


def noted(truth, prediction, J, F):
    """A metric that takes a while, and notes each expression that it is asked about."""
    with open(os.environ["RVOS_TEST_NOTES"], "a") as file:
        file.write("x")
    time.sleep(0.1)
    return float(J[0])


@pytest.fixture
def arguments(made_data):
    """Overrides of eval.py without output_dir, for seven videos of three expressions each."""
    made = made_data
    for i in range(NUM_VIDEOS - 2):
        name = f"more/{i}"  # a video in a folder, as ReVOS has
        ids = {f"long-{kind}": f"{name}-{kind}" for kind in ("moving", "still")}
        made.mask_dict |= {new: made.mask_dict[old][: i + 2] for old, new in ids.items()}
        frames = [f"{t:05d}" for t in range(i + 2)]
        expressions = {
            key: {**e, "anno_id": [ids[a] for a in e["anno_id"]]}
            for key, e in made.meta["videos"]["long"]["expressions"].items()
        }
        made.meta["videos"][name] = {"expressions": expressions, "frames": frames}
        made.coarse[name] = {k: t[: i + 2] for k, t in made.coarse["long"].items()}
        made.masklets[name] = {
            noun: [t[: i + 2] for t in tracks] for noun, tracks in made.masklets["long"].items()
        }
        made.nouns[name] = made.nouns["long"]
    kept = [part for part in made.write() if not part.startswith("output_dir=")]
    cells = ["ablation=grid", "ablation.windows=[1,3]", "ablation.taus=[0.5]"]
    return [*kept, *cells, "+score.extra.noted=test_sharing.noted"]


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """The file of `noted`; one character per expression that was scored."""
    monkeypatch.setenv("RVOS_TEST_NOTES", str(tmp_path / "notes"))
    (tmp_path / "notes").touch()
    return tmp_path / "notes"


def files(folder):
    """SHA-256 of everything but logs and the settings, which name the folder."""
    made = [p for p in folder.rglob("*") if p.is_file()]
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in made
        if p.suffix not in (".log", ".yaml") and p.name[0] != "." and p.name != "masklets.json"
    }


def start(arguments, out, python=None):
    return subprocess.Popen(
        [python or forked_python(), "eval.py", *arguments, f"output_dir={out}"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def alone(arguments, notes, run_eval, tmp_path):
    """The files of a run by one process."""
    assert run_eval([*arguments, f"output_dir={tmp_path / 'alone'}"]) == (0, "")
    assert notes.read_text() == "x" * 3 * NUM_VIDEOS
    notes.write_text("")
    found = files(tmp_path / "alone")
    assert {"metrics.json", "ablation.csv", "videos/more/0.json.gz"} <= set(found)
    return found


@pytest.mark.parametrize("count", [2, 5])
def test_shards_in_any_order(arguments, notes, run_eval, tmp_path, alone, count):
    out = tmp_path / "out"
    for shard in reversed(range(count)):
        assert not (out / "metrics.json").exists()
        given = [f"shard={shard}/{count}"] if count == 2 else [f"shard={shard}", f"shards={count}"]
        assert run_eval([*arguments, *given, f"output_dir={out}"]) == (0, "")
    assert files(out) == alone  # the last one merged
    assert notes.read_text() == "x" * 3 * NUM_VIDEOS
    (out / "metrics.json").unlink()
    done = subprocess.run(
        [forked_python(), "-m", "rvos", "merge", out],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert files(out) == alone


def marks(folder):
    """{process: videos that it has begun} of a folder of results."""
    by_process = {}
    for path in folder.rglob(".*.started"):
        by_process.setdefault(read(path).get("pid"), []).append(path)
    return by_process


def read(path):
    try:
        return read_json(path)
    except ValueError:
        return {}


@pytest.mark.parametrize("kill", [False, True])
def test_three_processes_that_know_nothing_of_each_other(arguments, notes, tmp_path, alone, kill):
    """One is killed while it makes a video: the others make it, and the files are those of one."""
    out = tmp_path / "out"
    processes = [start(arguments, out, sys.executable) for _ in range(3)]
    at_work = {process.pid: process for process in processes}
    killed = None
    deadline = time.monotonic() + 200
    while kill and killed is None and time.monotonic() < deadline:
        for pid in at_work.keys() & marks(out / "videos").keys():
            killed = at_work[pid]
            killed.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    assert kill == (killed is not None)
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == (-signal.SIGKILL if process is killed else 0), errors
    assert files(out) == alone
    scored = len(notes.read_text())
    assert 3 * NUM_VIDEOS <= scored < 3 * 3 * NUM_VIDEOS  # less than three times the work


def test_sigterm_leaves_no_mark(arguments, notes, tmp_path):
    out = tmp_path / "out"
    process = start(arguments, out)
    while not marks(out / "videos") and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not marks(out / "videos") and not (out / "metrics.json").exists()


def test_killed_alone_it_goes_on(arguments, notes, tmp_path, alone):
    out = tmp_path / "out"
    process = start(arguments, out)
    while len(list((out / "videos").rglob(".*.stamp"))) < 3 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = len(list((out / "videos").rglob(".*.stamp")))
    assert process.returncode == -signal.SIGKILL and 3 <= done < NUM_VIDEOS
    before = len(notes.read_text())
    again = start(arguments, out)
    assert again.wait() == 0, again.communicate()
    assert files(out) == alone
    assert len(notes.read_text()) - before == 3 * (NUM_VIDEOS - done)


def test_bad_videos_are_listed_and_the_others_are_done(arguments, notes, made_data, run_eval):
    """A second start does only what is missing, and status says what failed."""
    out = made_data.root / "out"
    whole = made_data.coarse["more/1"]["0"][1]
    made_data.coarse["more/1"]["0"][1] = square(0, 0, size=(11, 99))
    made_data.coarse["short"]["1"][0] = {"size": [40, 60], "counts": "~"}
    made_data.write()
    status, errors = run_eval([*arguments, f"output_dir={out}"])
    assert status == 1 and "Bad masks (2):" in errors
    assert errors.index("video short, expression 1") < errors.index("video more/1, expression 0")
    assert notes.read_text() == "x" * 3 * (NUM_VIDEOS - 2) and not (out / "metrics.json").exists()
    status = Status.of(out)
    assert set(status.failed) == {"more/1", "short"} and len(status.done) == NUM_VIDEOS - 2
    assert status.total == NUM_VIDEOS and status.missing == 0 and not status.begun
    made_data.coarse["more/1"]["0"][1] = whole
    folder = made_data.root / "coarse"  # in files of their own, mending one changes one
    for name, tracks in made_data.coarse.items():
        write_json(folder / f"{name}.json", tracks)
    arguments = [*arguments, f"coarse.path={folder}", f"output_dir={made_data.root / 'again'}"]
    assert run_eval(arguments)[0] == 1
    write_json(
        folder / "short.json", {k: [whole] for k in made_data.coarse["short"]} | {"2": [None]}
    )
    notes.write_text("")
    assert run_eval(arguments) == (0, "")
    assert notes.read_text() == "xxx"


def test_a_video_that_a_stage_cannot_make_stops_no_other(tmp_path, run_eval):
    """One frame cannot be decoded: the others get masklets and scores; then it is mended."""
    small_synthetic(tmp_path / "data", num_videos={"valid_u": 3}, num_frames=5)
    split, truth = open_checked(
        "mevis", tmp_path / "data", "valid_u", with_truth=True, skip_bad=False
    )
    coarse = {
        v.name: {
            e.expression_id: merge_tracks([truth.track(i) for i in e.annotation_ids], 5)
            for e in v.expressions
        }
        for v in split.videos
    }
    write_json(tmp_path / "coarse.json", coarse)
    bad, *others = (video.name for video in split.videos)
    frame = split.folder / "JPEGImages" / bad / f"{split.videos[0].frames[3]}.jpg"
    whole = frame.read_bytes()
    frame.write_bytes(whole[:40])
    out = tmp_path / "out"
    arguments = ["data=synthetic", f"data.root={tmp_path / 'data'}", f"output_dir={out}"]
    arguments += ["coarse=files", f"coarse.path={tmp_path / 'coarse.json'}", "masklets=flow"]
    arguments += [f"paths.stores={tmp_path / 'stores'}", "report=none", "ablation=none"]
    status, errors = run_eval(arguments)
    assert status == 1 and f"video {bad}: " in errors and frame.name in errors
    assert "masklets: frames that cannot be read" in errors and others[0] not in errors
    assert set(Status.of(out).failed) == {bad} and not (out / "metrics.json").exists()
    scored = {name: (out / "videos" / f"{name}.json.gz").stat().st_mtime_ns for name in others}
    frame.write_bytes(whole)
    assert run_eval(arguments) == (0, "")
    for name, time_before in scored.items():
        assert (out / "videos" / f"{name}.json.gz").stat().st_mtime_ns == time_before
    assert read_json(out / "metrics.json")["coarse"]["J&F"] == 1


def test_masks_that_changed_are_refined_anew(arguments, notes, made_data, run_eval):
    arguments = [*arguments, f"output_dir={made_data.root / 'out'}"]
    assert run_eval(arguments)[0] == 0
    before = read_json(made_data.root / "out" / "metrics.json")["coarse"]["J"]
    made_data.coarse["long"]["0"] = [None] * 7
    made_data.write()
    assert run_eval(arguments)[0] == 0
    assert read_json(made_data.root / "out" / "metrics.json")["coarse"]["J"] < before


def test_what_is_no_run_has_no_status(tmp_path, capsys):
    assert command("status")([str(tmp_path)]) == 1
    assert "expected a run folder of eval.py (config.yaml) or a store" in capsys.readouterr().err


def test_status_counts_from_files_alone(tmp_path):
    """Files a minute apart, a night between the third and the fourth: a rest of 2 takes 2 min."""
    folder = tmp_path / "stores" / "masklets" / "made"
    write_json(folder / "provenance.json", {})
    times = [0, 60, 120, 40_000, 40_060]
    for i, at in enumerate(times):
        write_json(folder / f"more/{i}.json.gz", {})
        os.utime(folder / f"more/{i}.json.gz", (at, at))
    records = Records(folder)
    records.begin("more/5")
    records.begin("more/6")
    records.end("more/6", {"bad frames": ["video more/6: frame 3"]})
    status = Status.of(folder)
    assert set(status.done) == {f"more/{i}" for i in range(5)} and status.missing is None
    assert list(status.begun) == ["more/5"]
    assert status.failed == {"more/6": {"bad frames": ["video more/6: frame 3"]}}
    assert replace(status, total=8).missing == 2
    assert replace(status, total=8).seconds_left == 120
    console = Console(record=True, width=200)
    replace(status, total=8).show(console)
    text = console.export_text()
    for words in ("5 of 8 videos", "bad frames (1):", f"process {os.getpid()}; starts: 1"):
        assert words in text


def test_status_takes_the_clock_of_the_files_not_of_this_machine(tmp_path, monkeypatch):
    """On a machine whose clock is two hours behind, the last file is not in the future."""
    folder = tmp_path / "stores" / "masklets" / "made"
    write_json(folder / "provenance.json", {})
    write_json(folder / "a.json.gz", {})
    now = time.time()
    monkeypatch.setattr("rvos.app.status.time.time", lambda: now - 7200)
    console = Console(record=True, width=200)
    Status.of(folder).show(console)
    assert re.search(r"last one\W+0 min ago", console.export_text())


def test_status_of_files_that_are_ahead_or_of_two_clocks(tmp_path):
    """Copied from a node two hours ahead, or written by it beside another: nothing is negative."""
    folder = tmp_path / "stores" / "masklets" / "made"
    write_json(folder / "provenance.json", {})
    now = time.time()
    for i, at in enumerate([0, 60, 120, 7230, 7290, 7350]):
        write_json(folder / f"{i}.json.gz", {})
        os.utime(folder / f"{i}.json.gz", (now + at, now + at))
    status = replace(Status.of(folder), total=8)
    assert status.seconds_left == pytest.approx(2 * 60)
    console = Console(record=True, width=200)
    status.show(console)
    assert re.search(r"last one\W+0 min ago", console.export_text())


def test_status_of_copies_that_all_have_one_time(tmp_path):
    """Nobody can say how long the rest takes: it is not 0.0 h."""
    write_json(tmp_path / "provenance.json", {})
    for i in range(4):
        write_json(tmp_path / f"{i}.json.gz", {})
        os.utime(tmp_path / f"{i}.json.gz", (0, 0))
    assert replace(Status.of(tmp_path), total=8).seconds_left is None
