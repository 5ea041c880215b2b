"""Three small trained networks that OpenCV runs: a detector, a box tracker, a salient-object net.

PicoDet-S 416 (Yu et al. 2021, trained by PaddleDetection on COCO), NanoTrack v2 (HonglinChu,
SiamTrackers) and U2-Net-p (Qin et al. 2020). No torch: their ONNX files are read by `cv2.dnn`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rvos.data.frames import Frame
from rvos.errors import InputError
from rvos.weights.onnx_tensors import check_onnx
from rvos.weights.whole import no_weights

BoxXyxy = NDArray[np.float32]  # (4,) pixels of the frame

DETECTOR_SIDE = 416  # pixels; the ratio of the sides is not kept
DETECTOR_MEAN = (103.53, 116.28, 123.675)  # BGR, 0..255
DETECTOR_STD = (57.375, 57.12, 58.395)
DETECTOR_BINS = 8  # of the distance to a side, in strides
LOG_ERRORS = 2  # OpenCV's level: errors, no warnings
SALIENT_SIDE = 320
SALIENT_MEAN = (0.485, 0.456, 0.406)  # RGB, 0..1
SALIENT_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Detections:
    """The boxes of one frame: `xyxy` (O, 4) float32 pixels, `scores` (O, 80) float32 in 0..1."""

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]


class Detector:
    """PicoDet: a frame -> boxes with scores of COCO's 80 classes."""

    def __init__(self, path: Path):
        self._network = read_network(path)
        self._outputs = self._network.getUnconnectedOutLayersNames()

    def __call__(self, frame: Frame, *, least_score: float) -> Detections:
        """All points of the grid with a class of at least this score; neighbours not merged."""
        side = (DETECTOR_SIDE, DETECTOR_SIDE)
        pixels = cv2.resize(frame, side)[..., ::-1].astype(np.float32)  # BGR
        pixels = (pixels - np.array(DETECTOR_MEAN, np.float32)) / np.array(DETECTOR_STD, np.float32)
        self._network.setInput(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
        outputs = self._network.forward(self._outputs)
        # Sorted by shape, not by name: classes have 80 columns, distances 4 x 8; large grids first.
        by_stride = sorted((out[0] for out in outputs), key=lambda o: (o.shape[1] == 32, -len(o)))
        half = len(by_stride) // 2
        boxes, scores = [], []
        for classes, distances in zip(by_stride[:half], by_stride[half:], strict=True):
            kept = classes.max(1) >= least_score
            boxes.append(_boxes(distances, kept))
            scores.append(classes[kept])
        height, width = frame.shape[:2]
        scale = np.array([width, height, width, height], np.float32) / DETECTOR_SIDE
        xyxy = np.concatenate(boxes) * scale
        xyxy[:, 0::2] = xyxy[:, 0::2].clip(0, width)
        xyxy[:, 1::2] = xyxy[:, 1::2].clip(0, height)
        return Detections(xyxy.astype(np.float32), np.concatenate(scores))


def _boxes(distances: NDArray[np.float32], kept: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(P, 4 x 8) logits of distances -> boxes (K, 4) xyxy of the kept points, in network pixels."""
    side = int(np.ceil(np.sqrt(len(distances))))
    stride = 2 ** round(np.log2(DETECTOR_SIDE / side))
    points = np.flatnonzero(kept)
    logits = distances[points].reshape(-1, 4, DETECTOR_BINS)
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    left, top, right, bottom = (shares @ np.arange(DETECTOR_BINS, dtype=np.float32)).T * stride
    x, y = (points % side + 0.5) * stride, (points // side + 0.5) * stride
    return np.stack([x - left, y - top, x + right, y + bottom], axis=1)


class BoxTracker:
    """NanoTrack: a box in one frame -> its box in the next one."""

    def __init__(self, backbone: Path, head: Path):
        self._tracker = cv2.TrackerNano.create(read_network(backbone), read_network(head))

    def start(self, frame: Frame, box: BoxXyxy) -> None:
        """Take the box's content as what is followed."""
        x0, y0, x1, y1 = (round(float(value)) for value in box)
        bgr = np.ascontiguousarray(frame[..., ::-1])
        self._tracker.init(bgr, (x0, y0, max(x1 - x0, 2), max(y1 - y0, 2)))

    def follow(self, frame: Frame) -> tuple[BoxXyxy, float]:
        """The box in the next frame, inside of it, and how sure the network is, 0..1."""
        _, (x, y, w, h) = self._tracker.update(np.ascontiguousarray(frame[..., ::-1]))
        height, width = frame.shape[:2]
        box = [max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)]
        return np.array(box, np.float32), float(self._tracker.getTrackingScore())


class SalientObject:
    """U2-Net-p: a picture -> how much each pixel belongs to its salient object."""

    def __init__(self, path: Path):
        self._network = read_network(path)
        self._output = self._network.getUnconnectedOutLayersNames()[0]

    def __call__(self, picture: Frame) -> NDArray[np.float32]:
        """(H, W, 3) RGB -> (H, W) float32, scaled so that 0 and 1 occur."""
        side = (SALIENT_SIDE, SALIENT_SIDE)
        small = cv2.resize(picture, side, interpolation=cv2.INTER_LINEAR)
        pixels = small.astype(np.float32) / max(float(small.max()), 1.0)
        pixels = (pixels - np.array(SALIENT_MEAN, np.float32)) / np.array(SALIENT_STD, np.float32)
        self._network.setInput(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
        answer = self._network.forward(self._output)[0, 0]  # (side, side)
        answer = (answer - answer.min()) / max(float(np.ptp(answer)), 1e-6)
        height, width = picture.shape[:2]
        return cv2.resize(answer, (width, height), interpolation=cv2.INTER_LINEAR)


def read_network(path: Path) -> Any:
    """An ONNX file as a network of OpenCV. Raises InputError naming a file that is not one."""
    if what := no_weights(path):
        raise InputError(f"{path}: no weights but {what}")
    check_onnx(path)
    logs: Any = getattr(cv2.utils, "logging", cv2)  # OpenCV 5, or 4
    level = logs.getLogLevel()
    logs.setLogLevel(LOG_ERRORS)  # it warns of each file
    try:
        return cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        reason = str(error).strip().splitlines()[0][:200]
        text = f"{path}: OpenCV {cv2.__version__} cannot read this network: {reason}"
        raise InputError(text) from None
    finally:
        logs.setLogLevel(level)


def suppressed(xyxy: NDArray[np.float32], scores: Sequence[float], iou: float) -> list[int]:
    """Positions of the boxes that stay: of two that overlap more than `iou`, the surer one."""
    boxes = [(float(a), float(b), float(c - a), float(d - b)) for a, b, c, d in xyxy]
    if not boxes:
        return []
    return [int(i) for i in cv2.dnn.NMSBoxes(boxes, [float(s) for s in scores], 0.0, iou)]
