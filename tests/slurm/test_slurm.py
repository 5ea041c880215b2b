"""On a real SLURM of two nodes, both on this machine (cluster.sh): training over nodes, requeued
and resumed; arrays of shards, of which one is killed and requeued."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fork_server import forked_python
from made_data import REPOSITORY
from test_sharing import NUM_VIDEOS, PATH, alone, arguments, files, notes, read  # noqa: F401
from test_train import SETTINGS, root  # noqa: F401

pytestmark = pytest.mark.slurm
CLUSTER = Path(__file__).with_name("cluster.sh")
SECONDS, MINUTES = 300, 10  # for a job to end; its time limit
TIME = f"--time={MINUTES}"


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory):
    there = os.geteuid() == 0 and shutil.which("/usr/sbin/slurmctld") and shutil.which("munge")
    assert there, 'a cluster needs root, slurm-wlm and munge; leave it out with -m "not slurm"'
    folder = tmp_path_factory.mktemp("slurm")
    environment = {**os.environ, "SLURM_TEST_ROOT": str(folder)}
    subprocess.run([CLUSTER, "start", "2"], env=environment, check=True, timeout=120)
    yield
    subprocess.run(["scancel", "--user=root"], check=False)
    subprocess.run([CLUSTER, "stop"], env=environment, check=True)


def submit(*command, **environment):
    """Submit a job; its number."""
    done = subprocess.run(
        ["sbatch", "--parsable", *map(str, command)],
        env={**os.environ, "PYTHONPATH": PATH, "PYTHON": sys.executable, **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def job(number):
    """What SLURM says of a job."""
    text = subprocess.run(
        ["scontrol", "show", "job", "-o", number], capture_output=True, text=True
    ).stdout
    return dict(re.findall(r"(\w+)=(\S*)", text))


def wait_for(number, log):
    """Wait until a job ends; requeued jobs need not wait for SLURM's two minutes."""
    deadline = time.monotonic() + SECONDS
    while (state := job(number))["JobState"] in ("PENDING", "RUNNING", "COMPLETING", "REQUEUED"):
        assert time.monotonic() < deadline, (state, log.read_text())
        if state.get("Reason") == "BeginTime":
            more = ["StartTime=now", f"TimeLimit={MINUTES}"]  # a limit that was moved stays moved
            subprocess.run(["scontrol", "update", f"job={number}", *more], check=False)
        time.sleep(0.2)
    return state


def losses(folder):
    found = {}
    for file in sorted(folder.glob("csv/version_*/metrics.csv")):
        for row in csv.DictReader(file.open()):
            if row["train/loss"]:
                found[int(row["step"])] = float(row["train/loss"])
    return found


def test_training_on_two_nodes_is_requeued_and_ends_like_one_process(root, tmp_path):  # noqa: F811
    """Three steps of four clips. In the second the time limit comes near, and SLURM sends SIGUSR1;
    the job saves, requeues itself, and ends with the losses of one process."""
    still = ["model.dropout=0", "model.freeze_text_encoder=true", "trainer.max_epochs=1"]
    short = [*SETTINGS, *still, "data.global_batch_size=4", "data.val_split=null"]
    short += ["callbacks.best=null", f"data.root={root}"]
    one, two, log = tmp_path / "one", tmp_path / "two", tmp_path / "log"
    limit = "+callbacks.limit={_target_: send_signal.AtTimeLimit, after: 3, seconds: 140}"
    number = submit(
        *(
            "--nodes=2",
            "--ntasks-per-node=1",
            "--cpus-per-task=1",
            f"--time={MINUTES}",
            f"--output={log}",
        ),
        *("examples/train.sbatch", *short, "trainer.limit_train_batches=6"),
        *(f"output_dir={two}", limit),
    )
    subprocess.run(
        [forked_python(), "train.py", *short, "trainer.limit_train_batches=12"]
        + [f"output_dir={one}"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    state = wait_for(number, log)
    assert (state["JobState"], state["Restarts"]) == ("COMPLETED", "1"), log.read_text()
    assert sorted(losses(one)) == sorted(losses(two)) == list(range(3))
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)
    assert len(list(two.glob("csv/version_*"))) == 2


def test_an_array_of_eight_shards_one_of_which_is_killed(
    arguments,  # noqa: F811
    notes,  # noqa: F811
    alone,  # noqa: F811
    tmp_path,
):
    """More shards than nodes. One is killed with SIGKILL while it makes a video, and requeued."""
    out, logs = tmp_path / "out", tmp_path / "logs"
    logs.mkdir()
    command = " ".join(f"'{a}'" for a in [*arguments, f"output_dir={out}"])
    number = submit(
        "--array=0-7",
        "--ntasks=1",
        "--cpus-per-task=1",
        f"--time={MINUTES}",
        "--requeue",
        f"--output={logs}/%a",
        f"--wrap=exec {sys.executable} eval.py {command} shard=$SLURM_ARRAY_TASK_ID/8",
    )
    deadline = time.monotonic() + SECONDS
    killed = None
    while killed is None:
        assert time.monotonic() < deadline, texts(logs)
        for path in (out / "videos").rglob(".*.started"):
            who = read(path)
            if (killed := who.get("job")) is not None:  # both nodes are this machine
                os.kill(who["pid"], signal.SIGKILL)
                break
        time.sleep(0.002)
    for shard in range(8):
        wait_for(f"{number}_{shard}", logs / str(shard))
    left = [path.name for path in (out / "videos").rglob(".*.started")]
    assert len(left) >= 1 and not (out / "metrics.json").exists(), texts(logs)
    subprocess.run(["scontrol", "requeue", killed], check=True)
    assert wait_for(killed, logs / killed.partition("_")[2])["JobState"] == "COMPLETED", texts(logs)
    assert files(out) == alone
    assert 3 * NUM_VIDEOS <= len(notes.read_text()) <= 3 * (NUM_VIDEOS + len(left))


def texts(logs):
    return {path.name: path.read_text()[-500:] for path in logs.iterdir()}


def test_shards_by_the_launcher(arguments, notes, alone, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    launcher = ["gpus_per_node=0", "tasks_per_node=1", "cpus_per_task=1", "mem_gb=1"]
    done = subprocess.run(
        [
            sys.executable,
            "eval.py",
            "-m",
            *arguments,
            "hydra/launcher=slurm",
            *(f"hydra.launcher.{setting}" for setting in launcher),
            f"hydra.launcher.timeout_min={MINUTES}",
            "shard=range(0,3)",
            "shards=3",
            f"output_dir={out}",
        ],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    made = {k: v for k, v in files(out).items() if not re.match(r"\d/|.submitit/", k)}
    assert made == alone
    assert notes.read_text() == "x" * 3 * NUM_VIDEOS
