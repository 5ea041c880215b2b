"""Damaged input, continued: COCO, layouts of datasets, answers, stores, packed files, networks.

Each case ends well, with what the undamaged file gives or another reader finds in the damaged one,
or in one error.
"""

import gzip
import io
import json
import tarfile
from functools import cache
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import numpy as np
import pytest
from commands import command
from fuzzing import EDITS, broken, folder, fuzzed, meaning, packed, spoiled
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco
from test_fuzz_brought import FRAMES, as_json, jaccard, masks_of, pixels

from rvos.ask.questions import check_answers
from rvos.data.archive import open_archive
from rvos.errors import InputError
from rvos.masks import TrackFiles, read_json
from rvos.refine import Candidates, Masklets
from rvos.refine.given import Given
from rvos.stages.records import Records
from rvos.stages.store import Stores

main = command()
TRUTH, MASKS = masks_of(0), masks_of(1)  # {video: {name: (3, 12, 16) bool}}


def write(root, files):
    """Files of {path: content}: bytes, or what is to be JSON."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def run(capfd, root, *words):
    """Whether a command ends well; else it has said one error with a path of the folder."""
    capfd.readouterr()
    status, said = main([str(word) for word in words]), capfd.readouterr().err
    assert "Traceback" not in said
    if status:
        assert "error: " in said and str(root) in said, said
    return status == 0


# ------------------------------------------------------------------------- COCO and YouTube-VIS


def as_coco(masks):
    """An annotation per frame, as TAO has them."""
    names = [(video, name) for video, of in masks.items() for name in of]
    images = [(video, t) for video in masks for t in range(len(FRAMES))]
    rle = as_json(masks)
    size = {"height": 12, "width": 16}
    return {
        "videos": [{"id": i, "name": video} for i, video in enumerate(masks)],
        "images": [
            {"id": i, "video_id": list(masks).index(video), "frame_index": t, **size}
            | {"file_name": f"{video}/{FRAMES[t]}.jpg"}
            for i, (video, t) in enumerate(images)
        ],
        "categories": [{"id": int(name), "name": name} for name in ("1", "2")],
        "annotations": [
            {"id": len(FRAMES) * k + t, "image_id": images.index((video, t)), "track_id": k}
            | {"category_id": int(name), "segmentation": rle[video][name][t]}
            for k, (video, name) in enumerate(names)
            for t in range(len(FRAMES))
        ],
    }


def as_ytvis(masks):
    """An annotation per object."""
    rle, order = as_json(masks), list(masks)
    return {
        "videos": [
            {"id": i, "height": 12, "width": 16, "file_names": [f"{v}/{f}.jpg" for f in FRAMES]}
            for i, v in enumerate(order)
        ],
        "categories": [{"id": int(name), "name": name} for name in ("1", "2")],
        "annotations": [
            {"id": 10 * i + int(n), "video_id": i, "category_id": int(n), "segmentations": track}
            for i, v in enumerate(order)
            for n, track in rle[v].items()
        ],
    }


def union_of(content, video, name):
    """The masks of a category in a video by another reader, (T, H, W)."""
    for key in ("videos", "images", "categories"):  # else an annotation could be of either
        ids = [entry["id"] for entry in content.get(key, [])]
        assert len(set(ids)) == len(ids)
    names = {c["id"]: str(c.get("expression_id", c["name"])) for c in content["categories"]}
    found = np.zeros((len(FRAMES), 12, 16), bool)
    places = {}
    if "images" in content:
        known = {v["id"]: v for v in content.get("videos", [])}
        for image in content["images"]:
            file = PurePosixPath(image["file_name"])
            of = known.get(image.get("video_id"), {}).get("name") or image.get("video")
            places[image["id"]] = of or str(file.parent), file.stem
    else:
        for v in content["videos"]:
            for t, file in enumerate(v["file_names"]):
                file = PurePosixPath(file)
                places[v["id"], t] = v.get("name") or str(file.parent), file.stem
    for a in content["annotations"]:
        each = enumerate(a.get("segmentations", [a.get("segmentation")]))
        for t, mask in each:
            of, frame = places[a["image_id"] if "images" in content else (a["video_id"], t)]
            if (of, names[a["category_id"]]) == (video, name) and mask and frame in FRAMES:
                found[FRAMES.index(frame)] |= coco.decode(mask).astype(bool)
    return found


@fuzzed(data=st.data(), form=st.sampled_from([as_coco, as_ytvis]), instances=st.booleans())
def test_damaged_coco(data, form, instances):
    """Tracks are those of another reader, or the file is named."""
    whole = json.dumps(form(MASKS)).encode()
    with folder() as root:
        path = root / "masks.json"
        content = data.draw(spoiled(whole))
        path.write_bytes(content)
        try:
            files = TrackFiles(path, instances=instances)
            found = {video: files.read(video, FRAMES) for video in files.videos()}
        except InputError as error:
            assert str(path) in str(error)
            return
        assert (value := meaning(content)) is not None
        if not {"annotations", "categories"} <= value.keys():
            return  # now it is {video: ...}, which other tests damage
        for video, tracks in found.items():
            for name, track in tracks.items():
                every = track if instances else [track]
                theirs = union_of(value, video, name)
                for t in range(len(FRAMES)):
                    masks = [one[t] for one in every if isinstance(one[t], dict)]
                    ours = np.zeros((12, 16), bool)
                    for mask in masks:
                        ours = ours | coco.decode(mask).astype(bool)
                    assert np.array_equal(ours, theirs[t])


# ---------------------------------------------------------------------------- layouts of datasets


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "png")
    return file.getvalue()


def meta_of(names=("a", "b"), **more):
    """Expressions as MeViS has them; annotation ids are counted."""
    expressions = [
        {
            n: {"exp": f"box {n}", "obj_id": [int(n)], "anno_id": [2 * i + int(n)], **more}
            for n in ("1", "2")
        }
        for i in range(2)
    ]
    rows = zip(names, expressions, strict=True)
    return {"videos": {v: {"frames": FRAMES, "expressions": of} for v, of in rows}}


def numbers(video, t):
    return sum(int(n) * track[t].astype(np.uint8) for n, track in TRUTH[video].items())


@cache
def layouts():
    """{name: (dataset, truth, {path: content})} of the same boxes."""
    rle = as_json(TRUTH)
    masks = {str(2 * i + int(n)): rle[v][n] for i, v in enumerate("ab") for n in "12"}
    areas = {v: {"masks_rle": [[rle[v][n][t] for n in "12"] for t in range(3)]} for v in "ab"}
    every = [(v, n, t) for v in "ab" for n in "12" for t in range(3)]
    said = [{"obj_id": n, "exp_id": int(n), "exp_text": "which?", "is_sent": True} for n in "12"]
    listed = {v: {"source": "mose", "frames": FRAMES, "expressions": said} for v in "ab"}
    asked = {
        n: {"question": "which?", "obj_id": n, "q_type": "Causal", "action_start": "0:00"}
        | {"action_end": "0:01"}
        for n in "12"
    }
    film = {f"{v}_0000_0010": {"questions": asked} for v in "ab"}
    palettes = {f"truth/{v}/{FRAMES[t]}.png": png(numbers(v, t)) for v in "ab" for t in range(3)}
    folders = {f"{v}/{n}/{FRAMES[t]}.png": png(255 * TRUTH[v][n][t]) for v, n, t in every}
    long = {f"truth/valid/Annotations/{name}": file for name, file in folders.items()}
    mose = {f"truth/Annotations/mose_{name.replace('/', '_', 1)}": f for name, f in folders.items()}
    images = {}
    for v in "ab":
        for t in range(3):
            place = f"truth/annotations/{v}_0000_0010"
            images[f"{place}/images/{FRAMES[t]}.jpg"] = b""
            images[f"{place}/masks/{t:07d}.png"] = png(numbers(v, t))
    whole = {"truth/mask_dict.json": masks}
    found = {
        "mevis": {
            "truth/valid/meta_expressions.json": meta_of(),
            "truth/valid/mask_dict.json": masks,
        },
        "revos": {"truth/meta_expressions_valid_.json": meta_of(type_id=1), **whole}
        | {"truth/mask_dict_foreground.json": areas},
        "long_rvos": {"truth/valid/meta_expressions.json": meta_of(type="static"), **long},
        "ref_sav": {"truth/meta_expressions_valid.json": meta_of(type_id=1), **whole},
        "reason_vos": {"truth/meta_expressions.json": {"videos": listed}, **mose},
        "groundmore": {"truth/test_v2.json": {"videos": film}, **images},
        "davis17": palettes,
        "mosev2": palettes,
    }
    split = {"groundmore": "truth/test", "davis17": "truth", "mosev2": "truth"}
    return {name: (name, split.get(name, "truth/valid"), files) for name, files in found.items()}


def answers_of(layout, form):
    """The masks to score, as one file."""
    tracks = as_json(MASKS)
    if layout == "groundmore":
        tracks = {f"{video}_0000_0010": of for video, of in tracks.items()}
    if form == "sa2va":
        tracks = {
            v: {n: {"prediction_masks": t} for n, t in of.items()} for v, of in tracks.items()
        }
    if form == "coco":
        tracks = as_coco(MASKS)
    return tracks


def scores_of(capfd, root, layout, masks="masks.json"):
    """{(video, name): scores} by the command; None where it has told one error."""
    dataset, truth, _ = layouts()[layout]
    options = "--workers", "1", "--resamples", "10", "--json", root / "scores.json"
    places = "--truth", root / truth, "--masks", root / masks, "--dataset", dataset
    if not run(capfd, root, "score", *places, *options):
        return None
    rows = json.loads((root / "scores.json").read_text())["per_name"]
    return {(row.pop("video"), row.pop("name"), row.pop("group", "")): row for row in rows}


KNOWN = {}


def known_scores(capfd, layout, form):
    """What the undamaged files score."""
    if (layout, form) not in KNOWN:
        with folder() as root:
            write(root, layouts()[layout][2] | {"masks.json": answers_of(layout, form)})
            KNOWN[layout, form] = scores_of(capfd, root, layout)
            assert KNOWN[layout, form]
    return KNOWN[layout, form]


@fuzzed(
    share=1.5,
    data=st.data(),
    layout=st.sampled_from(
        "mevis revos long_rvos ref_sav reason_vos groundmore davis17 mosev2".split()
    ),
    of_masks=st.booleans(),
    form=st.sampled_from(["plain", "sa2va", "coco"]),
)
def test_damaged_layouts(capfd, data, layout, of_masks, form):
    """What means the same scores the same; else the file is of other content, or one error."""
    form = "plain" if layout == "groundmore" and form == "coco" else form
    known = known_scores(capfd, layout, form)
    with folder() as root:
        files = layouts()[layout][2] | {"masks.json": answers_of(layout, form)}
        write(root, files)
        names = [n for n in files if not n.endswith(".jpg")]
        jsons = [n for n in names if n.endswith("json") and n != "masks.json"]
        drawn = ["masks.json"] if of_masks else [*jsons, *jsons, *names[-3:-1]]
        path = root / data.draw(st.sampled_from(drawn))
        whole = path.read_bytes()
        is_json = path.suffix == ".json"
        content = data.draw(spoiled(whole)) if is_json else broken(whole, data.draw(EDITS))
        path.write_bytes(content)
        if (found := scores_of(capfd, root, layout)) is None:
            return
        for row in found.values():
            assert all(0 <= row[key] <= 1 for key in ("J", "F"))
        if not is_json:
            before, after = (np.asarray(Image.open(io.BytesIO(c))) for c in (whole, content))
            same = np.array_equal(before, after)
        else:
            value = meaning(content)
            assert value is not None
            same = value == json.loads(whole)
        assert not same or found == known
        if path.name == "masks.json" and layout == "mevis" and form == "plain":
            for (video, name, _), row in found.items():
                pairs = zip(TRUTH[video][name], value[video][name], strict=True)
                values = [jaccard(truth, pixels((mask, mask))[0]) for truth, mask in pairs]
                assert row["J"] == pytest.approx(np.mean(values))


@fuzzed(share=0.5, data=st.data())
def test_packed_masks(capfd, data):
    """What gzip's own reader finds in it, or one error."""
    known = known_scores(capfd, "mevis", "plain")
    with folder() as root:
        write(root, layouts()["mevis"][2])
        whole = json.dumps(answers_of("mevis", "plain")).encode()
        content = data.draw(packed(whole))
        write(root, {"masks.json.gz": content})
        found = scores_of(capfd, root, "mevis", "masks.json.gz")
        if found is not None:
            assert json.loads(gzip.decompress(content)) == json.loads(whole)
            assert found == known


# ------------------------------------------------------------------------------------ tar archives


@fuzzed(
    share=0.5,
    names=st.lists(
        st.sampled_from(
            ["a/0.jpg", "JPEGImages/a/1.jpg", "./b/2.jpg", "../a/3.jpg", "/a/4.jpg", "a/0.jpg"]
            + ["a/._5.jpg", "a/x.txt", "é/6.jpg", "a/b/c/7.jpg", "x" * 300 + "/8.jpg"]
        ),
        min_size=1,
        max_size=6,
    ),
    kinds=st.lists(st.sampled_from(["file"] * 6 + ["link", "hard", "folder"]), min_size=6),
    edits=st.none() | EDITS,
)
def test_damaged_tars(names, kinds, edits):
    """A frame has the bytes that were put in, or there is one error."""
    file, kept = io.BytesIO(), {}
    with tarfile.open(fileobj=file, mode="w") as tar:
        for i, (name, kind) in enumerate(zip(names, kinds, strict=False)):
            member = tarfile.TarInfo(name)
            types = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "folder": tarfile.DIRTYPE}
            member.type = types.get(kind, tarfile.REGTYPE)
            member.linkname = "/etc/passwd" if kind in ("link", "hard") else ""
            content = bytes([i]) * 700
            member.size = len(content) if kind == "file" else 0
            tar.addfile(member, io.BytesIO(content))
            if kind == "file":
                kept[name] = content
    content = file.getvalue()
    with folder() as root:
        path = root / "JPEGImages.tar"
        path.write_bytes(content if edits is None else broken(content, edits))
        try:
            archive = open_archive(path)
        except InputError as error:
            assert str(path) in str(error)
            return
        for key in archive._names.tolist():
            read = archive.read(key.decode())
            if edits is None:
                assert read in kept.values()


# -------------------------------------------------------------------- answers, questions, prompts

QUESTIONS = [
    {"video": "a", "expression_id": str(i), "candidates": [{"masklet": k} for k in range(3)]}
    for i in range(3)
]
DECISIONS = {
    "a": {
        "0": {"present": True, "masklets": [0, 2]},
        "1": {"present": False, "masklets": []},
        "2": {
            "present": True,
            "masklets": [],
            "windows": [
                {"start": 0, "stop": 2, "selected": [1]},
                {"start": 2, "stop": 3, "selected": []},
            ],
        },
    }
}


@fuzzed(data=st.data(), of_answers=st.booleans())
def test_damaged_answers(data, of_answers):
    """Masks are those that the file names, or the file is named."""
    rle = as_json(MASKS)
    masklets = [rle["a"]["1"], rle["a"]["2"], rle["b"]["1"]]
    coarse = rle["b"]["2"]
    with folder() as root:
        lines = "\n".join(map(json.dumps, QUESTIONS)).encode()
        answers = json.dumps(DECISIONS).encode()
        if of_answers:
            answers = data.draw(spoiled(answers))
        else:
            at = data.draw(st.integers(0, 2))
            line = data.draw(spoiled(json.dumps(QUESTIONS[at]).encode()))
            rows = lines.split(b"\n")
            lines = b"\n".join([*rows[:at], line, *rows[at + 1 :]])
        (root / "questions.jsonl").write_bytes(lines)
        path = root / "answers.json"
        path.write_bytes(answers)
        try:
            assert check_answers(path) <= 3
            given = Given(path=str(path))
            found = {
                key: given(Candidates(coarse, Masklets(masklets), video="a", expression_id=key))
                for key in "012"
            }
        except InputError as error:
            assert str(root) in str(error)
            return
        for key, refinement in found.items():
            decision = meaning(answers)["a"][key]
            spans = [{"start": 0, "stop": 3, "selected": decision["masklets"]}]
            if decision["present"] and not decision["masklets"]:
                spans = decision.get("windows") or spans
            for span in spans:
                for t in range(span["start"], span["stop"]):
                    chosen = [masklets[i][t] for i in span["selected"]]
                    if not decision["present"]:
                        chosen = []
                    elif not chosen:
                        chosen = [coarse[t]]
                    ours = refinement.track[t]
                    theirs = np.any([coco.decode(m) for m in chosen], axis=0) if chosen else 0
                    assert np.array_equal(coco.decode(ours) if ours else 0 * theirs, theirs)


# ------------------------------------------------------------------------------ stores, records

SPLIT = SimpleNamespace(name="valid", meta_sha256="0" * 64)
SETTINGS = {"window": 5, "weights": {"name": "x"}}


@fuzzed(data=st.data(), name=st.sampled_from(["provenance.json", "v.json.gz", "other"]))
def test_damaged_stores(data, name):
    """A store gives what was kept in it, or is named; damage of another is no harm."""
    with folder() as root:
        stores = Stores(root, "x")
        value = as_json(MASKS)["a"]
        store = stores.open("coarse", SPLIT, settings=SETTINGS)
        store.write("v", value)
        path = store.path / ("provenance.json" if name == "other" else name)
        whole = path.read_bytes()
        inside = gzip.decompress(whole) if name.endswith("gz") else whole
        damaged = data.draw(spoiled(inside))
        if name.endswith("gz"):
            damaged = data.draw(packed(inside)) if damaged == inside else gzip.compress(damaged)
        path.write_bytes(damaged)
        if name == "other":
            stores.open("coarse", SPLIT, settings=SETTINGS | {"window": 9})
            return
        try:
            found = stores.open("coarse", SPLIT, settings=SETTINGS).read("v")
        except InputError as error:
            assert str(store.path) in str(error)
            return
        if name.endswith("gz"):
            assert found == meaning(gzip.decompress(damaged))
        else:
            assert found == value
            kept = meaning(damaged)
            for key, value in store.provenance.items():  # {} counts as nothing
                assert (kept.get(key) or None) == value


@fuzzed(share=0.5, data=st.data(), kind=st.sampled_from(["started", "failed"]))
def test_damaged_records(data, kind):
    """What is damaged beside a video says nothing of it."""
    with folder() as root:
        records = Records(root)
        records.begin("v")
        if kind == "failed":
            records.end("v", {"missing": ["frame 3"]})
        path = root / f".v.{kind}"
        path.write_bytes(data.draw(spoiled(path.read_bytes())))
        assert records.starts("v") >= 0
        assert records.at_work("v") in (True, False)
        for kind_of_problem, texts in records.failure("v").items():
            assert isinstance(kind_of_problem, str) and all(isinstance(t, str) for t in texts)
        records.begin("v")
        assert read_json(root / ".v.started")["starts"] >= 1


# ---------------------------------------------------------------------------- folders of networks


@cache
def folders_of_networks():
    """{kind: {file: content}} of tiny networks with what belongs to them."""
    pytest.importorskip("torch")
    from family_models import sam3_processor, tiny_edgetam, tiny_sam3
    from small_models import package_model, transformers_model
    from test_detect import small_detector
    from transformers import RobertaTokenizerFast

    letters = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *"abcde"])}
    parts = {
        "grounding-dino": small_detector(),
        "sam2_video": (transformers_model(package_model()),),
        "edgetam_video": (tiny_edgetam(),),
        "sam3_video": (tiny_sam3(), sam3_processor()),
        "roberta": (RobertaTokenizerFast(vocab=letters, merges=[]),),
    }
    found = {}
    for kind, saved in parts.items():
        with folder() as root:
            for part in saved:
                part.save_pretrained(root)
            found[kind] = {p.name: p.read_bytes() for p in root.iterdir()}
    found["roberta"]["config.json"] = b'{"model_type": "roberta"}'
    found["sharded"] = sharded(found["sam2_video"])
    return found


def sharded(files):
    """The same weights in two files with an index."""
    from safetensors.torch import load, save

    state = load(files["model.safetensors"])
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    of = {key: names[i % 2] for i, key in enumerate(state)}
    parts = {
        n: save({k: v for k, v in state.items() if of[k] == n}, {"format": "pt"}) for n in names
    }
    index = json.dumps({"metadata": {"total_size": 9}, "weight_map": of}).encode()
    others = {name: content for name, content in files.items() if name != "model.safetensors"}
    return others | parts | {"model.safetensors.index.json": index}


@fuzzed(
    share=0.5,
    data=st.data(),
    kind=st.sampled_from(
        "grounding-dino sam2_video edgetam_video sam3_video roberta sharded".split()
    ),
)
def test_damaged_folders_of_networks(capfd, data, kind):
    """`weights check` says ok of weights that are those of the file, or what is wrong."""
    from safetensors.torch import load

    files = folders_of_networks()[kind]
    with folder() as root:
        write(root, files)
        path = root / data.draw(st.sampled_from(sorted(files)))
        whole = path.read_bytes()
        how = data.draw(st.sampled_from(["damaged", "damaged", "damaged", "removed"]))
        if how == "removed":
            path.unlink()
        elif path.suffix == ".json":
            path.write_bytes(data.draw(spoiled(whole)))
        else:
            cut = data.draw(st.sampled_from([len(whole), 400]))
            path.write_bytes(broken(whole[:cut], data.draw(EDITS)) + whole[cut:])
        capfd.readouterr()
        status, said = main(["weights", "check", str(root)]), capfd.readouterr()
        assert "Traceback" not in said.out + said.err
        if status:
            assert str(root) in said.out + said.err, said
            return
        assert "ok: " in said.out
        if path.suffix == ".safetensors" and path.is_file():
            before, after = load(whole), load(path.read_bytes())
            assert {k: v.shape for k, v in before.items()} == {k: v.shape for k, v in after.items()}
            assert all(v.isfinite().all() for v in after.values())


@cache
def sam2_file():
    """One of Meta's files, of a tiny size."""
    torch = pytest.importorskip("torch")
    from small_models import package_model

    file = io.BytesIO()
    torch.save({"model": package_model(image_size=1024).state_dict()}, file)
    return file.getvalue()


@fuzzed(share=0.25, edits=EDITS, edge=st.sampled_from([0, 30_000]))
def test_damaged_files_of_sam2(monkeypatch, capfd, edits, edge):
    """A zip has checksums: what is loaded is the undamaged file's."""
    from small_models import TINY

    from rvos.tracking import sam2_weights

    monkeypatch.setattr(sam2_weights, "SIZES", (TINY,))
    content = sam2_file()
    ends = broken(content[:edge] + content[-edge:], edits) if edge else broken(content, edits)
    damaged = ends[:edge] + content[edge:-edge] + ends[edge:] if edge else ends
    with folder() as root:
        path = root / "sam2.1_hiera_tiny.pt"
        path.write_bytes(damaged)
        capfd.readouterr()
        status, said = main(["weights", "check", str(path)]), capfd.readouterr()
        assert "Traceback" not in said.out + said.err
        assert str(path) in said.out + said.err
        if status == 0:
            from rvos.weights.tensors import read_state

            path.with_name("sound.pt").write_bytes(content)
            sound, found = read_state(path.with_name("sound.pt")), read_state(path)
            assert all(found[key].equal(value) for key, value in sound.items())


# ------------------------------------------------------------------- trainings to be gone on with


@cache
def checkpoint():
    """A network, and what Lightning keeps of a training of it."""
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(3, 2)
    state = {f"model.{name}": value for name, value in model.state_dict().items()}
    content = {"state_dict": state, "optimizer_states": [], "loops": {}, "epoch": 1}
    file = io.BytesIO()
    torch.save(content, file)
    return model, file.getvalue()


ENDED = {"steps": 4, "epochs": 1, "weights_of": "best.ckpt", "last": {"val/JF": 0.5}}


@fuzzed(share=0.75, data=st.data(), name=st.sampled_from(["last.ckpt", "metrics.json"]))
def test_damaged_trainings(data, name):
    """Only the undamaged training is gone on with; a damaged one's files are named."""
    from rvos.train.resume import finished
    from rvos.train.run import check_fits

    model, content = checkpoint()
    limits = {"max_epochs": 1, "max_steps": -1, "max_time": None}
    with folder() as root:
        write(root, {"checkpoints/last.ckpt": content, "metrics.json": ENDED})
        write(root, {"config.yaml": {"config": {"trainer": limits}}})
        path = root / ("metrics.json" if name == "metrics.json" else "checkpoints/last.ckpt")
        whole = path.read_bytes()
        is_json = name == "metrics.json"
        path.write_bytes(data.draw(spoiled(whole)) if is_json else broken(whole, data.draw(EDITS)))
        last = root / "checkpoints/last.ckpt"
        try:
            check_fits(last, SimpleNamespace(model=model), SimpleNamespace(callbacks=[]))
            found = finished(last, root, {"trainer": limits})
        except InputError as error:
            assert str(path) in str(error)
            return
        if is_json:
            assert found == meaning(path.read_bytes())
            assert {type(found[key]) for key in ("steps", "epochs")} == {int}
        else:
            from rvos.weights.tensors import read_state

            state = model.state_dict()
            read = read_state(last)
            assert all(read[key].equal(value) for key, value in state.items())


# -------------------------------------------------------------------- texts of settings and nouns

PROMPTS = (Path(__file__).parents[2] / "conf" / "ask" / "default.yaml").read_text()


@fuzzed(
    share=0.5,
    edits=EDITS,
    form=st.sampled_from(["bytes", "utf-16", "utf-8-sig", "latin-1", "deep", "aliases"]),
)
def test_damaged_prompts(edits, form):
    """The texts of a file of prompts, or the file is named."""
    from rvos.ask.prompts import Prompts

    content = {
        "bytes": lambda: broken(PROMPTS.encode(), edits),
        "deep": lambda: PROMPTS.encode() + b"\nx: " + b"[" * 3000,
        "aliases": lambda: b"a: &a [x, x]\n" + PROMPTS.encode() + b"\nb: [*a, *a, *c]",
    }.get(form, lambda: PROMPTS.encode(form, errors="replace"))()
    with folder() as root:
        path = root / "mine.yaml"
        path.write_bytes(content)
        try:
            prompts = Prompts.read(str(path))
            told = prompts.presence("a cat", 3, 2), prompts.again("no JSON")
            told += (prompts.choice("a cat", 3, 2, numbers=[0], round_=1, rounds=2),)
        except InputError as error:
            assert str(path) in str(error)
            return
        assert all(isinstance(text, str) and text.strip() for text in told)


@fuzzed(share=0.5, data=st.data())
def test_damaged_nouns(data):
    """The nouns of all expressions, or the file is named."""
    from rvos.data.split import Expression, Split, Video
    from rvos.nouns.finder import read_nouns

    nouns = {"v": {"0": "cat. dog", "1": "man"}, "w": {"0": "é"}}
    with folder() as root:
        path = root / "nouns.json"
        path.write_bytes(data.draw(spoiled(json.dumps(nouns).encode())))
        videos = tuple(
            Video(v, ("0",), tuple(Expression(v, e, "", ()) for e in of)) for v, of in nouns.items()
        )
        try:
            found = read_nouns(path, Split(root, "valid", videos, ""))
        except InputError as error:
            assert str(path) in str(error)
            return
        value = meaning(path.read_bytes())
        assert found == {v: {e: value[v][e] for e in of} for v, of in nouns.items()}
