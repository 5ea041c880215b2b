"""Golden parity: every test file here runs on all cases that `--golden-dir` holds for it.

A test asks for `golden_file` (path of a JSON file) or for `golden_case` (path of a JSON file, name
of one of its `cases`). What the folder lacks is not collected.
"""

import json
from pathlib import Path

# test module -> files it reads
FILES = {
    "test_metrics": "metrics*.json",
    "test_eval": "eval_*.json",
    "test_backbones": "backbones*.json",
    "test_msdeform": "msdeform*.json",
    "test_train": "train_*.json",
    "test_long_video": "long_video*.json",
    "test_state_dict": "state_dict_manifest*.json",
}


def golden_files(config, module: str) -> list[Path]:
    folder = config.getoption("--golden-dir")
    if not folder.is_dir():
        raise FileNotFoundError(f"--golden-dir {folder}: no such folder")
    return sorted(folder.glob(FILES[module]))


def pytest_ignore_collect(collection_path, config):
    if collection_path.stem in FILES and not golden_files(config, collection_path.stem):
        return True
    return None


def pytest_generate_tests(metafunc):
    module = metafunc.module.__name__.rpartition(".")[2]
    if "golden_file" in metafunc.fixturenames:
        files = golden_files(metafunc.config, module)
        metafunc.parametrize("golden_file", files, ids=[f.stem for f in files])
    if "golden_case" in metafunc.fixturenames:
        cases = [
            (file, case)
            for file in golden_files(metafunc.config, module)
            for case in json.loads(file.read_text())["cases"]
        ]
        metafunc.parametrize("golden_case", cases, ids=[f"{f.stem}-{c}" for f, c in cases])
