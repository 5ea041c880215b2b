"""train.py: what a run leaves, resuming after every kind of end, wrong usage."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

from fork_server import forked_python  # noqa: E402
from hydra.utils import instantiate  # noqa: E402
from made_data import REPOSITORY  # noqa: E402
from made_refcoco import pictures_of  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from test_conf import composed  # noqa: E402

from rvos.data.synthetic import synthesize  # noqa: E402
from rvos.mutr.checkpoint import save_official  # noqa: E402
from rvos.train.segmenter import NotFinite  # noqa: E402

RECIPE = {
    "num_videos": {"train": 4, "valid_u": 1, "valid": 0},
    "num_frames": 10,
    "size": [64, 96],
    "num_objects": [2, 3],
    "object_size": [0.3, 0.4],
    "workers": 1,
}
# Two forward passes a step, 12 an epoch, two epochs: 12 steps.
SETTINGS = [
    "data=synthetic",
    "model=mutr_tiny",
    "coarse.short_side=64",
    "data.num_workers=0",
    "data.clip.num_frames=2",
    "data.clip.resizing.short_sides=[64]",
    "data.clip.resizing.max_long_side=96",
    "data.clip.resizing.crop_probability=0",
    "data.clip.plain_short_side=64",
    "data.val_clips=2",
    "data.global_batch_size=2",
    "trainer.accelerator=cpu",
    "trainer.limit_train_batches=12",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "callbacks.last.every_n_steps=2",
    "score.max_videos=1",
    "optim.lr=1e-3",
    "model.dropout=0.1",
    "callbacks.progress=null",
    "model.hidden_dim=32",
    "trainer.num_sanity_val_steps=0",
    "trainer.enable_progress_bar=false",
    "trainer.enable_model_summary=false",
]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    defaults = OmegaConf.to_container(OmegaConf.load(REPOSITORY / "conf" / "synthesize.yaml"))
    synthesize(**defaults | RECIPE | {"out": folder})
    return folder


@pytest.fixture
def train(root, tmp_path, monkeypatch, capfd):
    """Run train.py in this process: (exit status, stderr)."""
    import train as program

    monkeypatch.setenv("RVOS_RUNS", str(tmp_path / "runs"))

    def run(*overrides: str):
        flags = [text for text in overrides if text.startswith("-")]
        rest = [text for text in overrides if text not in flags]
        monkeypatch.setattr(
            sys, "argv", ["train.py", *flags, *SETTINGS, f"data.root={root}", *rest]
        )
        capfd.readouterr()
        try:
            program.main()
            status = 0
        except SystemExit as exit:
            status = exit.code
        return status, capfd.readouterr().err

    return run


def curve(folder: Path) -> dict[int, float]:
    """Optimizer step -> training loss, over all starts of a run, later ones winning."""
    values = {}
    for file in sorted(folder.glob("csv/version_*/metrics.csv")):
        for row in csv.DictReader(file.open()):
            if row["train/loss"]:
                values[int(row["step"])] = float(row["train/loss"])
    return values


def test_the_plan_is_said_before_the_first_step_and_the_hours_after_some(train, tmp_path):
    """12 passes of one clip an epoch, two a step, two epochs: 12 steps, 4 of which are done."""
    status, told = train(f"output_dir={tmp_path / 'run'}", "callbacks.time_left.after_steps=4")
    assert status == 0, told
    told = (tmp_path / "run" / "train.log").read_text()
    plan = re.search(r"\d+ clips, 1 device\(s\) x 1 clip\(s\) x 2 passes a step, (.*), seed", told)
    assert plan[1] == "12 steps, 6 an epoch"
    left = re.search(r"([\d.e+-]+) s a step: about ([\d.e+-]+) hours left for (\d+) steps", told)
    assert int(left[3]) == 12 - 4 and told.index(plan[0]) < told.index(left[0])
    assert float(left[2]) == pytest.approx(float(left[1]) * 8 / 3600, rel=0.02)


def column(folder: Path, key: str) -> list[float]:
    rows = csv.DictReader((folder / "csv" / "version_0" / "metrics.csv").open())
    return [float(row[key]) for row in rows if row.get(key)]


@pytest.mark.slow
def test_a_run_and_what_it_leaves(train, tmp_path):
    folder = tmp_path / "run"
    assert train(f"output_dir={folder}", "callbacks=ema")[0] == 0
    for key in (
        "train/grad_norm",
        "train/lr/backbone",
        "train/clips_per_second",
        "train/loader_wait_share",
        "train/loss_dice_0",
    ):
        assert len(column(folder, key)) == 12
    for key in ("val/J", "val/F", "val/JF", "val/loss"):
        assert len(column(folder, key)) == 2
    best, last = (
        torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        for name in ("best", "last")
    )
    assert last["global_step"] == 12
    averaged, current = last["state_dict"], last["current_model_state"]
    assert any((averaged[name] != current[name]).any() for name in current)
    exported = torch.load(folder / "mutr.pth", weights_only=True)["model"]
    assert torch.equal(
        exported["query_embed.weight"], best["state_dict"]["model.decoder.queries.weight"]
    )
    assert list(folder.glob("overlays/*.png"))
    assert json.loads((folder / "metrics.json").read_text())["steps"] == 12


@pytest.mark.slow
def test_killed_runs_continue_step_by_step(train, root, tmp_path):
    """12 forward passes an epoch, two a step: the signals come in the second pass of step 9 (of
    the second epoch). SIGTERM finishes the step; SIGKILL loses what came after step 8."""
    whole = tmp_path / "whole"
    assert train(f"output_dir={whole}")[0] == 0
    expected = curve(whole)
    assert sorted(expected) == list(range(12)) and len(set(expected.values())) == 12

    send = "+callbacks.send={_target_: send_signal.SendSignal, name: SIGTERM, after: 18}"
    termed = tmp_path / "termed"
    assert train(f"output_dir={termed}", send, "data.num_workers=1")[0] == 128 + 15
    assert sorted(curve(termed)) == list(range(9))
    assert train(f"output_dir={termed}", "ckpt_path=last")[0] == 0
    assert curve(termed) == expected

    killed = tmp_path / "killed"
    program = [
        forked_python(),
        str(REPOSITORY / "train.py"),
        *SETTINGS,
        f"data.root={root}",
        f"output_dir={killed}",
        send.replace("SIGTERM", "SIGKILL"),
    ]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests/support")]),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    assert subprocess.run(program, env=environment, cwd=tmp_path).returncode == -9
    assert not (killed / "metrics.json").exists()
    assert train(f"output_dir={killed}", "ckpt_path=last")[0] == 0
    assert {k: v for k, v in curve(killed).items() if k >= 8} == {
        k: v for k, v in expected.items() if k >= 8
    }


IN_STEP = "+callbacks.send={_target_: send_signal.SendSignal, name: SIGINT, after: %d}"
IN_VALIDATION = "+callbacks.send={_target_: send_signal.SendInValidation}"


@pytest.mark.slow
def test_ctrl_c_saves_says_how_to_go_on_and_ends_with_130(train, tmp_path):
    """In the second pass of step 5, and in the validation after step 6, by two epochs of 12."""
    short = ["model.dropout=0", "trainer.limit_train_batches=12"]
    whole = tmp_path / "whole"
    assert train(f"output_dir={whole}", *short)[0] == 0
    expected = curve(whole)
    before = signal.getsignal(signal.SIGINT)
    for where, step in ((IN_STEP % 10, 5), (IN_VALIDATION, 6)):
        folder = tmp_path / f"after_{step}"
        status, _ = train(f"output_dir={folder}", *short, where, "data.num_workers=1")
        assert status == 130 and signal.getsignal(signal.SIGINT) is before
        told = (folder / "train.log").read_text()
        last = folder / "checkpoints" / "last.ckpt"
        assert f"stopped after step {step}: {last} is saved" in told
        assert f"output_dir={folder} ckpt_path=last" in told
        assert torch.load(last, weights_only=True)["global_step"] == step
        assert train(f"output_dir={folder}", *short, "ckpt_path=last")[0] == 0
        assert curve(folder) == expected


@pytest.mark.slow
@pytest.mark.parametrize("where", [IN_STEP % 3, IN_VALIDATION], ids=["step", "validation"])
def test_ctrl_c_ends_two_devices_without_a_traceback(root, tmp_path, where):
    """It comes to the first process alone, as `kill -INT` sends it."""
    program = [forked_python(), str(REPOSITORY / "train.py"), *SETTINGS, f"data.root={root}"]
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests/support")])
    ended = subprocess.run(
        [*program, f"output_dir={tmp_path / 'run'}", "trainer.devices=2", where],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 130 and "Traceback" not in ended.stderr, ended.stderr
    assert "is saved. To go on" in ended.stdout + ended.stderr
    assert (tmp_path / "run/checkpoints/last.ckpt").is_file()


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(root, tmp_path):
    program = [forked_python(), str(REPOSITORY / "train.py"), *SETTINGS, f"data.root={root}"]
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests/support")])
    twice = (IN_STEP % 5).replace("SendSignal", "SendTwice")
    ended = subprocess.run(
        [*program, f"output_dir={tmp_path / 'run'}", twice],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
    )
    assert ended.returncode == -signal.SIGINT  # 130 in a shell
    last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 2  # as every second step; the third was not finished


@pytest.mark.slow
def test_a_log_has_lines_instead_of_a_bar(root, tmp_path, train, monkeypatch, caplog):
    from rvos.train import progress

    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    bar = "callbacks.progress={_target_: rvos.train.progress.Progress}"
    some = ["trainer.max_steps=3", "trainer.enable_progress_bar=true"]
    assert train(f"output_dir={tmp_path / 'run'}", bar, *some)[0] == 0
    told = (tmp_path / "run/train.log").read_text()
    assert "step 1 of 3, loss " in told and "step 2 of 3, loss " in told
    for noise in ("Epoch", "v_num", "FLOPs", "GLOBAL_RANK"):
        assert noise not in told


@pytest.mark.slow
def test_a_joint_run_that_is_killed_goes_on_step_by_step(train, root, tmp_path):
    """Pictures and clips 1 : 1 in 12 passes an epoch; killed in pass 18, after step 8 was saved."""
    pictures = pictures_of(root / "train", tmp_path)
    source = "{_target_:rvos.train.joint.Source,format:%s,root:%s,split:train,meta:null,weight:1}"
    both = {"clips": source % ("mevis", root), "pictures": source % ("refcoco", pictures)}
    sources = ",".join(f"{name}:{text}" for name, text in both.items())
    joint = [f"data.sources={{{sources}}}", "data.train_split=null"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert train(f"output_dir={whole}", *joint)[0] == 0
    expected = curve(whole)
    assert sorted(expected) == list(range(12)) and len(set(expected.values())) == 12
    shares = [column(whole, f"train/share/{name}") for name in both]
    assert [a + b for a, b in zip(*shares, strict=True)] == pytest.approx([1] * 12)
    assert 0.2 < shares[0][-1] < 0.8  # of the 12 clips of the second epoch

    program = [
        forked_python(),
        str(REPOSITORY / "train.py"),
        *SETTINGS,
        f"data.root={root}",
        *joint,
    ]
    send = "+callbacks.send={_target_: send_signal.SendSignal, name: SIGKILL, after: 18}"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests/support")]),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    ended = subprocess.run([*program, f"output_dir={killed}", send], env=environment, cwd=tmp_path)
    assert ended.returncode == -9 and not (killed / "metrics.json").exists()
    assert train(f"output_dir={killed}", *joint, "ckpt_path=last")[0] == 0
    later = {step: loss for step, loss in curve(killed).items() if step >= 8}
    assert later == {step: loss for step, loss in expected.items() if step >= 8}
    assert json.loads((killed / "metrics.json").read_text())["steps"] == 12


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(train, root, tmp_path):
    """By Lightning's own launcher, which starts train.py again for the second rank. RoBERTa's
    dropout differs between ranks, so losses agree only roughly (exactly: test_segmenter.py)."""
    short = ["model.dropout=0", "trainer.max_epochs=1", "data.global_batch_size=4"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert train(f"output_dir={one}", *short)[0] == 0
    program = [
        forked_python(),
        str(REPOSITORY / "train.py"),
        *SETTINGS,
        *short,
        f"data.root={root}",
        f"output_dir={two}",
        "trainer.devices=2",
        "trainer.limit_train_batches=6",
    ]
    subprocess.run(
        program, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, cwd=tmp_path, check=True
    )
    assert sorted(curve(one)) == [0, 1, 2]
    assert sorted(curve(two)) == [0, 1, 2]
    assert curve(two)[0] == pytest.approx(curve(one)[0], rel=0.02)
    assert json.loads((two / "metrics.json").read_text())["steps"] == 3


@pytest.mark.slow
def test_a_run_goes_on_with_other_numbers_of_devices(train, root, tmp_path):
    """One device, then two, then one: after 3 and 3 + 4 steps of two clips, no clip is left out.

    SIGTERM in pass 5 of one device is amid step 3; pass 4 of two devices is a whole step.
    """
    note = "+callbacks.note={_target_: send_signal.NoteClips, file: %s}"
    send = "+callbacks.send={_target_: send_signal.SendSignal, name: SIGTERM, after: %d}"
    short = [
        *("trainer.limit_train_batches=1.0", "trainer.max_epochs=1", "data.train_split=valid_u"),
        *("data.val_split=null", "trainer.limit_val_batches=0"),
    ]
    whole, parts, folder = tmp_path / "whole", tmp_path / "parts", tmp_path / "run"
    assert train(f"output_dir={tmp_path / 'one'}", *short, note % whole)[0] == 0
    expected = sorted(Path(f"{whole}0").read_text().splitlines())
    assert len(expected) > 16

    mine = [*short, note % parts, f"output_dir={folder}", "ckpt_path=last"]
    assert train(*mine[:-1], send % 5)[0] == 128 + 15
    program = [forked_python(), str(REPOSITORY / "train.py"), *SETTINGS, f"data.root={root}"]
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests/support")])
    ended = subprocess.run(
        [*program, *mine, "trainer.devices=2", send % 4],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
    )
    assert ended.returncode == 128 + 15
    assert len(Path(f"{parts}1").read_text().splitlines()) == 4
    assert train(*mine)[0] == 0
    seen = [line for file in tmp_path.glob("parts?") for line in file.read_text().splitlines()]
    assert sorted(seen) == expected
    assert json.loads((folder / "metrics.json").read_text())["steps"] == len(expected) // 2


@pytest.mark.slow
def test_a_finished_run_is_left_alone_and_keeps_its_wandb_run(train, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "run"
    send = "+callbacks.send={_target_: send_signal.SendSignal, name: SIGTERM, after: 4}"
    arguments = [f"output_dir={folder}", "logger=wandb", "trainer.max_epochs=1"]
    assert train(*arguments, send)[0] == 128 + 15
    assert train(*arguments, "ckpt_path=last")[0] == 0
    ids = {path.name.rpartition("-")[2] for path in folder.glob("wandb/offline-run-*")}
    assert ids == {(folder / "wandb_id").read_text()}

    def contents():
        return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.suffix != ".log"}

    before = contents()
    checkpoint = f"ckpt_path={folder / 'checkpoints' / 'last.ckpt'}"
    other = f"output_dir={tmp_path / 'other'}"
    for again in (
        ["ckpt_path=last"],
        ["ckpt_path=last", "trainer.max_steps=1"],
        [checkpoint, other],
    ):
        assert train(*arguments, *again)[0] == 0
        assert contents() == before
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["train.log"]
    assert "nothing left to do" in (folder / "train.log").read_text()
    assert "val/JF" in json.loads((folder / "metrics.json").read_text())["last"]
    status, error = train(*arguments, "ckpt_path=last", "optim.lr=5e-4")
    assert status == 1 and "optim.lr: was 0.001, now 0.0005" in error and contents() == before

    # Killed after the last step, before the scores were written: they are made again.
    scores = json.loads((folder / "metrics.json").read_text())["last"]
    (folder / "metrics.json").unlink()
    assert train(*arguments, "ckpt_path=last")[0] == 0
    again = json.loads((folder / "metrics.json").read_text())["last"]
    assert again and again == {key: scores[key] for key in scores if key.startswith("val/")}

    # There is more to do with another limit: SLURM's next start goes on, in the same W&B run.
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert train(*arguments, "trainer.max_epochs=2")[0] == 0
    assert json.loads((folder / "metrics.json").read_text())["steps"] == 12
    names = [path.name.rpartition("-")[2] for path in folder.glob("wandb/offline-run-*")]
    assert len(names) == 4 and set(names) == ids


def test_what_is_no_checkpoint_of_a_training_is_named(train, tmp_path):
    settings = composed("train", *SETTINGS, "output_dir=x").model
    model = instantiate(settings)()
    save_official(model, tmp_path / "mutr.pth")
    whole = {"state_dict": model.state_dict(), "optimizer_states": [], "loops": {}}
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.ckpt")
    torch.save(whole | {"current_model_state": {}}, tmp_path / "averaged.ckpt")
    (tmp_path / "notes.txt").write_text("hello")
    with zipfile.ZipFile(tmp_path / "masks.zip", "w") as archive:
        archive.writestr("v/0/00000.png", b"")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_bytes(b"")
    (tmp_path / "evaluated" / "refined").mkdir(parents=True)
    for name, told in {
        "mutr.pth": f"model.weights={tmp_path / 'mutr.pth'}",
        "weights.ckpt": f"model.weights={tmp_path / 'weights.ckpt'}",
        "averaged.ckpt": "callbacks=ema",
        "notes.txt": "not a readable checkpoint",
        "masks.zip": "not a readable checkpoint",
        "run": f"ckpt_path={tmp_path / 'run' / 'checkpoints' / 'last.ckpt'}",
        "evaluated": "a folder without checkpoints",
    }.items():
        status, error = train(f"output_dir={tmp_path / 'out'}", f"ckpt_path={tmp_path / name}")
        assert status == 1 and told in error and "Traceback" not in error, name
        assert error.startswith("error: ckpt_path") and "another model" not in error, name


@pytest.mark.parametrize("more", [[], ["ckpt_path=last"], ["output_dir=fixed"]], ids=str)
def test_a_requeued_job_that_gets_another_folder_does_not_start_anew(
    train, tmp_path, monkeypatch, more
):
    """Only where nothing says what to go on with; the others end soon, for want of data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    status, error = train("data.root=/nowhere", *more)
    assert status == 1 and ("SLURM has requeued this job" in error) == (not more)


@pytest.mark.slow
def test_wandb_without_an_account(train, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "run"
    status, _ = train(f"output_dir={folder}", "logger=wandb", "trainer.max_epochs=1", "name=study")
    assert status == 0
    (run,) = folder.glob("wandb/offline-run-*")
    (data,) = run.glob("run-*.wandb")
    for _ in range(100):  # W&B's own process may still be writing
        content = data.read_bytes()
        if b"val/JF" in content:
            break
        time.sleep(0.1)
    for text in (b"val/JF", b"train/loss", b"study", b"resnet10_video"):
        assert text in content
    (table,) = run.glob("files/media/table/val/overlays_*.table.json")
    columns = json.loads(table.read_text())["columns"]
    assert {"expression", "frame", "target", "prediction"} <= set(columns)
    assert list((folder / "wandb").glob("**/staging/*"))  # the images, for `wandb sync`


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_and_leaves_the_clips(train, tmp_path):
    folder, weights = tmp_path / "run", tmp_path / "nan.pth"
    settings = composed("train", *SETTINGS, "output_dir=x").model
    model = instantiate(settings)()
    for parameter in model.class_heads.parameters():
        torch.nn.init.constant_(parameter, 3e38)  # a number, but sums of it are none
    save_official(model, weights)
    with pytest.raises(NotFinite):
        train(f"output_dir={folder}", f"model.weights={weights}")
    content = json.loads((folder / "not_finite_rank0.json").read_text())
    assert (content["epoch"], content["step"]) == (0, 0)
    assert [len(forward["clips"]) for forward in content["forward_passes"]] == [1, 1]
    assert content["forward_passes"][0]["loss"] in ("nan", "inf")
    assert not (folder / "checkpoints" / "last.ckpt").exists()


WRONG = {
    "no data": (["data.root=/nowhere"], "/nowhere/train"),
    "a batch that does not divide": (
        ["data.batch_size=4", "data.global_batch_size=6"],
        "data.global_batch_size: expected a multiple",
    ),
    "no such devices": (["trainer.accelerator=gpu", "trainer.devices=4"], "GPU"),
    "no such devices, auto": (["trainer.accelerator=auto", "trainer.devices=64"], "devices=64"),
    "an unknown override": (["trainer.device=4"], "device"),
    "nothing to resume": (["ckpt_path=last"], "no checkpoints/last.ckpt"),
    "no such checkpoint": (["ckpt_path=missing.ckpt"], "missing.ckpt: no such file"),
    "no such weights": (["model.weights=missing.pth"], "missing.pth"),
    "milestones": (["optim.milestones=[0]"], "optim.milestones"),
    "a multirun of ranks": (["-m", "seed=1,2", "trainer.devices=2"], "--multirun with 2 processes"),
    "a split without truth": (["data.split=nothing"], "nothing"),
}


@pytest.mark.parametrize("overrides, expected", WRONG.values(), ids=WRONG)
def test_wrong_usage_ends_in_one_message(train, tmp_path, overrides, expected):
    status, error = train(f"output_dir={tmp_path / 'run'}", *overrides)
    assert status == 1
    assert error.count("error: ") == 1 and "Traceback" not in error
    assert expected in error
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_weights_of_another_backbone(train, tmp_path):
    file = tmp_path / "other.pth"
    torch.save({"model": {"backbone.0.body.conv1.weight": torch.zeros(64, 3, 7, 7)}}, file)
    status, error = train(f"output_dir={tmp_path / 'run'}", f"model.weights={file}")
    assert status == 1 and str(file) in error and "does not fit" in error


def test_a_checkpoint_of_another_model(train, tmp_path):
    file = tmp_path / "other.ckpt"
    state = {"model.backbone.body.conv1.weight": torch.zeros(64, 3, 7, 7)}
    torch.save({"state_dict": state, "loops": {}, "optimizer_states": []}, file)
    status, error = train(f"output_dir={tmp_path / 'run'}", f"ckpt_path={file}")
    assert status == 1 and "another model" in error and "backbone.body" in error


def test_a_folder_with_checkpoints_is_not_overwritten(train, tmp_path):
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.write_bytes(b"valuable")
    status, error = train(f"output_dir={tmp_path / 'run'}")
    assert status == 1 and "ckpt_path=last" in error and last.read_bytes() == b"valuable"


def test_torchrun_needs_one_folder_for_all_ranks(train, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    status, error = train()
    assert status == 1 and "output_dir" in error
