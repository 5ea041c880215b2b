"""A hand-made MeViS split for the data tests: everything in it is known by construction."""

import json

import cv2
import numpy as np

from rvos.masks import encode

SIZE = (48, 64)  # height, width
FRAMES = [f"{t:05d}" for t in (9, 10, 2, 30, 4, 7, 8)]  # names are no numbers: their order counts


def square(left, top, width, height):
    """A mask of SIZE that is one rectangle, as RLE."""
    mask = np.zeros(SIZE, bool)
    mask[top : top + height, left : left + width] = True
    return encode(mask)


def left_of(t):
    """Column of object 0's left edge in frame t: it moves 5 pixels a frame."""
    return 3 + 5 * t


MASKS = {
    "0": [square(left_of(t), 10, 6, 8) for t in range(7)],
    "1": [square(40, 4 * t, 10, 5) if t not in (2, 3) else None for t in range(7)],
    "2": [None] * 7,
}
EXPRESSIONS = {
    "0": {"exp": "The  bright square on the left moving right", "obj_id": [0], "anno_id": [0]},
    "1": {"exp": "both squares", "obj_id": [0, 1], "anno_id": [0, 1]},
    "2": {"exp": "the dog", "obj_id": [], "anno_id": []},
    "x": {"exp": "the one that never shows", "obj_id": [2], "anno_id": [2]},
}


def write_frame(path, t, size=SIZE):
    """A JPEG whose red channel tells its position in the video: 30 * t."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((*size, 3), np.uint8)
    image[..., 2] = 30 * t  # BGR
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 100])


def break_huffman_table(path):
    """Damage that both ends of a JPEG hide: only decoding it finds this."""
    data = bytearray(path.read_bytes())
    table = data.index(b"\xff\xc4") + 5
    data[table : table + 16] = b"\xff" * 16
    path.write_bytes(bytes(data))


def write_split(
    root, split="train", *, videos=("cat",), masks=MASKS, expressions=EXPRESSIONS, frames=FRAMES
):
    """Write videos that all have the same frames, expressions and annotations; returns `root`."""
    for video in videos:
        for t, name in enumerate(dict.fromkeys(frames)):
            write_frame(root / split / "JPEGImages" / video / f"{name}.jpg", t)
    content = {v: {"frames": list(frames), "expressions": expressions} for v in videos}
    (root / split / "meta_expressions.json").write_text(json.dumps({"videos": content}))
    if masks is not None:
        (root / split / "mask_dict.json").write_text(json.dumps(masks))
    return root
