"""Damage for tests of damaged input: strategies, a folder of its own, the number of cases."""

import copy
import gzip
import json
import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

CASES = int(os.environ.get("RVOS_FUZZ", "300"))
SEED = os.environ.get("RVOS_FUZZ_SEED")  # other cases than those of each time
SHARES = 21.25  # of all tests of tests/app/test_fuzz*.py
SECONDS = 60  # no case takes longer


def fuzzed(share=1.0, **strategies):
    """`given` with a test's number of cases, of which slow ones have a smaller share."""
    budget = settings(
        max_examples=max(1, round(CASES * share / SHARES)),
        deadline=None,
        derandomize=SEED is None,
        database=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )

    def decorate(test):
        test = given(**strategies)(test)
        return budget(test if SEED is None else seed(int(SEED))(test))

    return decorate


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
            hows = ["replace", "remove", "double", "rename", "text", "as text", "nest", "number"]
            how = draw(st.sampled_from(hows))
            if how == "remove":
                del node[key]
            elif how == "double" and isinstance(node, list):
                node.append(node[key])
            elif how == "rename" and isinstance(node, dict):
                node[draw(NAMES)] = node.pop(key)
            elif how == "text" and isinstance(node[key], str):
                node[key] = draw(broken_text(node[key]))
            elif how == "as text":
                node[key] = str(node[key])
            elif how == "nest":
                node[key] = [node[key]]
            elif how == "number" and type(node[key]) is int:
                node[key] = draw(st.sampled_from([-node[key], node[key] + 0.5, float(node[key])]))
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


HOWS = st.sampled_from("json json json json json bytes bytes cut encoding twice deep empty".split())


@st.composite
def spoiled(draw, content):
    """The bytes of a JSON file, damaged: its values, its bytes or its form."""
    how, value = draw(HOWS), json.loads(content)
    if how == "json":
        return json.dumps(draw(damage(value))).encode()
    if how == "bytes":
        return broken(content, draw(EDITS))
    if how == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if how == "encoding":
        return content.decode().encode(draw(st.sampled_from(["utf-8-sig", "utf-16", "utf-32"])))
    if how == "twice":  # one key of an object twice, the first time with nothing
        text, key = content.decode(), draw(st.sampled_from(sorted(keys_of(value)) or ["x"]))
        return text.replace(
            f"{json.dumps(key)}:", f"{json.dumps(key)}: null, {json.dumps(key)}:", 1
        ).encode()
    if how == "deep":
        text, levels = content.decode(), draw(st.sampled_from([101, 990, 9000]))
        return text.replace("{", '{"deep": ' + "[" * levels + "]" * levels + ", ", 1).encode()
    return b""


def keys_of(value):
    """All keys in a JSON value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {*(value if isinstance(value, dict) else ()), *(k for v in inner for k in keys_of(v))}


@st.composite
def packed(draw, content):
    """A gzip file, damaged or only odd: cut, with more behind it, in two parts, too large."""
    whole = gzip.compress(content)
    half = len(content) // 2
    return draw(
        st.sampled_from(
            [
                whole[: len(whole) * 2 // 3],
                whole[:-4],
                whole + b"\0" * 9,
                whole + b"more",
                whole + whole,
                gzip.compress(content[:half]) + gzip.compress(content[half:]),
                gzip.compress(b" " * 2**22 + content),
                gzip.compress(b"\0" * 2**22),
                gzip.compress(whole),
                content,
                broken(whole, draw(EDITS)),
            ]
        )
    )


def meaning(content):
    """The value of a JSON file, or None where it is none; of several equal keys nothing is kept."""

    def once(pairs):
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError
        return dict(pairs)

    try:
        return json.loads(content, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None
