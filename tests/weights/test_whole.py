"""Weights that are not whole, or known by another name; what decides the name of a store."""

import os
import shutil

import pytest
import torch
from made_mevis import write_split
from safetensors.torch import load_file, save_file
from small_models import package_model, transformers_model
from test_detect import small_detector

from rvos import InputError
from rvos.app.weights import main as weights_command
from rvos.data.mevis import read_split
from rvos.masks import read_json, write_json
from rvos.stages.store import Stores
from rvos.tracking.detect import load_detector
from rvos.tracking.pretrained import TWINS
from rvos.tracking.sam2_weights import load_transformers
from rvos.weights import hub
from rvos.weights.local import find, here, local_folder, obtain
from rvos.weights.provenance import digest, digests, digests_formerly


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Small networks as transformers saves them: a detector with its processor, a tracker."""
    folder = tmp_path_factory.mktemp("saved")
    for part in small_detector():
        part.save_pretrained(folder / "dino")
    transformers_model(package_model()).save_pretrained(folder / "sam2")
    return folder


@pytest.fixture
def dino(saved, tmp_path):
    return shutil.copytree(saved / "dino", tmp_path / "dino")


@pytest.fixture
def sam2(saved, tmp_path):
    return shutil.copytree(saved / "sam2", tmp_path / "sam2")


def change(folder, edit):
    state = load_file(folder / "model.safetensors")
    edit(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda s: [s.pop(n) for n in [*s] if "decoder.layers.0." in n], r"\d\d missing"),
        (lambda s: s.update(stray=torch.zeros(2)), r"1 unexpected \(stray\)"),
        (lambda s: s.update({n: torch.zeros(3) for n in s if n.endswith("level_embed")}), "shape"),
    ],
)
def test_a_detector_with_other_tensors_is_refused(dino, edit, said):
    load_detector(str(dino))
    change(dino, edit)
    with pytest.raises(InputError, match=f"not the weights of a Grounding DINO.*{said}") as error:
        load_detector(str(dino), key="coarse.detect.weights")
    assert "coarse.detect.weights: " in str(error.value) and "\x1b" not in str(error.value)


def test_a_detector_as_transformers_4_saves_it(dino):
    """It leaves out the clones of the box heads: they are tied, not missing."""
    whole = load_detector(str(dino))[0].state_dict()

    def drop(state):
        for name in [*state]:
            if name.startswith("model.decoder.bbox_embed.") or name.startswith("bbox_embed.1."):
                del state[name]

    change(dino, drop)
    loaded = load_detector(str(dino))[0].state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in whole.items())


@pytest.mark.parametrize("lost", TWINS)
def test_a_buffer_that_the_file_has_under_one_of_its_two_names(sam2, lost):
    """transformers 4.56 and 4.57 save SAM 2.1 like that."""
    whole = load_transformers(str(sam2)).state_dict()
    change(sam2, lambda state: state.pop(lost, None))
    loaded = load_transformers(str(sam2)).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in whole.items())
    change(sam2, lambda state: [state.pop(name, None) for name in TWINS])
    with pytest.raises(InputError, match=r"not the weights of a SAM 2.*2 missing"):
        load_transformers(str(sam2))


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (("preprocessor_config.json", "processor_config.json"), "lacks the processor"),
        (("tokenizer.json", "vocab.txt"), "lacks the tokenizer"),
        (("model.safetensors",), "lacks the weights"),
    ],
)
def test_a_folder_that_is_not_whole(dino, lost, said, capsys):
    for name in lost:
        (dino / name).unlink(missing_ok=True)
    with pytest.raises(InputError, match=f"masklets.detect.weights={dino}: not whole: .*{said}"):
        obtain({"masklets.detect.weights": str(dino)})
    assert weights_command(["check", str(dino)]) == 1
    assert "ok:" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("index", "shard"),
    [
        ("model.safetensors.index.json", "model-0000{}-of-00002.safetensors"),
        ("pytorch_model.bin.index.json", "pytorch_model-0000{}-of-00002.bin"),
    ],
)
def test_a_shard_that_is_missing(sam2, index, shard):
    whole = load_transformers(str(sam2)).state_dict()
    parts = load_file(sam2 / "model.safetensors")
    (sam2 / "model.safetensors").unlink()
    halves = [dict(list(parts.items())[i::2]) for i in (0, 1)]
    places = {name: shard.format(i + 1) for i in (0, 1) for name in halves[i]}
    write_json(sam2 / index, {"metadata": {"total_size": 1}, "weight_map": places})
    save = save_file if "safetensors" in index else torch.save
    more = {"metadata": {"format": "pt"}} if save is save_file else {}
    save(halves[0], sam2 / shard.format(1), **more)
    with pytest.raises(InputError, match=f"lacks {shard.format(2)}"):
        local_folder(sam2, key="masklets.weights")
    save(halves[1], sam2 / shard.format(2), **more)
    loaded = load_transformers(str(sam2)).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in whole.items())


def test_check_opens_what_it_calls_ok(dino, sam2, capsys):
    assert weights_command(["check", str(dino), str(sam2)]) == 0
    assert capsys.readouterr().out.count("ok: model_type") == 2
    change(dino, lambda state: state.pop("model.level_embed"))
    (sam2 / "model.safetensors").write_bytes(b"\0" * 100)
    assert weights_command(["check", str(dino), str(sam2)]) == 1
    said = capsys.readouterr().out
    assert "ok:" not in said and "model.level_embed" in said


# --------------------------------------------------------------------------------- the hub's cache


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "cache_folder", lambda: tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put(cache, repo, files, commit="1" * 40):
    """The layout of a cache, without its links."""
    folder = cache / f"models--{repo.replace('/', '--')}" / "snapshots" / commit
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copy(path, folder)
    reference = folder.parents[1] / "refs" / "main"
    reference.parent.mkdir(exist_ok=True)
    reference.write_text(commit)
    return folder


def test_a_cache_with_some_of_the_files(cache, dino):
    """As a program leaves it that only ran the network: no processor."""
    weight = find("grounding-dino-tiny")
    files = [dino / "config.json", dino / "model.safetensors"]
    put(cache, weight.repo, files)
    assert here(weight) is None
    with pytest.raises(InputError, match="lacks the processor .*the tokenizer .*Run this where"):
        obtain({"masklets.detect.weights": weight.repo})
    folder = put(cache, weight.repo, dino.iterdir())
    assert here(weight) == folder
    (folder / "tokenizer.json").unlink()
    assert here(weight) is None


def test_roberta_under_the_name_that_it_had(cache, tmp_path):
    files = [tmp_path / "vocab.json", tmp_path / "merges.txt"]
    for path in files:
        path.write_text("{}")
    folder = put(cache, "roberta-base", files[:1])
    assert here(find("roberta-base")) is None
    put(cache, "roberta-base", files)
    assert here(find("roberta-base")) == here(find("FacebookAI/roberta-base")) == folder
    today = put(cache, "FacebookAI/roberta-base", files)
    assert here(find("roberta-base")) == today


def test_get_says_what_a_run_says_offline(cache):
    with pytest.raises(InputError) as said:
        weights_command(["get", "sam2.1-hiera-tiny"])
    with pytest.raises(InputError) as error:
        obtain({"masklets.weights": "sam2.1-hiera-tiny"})
    assert str(said.value) == str(error.value).replace("masklets.weights=", "")
    assert "python -m rvos weights get sam2.1-hiera-tiny" in str(said.value)
    assert str(cache) in str(said.value)


# ------------------------------------------------------------------------------------- stores


def test_all_that_is_loaded_decides_the_name_of_a_store(dino, tmp_path):
    key = "masklets.detect.weights"
    first = digest(dino, key=key)
    (dino / "README.md").write_text("has no effect")
    assert digest(dino, key=key) == first
    seen = {first}
    for name in ("tokenizer.json", "processor_config.json", "config.json"):
        path = dino / name
        content = read_json(path)
        write_json(path, content | {"another": 1})
        seen.add(digest(dino, key=key))
    change(dino, lambda state: state["model.level_embed"].add_(1))
    seen.add(digest(dino, key=key))
    assert len(seen) == 5
    assert digest(dino, key="model.tokenizer") != digest(dino, key=key)


def test_a_store_of_the_older_name_is_read(dino, tmp_path):
    split = read_split(write_split(tmp_path / "data"), "train")
    stores, used = Stores(tmp_path / "stores", "made"), {"masklets.detect.weights": str(dino)}

    def opened():
        return stores.open(
            *("masklets", split),
            settings={"name": "sam2"},
            checkpoint_sha256=digests(used),
            formerly={"checkpoint_sha256": digests_formerly(used)},
        )

    old = stores.open(
        *("masklets", split),
        settings={"name": "sam2"},
        checkpoint_sha256=digests_formerly(used),
    )
    old.write("cat", {"dog": []})
    assert opened().path == opened().path == old.path
    assert opened().read("cat") == {"dog": []}
    # another tokenizer, which the old name did not tell: a store of its own
    write_json(dino / "tokenizer_config.json", {"model_max_length": 7})
    changed = opened()
    assert changed.path != old.path and not changed.has("cat")
    assert opened().path == changed.path
    assert sorted(os.listdir(tmp_path / "stores" / "masklets")) == sorted(
        {old.path.name, changed.path.name}
    )
