"""Files of coarse masks, masklets, nouns and ground truth -> checked inputs of every video.

`Inputs.check` looks at names alone, before the work; the masks of a video are read and checked when
its turn comes. All that is wrong with a video is reported at once.
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from rvos import __version__
from rvos.data.frames import Size
from rvos.data.split import Split, Truth, Video, merge_tracks
from rvos.errors import InputError, list_problems
from rvos.masks import (
    FileError,
    MaskError,
    Track,
    TrackFiles,
    canonical,
    canonical_track,
    size_of,
)
from rvos.refine import ConfidenceRule
from rvos.score.confidence import Confidence
from rvos.score.protocols import Expressions, Protocol
from rvos.stages.records import Failures, VideoProblems, together

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoInputs:
    """All that the refinement and scoring of one video needs, checked and in canonical form."""

    video: Video
    truths: dict[str, Track] | None  # by expression_id; None: the video is not to be scored
    coarse: dict[str, Track]  # by expression_id
    masklets: dict[str, list[Track]]  # by noun, or by expression_id
    nouns: dict[str, str]  # by expression_id
    objects: tuple[Track, ...] = ()  # true tracks of all objects that the expressions are about
    of_protocol: Any = None  # what its protocol needs of the ground truth beside `truths`
    # by expression_id and presence rule, in 0..1: what `Candidates.confidence` takes
    confidence: dict[str, dict[str, float]] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)  # of `wants`, those without it: why
    scored_as_empty: int = 0  # expression-frames without a usable coarse mask
    stamp: str = ""  # changes with the files that all this was read from
    by_expression: bool = False  # whether `masklets` is by expression_id

    def key(self, expression_id: str) -> str:
        """Under which key of `masklets` those of an expression are."""
        return expression_id if self.by_expression else self.nouns[expression_id]

    @property
    def num_masklets(self) -> dict[str, int]:
        """How many masklets each expression has, by expression_id."""
        return {id_: len(self.masklets.get(self.key(id_), [])) for id_ in self.nouns}


class Inputs:
    """Reads a split's masks and ground truth, and collects what is wrong with those of a video."""

    def __init__(
        self,
        split: Split,
        annotations: Truth | None,
        coarse: TrackFiles,
        masklets: TrackFiles | None,
        nouns: dict[str, dict[str, str]],
        *,
        missing: Literal["error", "empty"] = "error",
        protocol: Protocol | None = None,
        by_expression: bool = False,
        needs: Collection[ConfidenceRule] = (),
        wants: Collection[ConfidenceRule] = (),
        stamped: str = "",
        failed: Failures | None = None,
    ):
        """`needs`, `wants`: presence rules whose confidence must, or may, lie beside the masks.

        `stamped` goes into every video's stamp: what else the refined masks depend on. `failed` are
        videos without masks by name: why. `check` leaves them out, reading one raises that.
        """
        self.split = split
        self.annotations = annotations
        self.coarse = coarse
        self.masklets = masklets  # None where the rule needs none
        self.nouns = nouns
        self.by_expression = by_expression  # the masklets' files, instead of by noun
        self.missing = missing
        self.protocol = protocol or Expressions()
        if annotations is not None:
            self.protocol.check(split, annotations)
        self.needs = {rule.name for rule in needs}
        self.stamped, self.failed = stamped, failed or {}
        self._confidence = {
            rule.name: Confidence(rule, coarse if rule.source == "coarse" else masklets)
            for rule in (*wants, *needs)
        }
        self._problems: dict[str, list[str]] = defaultdict(list)
        self._lacking: dict[str, str] = {}
        self._scored_as_empty = 0

    def check(self, videos: Sequence[Video] | None = None) -> None:
        """Look for names that are missing, and for ground truth of another length; reads no masks.

        `videos` None are all of the split. Raises VideoProblems.
        """
        with self._collecting():
            for name in self.needs:
                try:
                    self._confidence[name].check()
                except InputError as error:
                    self._problem("Scores", str(error))
            for video in self.split.videos if videos is None else videos:
                if video.name in self.failed:
                    continue
                self._is_there(self.coarse, video, "Coarse masks")
                if self.masklets is not None:
                    self._is_there(self.masklets, video, "Masklets")
                for expression in video.expressions:
                    self._noun(video, expression.expression_id)
                    for annotation_id in expression.annotation_ids:
                        self._check_annotation(video, expression.expression_id, annotation_id)

    def read(self) -> list[VideoInputs]:
        """The inputs of all videos together. Raises VideoProblems with what is wrong with any."""
        inputs, problems = [], []
        for video in self.split.videos:
            try:
                inputs.append(self.read_video(video))
            except VideoProblems as error:
                problems.append(error.problems)
        if problems:
            raise VideoProblems(together(problems))
        return inputs

    def read_video(self, video: Video) -> VideoInputs:
        """The inputs of one video. Raises VideoProblems."""
        if video.name in self.failed:
            raise VideoProblems(self.failed[video.name])
        self._lacking, self._scored_as_empty = {}, 0
        stamp = self.stamp(video)
        with self._collecting():
            found = self._video(video)
        return replace(
            found, lacking=self._lacking, scored_as_empty=self._scored_as_empty, stamp=stamp
        )

    def stamp(self, video: Video) -> str:
        """Changes with the files that a video's inputs are read from; reads none of them."""
        names = [e.expression_id for e in video.expressions]
        of_video = [self._noun_or_none(video, name) for name in names]
        files: list[Any]
        try:
            files = [f.stamp(video.name) for f in (self.coarse, self.masklets) if f is not None]
        except FileError as error:  # reading says so
            files = [str(error)]
        beside = [confidence.stamp(video) for confidence in self._confidence.values()]
        made_from = [__version__, self.missing, self.stamped, self._truth, of_video, files, beside]
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]

    @cached_property
    def _truth(self) -> str | None:
        return None if self.annotations is None else self.annotations.fingerprint()

    @contextmanager
    def _collecting(self) -> Iterator[None]:
        """Raises what `_problem` was told in the block."""
        self._problems.clear()
        yield
        if self._problems:
            raise VideoProblems({kind: list(texts) for kind, texts in self._problems.items()})

    def _video(self, video: Video) -> VideoInputs:
        by_annotation, size = self._annotations_of(video)
        raw_coarse = self._read(self.coarse, video, "Coarse masks")
        raw_masklets = self._read(self.masklets, video, "Masklets") if self.masklets else {}
        lists = [m for m in raw_masklets.values() if isinstance(m, list)]
        size = size or _size_of(raw_coarse.values()) or _size_of(t for m in lists for t in m)
        coarse = {
            e.expression_id: self._coarse_track(raw_coarse, video, e.expression_id, size)
            for e in video.expressions
        }
        nouns = {e.expression_id: self._noun(video, e.expression_id) for e in video.expressions}
        masklets = {
            key: self._masklets(raw_masklets, video, key, size)
            for key in (nouns if self.by_expression else dict.fromkeys(nouns.values()))
            if key
        }
        confidence = self._confidence_of(video, nouns, masklets)
        if self.annotations is None:
            return VideoInputs(
                video,
                None,
                coarse,
                masklets,
                nouns,
                confidence=confidence,
                by_expression=self.by_expression,
            )
        truths, of_protocol = _merged(video, by_annotation), None
        if not self._problems:  # else the files may be unreadable, and the run ends anyway
            of_protocol = self.protocol.read(self.annotations, video)
        objects = tuple(by_annotation.values())
        return VideoInputs(
            video,
            truths,
            coarse,
            masklets,
            nouns,
            objects=objects,
            of_protocol=of_protocol,
            confidence=confidence,
            by_expression=self.by_expression,
        )

    def _confidence_of(
        self, video: Video, nouns: dict[str, str], masklets: dict[str, list[Track]]
    ) -> dict[str, dict[str, float]]:
        """By expression_id and presence rule."""
        found: dict[str, dict[str, float]] = {e.expression_id: {} for e in video.expressions}
        if self._problems:  # else masklets may be missing, and the run ends anyway
            return found
        for name, confidence in self._confidence.items():
            try:
                values = confidence.of_video(video, nouns, masklets)
            except InputError as error:
                if name in self.needs:
                    self._problem("Scores", str(error))
                else:
                    self._lacking[name] = str(error)
                continue
            for key, value in values.items():
                found[key][name] = value
        return found

    def _annotations_of(self, video: Video) -> tuple[dict[str, Track], Size | None]:
        """The video's ground-truth tracks, and the size of their masks if there are any."""
        by_annotation: dict[str, Track] = {}
        size: Size | None = None
        if self.annotations is None:
            return by_annotation, size
        for expression in video.expressions:
            for annotation_id in expression.annotation_ids:
                if (
                    self._check_annotation(video, expression.expression_id, annotation_id)
                    and annotation_id not in by_annotation
                ):
                    raw = self.annotations.track(annotation_id)
                    size = size or _size_of([raw])
                    where = self._annotation(video, annotation_id)
                    by_annotation[annotation_id] = self._track(raw, video, size, where)
        return by_annotation, size

    def _annotation(self, video: Video, annotation_id: str) -> str:
        assert self.annotations is not None
        return f"{self.annotations.path}: annotation {annotation_id} (video {video.name})"

    def _check_annotation(self, video: Video, expression_id: str, annotation_id: str) -> bool:
        """Whether an annotation can be read: it is there, and of the video's length if known."""
        if self.annotations is None:
            return False
        where = self._annotation(video, annotation_id)
        if annotation_id not in self.annotations:
            text = f"{where}, expression {expression_id}: no such annotation"
            self._problem("Ground truth missing", text)
            return False
        length = self.annotations.length(annotation_id)
        if length not in (None, len(video.frames)):
            self._problem("Tracks of the wrong length", _wrong_length(where, video, length))
            return False
        return True

    def _is_there(self, files: TrackFiles, video: Video, what: str) -> bool:
        """Whether a video's masks are there; that they are not is a problem, if it is one."""
        try:
            if video.name in files:
                return True
            if not (files is self.coarse and self.missing == "empty"):
                self._problem(f"{what} missing", f"{files.path}: video {video.name} is not there")
        except FileError as error:
            self._problem(f"{what} unreadable", str(error))
        return False

    def _read(self, files: TrackFiles, video: Video, what: str) -> dict[str, Any]:
        if not self._is_there(files, video, what):
            return {}
        try:
            value = files.read(video.name, video.frames)
        except FileError as error:
            self._problem(f"{what} unreadable", str(error))
            return {}
        if not isinstance(value, dict):
            where = f"{files.source(video.name)}: video {video.name}"
            self._problem(f"{what} malformed", f"{where}: expected an object, got {value!r:.60}")
            return {}
        return value

    def _coarse_track(
        self, raw: dict[str, Any], video: Video, expression_id: str, size: Size | None
    ) -> Track:
        where = f"{self.coarse.source(video.name)}: video {video.name}, expression {expression_id}"
        num_frames = len(video.frames)
        if expression_id not in raw:
            if self.missing == "empty":
                self._scored_as_empty += num_frames
            elif video.name in self.coarse:
                self._problem("Coarse masks missing", f"{where}: not there")
            return [None] * num_frames
        track = raw[expression_id]
        if self.missing == "empty" and isinstance(track, list) and len(track) <= num_frames:
            usable = [_of_size(mask, size) for mask in track] + [False] * (num_frames - len(track))
            self._scored_as_empty += usable.count(False)
            track = [track[t] if usable[t] else None for t in range(num_frames)]
        return self._track(track, video, size, where)

    def _noun(self, video: Video, expression_id: str) -> str:
        if self.masklets is None or self.by_expression:
            return self.nouns.get(video.name, {}).get(expression_id, "")
        noun = self._noun_or_none(video, expression_id)
        if noun is None:
            self._problem("Nouns missing", f"video {video.name}, expression {expression_id}")
        return noun or ""

    def _noun_or_none(self, video: Video, expression_id: str) -> str | None:
        return self.nouns.get(video.name, {}).get(expression_id)

    def _masklets(
        self, raw: dict[str, Any], video: Video, key: str, size: Size | None
    ) -> list[Track]:
        """Those of a noun, or of an expression."""
        if self.masklets is None or video.name not in self.masklets:
            return []
        kind = "expression" if self.by_expression else "noun"
        where = f"{self.masklets.source(video.name)}: video {video.name}, {kind} {key}"
        if key not in raw:
            known = ", ".join(sorted(raw)) or "none"
            self._problem(
                f"Unknown {kind}s", f"{where}: no masklets of that {kind}; there are: {known}"
            )
            return []
        instances = raw[key]
        if not isinstance(instances, list):
            self._problem("Masklets malformed", f"{where}: expected a list of tracks")
            return []
        return [
            self._track(instance, video, size, f"{where}, instance {i}")
            for i, instance in enumerate(instances)
        ]

    def _track(self, raw: Any, video: Video, size: Size | None, where: str) -> Track:
        """A checked track of the video's length; all masks of one (height, width)."""
        frames = video.frames
        if not isinstance(raw, list) or len(raw) != len(frames):
            got = len(raw) if isinstance(raw, list) else type(raw).__name__
            self._problem("Tracks of the wrong length", _wrong_length(where, video, got))
            return [None] * len(frames)
        track = canonical_track(raw, size)
        if track is not None:
            return track
        for frame, mask in zip(frames, raw, strict=True):
            try:
                canonical(mask, size)
            except MaskError as error:
                self._problem("Bad masks", f"{where}, frame {frame}: {error}")
        return [None] * len(frames)

    def _problem(self, kind: str, text: str) -> None:
        self._problems[kind].append(text)


def _wrong_length(where: str, video: Video, got: Any) -> str:
    return f"{where}: expected {len(video.frames)} masks (one per frame), got {got}"


def first_videos(split: Split, max_videos: int | None) -> Split:
    """The split with its first `score.max_videos` videos that have expressions; all for None."""
    videos = tuple(video for video in split.videos if video.expressions)
    if len(videos) < len(split.videos):
        names = [video.name for video in split.videos if not video.expressions]
        log.warning(list_problems("left out: videos without expressions in the meta file", names))
    return replace(split, videos=videos[:max_videos])


def _merged(video: Video, by_annotation: dict[str, Track]) -> dict[str, Track]:
    """Ground truth by expression_id; expressions of the same annotations share one track."""
    merged = {
        ids: merge_tracks(
            [by_annotation[i] for i in ids if by_annotation.get(i)], len(video.frames)
        )
        for ids in {e.annotation_ids for e in video.expressions}
    }
    return {e.expression_id: merged[e.annotation_ids] for e in video.expressions}


def _size_of(tracks: Iterable[Any]) -> Size | None:
    """(height, width) of the first mask that has one."""
    masks = (mask for track in tracks if isinstance(track, list) for mask in track)
    return next((size for mask in masks if (size := size_of(mask)) is not None), None)


def _of_size(mask: Any, size: Size | None) -> bool:
    return mask is None or size_of(mask) == size
