"""Damaged input, continued: pictures, texts, weights, folders of runs, inputs of `rvos score`.

What a damaged file gives is what the undamaged one gives, what another reader reads from it, or one
error. A file without checksums may hold another valid value (another sentence, another weight);
nobody can tell, so the reference reads the damaged file.
"""

import gzip
import io
import json
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from commands import command
from fuzzing import EDITS, NAMES, SHARES, broken, damage, folder, fuzzed
from hypothesis import strategies as st
from made_data import MadeData
from PIL import Image
from pycocotools import mask as coco

from rvos.app.own_video import read_sentences
from rvos.app.score import main as score
from rvos.data.frames import FrameFolder, fingerprint
from rvos.errors import InputError

main = command()

# -------------------------------------------------------------------------------------- pictures

STEMS = st.sampled_from(
    "0 1 2 9 10 00000 00001 0.04 0.08 0.2 1.10 -1 +1 t-2 t+0 a b a1 é 0\u2028 2.5.1 x.y".split(" ")
)
SUFFIXES = st.sampled_from(".png .jpg .JPG .webp .bmp .tif .gif .avif .txt .dng .zip".split())
KINDS_OF_FILES = st.sampled_from("picture picture picture stack cut large link folder".split())


def write_picture(path, kind, level):
    """Make one file of a kind; its pixels have the level."""
    if kind == "link":
        path.symlink_to("nowhere")
        return
    if kind == "folder":
        path.mkdir()
        return
    size = (9, 8) if kind == "large" else (12, 8)
    pictures = [Image.new("L", size, (level + 40 * t) % 256) for t in range(3)]
    more = {"save_all": True, "append_images": pictures[1:]} if kind == "stack" else {}
    suffix = path.suffix.lower()
    file = io.BytesIO()
    if suffix in (".txt", ".dng", ".zip"):
        file.write(b"no picture")
    elif suffix in (".bmp", ".jpg"):
        pictures[0].save(file, format=suffix[1:].replace("jpg", "jpeg"))
    else:
        pictures[0].save(file, format=suffix[1:].replace("tif", "tiff"), **more)
    content = file.getvalue()
    path.write_bytes(content[: 2 * len(content) // 3] if kind == "cut" else content)


@fuzzed(
    files=st.dictionaries(
        st.tuples(st.sampled_from(["", "", "", ".", "."]), STEMS, SUFFIXES),
        st.tuples(KINDS_OF_FILES, st.integers(0, 255)),
        min_size=1,
        max_size=6,
    )
)
def test_folders_of_pictures(files, caplog):
    """Every visible file is a frame with its pixels, or a warning names it, or there is one error.

    Frames of whole numbers are in their order.
    """
    caplog.clear()
    with folder() as root:
        paths = {}
        for (dot, stem, suffix), (kind, level) in files.items():
            path = root / f"{dot}{stem}{suffix}"
            write_picture(path, kind, level)
            paths[path] = level
        try:
            frames = FrameFolder(root)
            read = list(frames)
            assert len(fingerprint(root)) == 64
        except InputError as error:
            assert str(root) in str(error)
            return
        visible = [path for path in paths if not path.name.startswith(".") and path.is_file()]
        by_name = {path.stem: path for path in visible if path.name not in caplog.text}
        assert set(frames.names) == set(by_name)
        for name, pixels in zip(frames.names, read, strict=True):
            assert abs(pixels.astype(int) - paths[by_name[name]]).max() <= 4  # of JPEG and WebP
        if all(re.fullmatch(r"[0-9]+", name) for name in frames.names):
            assert [int(name) for name in frames.names] == sorted(map(int, frames.names))


# ----------------------------------------------------------------------------------------- texts

ENCODINGS = "utf-8 utf-8-sig utf-16 utf-16-le utf-16-be utf-32 latin-1 cp1252 shift-jis".split()
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
WORDS = st.text(
    st.characters(exclude_characters="\r\n\0\ufeff", exclude_categories=["Cs"]), max_size=12
)


@fuzzed(
    lines=st.lists(WORDS, min_size=1, max_size=4),
    end=ENDS,
    encoding=st.sampled_from(ENCODINGS),
    edits=st.none() | EDITS,
)
def test_texts_of_any_encoding(lines, end, encoding, edits):
    """The sentences are those that were written, or the file is refused."""
    with folder() as root:
        content = end.join(lines).encode(encoding, errors="replace")
        path = root / "sentences.txt"
        path.write_bytes(content if edits is None else broken(content, edits))
        try:
            found = read_sentences(None, str(path))
        except InputError as error:
            assert str(path) in str(error)
            return
        assert all(sentence.strip() and "\0" not in sentence for sentence in found)
        if edits is None and encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
            assert found == [line.strip() for line in lines if line.strip()]
        elif edits is None:  # of characters that all of these encodings have, or none was there
            assert "".join(found).isascii() or path.read_bytes().decode() == "".join(found)


# --------------------------------------------------------------------------------------- weights


@cache
def weights():
    """{form: bytes} of one state dict, and the state dict; ONNX as a model with these weights."""
    torch = pytest.importorskip("torch")
    from onnx_file import onnx
    from safetensors.torch import save

    torch.manual_seed(0)
    state = {"a.weight": torch.rand(4, 3), "a.bias": torch.rand(4), "steps": torch.tensor(7)}
    files = {"safetensors": save(state)}
    for form, zipped in (("zip", True), ("legacy", False)):
        file = io.BytesIO()
        torch.save({"model": state}, file, _use_new_zipfile_serialization=zipped)
        files[form] = file.getvalue()
    values = np.ones((4, 3, 3, 3), np.float32), np.zeros(4, np.float32)
    return files | {"onnx": onnx(*values, place=9)}, state


FORMS = ("zip", "legacy", "safetensors", "onnx")


@fuzzed(form=st.sampled_from(FORMS), edits=EDITS, start=st.booleans())
def test_damaged_weights(form, edits, start):
    """All tensors with their names and sizes, and numbers in them, or one error.

    A zip has checksums, so its values are right too. `start`: only the first bytes are damaged.
    """
    from rvos.tracking.small_networks import read_network
    from rvos.weights.tensors import read_state

    files, state = weights()
    content = files[form]
    cut = min(len(content), 400) if start else len(content)
    with folder() as root:
        path = root / f"weights.{form}"
        path.write_bytes(broken(content[:cut], edits) + content[cut:])
        try:
            if form == "onnx":
                read_network(path)
                return
            found = read_state(path)
        except InputError as error:
            assert str(path) in str(error)
            return
        for name, value in found.items():
            assert value.isfinite().all()
            if form == "zip":
                assert value.equal(state[name])
        if form == "zip":
            assert found.keys() == state.keys()


# ------------------------------------------------------------------------------- folders of runs

RUN_FILES = (
    *("split.json", "masklets.json", "metrics.json", "config.yaml", "decisions/long.json"),
    *("refined/long.json.gz", "videos/long.json.gz", "inputs/long.json.gz", "scores/long.json.gz"),
)
READERS = {
    "export rle": ("export", "RUN", "--format", "rle", "--out", "OUT"),
    "export coco": ("export", "RUN", "--format", "coco", "--out", "OUT"),
    "export ytvis": ("export", "RUN", "--format", "ytvis", "--out", "OUT"),
    "export png": ("export", "RUN", "--format", "png", "--out", "OUT"),
    "status": ("status", "RUN"),
    "ask": ("ask", "RUN", "--frames", "1", "--width", "32"),
    "oracle": ("answer", "RUN", "--oracle", "--out", "OUT"),
    "compare": ("compare", "RUN", "SOUND", "--resamples", "10"),
    "merge": ("merge", "RUN"),
    "report": ("report", "RUN", "--resamples", "10"),
}
SOUND = Path(tempfile.mkdtemp(prefix="rvos-fuzz-run-"))


@pytest.fixture(scope="module", autouse=True)
def kept_run():
    yield
    shutil.rmtree(SOUND)


def sound_run(run_eval):
    """The folder of a sound run."""
    if not (SOUND / "out").is_dir():
        assert run_eval(MadeData(SOUND).write()) == (0, "")
    return SOUND / "out"


def read_by(name, run, out):
    """The exit status of one reader of a run."""
    places = {"RUN": str(run), "OUT": str(out), "SOUND": str(SOUND / "out")}
    return main([places.get(word, word) for word in READERS[name]])


@fuzzed(
    data=st.data(),
    name=st.sampled_from(RUN_FILES),
    how=st.sampled_from(["json", "json", "json", "bytes", "packed", "removed", "empty"]),
    reader=st.sampled_from(list(READERS)),
)
def test_damaged_runs(run_eval, capfd, data, name, how, reader):
    """A reader ends well or with one error; exported masks are those that pycocotools reads."""
    sound = sound_run(run_eval)
    with folder() as root:
        run = root / "run"
        shutil.copytree(sound, run)
        kept = json.loads((run / "masklets.json").read_text())
        kept["path"] = str(SOUND / "masklets.json")
        (run / "masklets.json").write_text(json.dumps(kept))
        path = run / name
        content = path.read_bytes()
        inside = gzip.decompress(content) if name.endswith(".gz") else content
        if how == "json" and name != "config.yaml":
            inside = json.dumps(data.draw(damage(json.loads(inside)))).encode()
        elif how in ("json", "bytes"):
            inside = broken(inside, data.draw(EDITS))
        damaged = gzip.compress(inside) if name.endswith(".gz") else inside
        if how == "packed":
            damaged = broken(content, data.draw(EDITS))
        path.write_bytes(b"" if how == "empty" else damaged)
        if how == "removed":
            path.unlink()
        status = read_by(reader, run, root / "out")
        said = capfd.readouterr().err
        assert status == 0 or (said.startswith("error: ") and "Traceback" not in said)
        if status == 0 and reader == "export rle":
            check_export(run, root / "out")


def check_export(run, exported):
    """The masks of an export, beside those of the run's files as pycocotools reads them."""
    for video, tracks in json.loads(exported.read_text()).items():
        refined = json.loads(gzip.open(run / "refined" / f"{video}.json.gz").read())
        for key, track in tracks.items():
            for ours, theirs in zip(track, refined[key], strict=True):
                assert (ours is None) == (theirs is None)
                assert ours is None or np.array_equal(coco.decode(ours), coco.decode(theirs))


# ------------------------------------------------------------------------- inputs of `rvos score`

FRAMES = [str(t) for t in range(3)]


def masks_of(seed):
    """{video: {name: (T, H, W) bool}} of boxes."""
    rng = np.random.default_rng(seed)
    made = {}
    for video in ("a", "b"):
        for name in ("1", "2"):
            pixels = np.zeros((len(FRAMES), 12, 16), bool)
            for t in range(len(FRAMES)):
                y, x = rng.integers(0, 6), 8 * (name == "2") + rng.integers(0, 4)
                pixels[t, y : y + 5, x : x + 4] = True
            made.setdefault(video, {})[name] = pixels
    return made


def as_json(masks):
    """The same as `{video: {name: [RLE]}}`."""
    return {
        video: {
            name: [
                {
                    "size": list(m.shape),
                    "counts": coco.encode(np.asfortranarray(m))["counts"].decode(),
                }
                for m in track.astype(np.uint8)
            ]
            for name, track in of.items()
        }
        for video, of in masks.items()
    }


def write_pngs(root, masks):
    """The same as `<video>/<frame>.png` of numbers."""
    for video, of in masks.items():
        (root / video).mkdir(parents=True)
        for t, frame in enumerate(FRAMES):
            numbers = sum(int(name) * track[t].astype(np.uint8) for name, track in of.items())
            Image.fromarray(numbers).save(root / video / f"{frame}.png")


def jaccard(truth, mask):
    """By hand; 1 where both are empty, as the official scripts have it."""
    union = (truth | mask).sum()
    return (truth & mask).sum() / union if union else 1.0


def scored(root):
    """{(video, name): J} of truth and masks in a folder, or None; raises nothing else."""
    kinds = {p.stem: p for p in root.iterdir() if p.stem in ("truth", "masks")}
    places = "--truth", str(kinds["truth"]), "--masks", str(kinds["masks"])
    options = "--workers", "1", "--resamples", "10", "--json", str(root / "scores.json")
    try:
        assert score([*places, *options]) == 0
    except InputError as error:
        assert len(str(error)) > 10
        return None
    rows = json.loads((root / "scores.json").read_text())["per_name"]
    return {(row["video"], row["name"]): row["J"] for row in rows}


@fuzzed(data=st.data(), name=st.sampled_from(["truth", "masks"]), edits=st.none() | EDITS)
def test_damaged_json_of_scores(data, name, edits):
    """J is that of the masks that pycocotools reads, or there is one error."""
    with folder() as root:
        for file, seed in (("truth", 0), ("masks", 1)):
            content = as_json(masks_of(seed))
            if file == name and edits is None:
                content = data.draw(damage(content))
            written = json.dumps(content).encode()
            if file == name and edits is not None:
                written = broken(written, edits)
            (root / f"{file}.json").write_bytes(written)
        if (found := scored(root)) is None:
            return
        truth, masks = (json.loads((root / f"{n}.json").read_bytes()) for n in ("truth", "masks"))
        assert set(found) == {(video, key) for video, of in truth.items() for key in of}
        for (video, key), J in found.items():
            pairs = zip(truth[video][key], masks[video][key], strict=True)
            values = [jaccard(*pixels(pair)) for pair in pairs]
            assert J == pytest.approx(np.mean(values))


def pixels(pair):
    """Two masks of JSON as pixels; None is empty."""
    decoded = [mask and coco.decode(mask).astype(bool) for mask in pair]
    size = next((mask.shape for mask in decoded if mask is not None), (1, 1))
    return [np.zeros(size, bool) if mask is None else mask for mask in decoded]


@fuzzed(
    share=0.75,
    name=st.sampled_from(["truth", "masks"]),
    place=st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(FRAMES)),
    how=st.sampled_from(["bytes", "bytes", "removed", "renamed", "size", "rgb", "added", "cut"]),
    edits=EDITS,
    other=NAMES,
)
def test_damaged_pictures_of_scores(name, place, how, edits, other):
    """J is that of the pixels that Pillow reads, or there is one error."""
    with folder() as root:
        for kind, seed in (("truth", 0), ("masks", 1)):
            write_pngs(root / kind, masks_of(seed))
        path = root / name / place[0] / f"{place[1]}.png"
        content, image = path.read_bytes(), Image.open(path)
        try:
            if how == "removed":
                path.unlink()
            elif how == "renamed":
                path.rename(path.with_name(f"{other}.png"))
            elif how == "added":
                path.with_name(other or "x").write_bytes(content)
            elif how == "size":
                image.resize((8, 6)).save(path)
            elif how == "rgb":
                image.convert("RGB").save(path)
            else:
                path.write_bytes(content[:-20] if how == "cut" else broken(content, edits))
        except (OSError, ValueError):  # a name that no file can have
            return
        if (found := scored(root)) is None:
            return
        for (video, key), J in found.items():
            frames = sorted(p.stem for p in (root / "truth" / video).glob("[!.]*.png"))
            values = []
            for frame in frames:
                files = (root / kind / video / f"{frame}.png" for kind in ("truth", "masks"))
                values.append(jaccard(*(np.asarray(Image.open(f)) == int(key) for f in files)))
            assert J == pytest.approx(np.mean(values))


def test_the_shares():
    """All kinds together have all cases."""
    texts = [file.read_text() for file in Path(__file__).parent.glob("test_fuzz*.py")]
    shares = re.findall(r"^@fuzzed\(\s*(?:share=([\d.]+))?", "\n".join(texts), re.MULTILINE)
    assert sum(float(share or 1) for share in shares) == pytest.approx(SHARES)
