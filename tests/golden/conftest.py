"""Golden parity: every test file here runs on all cases that `--golden-dir` holds for it.

A test asks for `golden_file` (path of a JSON file), for `probed_file` (one with `preprocess`)
or for `golden_case` (path of a JSON file, name of one of its `cases`). What the folder lacks is not
collected.
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

# A minute and several GB each: with `-m slow`, or with a --golden-dir of its own.
LARGE = ("convmae_large", "convnext_xxlarge")


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
    if "probed_file" in metafunc.fixturenames:
        files = [
            f
            for f in golden_files(metafunc.config, module)
            if "preprocess" in json.loads(f.read_text())
        ]
        metafunc.parametrize("probed_file", files, ids=[f.stem for f in files])
    if "golden_case" in metafunc.fixturenames:
        cases = [
            (file, case)
            for file in golden_files(metafunc.config, module)
            for case in _cases(file, module, large=_wants_large(metafunc.config))
        ]
        metafunc.parametrize("golden_case", cases, ids=[f"{f.stem}-{c}" for f, c in cases])


def _cases(file: Path, module: str, *, large: bool) -> list[str]:
    names = json.loads(file.read_text())["cases"]
    if module == "test_train":  # the official model mixes the clips of a batch; ours does not
        return [name for name in names if f"{name}.per_clip" not in names]
    return [name for name in names if large or name not in LARGE]


def _wants_large(config) -> bool:
    own = config.getoption("--golden-dir").resolve() == Path(__file__).parent
    return not own or config.getoption("-m") == "slow"
