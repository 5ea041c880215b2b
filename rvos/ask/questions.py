"""A run's masklets -> questions that a person or a multimodal model can answer.

    python -m rvos ask RUN                      # RUN/ask/: questions.jsonl, pictures, index.html
    python -m rvos ask check RUN/ask/FILE       # do the answers fit the questions?
    python eval.py ... refine=given refine.path=RUN/ask/FILE

The answers are one file, as `refine=given` reads it. Ground truth is neither needed nor shown.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import track as progress

from rvos.ask.form import write_form
from rvos.ask.pictures import Gallery
from rvos.data.split import Expression, Split, Video
from rvos.errors import InputError, list_problems
from rvos.masks import (
    Track,
    TrackFiles,
    area,
    read_json,
    read_text,
    split_lines,
    write_bytes,
)
from rvos.masks.draw import number_color
from rvos.masks.files import parse_json
from rvos.refine import decision_problems
from rvos.report.strips import spread
from rvos.settings import Count, checked
from rvos.stages.run_folder import (
    MASKLETS_FILE,
    MaskletsRecord,
    read_decisions,
    read_settings,
    used_split,
)

QUESTIONS = "questions.jsonl"
FORM = "index.html"


@dataclass(frozen=True)
class Asked:
    """What a run of eval.py refined: its videos, and the masklets that it chose from."""

    split: Split
    masklets: TrackFiles
    by_expression: bool  # the masklets' files have a list per expression instead of per noun
    decisions: Mapping[str, Mapping[str, Any]]  # {video: {expression_id: what the run decided}}

    @classmethod
    def of(cls, run: Path, split: Split | None = None) -> "Asked":
        """`split`: of a run of predict.py. Raises InputError naming what is not there."""
        config = read_settings(run).get("config") or {}
        is_eval = split is not None or config.get("task") == "eval"
        if not is_eval or not (run / MASKLETS_FILE).is_file():
            raise InputError(
                f"{run}: expected the folder of a run of eval.py that read masklets (config.yaml, "
                f"{MASKLETS_FILE}); run it again if it was made by an older version of rvos"
            )
        split = split or used_split(run, config)
        record = MaskletsRecord.read(run)
        files = {video.name: run / "decisions" / f"{video.name}.json" for video in split.videos}
        if missing := [str(path) for path in files.values() if not path.is_file()]:
            raise InputError(list_problems("the run is not finished; no such file", missing))
        decisions = {video: read_decisions(run, video) for video in files}
        for video in split.videos:
            ids = {e.expression_id for e in video.expressions}
            decided = {key for key, d in decisions[video.name].items() if d.get("windows")}
            if absent := ids - decided:
                title = f"{files[video.name]}: expressions without windows that a rule decided"
                raise InputError(list_problems(title, sorted(absent)))
        masklets = TrackFiles(run / record.path, instances=True)
        return cls(split, masklets, record.by_expression, decisions)

    def noun(self, expression: Expression) -> str:
        """The noun of an expression."""
        return self.decisions[expression.video][expression.expression_id]["noun"]

    def windows(self, expression: Expression) -> list[dict[str, Any]]:
        """What the run's own rule chose for an expression, as `refine=given` reads it."""
        decision = self.decisions[expression.video][expression.expression_id]
        names = ("start", "stop", "selected")
        return [{name: window[name] for name in names} for window in decision["windows"]]

    def groups(self, video: Video) -> Iterator[tuple[list[Expression], list[Track]]]:
        """The expressions that choose from the same masklets, and these."""
        files = self.masklets.read(video.name, video.frames)
        groups: dict[str, list[Expression]] = {}
        for expression in video.expressions:
            key = expression.expression_id if self.by_expression else self.noun(expression)
            groups.setdefault(key, []).append(expression)
        for key, expressions in groups.items():
            if key not in files:
                raise InputError(f"{self.masklets.source(video.name)}: no masklets of {key!r}")
            yield expressions, files[key]


@checked
def write_questions(run: Path, *, frames: Count, width: Count) -> Path:
    """Questions and pictures of a run in `<run>/ask/`; returns the file of questions.

    frames: evenly spaced pictures per question. width: pixels of a picture.
    Raises InputError where the run, its masklets or its split cannot be read.
    """
    asked, folder = Asked.of(run), run / "ask"
    lines: list[dict[str, Any]] = []
    for video in progress(asked.split.videos, "Drawing masklets", transient=True):
        by_id: dict[str, dict[str, Any]] = {}
        for i, (expressions, tracks) in enumerate(asked.groups(video)):
            place = f"pictures/{video.name}/{i}"
            gallery = Gallery(asked.split, video, tracks, width=width)
            pictures = _draw(gallery, folder, place, frames=frames)
            for e in expressions:
                by_id[e.expression_id] = _question(e, asked.noun(e), tracks, pictures, video)
        lines += [by_id[e.expression_id] for e in video.expressions]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_bytes(folder / QUESTIONS, text.encode())
    write_form(folder / FORM, lines)
    return folder / QUESTIONS


def _draw(gallery: Gallery, folder: Path, place: str, *, frames: int) -> list[dict[str, Any]]:
    """Write a picture per frame below `folder`; grey where the frame's image is not there."""
    video, pictures = gallery.video, []
    for t in spread(len(video.frames), frames):
        name = f"{place}/{video.frames[t]}.jpg"
        write_bytes(folder / name, gallery.picture(t, range(len(gallery.tracks))))
        pictures.append({"file": name, "frame": video.frames[t], "frame_idx": t})
    return pictures


def _question(
    expression: Expression,
    noun: str,
    tracks: Sequence[Track],
    pictures: Sequence[dict[str, Any]],
    video: Video,
) -> dict[str, Any]:
    """One line of questions.jsonl."""
    numbers: dict[str, Any] = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
    if tracks:
        numbers["items"] |= {"minimum": 0, "maximum": len(tracks) - 1}
    else:
        numbers["maxItems"] = 0
    return {
        "video": expression.video,
        "expression_id": expression.expression_id,
        "expression": expression.text,
        "noun": noun,
        "question": (
            f"The {len(pictures)} pictures show a video of {len(video.frames)} frames, evenly "
            f"spaced and in order. Outlines with numbers mark {len(tracks)} candidate objects; an "
            "object has the same number in all pictures. Which of them are meant by "
            f'"{expression.text}"? If nothing in the video is meant, answer "present": false. If '
            'it is in the video but no candidate shows it, answer "present": true with no '
            "masklets."
        ),
        "candidates": [
            {
                "masklet": i,
                "color": "#{:02x}{:02x}{:02x}".format(*number_color(i)),
                "visible_frames": sum(area(mask) > 0 for mask in track),
            }
            for i, track in enumerate(tracks)
        ],
        "pictures": pictures,
        "answer_schema": {
            "type": "object",
            "properties": {"present": {"type": "boolean"}, "masklets": numbers},
            "required": ["present", "masklets"],
        },
    }


def check_answers(path: Path, questions: Path | None = None) -> int:
    """The number of questions that a file answers; `questions` None: questions.jsonl beside it.

    Raises InputError listing the answers that are missing or do not fit their question.
    """
    questions = questions or path.with_name(QUESTIONS)
    expected: dict[str, dict[str, int]] = {}
    if not questions.is_file():
        raise InputError(
            f"{questions}: no such file; `python -m rvos ask RUN` writes it, --questions names it"
        )
    lines = split_lines(read_text(questions))
    try:
        for line in filter(None, lines):
            asked = parse_json(line)
            of_video = expected.setdefault(asked["video"], {})
            of_video[asked["expression_id"]] = len(asked["candidates"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{questions}: not a file of questions: {error!r}") from None
    if problems := decision_problems(read_json(path), expected):
        raise InputError(list_problems(f"{path}: wrong answers", problems))
    return sum(map(len, expected.values()))


# ------------------------------------------------------------------------------- command


def main(arguments: Sequence[str]) -> int:
    """`python -m rvos ask`: write the questions of a run, or check answers."""
    given = list(arguments)
    if given[:1] == ["check"]:
        options = _check_parser().parse_args(given[1:])
        count = check_answers(options.file, options.questions)
        print(f"{count} expressions, all decided: refine=given refine.path={options.file}")
    else:
        options = _parser().parse_args(given)
        path = write_questions(options.run, frames=options.frames, width=options.width)
        print(f"questions: {path}\na page to answer them: {path.with_name(FORM)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rvos ask",
        description="Write RUN/ask/questions.jsonl, one question per expression, and pictures with "
        "numbered masklets. `python -m rvos ask check FILE` checks the answers.",
    )
    parser.add_argument("run", type=Path, help="folder of a run of eval.py")
    parser.add_argument("--frames", type=int, default=8, help="pictures per question (8)")
    parser.add_argument("--width", type=int, default=640, help="pixels of a picture (640)")
    return parser


def _check_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rvos ask check",
        description="Check that a file answers every question: {video: {expression_id: "
        '{"present": true, "masklets": [0]}}}.',
    )
    parser.add_argument("file", type=Path, help="the answers")
    parser.add_argument(
        "--questions", type=Path, help=f"the questions, if they are not {QUESTIONS} beside FILE"
    )
    return parser
