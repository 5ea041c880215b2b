"""Options and fixtures of the whole test suite."""

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # no test looks for weights on the net; read when imported

import pytest
from fork_server import SHARED, forked_python
from made_data import MadeData

GOLDEN_DIR = Path(__file__).parent / "golden"


def pytest_addoption(parser):
    parser.addoption(
        "--golden-dir",
        type=Path,
        default=GOLDEN_DIR,
        help="folder with golden cases (default: the copies in tests/golden)",
    )


def pytest_configure(config):
    """The workers share one fork server, which starts while they collect."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        os.environ[SHARED] = forked_python()


# The files that take longest, the longest first, so that no worker starts one when others end.
LONG = (
    *("slurm", "test_docs", "test_train", "test_eval", "test_weights", "test_sharing", "masklets"),
    *("golden", "test_chain", "test_gpu_benchmark", "report", "test_pipeline", "test_coarse"),
)


def pytest_collection_modifyitems(items):
    rank = {name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: min((rank[n] for n in rank if n in str(item.path)), default=99))


@pytest.fixture
def made_data(tmp_path):
    return MadeData(tmp_path)


@pytest.fixture
def run_eval(monkeypatch, capfd):
    """Run eval.py in this process: (exit status, stderr)."""
    import eval as program

    def run(arguments):
        monkeypatch.setattr(sys, "argv", ["eval.py", *arguments])
        capfd.readouterr()
        try:
            program.main()
            status = 0
        except SystemExit as exit:
            status = exit.code
        return status, capfd.readouterr().err

    return run
