"""Stores that rvos 0.2.0 wrote (commit fe8270a) are read: nothing is made again. Takes 6 s.

`rvos_0_2_0/` has a split of two videos of 40 x 60 pixels without its frames, and what that version
wrote for it: `written/`, the stores of coarse masks (with the model's confidence), nouns and oracle
masklets, and `metrics.json`. `checkpoint.pth` stands for the weights of the coarse masks: no
program could load it, nor could one look at frames that are not there. Its command:

    python eval.py data=mevis data.name=film data.root=... coarse=mutr_tiny model=mutr_tiny
        model.num_queries=1 coarse.checkpoint=.../checkpoint.pth masklets=oracle
        presence=coarse_score presence.threshold=0.001
"""

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from rvos import InputError, preset
from rvos.masks import read_json
from rvos.stages.run_folder import check_folder, claim_folder

OLD = Path(__file__).with_name("rvos_0_2_0")


def files_below(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def evaluate(run_eval, folder, *changes):
    """eval.py with stores that are a copy; (exit status, stderr, files of the stores)."""
    if not folder.is_dir():
        shutil.copytree(OLD, folder)
    status, err = run_eval(
        [
            *("data=mevis", "data.name=film", f"data.root={folder / 'mevis'}"),
            *("coarse=mutr_tiny", "model=mutr_tiny", "model.num_queries=1", "masklets=oracle"),
            f"coarse.checkpoint={folder / 'checkpoint.pth'}",
            *("presence=coarse_score", "presence.threshold=0.001", "report=none"),
            *("trainer.devices=1", "trainer.accelerator=cpu", "score.workers=1"),
            *(f"paths.stores={folder / 'written'}", f"output_dir={folder / 'run'}", *changes),
        ]
    )
    return status, err, files_below(folder / "written")


def test_all_stores_of_the_version_before_are_read(run_eval, tmp_path):
    status, err, stores = evaluate(run_eval, tmp_path / "old")
    assert status == 0, err
    assert stores == files_below(OLD / "written")  # none is new, and no byte has changed
    now, then = (
        read_json(tmp_path / "old" / "run" / "metrics.json"),
        read_json(OLD / "metrics.json"),
    )
    for scores, before in ((now, then), (now["coarse"], then["coarse"])):
        assert {key: scores[key] for key in ("J", "F", "J&F", "T-acc")} == {
            key: before[key] for key in ("J", "F", "J&F", "T-acc")
        }
    assert now["J&F"] == pytest.approx(0.6153188096122878, abs=0)


def test_another_setting_makes_masks_anew(run_eval, tmp_path):
    """The check above can fail: with another threshold rvos asks for the frames."""
    status, err, stores = evaluate(run_eval, tmp_path / "old", "coarse.mask_threshold=0.4")
    assert status == 1 and "JPEGImages/film: no such folder of frames" in err
    assert len([name for name in stores if name.startswith("coarse/")]) == 4  # a new provenance


def test_a_run_of_an_earlier_version_goes_on(tmp_path):
    """Its settings lack what came later and is off: broader words, models that are asked."""
    results = ["metrics.json", "refined"]
    earlier = {"task": "eval", "masklets": {"name": "flow"}}
    claim_folder(tmp_path, earlier, inputs={}, results=results)
    (tmp_path / "refined").mkdir()
    for broader in (False, True):
        masklets = {"name": "flow", "broader": broader}
        now = {**earlier, "masklets": masklets, "answers": preset("answers", "default")}
        expected = pytest.raises(InputError, match="masklets.broader: was None, now True")
        with expected if broader else nullcontext():
            check_folder(tmp_path, now, inputs={}, results=results)
