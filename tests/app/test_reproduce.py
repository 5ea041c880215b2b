"""docs/reproduce.md pasted from top to bottom, on facsimiles: from the data to submission.zip.

The networks are tiny and random, in the forms in which the official ones are published: a MUTR file
of the official script, folders of transformers, a tokenizer. A hub and a Drive on the loopback
address have them. Each command runs as it is written but for what TINY adds.
"""

import os
import re
import shlex
import subprocess
import sys
import tarfile
import zipfile
from argparse import Namespace

import pytest
import torch
from made_data import REPOSITORY, small_synthetic
from omegaconf import OmegaConf
from small_models import package_model, transformers_model
from stand_in_hub import Hub
from test_detect import small_detector
from test_docs import blocks
from tiny_mutr import CONF, tiny_settings

from rvos.masks import read_json
from rvos.mutr import build_mutr
from rvos.mutr.checkpoint import save_official
from rvos.weights.table import WEIGHTS

PAGE = REPOSITORY / "docs" / "reproduce.md"
COMMIT = "1" * 40
# Not run: they set the machine up, which is what runs this test.
SET_UP = ("make setup", "python -m venv", "pip install", "uv pip install")
SIZES = {"backbone": "resnet50", "tokenizer": "roberta-base", "hidden_dim": 32, "ffn_dim": 32}
TINY = {key: tiny_settings()[key] for key in ("text_layers", "encoder_layers", "decoder_layers")}
TINY |= {key: tiny_settings()[key] for key in ("text_heads", "text_ffn_dim", "max_tokens")}
TINY |= SIZES | {"text_dim": 64, "vocab_size": 60, "mti_layers": 1}
MORE = [f"model.{key}={value}" for key, value in TINY.items()]
MORE += ["trainer.devices=1", "trainer.accelerator=cpu", "coarse.short_side=64", "score.workers=1"]
TRAIN = ["trainer.max_epochs=1", "trainer.limit_train_batches=8", "callbacks.progress=null"]
TRAIN += ["data.num_workers=0", "data.clip.num_frames=3", "data.clip.resizing.max_long_side=96"]
TRAIN += ["data.clip.resizing.short_sides=[64]", "data.clip.resizing.crop_probability=0"]
TRAIN += ["data.val_clips=1", "score.max_videos=1", "data.clip.plain_short_side=64"]
TRAIN += ["callbacks.time_left.after_steps=2", "trainer.num_sanity_val_steps=0"]
# Everything is found and kept, or the random networks would find nothing.
EVAL = ["masklets.detect.box_threshold=0", "masklets.detect.text_threshold=0"]
EVAL += ["masklets.precision=fp32"]
# The made datasets are not as large as the published ones, and neither is the network.
NO_COUNTS = (
    "import sys, dataclasses, rvos.data.verify as verify, rvos.weights.table as table\n"
    "row = table.WEIGHTS['mutr_joint_swin_l']\n"
    "table.WEIGHTS[row.name] = dataclasses.replace(row, backbone='resnet50')\n"
    "verify.COUNTS.clear(); verify.MASK_DICT_SHA256.clear()\n"
    "from rvos.__main__ import main\n"
    "sys.exit(main(sys.argv[1:]))"
)
DRIVE = '''"""gdown's interface, with a Drive on the loopback address."""
import os, urllib.request

def download(url=None, output=None, quiet=False, *, id=None, resume=False):
    urllib.request.urlretrieve(os.environ["STAND_IN_DRIVE"] + "/drive/" + id, output)
    return output
'''


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def mutr_file(path):
    """As the official script of 2023 saves it: an old form, with the script's arguments inside."""
    torch.manual_seed(0)
    values = OmegaConf.to_container(OmegaConf.load(CONF / "mutr.yaml"), resolve=True) | TINY
    values = {key: value for key, value in values.items() if not key.startswith("_")}
    save_official(build_mutr(**values), path)
    content = torch.load(path, weights_only=True) | {"epoch": 11, "args": Namespace(lr=1e-4)}
    torch.save(content, path, _use_new_zipfile_serialization=False)


def tokenizer(folder):
    """A byte-level tokenizer of RoBERTa's kind that knows letters only."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<s>", "<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz,."]
    fast = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, [], unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>", "bos_token": "<s>"}
    PreTrainedTokenizerFast(tokenizer_object=fast, **special).save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "roberta"}')


def mevis_v2(root):
    """A split as MeViS v2 is released: the file of expressions renamed, frames in an archive."""
    folder = small_synthetic(root, num_videos={"valid_u": 1}, num_frames=3) / "valid_u"
    (folder / "meta_expressions.json").rename(folder / "meta_expressions_v2.json")
    with tarfile.open(folder / "JPEGImages.tar", "w") as archive:
        archive.add(folder / "JPEGImages", "JPEGImages")
    return {f"valid_u/{name}": data for name, data in files_of(folder).items()}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A working folder with MeViS v1 in data/mevis, and the environment of somebody new."""
    folder = tmp_path_factory.mktemp("reproduce")
    videos = {"train": 2, "valid_u": 1, "valid": 1}
    small_synthetic(
        folder / "work/data/mevis", num_videos=videos, num_frames=8, hidden_truth=["valid"]
    )
    for name in ("train.py", "eval.py"):
        (folder / "work" / name).symlink_to(REPOSITORY / name)
    mutr_file(folder / "mutr.pth")
    for part in small_detector():
        part.save_pretrained(folder / "dino")
    transformers_model(package_model()).save_pretrained(folder / "sam2")
    tokenizer(folder / "tokenizer")
    (folder / "modules").mkdir()
    (folder / "modules" / "gdown.py").write_text(DRIVE)
    with Hub() as hub:
        for name, part in (
            ("grounding-dino-base", "dino"),
            ("sam2.1-hiera-large", "sam2"),
            ("roberta-base", "tokenizer"),
        ):
            hub.repos[WEIGHTS[name].repo] = {COMMIT: files_of(folder / part)}
        hub.repos["FudanCVL/MeViSv2"] = {COMMIT: mevis_v2(folder / "v2")}
        drive_id = WEIGHTS["mutr_joint_swin_l"].url.split("/d/")[1].split("/")[0]
        hub.urls[f"/drive/{drive_id}"] = (folder / "mutr.pth").read_bytes()
        hidden = ("HF_", "HUGGING", "TRANSFORMERS_OFFLINE", "RVOS_", "SLURM", "MAKE")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)} | {
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_DISABLE_XET": "1",  # plain HTTP, as the stand-in speaks it
            "STAND_IN_DRIVE": hub.address,
            "PYTHONPATH": f"{folder / 'modules'}{os.pathsep}{REPOSITORY}",
        }
        yield folder / "work", environment


def as_run(command):
    """The words of a command of the page, with what makes it small."""
    words = shlex.split(command)
    assert words[0] == "python", command
    if words[1] in ("train.py", "eval.py"):
        return [sys.executable, *words[1:], *MORE, *(TRAIN if words[1] == "train.py" else EVAL)]
    assert words[1:3] == ["-m", "rvos"], command
    return [sys.executable, "-c", NO_COUNTS, *words[3:]]


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(work):
    folder, environment = work
    commands = [command for command, _, _ in blocks(PAGE) if not command.startswith(SET_UP)]
    assert len(commands) == 10
    for command in commands:
        done = subprocess.run(
            as_run(command), cwd=folder, env=environment, text=True, capture_output=True
        )
        assert done.returncode == 0, f"{command}\n{(done.stdout + done.stderr)[-4000:]}"
        if command.startswith("python train.py"):
            assert re.search(r"\d+ steps, \d+ an epoch", done.stdout + done.stderr)
            assert "hours left for" in done.stdout + done.stderr
    assert read_json(folder / "runs/eval/paper/metrics.json")["refine"]["window"] == 15
    assert (folder / "runs/eval/grid/ablation.csv").is_file()
    split = read_json(folder / "data/mevis/valid/meta_expressions.json")["videos"]
    images = sum(len(v["frames"]) * len(v["expressions"]) for v in split.values())
    with zipfile.ZipFile(folder / "runs/eval/valid/submission.zip") as archive:
        assert len(archive.namelist()) == images
