"""The scripts around the demo: the twins' sentences, and a backbone that is taught motion."""

import json
import subprocess

import pytest
from fork_server import forked_python
from made_data import REPOSITORY, small_synthetic

torch = pytest.importorskip("torch")


def test_look_alikes_swap_the_sentences_of_twins_alone(tmp_path, monkeypatch):
    """Two red stars and a blue one: the red ones get each other's sentence, the blue one none."""
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    from demo.demo_proof import look_alikes

    def named(text, *ids):
        return {"exp": text, "anno_id": list(ids), "obj_id": list(ids)}

    expressions = {
        "0": named("the star moving left", 0),
        "1": named("the star moving right", 1),
        "2": named("the blue star standing still", 2),
        "3": named("the red stars", 0, 1),
    }
    meta = {"videos": {"v": {"expressions": expressions, "frames": ["0"]}}}
    things = [("red", "left"), ("red", "right"), ("blue", "still")]
    objects = {
        "v": {
            str(i): {"category": "star", "color": color, "motion": motion}
            for i, (color, motion) in enumerate(things)
        }
    }
    (tmp_path / "meta_expressions.json").write_text(json.dumps(meta))
    (tmp_path / "objects.json").write_text(json.dumps(objects))
    found = {
        name: json.loads(path.read_text())["videos"]["v"]["expressions"]
        for name, path in look_alikes(tmp_path).items()
    }
    assert found["right"] == {key: expressions[key] for key in ("0", "1")}
    assert found["look-alike"] == {
        "0": named("the star moving right", 0),
        "1": named("the star moving left", 1),
    }


def test_the_differences_are_those_of_the_runs_own_table(
    run_eval, made_data, tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    from demo.demo_proof import over_others

    grid = ["ablation.windows=[1,15]", "ablation.taus=[0.5,0.8]", "refine.tau=0.5"]
    assert run_eval([*made_data.write(), *grid, "report=none"])[0] == 0
    tables = json.loads((tmp_path / "out" / "metrics.json").read_text())["tables"]
    summaries = [row["summary"] for row in tables["ablation"]]
    coarse, *cells = (round(50 * (summary["J"] + summary["F"]), 2) for summary in summaries)
    found = over_others(tmp_path / "out", 0.5)  # cells: W 1 and W 15, each at 0.5 and at 0.8
    assert [found[name]["A"] for name in found] == [cells[0], coarse, coarse]
    assert [found[name]["B"] for name in found] == [cells[2], cells[2], cells[3]]
    change = tables["windows"][1]["over_coarse"]
    assert found["W 15 over coarse"]["B - A"] == [round(100 * v, 2) for v in change.values()]


@pytest.mark.slow
def test_teaching_motion_changes_the_backbone_alone(tmp_path):
    small_synthetic(tmp_path / "data", num_videos={"train": 2}, num_frames=6)
    start = REPOSITORY / "checkpoints" / "mutr_tiny_demo.pth"
    out = tmp_path / "out" / "mutr.pth"
    done = subprocess.run(
        [forked_python(), "demo/teach_motion.py", tmp_path / "data", start, out]
        + ["--steps", "2", "--batch-size", "2"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "step 2: loss of a level" in done.stdout
    before, after = (torch.load(path, weights_only=True)["model"] for path in (start, out))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert len(changed) > 50 and all(name.startswith("backbone.0.") for name in changed)
