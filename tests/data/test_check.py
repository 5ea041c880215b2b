"""Bad data: all of it is listed at the start, or left out and counted; `verify` says it all."""

import hashlib
import json
import logging
import re

import numpy as np
import pytest
from commands import command
from made_mevis import (
    EXPRESSIONS,
    FRAMES,
    MASKS,
    break_huffman_table,
    square,
    write_frame,
    write_split,
)
from rich.console import Console

from rvos import InputError
from rvos.data import check, verify
from rvos.data.formats import open_checked, open_split, open_truth
from rvos.masks import encode

main = command("data")

# one kind of damage per video: the video's name, and what the message must say
EXPECTED = {
    "missing": "frame 00002: .*missing/00002.jpg: no such file",
    "truncated": "frame 00002: .*truncated/00002.jpg: truncated|image file is truncated",
    "empty_file": "frame 00002: .*empty_file/00002.jpg: cannot identify image file",
    "not_fetched": "frame 00002: .*not_fetched/00002.jpg: a pointer of Git LFS: .*`git lfs pull`",
    "other_size": r"frame 00030: .*expected 48 x 64 pixels .* got 24 x 64",
    "twice": '"frames": listed twice: 00010',
    "no_text": "expression 5: the expression's text is empty",
    "unknown": "expression 5: annotation 77: expected it in .*mask_dict.json",
    "short": "expression 5: annotation 10: expected 7 masks .* got 5",
    "wrong_size": r"expression 5: annotation 11, frame 00030: expected .* 48 x 64 .* got 10 x 10",
    "corrupt": "expression 5: annotation 12, frame 00010: corrupt counts",
    "no_exp": 'expression 5: expected a text "exp"',
}
VIDEOS = {
    "missing",
    "truncated",
    "empty_file",
    "not_fetched",
    "other_size",
    "twice",
}  # left out as a whole


@pytest.fixture
def damaged(tmp_path):
    """A train split with one video for each kind of damage, and a sound one."""
    small = encode(np.ones((10, 10)))
    masks = MASKS | {
        "10": MASKS["0"][:5],
        "11": [small if t == 3 else square(t, t, 4, 4) for t in range(7)],
        "12": [{"size": [48, 64], "counts": "0"} if t == 1 else None for t in range(7)],
    }
    write_split(tmp_path, videos=["sound", *EXPECTED], masks=masks)
    path = tmp_path / "train" / "meta_expressions.json"
    content = json.loads(path.read_text())
    extra = {
        "no_text": {"exp": "  ", "anno_id": [0]},
        "unknown": {"exp": "a", "anno_id": [77]},
        "short": {"exp": "a", "anno_id": [10]},
        "wrong_size": {"exp": "a", "anno_id": [11]},
        "corrupt": {"exp": "a", "anno_id": [12]},
        "no_exp": {"anno_id": [0]},
    }
    for video, entry in extra.items():
        content["videos"][video]["expressions"]["5"] = entry
    content["videos"]["twice"]["frames"][2] = FRAMES[1]
    path.write_text(json.dumps(content))
    images = tmp_path / "train" / "JPEGImages"
    (images / "missing" / "00002.jpg").unlink()
    whole = (images / "truncated" / "00002.jpg").read_bytes()
    (images / "truncated" / "00002.jpg").write_bytes(whole[: len(whole) - 40])
    (images / "empty_file" / "00002.jpg").write_bytes(b"")
    (images / "not_fetched" / "00002.jpg").write_text("version https://git-lfs.github.com/spec/v1")
    write_frame(images / "other_size" / "00030.jpg", 3, (24, 64))
    return tmp_path


def test_everything_bad_is_listed_before_anything_runs(damaged):
    """Malformed entries make the split unreadable; with them mended the rest is listed at once."""
    with pytest.raises(InputError) as error:
        open_checked("mevis", damaged, "train", with_truth=True, skip_bad=False)
    assert "malformed entries (2):" in str(error.value)
    path = damaged / "train" / "meta_expressions.json"
    content = json.loads(path.read_text())
    del content["videos"]["twice"], content["videos"]["no_exp"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError) as error:
        open_checked("mevis", damaged, "train", with_truth=True, skip_bad=False)
    lines = str(error.value).splitlines()
    assert "bad data (10):" in lines[0] and "data.skip_bad=true" in lines[-1]
    for video in EXPECTED.keys() - {"twice", "no_exp"}:
        (line,) = [line for line in lines if f"video {video}" in line]
        assert re.search(EXPECTED[video], line), line


def test_skip_bad_leaves_out_exactly_the_bad_and_counts_it(damaged, caplog):
    with caplog.at_level(logging.WARNING):
        split, _ = open_checked("mevis", damaged, "train", with_truth=True, skip_bad=True)
    kept = {video.name: [e.expression_id for e in video.expressions] for video in split.videos}
    assert kept == {name: list(EXPRESSIONS) for name in ["sound", *EXPECTED] if name not in VIDEOS}
    assert "left out 6 of 13 videos and 6 more expressions" in caplog.text


def test_what_was_seen_of_frames_is_kept_until_a_file_changes(tmp_path, monkeypatch):
    write_split(tmp_path)
    options = {"with_truth": True, "skip_bad": False}
    open_checked("mevis", tmp_path, "train", **options)
    with monkeypatch.context() as patch:
        patch.setattr(check, "_look_at", lambda *args: pytest.fail("looked again"))
        open_checked("mevis", tmp_path, "train", **options)
    for damaged in ('{"cat": ', "[1]", '{"cat": 3}'):
        (tmp_path / "train" / ".rvos_index" / "frames.json").write_text(damaged)
        open_checked("mevis", tmp_path, "train", **options)
    frame = tmp_path / "train" / "JPEGImages" / "cat" / f"{FRAMES[3]}.jpg"
    frame.write_bytes(frame.read_bytes()[:-30])  # rewritten in place
    with pytest.raises(InputError, match="truncated"):
        open_checked("mevis", tmp_path, "train", **options)


def test_only_decoding_finds_damage_that_both_ends_hide(tmp_path):
    write_split(tmp_path)
    break_huffman_table(tmp_path / "train" / "JPEGImages" / "cat" / f"{FRAMES[3]}.jpg")
    split = open_split("mevis", tmp_path, "train")
    truth = open_truth("mevis", split)
    assert check.find_problems(split, truth) == []
    (problem,) = check.find_problems(split, truth, decode=True)
    assert problem.video == "cat" and f"{FRAMES[3]}.jpg: broken data stream" in problem.text


def run_verify(root, release="any"):
    reports = verify.verify(
        root,
        format="mevis",
        release=release,
        workers=2,
        decode=True,
        splits=["train", "valid_u", "valid", "test"],
    )
    console = Console(width=200, record=True, quiet=True)
    return verify.show(reports, console), reports


def test_verify_counts(tmp_path):
    write_split(tmp_path, videos=["a", "b"])
    write_split(tmp_path, "valid", masks=None, expressions={"0": {"exp": "the cat"}})
    fine, (train, valid) = run_verify(tmp_path)
    assert fine
    names = ("videos", "expressions", "no target", "annotations", "frames")
    assert train.counts == dict(zip(names, (2, 8, 2, 3, 14), strict=True))
    assert (valid.counts["expressions"], valid.counts["annotations"]) == (1, None)
    assert valid.counts["no target"] is None
    content = (tmp_path / "train" / "mask_dict.json").read_bytes()
    assert train.mask_dict_sha256 == hashlib.sha256(content).hexdigest()


def test_verify_compares_with_the_release_it_is_told(tmp_path):
    write_split(tmp_path)
    fine, (train,) = run_verify(tmp_path, "v1")
    assert not fine and train.problems == ()
    assert [text.split(",")[0] for text in train.differences[:2]] == [
        "expected 1662 videos in MeViS v1",
        "expected 23051 expressions in MeViS v1",
    ]
    assert "expected SHA-256 f9d9b01a" in train.differences[2]
    assert len(run_verify(tmp_path, "v2")[1][0].differences) == 2  # no published hash
    with pytest.raises(InputError, match="data.release: expected any or v1 or v2"):
        run_verify(tmp_path, "v3")


def test_verify_lists_every_problem(damaged):
    fine, (train,) = run_verify(damaged)
    assert not fine and len(train.problems) == len(EXPECTED)


def test_the_command_exits_with_the_verdict(tmp_path, capsys):
    write_split(tmp_path)
    assert main(["verify", f"data.root={tmp_path}"]) == 0
    assert main(["verify", f"data.root={tmp_path}", "data.release=v2"]) == 1
    assert main(["verify", f"data.root={tmp_path / 'nowhere'}"]) == 1
    assert main(["verify", "data.rot=x"]) == 1
    with pytest.raises(SystemExit, match="2"):
        main(["mend"])
    shown = capsys.readouterr()
    assert "expected 27502 expressions in MeViS v2, found 4" in shown.out
    assert "nowhere: expected the splits train" in shown.err
