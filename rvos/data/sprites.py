"""Scene -> frames: how generated objects, backgrounds and pillars look (used by `synthetic`)."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rvos.data.synthetic import Recipe, Thing

CATEGORIES = ("circle", "square", "triangle", "star", "heart")
COLORS = {  # RGB 0..255
    "red": (215, 40, 40),
    "green": (45, 165, 60),
    "blue": (45, 85, 220),
    "yellow": (235, 205, 45),
    "purple": (155, 60, 195),
}
RESTING = ("still", "up", "down", "first", "last")  # motions that may end behind a pillar
FINE = 4  # sprites are drawn this much larger, then averaged down
Image = NDArray[np.float32]


def render(
    rng: Generator, recipe: "Recipe", things: Sequence["Thing"]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int8]]]:
    """Per frame: image (H, W, 3) uint8 RGB, and (H, W) int8 which object each pixel shows or -1.

    The first object is nearest to the camera, after the pillar.
    """
    height, width = recipe.size
    shake = _shake(rng, recipe)  # (T, 2) whole pixels
    margin = int(np.abs(shake).max(initial=0))
    backdrop = _background(rng, height + 2 * margin, width + 2 * margin)
    cut_outs = [_sprite(rng, thing) for thing in things]
    pillar = _pillar(rng, recipe, things)
    light = 1 + 0.04 * np.sin(2 * np.pi * (rng.random() + np.arange(recipe.num_frames) / 12))
    for t, (dx, dy) in enumerate(shake):
        y0, x0 = margin + dy, margin + dx
        image = backdrop[y0 : y0 + height, x0 : x0 + width].copy()
        owner = np.full((height, width), -1, np.int8)
        for i in reversed(range(len(things))):  # far to near
            x, y = things[i].path[t] - (dx, dy)
            _paste(image, owner, cut_outs[i], x, y, i)
        if pillar is not None:
            left, stripe = pillar
            x0, x1 = max(left - dx, 0), min(left - dx + stripe.shape[1], width)
            image[:, x0:x1] = stripe[:height, x0 - left + dx : x1 - left + dx]
            owner[:, x0:x1] = -1
        noise = rng.normal(0, 3, image.shape).astype(np.float32)
        yield (image * light[t] + noise).clip(0, 255).astype(np.uint8), owner


def _shake(rng: Generator, recipe: "Recipe") -> NDArray[np.int64]:
    """(T, 2) camera offset x, y: a random walk that is drawn back to 0."""
    offset = np.zeros((recipe.num_frames, 2))
    steps = rng.normal(0, recipe.camera_shake * np.sqrt(1 - 0.8**2), offset.shape)
    for t in range(1, recipe.num_frames):
        offset[t] = 0.8 * offset[t - 1] + steps[t]
    return offset.round().astype(np.int64)


def _background(rng: Generator, height: int, width: int) -> Image:
    """(H, W, 3) float32 of 0..255: ground and sky in dull colours, with grain at every scale."""
    top, bottom = rng.uniform(60, 190, (2, 1)) + rng.normal(0, 14, (2, 3))
    horizon = rng.uniform(0.3, 0.7) * height
    ramp = 1 / (1 + np.exp((np.arange(height) - horizon) / (0.06 * height)))  # (H,) 1: sky
    image = (ramp[:, None] * top + (1 - ramp[:, None]) * bottom)[:, None, :].repeat(width, 1)
    cells = 2
    while cells <= min(height, width) / 2:
        shape = (cells, max(1, round(cells * width / height)))
        grain = rng.normal(0, 1, (*shape, 1)) + rng.normal(0, 0.15, (*shape, 3))
        scale = 26 * (2 / cells) ** 0.45
        image += scale * cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)
        cells *= 2
    return image.clip(15, 240).astype(np.float32)


def _pillar(
    rng: Generator, recipe: "Recipe", things: Sequence["Thing"]
) -> tuple[int, Image] | None:
    """(left edge, (H, w, 3) image) of a grey pillar with nothing standing behind it, or None."""
    height, width = recipe.size
    wanted = rng.random() < recipe.pillars
    thick = int(rng.uniform(0.07, 0.14) * width)
    left = int(rng.uniform(0.15, 0.8) * width)
    for thing in things:
        x, radius = thing.path[:, 0], thing.diameter / 2
        if thing.motion in RESTING and x.min() - radius < left + thick and left < x.max() + radius:
            return None
    if not wanted:
        return None
    shade = 90 + 70 * np.sin(np.linspace(0.3, 2.8, thick))  # round: bright in the middle
    grain = rng.normal(0, 6, (height, thick, 1))
    return left, (shade[None, :, None] + grain).repeat(3, 2).astype(np.float32)


def _sprite(rng: Generator, thing: "Thing") -> Image:
    """(S, S, 4) float32: colour 0..255 times coverage, and coverage 0..1; the object centred."""
    side = int(np.ceil(thing.diameter)) + 4
    axis = (np.arange(side * FINE) + 0.5) / FINE - side / 2
    x, y = np.meshgrid(axis, axis)
    turn = np.deg2rad(rng.uniform(-12, 12))
    u = (np.cos(turn) * x + np.sin(turn) * y) * 2 / thing.diameter  # -1..1 across the object
    v = (np.cos(turn) * y - np.sin(turn) * x) * 2 / thing.diameter
    inside, texture = _shape(thing.category, u, v)
    base = np.array(COLORS[thing.color]) + rng.normal(0, 10, 3)
    color = base * (0.85 + 0.3 * texture[..., None]) + 30 * texture[..., None]
    fine = np.dstack([color * inside[..., None], inside]).astype(np.float32)
    return np.asarray(cv2.resize(fine, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def _shape(category: str, u: NDArray, v: NDArray) -> tuple[NDArray[np.bool_], NDArray]:
    """Where a shape of the category is, and its texture of -1..1; u, v of -1..1, v down."""
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    match category:
        case "circle":  # rings
            return radius < 1, np.cos(radius * 9)
        case "square":  # chequers
            return np.maximum(abs(u), abs(v)) < 0.86, np.sign(np.sin(u * 5.5) * np.sin(v * 5.5))
        case "triangle":  # bars
            return (v < 0.85) & (abs(u) * 1.75 < v + 0.95), np.sign(np.sin(v * 8))
        case "star":  # bright centre
            points = 0.42 + 0.58 * abs(((angle + np.pi / 2) / (2 * np.pi / 5)) % 1 - 0.5) * 2
            return radius < points * 1.08, 1 - 2.2 * radius
        case "heart":  # upright stripes
            lobes = u**2 + (-v * 1.1 - 0.62 * np.sqrt(abs(u)) + 0.18) ** 2
            return lobes < 0.9, np.sign(np.sin(u * 9))
    raise ValueError(f"unknown category {category}")


def _paste(image: Image, owner: NDArray[np.int8], sprite: Image, x: float, y: float, i: int):
    """Blend in a sprite centred at (x, y) (sub-pixel); it owns the pixels it mostly covers."""
    height, width = owner.shape
    side = sprite.shape[0]
    left, top = x - side / 2, y - side / 2
    x0, y0 = int(np.floor(left)), int(np.floor(top))
    shift = np.array([[1, 0, left - x0], [0, 1, top - y0]], np.float32)
    moved = cv2.warpAffine(
        sprite, shift, (side + 1, side + 1), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )  # (S + 1, S + 1, 4)
    xa, ya, xb, yb = max(x0, 0), max(y0, 0), min(x0 + side + 1, width), min(y0 + side + 1, height)
    if xa >= xb or ya >= yb:
        return
    part = moved[ya - y0 : yb - y0, xa - x0 : xb - x0]
    alpha = part[..., 3:]
    image[ya:yb, xa:xb] *= 1 - alpha
    image[ya:yb, xa:xb] += part[..., :3]
    owner[ya:yb, xa:xb][alpha[..., 0] > 0.5] = i
