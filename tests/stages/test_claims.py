"""Claims: one process makes a video, what a dead one left is taken over, what failed is told."""

import os
import signal
import subprocess
import sys
import time

import pytest
from made_data import REPOSITORY

from rvos import SettingsError
from rvos.data.split import Expression, Video
from rvos.masks import read_json, write_json
from rvos.stages.claims import MAX_STALE, Claims, Sharing, hidden

TAKER = """
import sys, time
from pathlib import Path
from rvos.stages.claims import Claims
with Claims(Path(sys.argv[1]), 300) as claims:
    print(claims.take(sys.argv[2]), flush=True)
    time.sleep(600)
"""


def videos(*names, frames=2):
    return [Video(n, ("0",) * frames, (Expression(n, "0", "x", ()),)) for n in names]


def taker(folder, video):
    """A process that has taken a video."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAKER, str(folder), video],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdout.readline() == "True\n"
    return process


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def missing_in(folder):
    return lambda video: not (folder / f"{video.name}.json.gz").exists()


def make(folder, claims, found, count=None):
    """Make the files of the turns, at most `count`; the videos' names."""
    made = []
    for video in claims.turns(found, missing_in(folder)):
        if video is None:
            break
        write_json(folder / f"{video.name}.json.gz", {})
        claims.release(video.name)
        made.append(video.name)
        if len(made) == count:
            break
    return made


def test_each_video_is_taken_once(tmp_path):
    found = videos("a", "b", "c/d", "e")
    with Claims(tmp_path, 300) as one, Claims(tmp_path, 300) as two:
        assert one.take("b")
        assert not two.take("b")
        assert make(tmp_path, two, found) == ["a", "c/d", "e"]
        assert two.left == 1  # b, which one makes
        one.release("b")
        assert make(tmp_path, two, found) == ["b"]
        assert make(tmp_path, one, found) == []
    assert not hidden(tmp_path)


def test_what_is_not_done_is_given_back(tmp_path):
    with Claims(tmp_path, 300) as one:
        assert one.take("a")
        assert [p.name for p in hidden(tmp_path)][0] == ".a.claim-0"
    with Claims(tmp_path, 300) as two:
        assert two.take("a") and not two.num_taken_over


def test_a_killed_process_of_this_machine_is_noticed_at_once(tmp_path):
    with Claims(tmp_path, 300) as one:
        process = taker(tmp_path, "a")
        assert not one.take("a")
        kill(process)
        assert one.take("a") and one.num_taken_over == 1


def elsewhere(claim, seconds):
    """Make a claim that of a process of another machine, last touched some seconds ago."""
    content = read_json(claim) | {"place": "another machine"}
    times = claim.stat().st_mtime - seconds
    claim.unlink()
    write_json(claim, content)
    os.utime(claim, (times, times))


@pytest.mark.parametrize("seconds, taken", [(290, False), (310, True)])
def test_a_claim_of_another_machine_is_stale_when_it_is_not_touched(tmp_path, seconds, taken):
    with Claims(tmp_path, 300) as one, Claims(tmp_path, 300) as two:
        assert one.take("a")
        elsewhere(tmp_path / ".a.claim-0", seconds)
        assert two.take("a") == taken


def test_a_claim_is_touched_while_its_process_works(tmp_path):
    with Claims(tmp_path, 1) as one:  # touched every 0.1 s
        assert one.take("a")
        os.utime(tmp_path / ".a.claim-0", (0, 0))
        deadline = time.monotonic() + 30
        while (tmp_path / ".a.claim-0").stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert time.time() - (tmp_path / ".a.claim-0").stat().st_mtime < 30


def test_a_claim_that_went_stale_twice_has_failed_until_all_begin_anew(tmp_path):
    found = videos("a", "b")
    with Claims(tmp_path, 300) as one:
        for taken_over in range(MAX_STALE):
            process = taker(tmp_path, "a")
            assert len(list(tmp_path.glob(".a.claim-*"))) == taken_over + 1
            kill(process)
        assert make(tmp_path, one, found) == ["b"]
        (problems,) = one.failures(found).values()
        assert problems == {
            "lost: its process was killed or hung": [
                "video a: 2 processes that made it were killed, or hung"
            ]
        }
        with Claims(tmp_path, 300) as two:  # not alone: what failed stays
            assert make(tmp_path, two, found) == []
    with Claims(tmp_path, 300) as three:
        assert make(tmp_path, three, found) == ["a"] and three.num_taken_over == 0
    assert not hidden(tmp_path)


def test_what_failed_is_told_and_tried_again_by_the_next_start(tmp_path):
    found = videos("a", "b")
    with Claims(tmp_path, 300) as one:
        turns = one.turns(found, missing_in(tmp_path))
        assert next(turns).name == "a"
        one.fail("a", {"bad frames": ["video a: frame 3"]})
        assert next(turns).name == "b"
        one.fail("b", {"bad frames": ["video b: frame 1"]})
        assert list(turns) == []
        assert one.failures(found) == {
            "a": {"bad frames": ["video a: frame 3"]},
            "b": {"bad frames": ["video b: frame 1"]},
        }
    with Claims(tmp_path, 300) as two:
        assert make(tmp_path, two, found) == ["a", "b"] and not two.failures(found)


def test_shards_are_parts_of_nearly_equal_work(tmp_path):
    found = videos("a", "b", "c", frames=2) + videos("d", frames=6)
    parts = [Sharing(f"{i}/2").part(found) for i in range(2)]
    assert [[v.name for v in part] for part in parts] == [["d"], ["a", "b", "c"]]  # 6 and 6 frames
    assert Sharing(1, 2).part(found) == parts[1] and Sharing().part(found) == found
    assert Sharing("3/5").part(found) and not Sharing("4/5").part(found)


@pytest.mark.parametrize(
    "settings, message",
    [
        (("2/2",), "shard: expected a whole number from 0 to 1, or null, got 2"),
        ((0, None), "shard: expected both shard and shards"),
        ((None, 3), "shard: expected both shard and shards"),
        (("x", 2), "got 'x'"),
        (("1/2", 3), "got '1/2'"),
        ((0, 0), "shards: expected a whole number >= 1"),
        ((None, None, 0), "claims.stale_after: expected a number with 1 <= value"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(SettingsError) as error:
        Sharing(*settings)
    assert message in str(error.value)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(SettingsError) as caught:
        Sharing("7/5", None, "x")
    assert "shard: expected a whole number from 0 to 4" in str(caught.value)
    assert "claims.stale_after: expected a number" in str(caught.value)
