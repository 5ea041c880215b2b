"""benchmarks/gpu.sh: the dry run does every step, and what goes wrong is named."""

import json
import os
import subprocess
import sys

import pytest
from made_data import REPOSITORY

pytest.importorskip("pytorch_lightning")
PLAIN = {"float32", "bf16"}


def gpu_sh(*arguments, **environment):
    """In a fresh interpreter: in a forked one, PyTorch's threads of a compiled step now and then
    end in "Invalid thread pool!" (seen with torch 2.15)."""
    return subprocess.run(
        [REPOSITORY / "benchmarks" / "gpu.sh", *arguments],
        env=os.environ | {"PYTHON": sys.executable, "MUTR": ""} | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_the_dry_run_answers_every_question(tmp_path):
    done = gpu_sh("--dry-run", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "gpu_dry_run.json").read_text())
    assert result["official_code"] == "left out: MUTR is not set"
    rows = {name: step["rows"] for name, step in result["steps"].items()}
    assert rows["environment"] == [{"device": "cpu"}]
    for backbone in ("resnet50", "swin_l"):
        steps = rows[f"train_{backbone}"]
        assert {row["variant"] for row in steps} == PLAIN
        (compiled,) = rows[f"compiled_{backbone}"]
        assert compiled["variant"] == "bf16_compiled"
        for row in [*steps, compiled]:
            assert row["clips_per_s"] == pytest.approx(1000 / row["ms"], rel=0.02)
            assert row["peak_mib"] > 100
    asked = {(row["backbone"], row["precision"]) for row in rows["expressions"]}
    assert asked == {(b, p) for b in ("resnet50", "swin_l") for p in PLAIN}
    (parity,) = rows["parity"]
    assert 0 <= parity["share_of_pixels_that_differ"] < 0.01 < 0.9 < parity["iou_of_all_masks"] <= 1
    for tracker in ("sam2", "edgetam"):
        assert [row["objects"] for row in rows[tracker]] == [1, 2]
        assert all(row["frames_per_s"] > 0 for row in rows[tracker])
    (loader,) = rows["loader"]
    assert 0 <= loader["loader_wait_share"] <= 1 and loader["clips_per_s"] > 0
    for name in rows:  # the table at the end
        assert f"\n{name} (" in done.stdout


def test_a_step_that_takes_too_long_is_ended_and_named(tmp_path):
    done = gpu_sh("--dry-run", "--out", tmp_path, "--step-seconds", "0.1", "--only", "edgetam")
    assert done.returncode == 1
    step = json.loads((tmp_path / "gpu_dry_run.json").read_text())["steps"]["edgetam"]
    assert step["error"] == "ended by the time limit after 0.1 s" and step["rows"] == []
    assert f"edgetam ({step['seconds']} s)\n  {step['error']}" in done.stdout


def test_what_is_missing_is_listed_before_anything_runs(tmp_path):
    (tmp_path / "file").touch()
    done = gpu_sh("--out", tmp_path / "file", PATH="/usr/bin:/bin", MUTR=str(tmp_path))
    assert done.returncode == 1 and done.stdout == ""
    assert f"MUTR={tmp_path}: expected a checkout" in done.stderr
    assert f"--out {tmp_path / 'file'}: " in done.stderr
    if not os.path.exists("/usr/bin/nvidia-smi"):
        assert "nvidia-smi finds no GPU" in done.stderr
