"""The weights in an ONNX file, for a check that they are numbers: OpenCV reads any.

Numbers of fields: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (ModelProto, GraphProto,
TensorProto); their form: https://protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rvos.errors import InputError, list_problems

GRAPH, NODE, INITIALIZER = 7, 1, 5  # of a model; of a graph
ATTRIBUTE, CONSTANT = 5, 5  # of a node; a tensor in an attribute
TYPE, FLOATS, NAME, RAW = 2, 4, 8, 9  # of a tensor
Buffer = memoryview | bytes
DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 10: np.dtype("<f2"), 11: np.dtype("<f8")}


def check_onnx(path: Path) -> None:
    """Raise InputError that names the weights which are not numbers; OpenCV finds other faults."""
    try:
        tensors = list(_tensors(memoryview(path.read_bytes())))
    except (IndexError, ValueError):  # cut off, or no ONNX file
        return
    wrong = [name for name, values in tensors if not np.isfinite(values).all()]
    if wrong:
        raise InputError(list_problems(f"{path}: tensors that are not numbers (NaN, inf)", wrong))


def _tensors(model: Buffer) -> Iterator[tuple[str, NDArray[np.floating]]]:
    inside = [*_inside(model, GRAPH, INITIALIZER)]
    inside += _inside(model, GRAPH, NODE, ATTRIBUTE, CONSTANT)
    for content in inside:
        tensor = dict(_fields(content))  # one of FLOATS and RAW holds the values
        kind = int.from_bytes(tensor.get(TYPE, b""), "little")
        if kind in DTYPES:
            values = tensor.get(RAW) or tensor.get(FLOATS) or b""
            yield (
                bytes(tensor.get(NAME, b"")).decode() or "a constant",
                np.frombuffer(values, DTYPES[kind]),
            )


def _inside(message: Buffer, first: int, *others: int) -> Iterator[Buffer]:
    """The fields of a message that have the number `first`; with `others`, those inside them."""
    for number, content in _fields(message):
        if number == first:
            yield from _inside(content, *others) if others else (content,)


def _fields(message: Buffer) -> Iterator[tuple[int, Buffer]]:
    """(number of the field, its bytes) of a message."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            value = varint()
            yield key >> 3, value.to_bytes(value.bit_length() // 8 + 1, "little")
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        if key & 7 not in (1, 2, 5) or at + size > len(message):
            raise ValueError("a field that ends beyond its message")
        yield key >> 3, message[at : at + size]
        at += size
