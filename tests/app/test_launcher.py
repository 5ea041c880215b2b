"""hydra/launcher=slurm: its settings are ones that SLURM's executor takes, and a multirun through
submitit's local executor gives what running each job alone gives."""

import subprocess
import sys

import pytest
from made_data import REPOSITORY

from rvos.masks import read_json

# eval.py as it is, except that the jobs which submitit would give to sbatch run on this machine.
# Parameters with the prefix slurm_ are checked by submitit all the same.
LOCALLY = """
import runpy, sys, submitit
whole = submitit.AutoExecutor
submitit.AutoExecutor = lambda cluster, **options: whole(cluster="local", **options)
sys.argv[0] = "eval.py"
runpy.run_path("eval.py", run_name="__main__")
"""


@pytest.mark.slow
def test_a_multirun_through_submitit(made_data):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    arguments = [
        "-m",
        *(part for part in made_data.write() if not part.startswith("output_dir")),
        "coarse=files",
        "masklets=files",
        "report=none",
        "hydra/launcher=slurm",
        "hydra.launcher.tasks_per_node=1",
        "hydra.launcher.gpus_per_node=0",
        "hydra.launcher.timeout_min=5",
        "hydra.launcher.cpus_per_task=1",
        "hydra.launcher.mem_gb=2",
        "refine.window=1,3",
        f"output_dir={made_data.root / 'out'}",
    ]
    done = subprocess.run(
        [sys.executable, "-c", LOCALLY, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    found = sorted((made_data.root / "out").glob("*/metrics.json"))
    assert [read_json(path)["refine"]["window"] for path in found] == [1, 3]
    logs = list((made_data.root / "out" / ".submitit").glob("*/*_result.pkl"))
    assert len(logs) == 2  # both went through submitit
