"""Damage for tests of damaged input: strategies, a folder of its own, the number of cases."""

import copy
import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CASES = int(os.environ.get("RVOS_FUZZ", "300"))
KINDS = 14  # tests of tests/app/test_fuzz*.py
SECONDS = 60  # no case takes longer


def fuzzed(**strategies):
    """`given` with a test's number of cases; the same cases each time."""
    budget = settings(
        max_examples=CASES // KINDS,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: budget(given(**strategies)(test))


@contextmanager
def folder():
    """A folder of its own for a case that must end in time and write nowhere else."""
    top = Path(tempfile.mkdtemp(prefix="rvos-fuzz-"))

    def too_long(*_):
        raise TimeoutError(f"longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        inside = top / "a" / "b"  # what leaves it by ../ is found
        inside.mkdir(parents=True)
        yield inside
        assert [p.name for p in top.iterdir()] == ["a"]
        assert [p.name for p in (top / "a").iterdir()] == ["b"]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        shutil.rmtree(top)


NAMES = st.sampled_from(
    ["", ".", "..", "../x", "../../x", "/x", "a/b", "a\\b", "x\0", "a\n", "é", "x" * 300, "0"]
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63, -(2**70), 0.5, 1e308, float("nan"), float("inf")]),
    NAMES,
    st.text(max_size=5),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(NAMES, st.integers(0, 3), max_size=2),
)


@st.composite
def damage(draw, value):
    """The JSON value with one to three places replaced, removed, doubled or renamed."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        node, depth = value, draw(st.integers(1, 6))
        while True:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            if not keys:
                break
            key = draw(st.sampled_from(list(keys)))
            if depth > 1 and isinstance(node[key], dict | list) and node[key]:
                node, depth = node[key], depth - 1
                continue
            how = draw(st.sampled_from(["replace", "remove", "double", "rename", "text"]))
            if how == "remove":
                del node[key]
            elif how == "double" and isinstance(node, list):
                node.append(node[key])
            elif how == "rename" and isinstance(node, dict):
                node[draw(NAMES)] = node.pop(key)
            elif how == "text" and isinstance(node[key], str):
                node[key] = draw(broken_text(node[key]))
            else:
                node[key] = draw(VALUES)
            break
    return value


@st.composite
def broken_text(draw, text):
    """A text cut off, or with other characters in it."""
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.sampled_from(["", "0", "~", "é", "\0"])) + text[at + 1 :]


EDITS = st.lists(  # what happens where (a share of the length), with which bytes
    st.tuples(
        st.sampled_from(["change", "change", "change", "cut", "slice", "insert"]),
        st.integers(0, 9999),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


def broken(content, edits):
    """Bytes with a few changed, a slice missing, cut off, or something in between."""
    content = bytearray(content)
    for how, share, other in edits:
        at = share * len(content) // 10_000
        if how == "cut":
            del content[at:]
        elif how == "slice":
            del content[at : at + 5 * len(other)]
        else:
            content[at : at + (len(other) if how == "change" else 0)] = other
    return bytes(content)
