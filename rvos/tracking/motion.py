"""Frames -> motion relative to the camera: dense optical flow, camera motion, background.

All images are at working size; flow fields are (h, w, 2) float32 displacements x, y in pixels.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # (h, w, 3) RGB
Field = NDArray[np.float32]  # (h, w, 2)
Pixels = NDArray[np.bool_]  # (h, w)
Affine = NDArray[np.float64]  # (3, 3), last row 0 0 1

GRID = 6  # pixels between the flow vectors from which the camera's motion is found
CAMERA_TOLERANCE = 0.5  # pixels: vectors this close belong to the camera's motion
CLEARLY_MORE = 1.15  # times as many vectors
SMOOTHING = 2  # frames before and after, over which residual motion is averaged
BACKGROUND_FRAMES = 15  # at most; a background is their median
IN_PLACE = 0.25  # share of the frame by which the camera may have moved from a background's frame


class Motion:
    """Optical flow between neighbouring frames in both directions, and the camera's part of it.

    `forward[t]` points from frame t to t + 1, `backward[t]` from t to t - 1 (float16; entry 0 of
    `backward` and the last of `forward` are zero). `residual[t]` (h, w, 2) float16 is the velocity
    in pixels per frame relative to the camera, averaged over a few frames.
    """

    def __init__(self, images: Sequence[Image]):
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        dis.setFinestScale(1)  # the preset's quarter resolution blurs small objects away
        greys = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
        height, width = greys[0].shape
        across, down = np.meshgrid(np.arange(width), np.arange(height))
        self.grid = np.stack([across, down], -1).astype(np.float32)  # (h, w, 2) x, y
        zero = np.zeros((height, width, 2), np.float16)
        self.forward: list[NDArray[np.float16]] = []
        self.backward: list[NDArray[np.float16]] = [zero]
        self.camera: list[Affine] = []  # entry t takes points of frame t to frame t + 1
        relative: list[NDArray[np.float16]] = []
        for before, after in zip(greys[:-1], greys[1:], strict=True):
            ahead = dis.calc(before, after, zero.astype(np.float32))
            back = dis.calc(after, before, zero.astype(np.float32))
            camera = self._camera(np.asarray(ahead, np.float32))
            relative.append((ahead - self._field(camera)).astype(np.float16))
            self.forward.append(ahead.astype(np.float16))
            self.backward.append(back.astype(np.float16))
            self.camera.append(camera)
        self.forward.append(zero)
        relative.append(relative[-1])
        self.residual: list[NDArray[np.float16]] = [
            np.asarray(
                np.mean(relative[max(0, t - SMOOTHING) : t + SMOOTHING + 1], 0, np.float32),
                np.float16,
            )
            for t in range(len(images))
        ]

    def _camera(self, flow: Field) -> Affine:
        """The translation on which most flow vectors agree, or else a similarity transform.

        The similarity (RANSAC with a fixed seed) is used only where it explains clearly more of
        the vectors, because its unneeded degrees of freedom would add up to drift.
        """
        start = self.grid[GRID // 2 :: GRID, GRID // 2 :: GRID].reshape(-1, 2)
        moved = start + flow[GRID // 2 :: GRID, GRID // 2 :: GRID].reshape(-1, 2)
        camera = np.eye(3)
        camera[:2, 2] = np.median(moved - start, axis=0)
        near = np.linalg.norm(moved - start - camera[:2, 2], axis=1) < CAMERA_TOLERANCE
        if near.any():
            camera[:2, 2] = (moved - start)[near].mean(0)
        cv2.setRNGSeed(0)
        similarity, agree = cv2.estimateAffinePartial2D(
            start, moved, ransacReprojThreshold=CAMERA_TOLERANCE
        )
        if similarity is not None and agree.sum() > CLEARLY_MORE * near.sum():
            camera[:2] = similarity
        return camera

    def _field(self, affine: Affine) -> Field:
        moved = self.grid @ affine[:2, :2].T.astype(np.float32) + affine[:2, 2].astype(np.float32)
        return moved - self.grid

    def warp(self, mask: Pixels, flow: NDArray[np.float16]) -> Pixels:
        """Warp a mask backward: into the frame from which `flow` points to the mask's frame."""
        where = self.grid + flow
        warped = cv2.remap(mask.astype(np.float32), where[..., 0], where[..., 1], cv2.INTER_LINEAR)
        return warped > 0.5

    def velocity(self, t: int, pixels: Pixels) -> NDArray[np.float32]:
        """Mean of `residual` over some pixels of frame t: (2,) x, y in pixels per frame."""
        return np.asarray(self.residual[t][pixels].mean(axis=0, dtype=np.float32))

    def speed(self, t: int) -> NDArray[np.float32]:
        """Length of `residual` in frame t: (h, w) pixels per frame."""
        return np.asarray(np.linalg.norm(self.residual[t].astype(np.float32), axis=-1))

    def travel(self, positions: Mapping[int, NDArray[np.float64]]) -> float:
        """Extent in pixels of the path of points {frame_idx: (x, y)}, camera motion removed."""
        first = min(positions)
        onto = np.eye(3)
        places = []
        for t in range(first, max(positions) + 1):
            if t in positions:
                places.append((np.linalg.inv(onto) @ [*positions[t], 1.0])[:2])
            onto = self.camera[min(t, len(self.camera) - 1)] @ onto
        return float(np.linalg.norm(np.ptp(places, axis=0)))


def background_differences(
    images: Sequence[Image], motion: Motion, at_rest: float
) -> list[NDArray[np.uint8]]:
    """Difference of every frame from the background: (h, w) uint8, largest over the channels.

    Half the background's local contrast is subtracted: that much it could differ when shifted by
    about a pixel. Each stretch of frames over which the camera stays in place has its own
    background: up to 15 of its frames are aligned with its middle frame, and each pixel is the
    median of the frames in which it rests (moves by at most `at_rest` pixels per frame). Outside
    the background the difference is 0.
    """
    height, width = images[0].shape[:2]
    near = np.ones((3, 3), np.uint8)
    blurred = [cv2.GaussianBlur(image, (3, 3), 0) for image in images]
    differences: list[NDArray[np.uint8]] = []
    for start, stop in _stretches(motion.camera, len(images), (width, height)):
        middle = (start + stop) // 2
        onto = {t: _between(motion.camera, t, middle) for t in range(start, stop)}
        chosen = np.unique(np.linspace(start, stop - 1, BACKGROUND_FRAMES).round().astype(int))
        stack = [
            cv2.warpAffine(
                blurred[t], onto[t][:2], (width, height), borderMode=cv2.BORDER_REPLICATE
            )
            for t in chosen
        ]
        rests = [
            cv2.warpAffine(
                (motion.speed(t) <= at_rest).astype(np.uint8), onto[t][:2], (width, height)
            )
            > 0
            for t in chosen
        ]
        background = _median_at_rest(np.stack(stack), np.stack(rests))
        contrast = cv2.morphologyEx(background, cv2.MORPH_GRADIENT, near).max(-1) // 2
        for t in range(start, stop):
            back = np.linalg.inv(onto[t])[:2]
            seen = cv2.warpAffine(background, back, (width, height))
            allowed = cv2.warpAffine(contrast, back, (width, height))
            inside = cv2.warpAffine(np.full((height, width), 255, np.uint8), back, (width, height))
            difference = cv2.subtract(cv2.absdiff(blurred[t], seen).max(-1), allowed)
            differences.append(np.where(inside == 255, difference, 0).astype(np.uint8))
    return differences


def _median_at_rest(images: NDArray[np.uint8], rests: NDArray[np.bool_]) -> Image:
    """Median of images (N, h, w, 3), per pixel over those in which it rests (N, h, w).

    So an object leaves no ghost where it stays for long. For pixels that rest in less than a sixth
    of the images it is the median of all.
    """
    counts = rests.sum(0)
    rests = rests | (counts < len(images) / 6)
    values = np.sort(np.where(rests[..., None], images, np.uint8(255)), axis=0)
    middle = (rests.sum(0) - 1) // 2  # (h, w)
    return np.take_along_axis(values, middle[None, ..., None], axis=0)[0]


def _stretches(
    camera: Sequence[Affine], num_frames: int, size: tuple[int, int]
) -> list[tuple[int, int]]:
    """Stretches (start, stop) of frames that show nearly the view of their first frame."""
    corners = np.array([[x, y, 1] for x in (0, size[0]) for y in (0, size[1])], float).T
    starts, total = [0], np.eye(3)
    for t in range(1, num_frames):
        total = camera[t - 1] @ total
        moved = np.abs((total @ corners - corners)[:2]).max(1) / size
        if moved.max() > IN_PLACE:
            starts.append(t)
            total = np.eye(3)
    return list(zip(starts, [*starts[1:], num_frames], strict=True))


def _between(camera: Sequence[Affine], start: int, stop: int) -> Affine:
    """The camera motion that maps points of frame `start` to frame `stop`."""
    total = np.eye(3)
    for t in range(min(start, stop), max(start, stop)):
        total = camera[t] @ total
    return total if start <= stop else np.asarray(np.linalg.inv(total), np.float64)
