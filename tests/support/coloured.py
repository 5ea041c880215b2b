"""A synthetic video of coloured rectangles, and models whose answers on it are known."""

from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from rvos.masks import encode, write_json
from rvos.tracking.track import Step

SIZE = (64, 80)
NUM_FRAMES = 8
COLOURS = {"dog": (255, 0, 0), "cat": (0, 0, 255), "bird": (0, 255, 0)}
# (colour of, x0 in frame 0, y0, first frame): rectangles of 12 x 10 pixels that go right, 3 per
# frame. The second dog enters late.
OBJECTS = [("dog", 4, 4, 0), ("cat", 10, 24, 0), ("dog", 20, 46, 3)]
WIDTH, HEIGHT, SPEED = 12, 10, 3


def box(i, t):
    """x0, y0, x1, y1 of object i in frame t; None before it enters."""
    _, x, y, first = OBJECTS[i]
    x += SPEED * t
    return (x, y, x + WIDTH, y + HEIGHT) if t >= first else None


def mask(i, t):
    """RLE of object i in frame t, None before it enters."""
    if box(i, t) is None:
        return None
    x0, y0, x1, y1 = box(i, t)
    pixels = np.zeros(SIZE, np.uint8)
    pixels[y0:y1, x0:x1] = 1
    return encode(pixels)


def track(i):
    return [mask(i, t) for t in range(NUM_FRAMES)]


def frame(t):
    """(H, W, 3) uint8."""
    picture = np.full((*SIZE, 3), 90, np.uint8)
    for i, (kind, *_) in enumerate(OBJECTS):
        if box(i, t):
            x0, y0, x1, y1 = box(i, t)
            picture[y0:y1, x0:x1] = COLOURS[kind]
    return picture


def write_split(root, texts):
    """A MeViS split `valid_u` of one video "a"; `texts` is {expression_id: text}."""
    folder = root / "valid_u" / "JPEGImages" / "a"
    folder.mkdir(parents=True)
    names = [f"{t:05d}" for t in range(NUM_FRAMES)]
    for t, name in enumerate(names):
        Image.fromarray(frame(t)).save(folder / f"{name}.jpg", quality=100, subsampling=0)
    expressions = {key: {"exp": text, "anno_id": []} for key, text in texts.items()}
    meta = {"videos": {"a": {"frames": names, "expressions": expressions}}}
    write_json(root / "valid_u" / "meta_expressions.json", meta)


def objects_in(picture):
    """[(kind, (x0, y0, x1, y1))] of a frame (H, W, 3) of 0..255, read off its colours."""
    found = []
    for i, (kind, _, y, _) in enumerate(OBJECTS):
        near = np.abs(picture.astype(float) - COLOURS[kind]).max(-1) < 60
        near[:y], near[y + HEIGHT :] = False, False  # each has its own rows
        if near.any():
            rows, columns = np.nonzero(near)
            edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            found.append((kind, tuple(int(edge) for edge in edges), i))
    return found


def grounding_processor(words):
    """Grounding DINO's own processor, frames unresized, with a vocabulary of these words."""
    from transformers import (
        BertTokenizerFast,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012}
    vocab = {f"[unused{i}]": i for i in range(1100) if i not in special.values()} | special
    for i, word in enumerate(words):
        del vocab[f"[unused{1050 + i}]"]
        vocab[word] = 1050 + i
    images = GroundingDinoImageProcessor(
        size={"height": SIZE[0], "width": SIZE[1]}, do_pad=False, do_normalize=False
    )
    return GroundingDinoProcessor(images, BertTokenizerFast(vocab=vocab))


class GroundingStub(torch.nn.Module):
    """In place of Grounding DINO: a query per rectangle, with its box and its words.

    A rectangle's query is 0.9 sure of the tokens of its kind and 0.6 of the words beside it in
    `also`, and of nothing else.
    """

    def __init__(self, tokenizer, also=()):
        super().__init__()
        self.ids = {kind: tokenizer.convert_tokens_to_ids(kind) for kind in COLOURS}
        self.also = [tokenizer.convert_tokens_to_ids(word) for word in also]
        self.prompts = []
        self.config = SimpleNamespace(max_text_len=256)

    def forward(self, pixel_values, input_ids, **_):
        batch = len(input_ids)
        logits = torch.full((batch, len(OBJECTS), 256), -torch.inf)
        boxes = torch.zeros(batch, len(OBJECTS), 4)
        for b, (pixels, ids) in enumerate(zip(pixel_values, input_ids.tolist(), strict=True)):
            self.prompts.append(ids)
            for kind, edges, i in objects_in((pixels * 255).permute(1, 2, 0).numpy()):
                x0, y0, x1, y1 = edges
                centre = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
                boxes[b, i] = torch.tensor(centre) / torch.tensor([*SIZE[::-1]] * 2)
                for position, token in enumerate(ids):
                    if token == self.ids[kind] or token in self.also:
                        score = 0.9 - 0.05 * i if token == self.ids[kind] else 0.6
                        logits[b, i, position] = float(torch.logit(torch.tensor(score)))
        return SimpleNamespace(logits=logits, pred_boxes=boxes)


class TrackingStub:
    """In place of SAM 2: the rectangle in whose rows a box lies, in every frame.

    It is seen with 1 - t / 16 where it is there, with 0 where it is not. `prompts` keeps what was
    asked: (frame, boxes).
    """

    image_size = 32

    def __init__(self):
        self.prompts = []

    def logits(self, frames, prompt_frame_idx, boxes_xyxy):
        self.prompts.append((prompt_frame_idx, boxes_xyxy.tolist()))
        height, width = frames.frames.size
        for t in range(len(frames)):
            logits = torch.full((len(boxes_xyxy), 1, height, width), -1.0)
            scores = torch.zeros(len(boxes_xyxy))
            for _, (x0, y0, x1, y1), _ in objects_in(frames.frames[t]):
                for i, prompt in enumerate(boxes_xyxy.tolist()):
                    if round(prompt[1]) == y0:
                        logits[i, 0, y0:y1, x0:x1] = 1
                        scores[i] = 1 - t / 16
            yield Step(t, logits, scores)
