"""Weights from a hub that the test starts: fetched, resumed, checked, refused, and used offline."""

import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from made_data import REPOSITORY
from PIL import Image
from stand_in_hub import Hub

from rvos import InputError
from rvos.app.weights import markdown
from rvos.masks import read_json, write_json
from rvos.weights.local import WEIGHTS, find
from rvos.weights.provenance import content_digest

FIRST, SECOND = "1" * 40, "2" * 40  # commits
DINO, SAM2 = "IDEA-Research/grounding-dino-tiny", "facebook/sam2.1-hiera-tiny"
KEYS = {"detect.weights": DINO, "weights": SAM2}
BIG = random.Random(0).randbytes(3_000_000)
FILES = {
    "config.json": b'{"model_type": "grounding-dino"}',
    "model.safetensors": BIG,
    "preprocessor_config.json": b"{}",
    "tokenizer.json": b"{}",
    "README.md": b"not fetched",
}
FETCHED = FILES.keys() - {"README.md"}
TABLE = REPOSITORY / "docs" / "weights.md"


@pytest.fixture
def hub():
    with Hub() as hub:
        hub.repos = {DINO: {FIRST: FILES}}
        yield hub


class Machine:
    """A home of its own, in which commands of rvos run against the stand-in hub."""

    def __init__(self, folder, address):
        self.folder = folder
        hidden = ("HF_", "HUGGING", "TRANSFORMERS_OFFLINE", "RVOS_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
        self.environment = kept | {
            "HF_ENDPOINT": address,
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_DISABLE_XET": "1",  # plain HTTP, as the stand-in speaks it
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "RVOS_WEIGHTS": str(folder / "weights"),
            "PYTHONPATH": str(REPOSITORY),
        }

    def start(self, *words, **more):
        return subprocess.Popen(
            [sys.executable, *map(str, words)],
            cwd=self.folder,
            env=self.environment | more,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words, status=0, **more):
        """Standard output and error of a command, which must end with `status`."""
        process = self.start(*words, **more)
        out, err = process.communicate(timeout=300)
        assert process.returncode == status, out + err
        return out + err

    def weights(self, *words, **more):
        return self.run("-m", "rvos", "weights", *words, **more)

    def patched(self, patch, *words, **more):
        """`python -m rvos weights` after lines of Python that change the machine."""
        run = f"{patch}\nimport sys\nfrom rvos.__main__ import main\nsys.exit(main(sys.argv[1:]))"
        return self.run("-c", run, "weights", *words, **more)

    def storage(self, repo=DINO):
        return self.folder / "hf" / "hub" / f"models--{repo.replace('/', '--')}"

    def snapshot(self, repo=DINO, commit=FIRST):
        return self.storage(repo) / "snapshots" / commit


@pytest.fixture
def machine(tmp_path, hub):
    return Machine(tmp_path, hub.address)


# ------------------------------------------------------------------------------------- fetching


def test_fetch_records_commit_and_hashes(machine, hub):
    said = machine.weights("get", "grounding-dino-tiny")
    # one line before the fetch: what, how big, where to, licence as the hub says
    (line,) = [line for line in said.splitlines() if line.startswith("Fetching")]
    for part in (DINO, "3 MB", str(machine.folder / "hf"), "apache-2.0"):
        assert part in line
    assert (machine.snapshot() / "model.safetensors").read_bytes() == BIG
    assert not (machine.snapshot() / "README.md").exists()
    record = read_json(machine.storage() / "rvos.json")
    assert record["revisions"] == {"main": FIRST} and record["licence"] == "apache-2.0"
    files = record["files"][FIRST]
    assert files.keys() == FETCHED
    assert files["model.safetensors"]["sha256"] == hashlib.sha256(BIG).hexdigest()
    assert files["model.safetensors"]["size"] == 3_000_000


def test_second_use_makes_no_request_and_keeps_the_commit(machine, hub):
    machine.weights("get", DINO)
    hub.repos[DINO][SECOND] = FILES | {"config.json": b'{"model_type": "other"}'}
    before = len(hub.requests)
    use = "import sys; from rvos.weights.local import local_folder as f; print(f(sys.argv[1]))"
    assert FIRST in machine.run("-c", use, DINO)
    assert FIRST in machine.run("-c", use, "grounding-dino-tiny", HF_HUB_OFFLINE="1")
    assert f"yes, {FIRST[:8]}" in machine.weights(COLUMNS="200")
    assert len(hub.requests) == before
    # what was deleted comes back in the commit of the first fetch
    (machine.snapshot() / "config.json").unlink()
    assert FIRST in machine.run("-c", use, DINO)
    assert (machine.snapshot() / "config.json").read_bytes() == FILES["config.json"]
    # another revision, where it is asked for; that of the first fetch stays
    machine.weights("get", DINO, "--revision", SECOND)
    assert b"other" in (machine.snapshot(commit=SECOND) / "config.json").read_bytes()
    assert FIRST in machine.run("-c", use, DINO)


def test_killed_and_resumed(machine, hub):
    content = BIG * 8  # huggingface_hub writes pieces of 10 MiB
    hub.repos[DINO][FIRST] = FILES | {"model.safetensors": content}
    hub.pace["model.safetensors"] = 0.02  # 366 pieces: 7 seconds
    process = machine.start("-m", "rvos", "weights", "get", DINO)
    part = None
    while part is None or part.stat().st_size < 10_000_000:
        time.sleep(0.05)
        assert process.poll() is None
        part = next(machine.storage().glob("blobs/*.part"), None)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = part.stat().st_size
    assert 10_000_000 <= kept < len(content)
    hub.pace.clear()
    hub.requests.clear()
    machine.weights("get", DINO)
    (resumed,) = [r for r in hub.requests if r.startswith("GET") and "safetensors" in r]
    assert resumed.endswith(f"bytes={kept}-")
    assert (machine.snapshot() / "model.safetensors").read_bytes() == content
    assert not list(machine.storage().glob("blobs/*.part"))


def test_wrong_bytes(machine, hub):
    for name in ("config.json", "model.safetensors"):  # told by git's SHA-1, and by SHA-256
        hub.served = {name: FILES[name][:-1] + b"x"}
        said = machine.weights("get", DINO, status=1)
        assert f"{DINO}, {name}: wrong bytes" in said and "start again" in said
        assert not list(machine.storage().glob("blobs/*.part"))
        assert not (machine.storage() / "rvos.json").exists()
    hub.served = {}
    machine.weights("get", DINO)
    # damaged on the disk later: a use refuses it, check names it, get repairs it
    path = machine.snapshot() / "model.safetensors"
    path.resolve().write_bytes(BIG[:-1] + b"y")
    use = f"from rvos.weights.local import local_folder as f; f({DINO!r})"
    assert "changed since it was fetched" in machine.run("-c", use, status=1)
    wrong = hashlib.sha256(BIG[:-1] + b"y").hexdigest()
    said = machine.weights("check", "grounding-dino-tiny", status=1)
    assert f"expected SHA-256 {hashlib.sha256(BIG).hexdigest()}, found {wrong}" in said
    machine.weights("get", DINO)
    assert path.read_bytes() == BIG
    assert "expected SHA-256" not in machine.weights("check", "grounding-dino-tiny", status=1)


def test_what_is_there_of_other_programs_is_taken_over(machine, hub):
    """The cache as huggingface_hub itself fills it, and no network."""
    hub.repos[DINO][FIRST] = {k: v for k, v in FILES.items() if k != "README.md"}
    for name in hub.repos[DINO][FIRST]:
        machine.run("-c", f"from huggingface_hub import *; hf_hub_download({DINO!r}, {name!r})")
    before = len(hub.requests)
    use = f"from rvos.weights.local import local_folder as f; print(f({DINO!r}))"
    assert str(machine.snapshot()) in machine.run("-c", use, HF_HUB_OFFLINE="1")
    assert len(hub.requests) == before
    assert read_json(machine.storage() / "rvos.json")["revisions"] == {"main": FIRST}


def test_gated(machine, hub):
    hub.gated = {DINO}
    said = machine.weights("get", DINO, status=1)
    assert "accept the licence" in said and f"{hub.address}/{DINO}" in said and "HF_TOKEN" in said
    machine.weights("get", DINO, HF_TOKEN="secret")
    assert (machine.snapshot() / "model.safetensors").read_bytes() == BIG


def test_no_room(machine, hub):
    """Free disk is asked before the first byte; a disk that fills meanwhile keeps what came."""
    full = (
        "import shutil, types\nshutil.disk_usage = lambda p: types.SimpleNamespace(free=2_000_000)"
    )
    said = machine.patched(full, "get", DINO, status=1)
    assert "3 MB are needed, 2 MB are free" in said and "HF_HOME" in said
    assert not any("/resolve/" in request for request in hub.requests)
    fills = (
        "import errno, os\nimport huggingface_hub.file_download as f\n"
        "def stops(url, file, **more):\n"
        "    file.write(b'12'); raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "f.http_get = stops"
    )
    said = machine.patched(fills, "get", DINO, status=1)
    assert "No space left on device" in said and "start again to go on" in said


def test_a_cache_on_a_disk_without_links(machine, hub):
    """exFAT, and what other systems' disks are mounted as: a snapshot has copies of its blobs."""
    refuse = (
        "import os\ndef refused(*_, **__): raise PermissionError(1, 'Operation not permitted')\n"
        "os.symlink = os.link = os.chmod = refused"
    )
    machine.patched(refuse, "get", "grounding-dino-tiny")
    weights = machine.snapshot() / "model.safetensors"
    assert weights.read_bytes() == BIG and not weights.is_symlink()
    fetched = sum("/resolve/" in request for request in hub.requests)
    machine.patched(refuse, "get", "grounding-dino-tiny")
    assert sum("/resolve/" in request for request in hub.requests) == fetched


def test_a_cache_with_links_to_nothing(machine, hub):
    """A blob that was deleted is fetched again; a folder of blobs that is not there is named."""
    machine.weights("get", "grounding-dino-tiny")
    weights = machine.snapshot() / "model.safetensors"
    weights.resolve().unlink()
    (weights.parent / "tokenizer.json").unlink()
    (weights.parent / "tokenizer.json").symlink_to("tokenizer.json")
    machine.weights("get", "grounding-dino-tiny")
    assert weights.read_bytes() == BIG and (weights.parent / "tokenizer.json").is_file()
    shutil.rmtree(machine.storage() / "blobs")
    (machine.storage() / "blobs").symlink_to("nowhere")
    said = machine.weights("get", "grounding-dino-tiny", status=1)
    assert f"cannot be written to {machine.storage() / 'blobs'}: File exists" in said


def test_names_that_are_not_there(machine, hub):
    said = machine.weights("get", "someone/nothing", status=1)
    assert f"someone/nothing: nothing of that name on {hub.address}" in said
    said = machine.weights("get", DINO, "--revision", "v9", status=1)
    assert "no such revision" in said
    assert "nonsense: no such name" in machine.weights("get", "nonsense", status=1)
    row = (
        "from rvos.weights.table import WEIGHTS, Weight\n"
        "WEIGHTS['one'] = Weight('one', 'a test', 'model.backbone_weights', 'MIT', ())"
    )
    said = machine.patched(row, "get", "one", status=1)
    assert "no address" in said and "model.backbone_weights" in said
    assert "no address known" in machine.patched(row, COLUMNS="200")


# ------------------------------------------------------------------------- files of other places


def url_row(hub, content, **more):
    """Lines that put a row into the table whose file the stand-in hub has."""
    hub.urls["/one.pth"] = content
    more = "".join(f", {key}={value!r}" for key, value in more.items())
    return (
        "from rvos.weights.table import WEIGHTS, Weight\n"
        "WEIGHTS['one'] = Weight('one', 'a test', 'model.weights', 'MIT', ('one.pth',), "
        f"url='{hub.address}/one.pth'{more})"
    )


def test_a_file_with_an_address(machine, hub):
    digest = hashlib.sha256(BIG).hexdigest()
    row = url_row(hub, BIG, sha256=digest[:8])
    target = machine.folder / "weights" / "one.pth"
    target.parent.mkdir()
    target.with_name("one.pth.part").write_bytes(BIG[:1_000_000])  # of a killed start
    said = machine.patched(row, "get", "one")
    assert "GET /one.pth bytes=1000000-" in hub.requests
    assert target.read_bytes() == BIG and digest in said
    before = len(hub.requests)
    machine.patched(row, "get", "one")
    assert len(hub.requests) == before
    target.write_bytes(b"damaged")
    assert "expected SHA-256" in machine.patched(row, "check", "one", status=1)
    machine.patched(row, "get", "one")
    assert target.read_bytes() == BIG
    target.unlink()
    said = machine.patched(url_row(hub, BIG + b"x", sha256=digest[:8]), "get", "one", status=1)
    assert "wrong bytes" in said and not target.exists()


def test_google_drive(machine, hub):
    """By gdown where it is installed; else the message has the address and the place."""
    target = machine.folder / "weights" / "mutr.pth"
    row = find("mutr_mevis_swin_l")
    hide = "import sys\nsys.modules['gdown'] = None"
    said = machine.patched(hide, "get", row.name, status=1)
    assert "'rvos[drive]'" in said and row.url in said and str(target) in said
    # the interface of gdown 5.2 and later: download(url, output, ..., id=, resume=)
    stand_in = (
        "import sys, types, pathlib\n"
        "def download(url=None, output=None, quiet=False, *, id=None, resume=False):\n"
        "    assert resume and url is None\n"
        "    pathlib.Path(output).write_bytes(id.encode())\n"
        "    return output\n"
        "sys.modules['gdown'] = types.SimpleNamespace(download=download)"
    )
    machine.patched(stand_in, "get", row.name)
    assert target.read_text() == row.url.split("/")[5] == "1qaJhup2hhequeVbd-RnPlzloMfj-PNK1"


# ------------------------------------------------------------------------------------ no network


@pytest.fixture
def without_torch(machine):
    """Any import of torch ends the program; also a video of three frames."""
    (machine.folder / "no").mkdir()
    (machine.folder / "no" / "torch.py").write_text("raise SystemExit('torch was imported')")
    (machine.folder / "video").mkdir()
    for i in range(3):
        picture = Image.fromarray(np.full((32, 48, 3), 60 * i, np.uint8))
        picture.save(machine.folder / "video" / f"{i}.png")
    machine.environment["PYTHONPATH"] = f"{machine.folder / 'no'}{os.pathsep}{REPOSITORY}"
    return machine


DEFAULTS = [REPOSITORY / "predict.py", "video=video", "expression=the cat", "output_dir=out"]
PREDICT = [*DEFAULTS, "refine=vote"]  # masklets too


def refused_address():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


def check_message(said, machine):
    """One error: all settings, one command for all, the folder."""
    assert said.count("error: ") == 1 and "Traceback" not in said and "torch was" not in said
    names = [f"{g}.{k}={v}" for g in ("coarse", "masklets") for k, v in KEYS.items()]
    assert f"{', '.join(names)}: not in" in said
    assert str(machine.folder / "hf" / "hub") in said
    assert "python -m rvos weights get grounding-dino-tiny sam2.1-hiera-tiny" in said
    assert not (machine.folder / "out" / "stores").exists()


def test_offline_or_refused_is_said_at_once(without_torch):
    """Before torch is imported, which alone takes 2 s."""
    for more in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": refused_address()}):
        check_message(without_torch.run(*PREDICT, status=1, **more), without_torch)


def test_wrong_settings_are_named_together_before_weights(without_torch):
    wrong = {
        "every": "0",
        "refine.tau": "7",
        "coarse.detect.stride": "0",  # an inner object, which Hydra makes first
        "coarse.precision": "fp16",
        "masklets.detect.nms_iou": "often",
        "masklets.tracker": "eyes",
    }
    words = [f"{key}={value}" for key, value in wrong.items()]
    unknown = ["+coarse.colour=red", "+coarse.detect.size=3"]
    said = without_torch.run(*PREDICT, *words, *unknown, status=1)
    assert "Wrong settings (8):" in said and "torch was" not in said and "not in" not in said
    for key in wrong:
        (line,) = (line for line in said.splitlines() if line.startswith(f"  {key}: "))
        assert "expected" in line and "got" in line
    assert "rvos.coarse.Grounded: no such key: colour" in said
    assert "rvos.coarse.Grounding: no such key: size" in said


def test_only_weights_that_are_used_are_asked_for(without_torch):
    """The default refines nothing: no masklet is made."""
    said = without_torch.run(*DEFAULTS, status=1, HF_HUB_OFFLINE="1")
    assert "masklets" not in said and "torch was" not in said
    assert "coarse.detect.weights=" in said and "coarse.weights=" in said
    said = without_torch.run(*DEFAULTS, "masklets.weights=nowhere", status=1, HF_HUB_OFFLINE="1")
    assert "without effect in rvos predict" in said and "not there" not in said


def test_a_hub_that_never_answers(without_torch):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        without_torch.run(*PREDICT, status=1, HF_HUB_OFFLINE="1")
        without_asking = time.monotonic() - started
        limit = {"HF_ENDPOINT": address, "HF_HUB_ETAG_TIMEOUT": "2"}
        said = without_torch.run(*PREDICT, status=1, **limit)
        asking = time.monotonic() - started - without_asking
        assert asking - without_asking < 8  # the rest takes less than two seconds: see above
    check_message(said, without_torch)


def test_an_answer_that_is_not_the_hubs(without_torch, hub):
    """A proxy's or portal's own page for every address."""
    hub.repos = {}
    hub.urls = {f"/api/models/{DINO}/revision/main": b"<html>please log in</html>"}
    said = without_torch.run(*PREDICT, status=1)
    assert said.count("error: ") == 1 and "Traceback" not in said and "torch was" not in said


def test_names_and_paths_that_lead_nowhere(tmp_path, monkeypatch):
    from rvos.weights.local import obtain

    with pytest.raises(InputError, match="masklets.weights=nowhere.pt: no such weights"):
        obtain({"masklets.weights": "nowhere.pt"})
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match="weights get mutr_joint_swin_l.*licence: MIT"):
        obtain({"model.weights": str(tmp_path / "mutr_joint_swin_l.pth")})
    (tmp_path / "mutr_joint_swin_l.pth").write_bytes(b"x")
    found = obtain({"model.weights": "mutr_joint_swin_l", "masklets.weights": str(tmp_path)})
    assert found == {
        "model.weights": tmp_path / "mutr_joint_swin_l.pth",
        "masklets.weights": tmp_path,
    }


# ---------------------------------------------------------------------------------------- table


def test_the_page_has_the_table():
    """docs/weights.md shows what `python -m rvos weights --markdown` prints."""
    assert markdown() in TABLE.read_text()


def test_every_row_can_be_had_or_says_that_it_cannot():
    for name, row in WEIGHTS.items():
        ways = [way for way in (row.repo, row.url, row.command) if way]
        assert len(ways) <= 1, name
        assert row.licence and row.purpose and row.setting
        assert len(row.files) == 1 if row.url else True
    files = [row.files[0] for row in WEIGHTS.values() if row.url]
    assert len(set(files)) == len(files)


def test_a_damaged_record_counts_as_none(machine, hub):
    machine.weights("get", DINO)
    (machine.storage() / "rvos.json").write_text("{")
    machine.weights("get", DINO)
    assert read_json(machine.storage() / "rvos.json")["revisions"] == {"main": FIRST}
    write_json(machine.storage() / "rvos.json", [])
    use = f"from rvos.weights.local import local_folder as f; print(f({DINO!r}))"
    assert str(machine.snapshot()) in machine.run("-c", use, HF_HUB_OFFLINE="1")


# --------------------------------------------------------------------------------- in a whole run


@pytest.mark.slow
def test_predict_fetches_at_first_use_and_asks_nothing_again(without_torch, hub, tmp_path):
    """Small random models in the hub's true layout; the stores say where they come from."""
    from small_models import package_model, transformers_model
    from test_detect import small_detector

    machine = without_torch
    blocked = {"PYTHONPATH": machine.environment["PYTHONPATH"]}
    machine.environment["PYTHONPATH"] = str(REPOSITORY)
    model, processor = small_detector()
    for part in (model, processor):
        part.save_pretrained(tmp_path / "dino")
    transformers_model(package_model()).save_pretrained(tmp_path / "sam2")
    hub.repos = {
        name: {FIRST: {path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()}}
        for name, folder in ((DINO, "dino"), (SAM2, "sam2"))
    }
    more = ["device=cpu", "masks=rle", "weights.revision={sam2.1-hiera-tiny: main}"]
    more += [f"{g}.detect.{t}_threshold=0" for g in ("coarse", "masklets") for t in ("box", "text")]
    said = machine.run(*PREDICT, *more)
    assert [line.split()[1] for line in said.splitlines() if line.startswith("Fetching")] == [
        DINO,
        SAM2,
    ]
    for group in ("coarse", "masklets"):
        (provenance,) = machine.folder.glob(f"out/stores/{group}/*/provenance.json")
        found = read_json(provenance)
        assert found["weights"] == {
            f"{group}.{key}": {"hub": name, "revision": FIRST, "licence": "apache-2.0"}
            for key, name in KEYS.items()
        }
        assert found["checkpoint_sha256"] == "+".join(
            content_digest(tmp_path / folder, {}, key="weights") for folder in ("dino", "sam2")
        )
    hub.requests.clear()
    machine.run(*PREDICT, *more, **blocked)  # all is there: no network, no torch
    again = [str(word).replace("output_dir=out", "output_dir=again") for word in PREDICT]
    machine.run(*again, *more)
    assert hub.requests == []
    masks, same = (next(machine.folder.glob(f"{run}/refined/*.gz")) for run in ("out", "again"))
    assert masks.read_bytes() == same.read_bytes()
    # from folders: the same store, of which nothing else is known
    folders = [f"masklets.weights={tmp_path}/sam2", f"masklets.detect.weights={tmp_path}/dino"]
    checked = machine.weights("check", *(f.partition("=")[2] for f in folders))
    assert "masklets.detect.weights" in checked and "model_type sam2_video" in checked
