"""Decisions that somebody else made -> refined masks: `refine=given`.

A person or a multimodal model says of every expression whether its target is there, and which
masklets it is. `python -m rvos ask` writes what they need to answer.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from rvos.errors import InputError, list_problems
from rvos.masks import FileError, Track, read_json
from rvos.refine.candidates import Candidates, Refinement, Rule, Span, Window
from rvos.refine.presence import WithPresence
from rvos.settings import Text, checked

DECISIONS = '{video: {expression_id: {"present": true, "masklets": [0]}}}'
# {video: {expression_id: how many masklets it has}}; None where that is not known yet
NumMasklets = Mapping[str, Mapping[str, int | None]]


@checked
class Given:
    """The masklets that a file names, over the whole video.

    The file is `{video: {expression_id: {"present": bool, "masklets": [i, ...]}}}`, i the position
    of a masklet in the list of the expression's noun. A target that is not present has no mask in
    any frame, whatever the masklets; one that is present is the union of its masklets. Where none
    is named, it keeps its coarse masks; or, with `"windows": [{"start": 0, "stop": T, "selected":
    [i, ...]}, ...]` as in decisions/<video>.json, what another rule had chosen for them. Raises
    SettingsError without a file.
    """

    path: Annotated[Text, Field(description=f"a file {DECISIONS}")]

    @cached_property
    def decisions(self) -> Any:
        """The content of the file. Raises InputError where it cannot be read."""
        try:
            return read_json(Path(self.path))
        except FileError as error:
            raise InputError(f"refine.path: {error}") from None

    def problems(self, expected: NumMasklets) -> dict[str, list[str]]:
        """By kind: the expressions without a decision that makes sense."""
        problems = decision_problems(self.decisions, expected)
        return {f"refine.path: {self.path}: wrong decisions": problems} if problems else {}

    def __call__(self, candidates: Candidates) -> Refinement:
        video, key = candidates.video, candidates.expression_id
        check_given([self], {video: {key: len(candidates.masklets.tracks)}})
        return apply_decision(self.decisions[video][key], candidates)


def apply_decision(decision: Mapping[str, Any], candidates: Candidates) -> Refinement:
    """The masks that one sound decision gives. Raises InputError for windows of other frames."""
    num_frames, present = len(candidates.coarse), decision["present"]
    selected = tuple(sorted(set(decision["masklets"]))) if present else ()
    spans: list[Span] = [(0, num_frames, selected)]
    if present and not selected and decision.get("windows"):
        spans = [(w["start"], w["stop"], tuple(w["selected"])) for w in decision["windows"]]
    if spans[-1][1] != num_frames:
        where = f"video {candidates.video}, expression {candidates.expression_id}"
        raise InputError(f"{where}: expected windows of {num_frames} frames, got {spans[-1][1]}")
    track: Track = []
    for start, stop, chosen in spans:
        if present and not chosen:
            track += candidates.coarse[start:stop]
        else:
            track += [candidates.masklets.union(t, chosen) for t in range(start, stop)]
    windows = tuple(Window(*span, kept_coarse=present and not span[2]) for span in spans)
    return Refinement(track, ((),) * num_frames, windows)


def given_of(rules: Iterable[Rule]) -> list[Given]:
    """Those of the rules that have decisions."""
    below = [rule.rule if isinstance(rule, WithPresence) else rule for rule in rules]
    return [rule for rule in below if isinstance(rule, Given)]


def check_given(rules: Iterable[Rule], expected: NumMasklets) -> None:
    """Check the decisions of all rules that have some. Raises InputError that lists the wrong."""
    for rule in given_of(rules):
        for kind, problems in rule.problems(expected).items():
            raise InputError(list_problems(kind, problems))


def decision_problems(decisions: Any, expected: NumMasklets) -> list[str]:
    """What is missing or wrong for the expected expressions, a line each; others do not count."""
    problems = []
    for video, expressions in expected.items():
        decided = decisions.get(video) if isinstance(decisions, dict) else None
        for key, num_masklets in expressions.items():
            decision = decided.get(key) if isinstance(decided, dict) else None
            if problem := _problem(decision, num_masklets):
                problems.append(f"video {video}, expression {key}: {problem}")
    return problems


def _problem(decision: Any, num_masklets: int | None) -> str:
    """What is wrong with one decision; empty if nothing is."""
    if decision is None:
        return "missing"
    if (
        not isinstance(decision, dict)
        or not isinstance(decision.get("present"), bool)
        or not isinstance(decision.get("masklets"), list)
    ):
        expected = 'expected {"present": true or false, "masklets": [number, ...]}'
        return f"{expected}, got {decision!r:.80}"
    windows = decision.get("windows") or []
    if not _follow_each_other(windows):
        expected = 'expected windows {"start", "stop", "selected"} that follow each other from 0'
        return f"{expected}, got {windows!r:.80}"
    numbers = [*decision["masklets"], *(i for window in windows for i in window["selected"])]
    wrong = [
        i
        for i in numbers
        if not isinstance(i, int)
        or isinstance(i, bool)
        or i < 0
        or (num_masklets is not None and i >= num_masklets)
    ]
    if not wrong:
        return ""
    if num_masklets == 0:
        return f"its noun has no masklets, got {numbers}"
    known = "numbers from 0" if num_masklets is None else f"numbers from 0 to {num_masklets - 1}"
    return f"masklets: expected {known}, got {', '.join(map(repr, wrong))}"


def _follow_each_other(windows: Any) -> bool:
    """Whether these are windows as decisions/<video>.json has them, from frame 0 on."""
    try:
        cuts = [0, *(window["stop"] for window in windows)]
        return all(
            window["start"] == cut < window["stop"]
            and type(window["start"]) is type(window["stop"]) is int
            and isinstance(window["selected"], list)
            for window, cut in zip(windows, cuts, strict=False)
        )
    except (TypeError, KeyError):
        return False
