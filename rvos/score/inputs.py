"""Files of coarse masks, masklets, nouns and ground truth -> checked inputs of every video.

`Inputs.check` looks at names alone, before the work; the masks of a video are read and checked when
its turn comes. All that is wrong with a video is reported at once.
"""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any, Literal

from rvos import __version__
from rvos.data.frames import Size
from rvos.data.split import Split, Truth, Video, check_track, merge_tracks
from rvos.errors import InputError, list_problems
from rvos.masks import FileError, Track, TrackFiles, size_of
from rvos.refine import ConfidenceRule
from rvos.score.confidence import Confidence
from rvos.score.protocols import Expressions, Protocol
from rvos.stages.records import Failures, Problems, VideoProblems, together

log = logging.getLogger(__name__)
LENGTH = "Tracks of the wrong length"  # a kind of problems


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


@dataclass(eq=False)
class Inputs:
    """Reads a split's masks and ground truth, and collects what is wrong with those of a video."""

    split: Split
    annotations: Truth | None
    coarse: TrackFiles
    masklets: TrackFiles | None  # None where the rule needs none
    nouns: dict[str, dict[str, str]]
    _: KW_ONLY
    missing: Literal["error", "empty"] = "error"
    protocol: Protocol = field(default_factory=Expressions)
    by_expression: bool = False  # the masklets' files, instead of by noun
    needs: Collection[ConfidenceRule] = ()  # whose confidence must lie beside the masks
    wants: Collection[ConfidenceRule] = ()  # whose confidence may lie there
    stamped: str = ""  # goes into every video's stamp: what else the refined masks depend on
    failed: Failures = field(default_factory=dict)  # videos without masks, not to be read: why

    def __post_init__(self) -> None:
        if self.annotations is not None:
            self.protocol.check(self.split, self.annotations)
        self.confidence = {
            rule.name: Confidence(rule, self.coarse if rule.source == "coarse" else self.masklets)
            for rule in (*self.wants, *self.needs)
        }

    def check(self, videos: Sequence[Video] | None = None) -> None:
        """Look for names that are missing, and for ground truth of another length; reads no masks.

        `videos` None are all of the split. Raises VideoProblems.
        """
        problems: list[Problems] = []
        for rule in self.needs:
            try:
                self.confidence[rule.name].check()
            except InputError as error:
                problems.append({"Confidence": [str(error)]})
        for video in self.split.videos if videos is None else videos:
            if video.name not in self.failed:
                problems.append(_OneVideo(self, video).check())
        _raise(together(problems))

    def read_video(self, video: Video) -> VideoInputs:
        """The inputs of one video. Raises VideoProblems."""
        _raise(self.failed.get(video.name, {}))
        return _OneVideo(self, video).read()

    def noun(self, video: Video, expression_id: str) -> str | None:
        """The noun of an expression; None where there is none."""
        return self.nouns.get(video.name, {}).get(expression_id)

    def stamp(self, video: Video) -> str:
        """Changes with the files that a video's inputs are read from; reads none of them."""
        nouns = [self.noun(video, e.expression_id) for e in video.expressions]
        files: list[Any]
        try:
            files = [f.stamp(video.name) for f in (self.coarse, self.masklets) if f is not None]
        except FileError as error:  # reading says so
            files = [str(error)]
        beside = [confidence.stamp(video) for confidence in self.confidence.values()]
        made_from = [__version__, self.missing, self.stamped, self._truth, nouns, files, beside]
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]

    @cached_property
    def _truth(self) -> str | None:
        return None if self.annotations is None else self.annotations.fingerprint()


class _OneVideo:
    """Reads the inputs of one video, and collects what is wrong with them."""

    def __init__(self, source: Inputs, video: Video):
        self.source, self.video = source, video
        self.num_frames = len(video.frames)
        self.problems: dict[str, list[str]] = defaultdict(list)
        self.scored_as_empty = 0

    def check(self) -> Problems:
        """What is wrong, as far as names and lengths tell."""
        self._has(self.source.coarse, "Coarse masks")
        if self.source.masklets is not None:
            self._has(self.source.masklets, "Masklets")
        for expression in self.video.expressions:
            self._noun(expression.expression_id)
            for annotation_id in expression.annotation_ids:
                self._fits(annotation_id, expression.expression_id)
        return self.problems

    def read(self) -> VideoInputs:
        """The inputs. Raises VideoProblems."""
        source, video = self.source, self.video
        stamp = source.stamp(video)
        objects, size = self._objects()
        raw_coarse = self._content(source.coarse, "Coarse masks")
        raw_masklets = self._content(source.masklets, "Masklets") if source.masklets else {}
        lists = [tracks for tracks in raw_masklets.values() if isinstance(tracks, list)]
        size = size or size_of_tracks([*raw_coarse.values(), *chain(*lists)])
        keys = [expression.expression_id for expression in video.expressions]
        coarse = {key: self._coarse(raw_coarse, key, size) for key in keys}
        nouns = {key: self._noun(key) for key in keys}
        chosen_from = keys if source.by_expression else dict.fromkeys(nouns.values())
        masklets: dict[str, list[Track]] = {}
        if source.masklets is not None:
            for key in chosen_from:
                masklets[key] = self._masklets(source.masklets, raw_masklets, key, size)
        _raise(self.problems)
        confidence, lacking = self._confidence(nouns, masklets)
        _raise(self.problems)
        truth = source.annotations
        return VideoInputs(
            video,
            None if truth is None else _merged(video, objects),
            coarse,
            masklets,
            nouns,
            objects=tuple(objects.values()),
            of_protocol=None if truth is None else source.protocol.read(truth, video),
            confidence=confidence,
            lacking=lacking,
            scored_as_empty=self.scored_as_empty,
            stamp=stamp,
            by_expression=source.by_expression,
        )

    def _confidence(
        self, nouns: dict[str, str], masklets: dict[str, list[Track]]
    ) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
        """By expression_id and presence rule; and the rules that may lack it and do: why."""
        values: dict[str, dict[str, float]] = {key: {} for key in nouns}
        lacking = {}
        for name, confidence in self.source.confidence.items():
            try:
                for key, value in confidence.of_video(self.video, nouns, masklets).items():
                    values[key][name] = value
            except InputError as error:
                if confidence.rule in self.source.needs:
                    self.problems["Confidence"].append(str(error))
                else:
                    lacking[name] = str(error)
        return values, lacking

    def _objects(self) -> tuple[dict[str, Track], Size | None]:
        """The ground-truth tracks by annotation, and the size of their masks if there are any."""
        truth = self.source.annotations
        if truth is None:
            return {}, None
        raw: dict[str, Any] = {}
        for expression in self.video.expressions:
            for annotation_id in expression.annotation_ids:
                fits = self._fits(annotation_id, expression.expression_id)
                if fits and annotation_id not in raw:
                    raw[annotation_id] = truth.track(annotation_id)
        size = size_of_tracks(raw.values())
        tracks = {key: self._track(track, size, self._place(key)) for key, track in raw.items()}
        return tracks, size

    def _place(self, annotation_id: str) -> str:
        path = self.source.annotations and self.source.annotations.path
        return f"{path}: annotation {annotation_id} (video {self.video.name})"

    def _fits(self, annotation_id: str, expression_id: str) -> bool:
        """Whether an annotation can be read: it is there, and of the video's length if known."""
        truth = self.source.annotations
        if truth is None:
            return False
        place = self._place(annotation_id)
        if annotation_id not in truth:
            text = f"{place}, expression {expression_id}: no such annotation"
            self.problems["Ground truth missing"].append(text)
            return False
        length = truth.length(annotation_id)
        if length not in (None, self.num_frames):
            text = f"{place}: expected {self.num_frames} masks (one per frame), got {length}"
            self.problems[LENGTH].append(text)
            return False
        return True

    def _has(self, files: TrackFiles, what: str) -> bool:
        """Whether the video's masks are there; that they are not is a problem, if it is one."""
        try:
            if self.video.name in files:
                return True
            if files is not self.source.coarse or self.source.missing == "error":
                text = f"{files.path}: video {self.video.name} is not there"
                self.problems[f"{what} missing"].append(text)
        except FileError as error:
            self.problems[f"{what} unreadable"].append(str(error))
        return False

    def _content(self, files: TrackFiles, what: str) -> dict[str, Any]:
        if not self._has(files, what):
            return {}
        try:
            content = files.read(self.video.name, self.video.frames)
        except FileError as error:
            self.problems[f"{what} unreadable"].append(str(error))
            return {}
        if isinstance(content, dict):
            return content
        text = f"{self._source_of(files)}: expected an object, got {content!r:.60}"
        self.problems[f"{what} malformed"].append(text)
        return {}

    def _source_of(self, files: TrackFiles) -> str:
        return f"{files.source(self.video.name)}: video {self.video.name}"

    def _coarse(self, raw: dict[str, Any], expression_id: str, size: Size | None) -> Track:
        files, fill = self.source.coarse, self.source.missing == "empty"
        where = f"{self._source_of(files)}, expression {expression_id}"
        if expression_id not in raw:
            if fill:
                self.scored_as_empty += self.num_frames
            elif self.video.name in files:
                self.problems["Coarse masks missing"].append(f"{where}: not there")
            return [None] * self.num_frames
        track = raw[expression_id]
        if fill and isinstance(track, list) and len(track) <= self.num_frames:
            usable = [mask is None or size_of(mask) == size for mask in track]
            self.scored_as_empty += usable.count(False) + self.num_frames - len(track)
            track = [m if ok else None for m, ok in zip(track, usable, strict=True)]
            track += [None] * (self.num_frames - len(track))
        return self._track(track, size, where)

    def _noun(self, expression_id: str) -> str:
        noun = self.source.noun(self.video, expression_id)
        if noun is None and self.source.masklets is not None and not self.source.by_expression:
            text = f"video {self.video.name}, expression {expression_id}"
            self.problems["Nouns missing"].append(text)
        return noun or ""

    def _masklets(
        self, files: TrackFiles, raw: dict[str, Any], key: str, size: Size | None
    ) -> list[Track]:
        """Those of a noun, or of an expression; the noun "" has none."""
        if not key or self.video.name not in files:
            return []
        kind = "expression" if self.source.by_expression else "noun"
        where = f"{self._source_of(files)}, {kind} {key}"
        if key not in raw:
            known = ", ".join(sorted(raw)) or "none"
            text = f"{where}: no masklets of that {kind}; there are: {known}"
            self.problems[f"Unknown {kind}s"].append(text)
        elif not isinstance(raw[key], list):
            self.problems["Masklets malformed"].append(f"{where}: expected a list of tracks")
        else:
            return [self._track(t, size, f"{where}, instance {i}") for i, t in enumerate(raw[key])]
        return []

    def _track(self, raw: Any, size: Size | None, where: str) -> Track:
        """A checked track of the video's length; all masks of one (height, width)."""
        problems: list[str] = []
        track = check_track(raw, self.video.frames, size, where, problems)
        if problems:
            self.problems["Bad masks" if track else LENGTH] += problems
        return track or [None] * self.num_frames


def _raise(problems: Problems) -> None:
    if problems:
        raise VideoProblems(dict(problems))


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


def size_of_tracks(tracks: Iterable[Any]) -> Size | None:
    """(height, width) of the first mask that has one."""
    masks = (mask for track in tracks if isinstance(track, list) for mask in track)
    return next((size for mask in masks if (size := size_of(mask)) is not None), None)
