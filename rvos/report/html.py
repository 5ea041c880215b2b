"""A run folder -> report/index.html: one page that opens from disk and needs nothing else.

    python -m rvos report RUN --strips 200

The page has the headline with intervals, the W x tau heat map, every expression with its scores,
its timeline of C_t and C_sel (the paper's figure 2) and, for those that changed most, pictures of
its masks. It is made from the run folder alone; frames are read from the split that the run's
settings name, and drawn grey where they are not there.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from rvos import __version__
from rvos.errors import InputError
from rvos.masks import write_bytes
from rvos.report.bad_cases import Facts, bad_cases
from rvos.report.clips import Pictures, add_clips, layers_of, packed
from rvos.report.details import bytes_of, make_details
from rvos.report.explorer import explorer_of
from rvos.report.pages import environment
from rvos.report.run import Run, changes
from rvos.report.scores import (
    agree_curve,
    extras_of,
    headline,
    heat_map,
    highlights,
    presence_curve,
    rows_of,
    settings_of,
    window_curve,
)
from rvos.report.slices import slices_of
from rvos.score.ablation import COARSE, REFINED
from rvos.settings import (
    Amount,
    Count,
    Flag,
    Inside,
    Text,
    Whole,
    all_checked,
    checked,
    make,
    preset,
)


@checked(kw_only=True)
class Intervals:
    """Settings of the intervals: printed by every run, and on the page."""

    resamples: Count  # of the bootstrap over videos
    confidence: Inside  # of its intervals
    seed: Whole  # of its resampling

    @property
    def bootstrap(self) -> dict[str, Any]:
        """The arguments of `Bootstrap` and `print_metrics`."""
        return {key: getattr(self, key) for key in ("resamples", "confidence", "seed")}


class NoPage(Intervals):
    """`report=none`: no page."""

    def check(self) -> None:
        """Do nothing: there are no other runs to show."""

    def write(self, folder: Path) -> None:
        """Write nothing."""


@checked(kw_only=True)
class Page(Intervals):
    """`report=html`: `<folder>/report/index.html`; the fields are the keys of its yaml."""

    oracle: str | None  # run folder of the same expressions with oracle masklets
    compare_with: Mapping[str, str] | None  # {label: run folder} of the same expressions
    ablation: str | None  # run folder whose heat map is shown instead of this run's
    strips: Whole  # expressions with pictures, those that changed most first
    frames: Count  # per strip
    width: Count  # pixels of one picture
    megabytes: Amount  # of all pictures in the page
    player: Count  # pixels of the player's pictures
    explorer: Flag | None  # None: where the run has an ablation
    words: Annotated[  # the slices of expressions with certain words
        Mapping[str, Sequence[Text]], Field(description="{name: list of words}")
    ]

    def check(self) -> None:
        """Raises SettingsError listing the runs to be shown that are no such runs."""
        self._other_runs()

    def _other_runs(self) -> tuple[Run | None, Run | None, dict[str, Run]]:
        """(run with oracle masklets, run whose heat map is shown, runs to compare with)."""
        compared = dict(self.compare_with or {})
        named = [("oracle", self.oracle), ("ablation", self.ablation)]
        named += [("compare_with", path) for path in compared.values()]
        oracle, ablated, *others = all_checked(*(partial(_read_run, *pair) for pair in named))
        return oracle, ablated, dict(zip(compared, others, strict=True))

    def write(self, folder: Path) -> Path:
        """Write the page of a finished run with ground truth and return its path.

        Raises InputError when `oracle` or a run of `compare_with` scored other expressions.
        """
        run = Run.read(folder)
        oracle, ablated, others = self._other_runs()
        oracle = oracle and oracle.in_order_of(run)
        others = {label: other.in_order_of(run) for label, other in others.items()}
        bootstrap = run.bootstrap(**self.bootstrap)
        path = Path(folder) / "report" / "index.html"
        order = changes(run.JF(COARSE), run.JF(REFINED))
        identities = [run.identities[i] for i in order]
        facts = Facts()
        details = make_details(
            run,
            identities[: self.strips],
            frames=self.frames,
            width=self.width,
            megabytes=self.megabytes,
            look=facts.add,
        )
        pictured = [identity for identity in identities if "strip" in details[identity]]
        left = int(self.megabytes * 2**20) - bytes_of(details.values())
        layers = partial(layers_of, run)
        clips = add_clips(details, pictured, run, layers, Pictures(path, left), width=self.player)
        explorer = None if self.explorer is False else explorer_of(run, identities)
        position = {identity: row for row, identity in enumerate(identities)}
        html = (
            environment()
            .get_template("report.html.j2")
            .render(
                run=run,
                metrics=run.metrics,
                rows=rows_of(run, order, details),
                details=[details[identity] for identity in identities],
                clips=clips,
                explorer=explorer and packed(explorer),
                explored=explorer,
                slices=slices_of(run, order, facts.sizes, self.words, **self.bootstrap),
                words=self.words,
                bad=bad_cases(run, facts, position),
                gains=highlights(run, order, +1),
                losses=highlights(run, order, -1),
                headline=headline(run, oracle, others, bootstrap),
                extras=extras_of(run.metrics.extra),
                presence=presence_curve(run.metrics),
                rules=[(row, settings_of(row)) for row in run.metrics.rules],
                oracle=oracle,
                others=others,
                heat_map=heat_map((ablated or run).metrics, run.metrics.refine),
                ablated=ablated or run,
                window_curve=window_curve(run.metrics),
                agree_curve=agree_curve(run.metrics),
                confidence=self.confidence,
                resamples=self.resamples,
                num_videos=bootstrap.num_videos,
                num_pictured=len(pictured),
                version=__version__,
            )
        )
        write_bytes(path, html.encode())
        return path


def _read_run(key: str, path: str | None) -> Run | None:
    if path is None:
        return None
    try:
        run = Run.read(path)
    except InputError as error:
        raise InputError(f"report.{key}: {error}") from None
    if key == "ablation" and not run.metrics.ablation:
        raise InputError(f"report.ablation: {path}: expected a run with an ablation")
    return run


# ------------------------------------------------------------------------------- command line


def main(arguments: Sequence[str]) -> int:
    """`python -m rvos report`: make the page of a run again."""
    given = vars(_parser().parse_args(arguments))
    folder = given.pop("run")
    given["compare_with"] = _pairs(given["compare_with"])
    path = page_of(Run.read(folder), given).write(folder)
    print(f"page: {path}")
    return 0


def page_of(run: Run, given: Mapping[str, Any]) -> Page:
    """The page that a run's settings describe; values of `given` that are not None count more."""
    settings = preset("report", "html") | (run.config.get("report") or {})
    settings |= {key: value for key, value in given.items() if value is not None}
    for key in ("oracle", "compare_with", "ablation"):
        settings[key] = settings[key] or None  # "" is for none
    keys = {field.name: settings[field.name] for field in fields(Page)}
    return make(Page, "report", keys)


def _pairs(texts: Sequence[str] | None) -> dict[str, str] | None:
    """["label=folder", ...] -> {label: folder}; None stays None."""
    if texts is None:
        return None
    pairs = [text.partition("=") for text in texts if text]
    if wrong := [label for label, equals, _ in pairs if not equals]:
        raise InputError(f"--compare-with: expected LABEL=RUN, got {', '.join(wrong)}")
    return {label: folder for label, _, folder in pairs}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rvos report",
        description="Make the page of a run again: RUN/report/index.html. What you do not give is "
        "as the run's own settings say.",
    )
    parser.add_argument("run", type=Path, help="folder of a finished run of eval.py")
    parser.add_argument("--oracle", metavar="RUN", help="run with oracle masklets; '' for none")
    parser.add_argument(
        "--compare-with",
        metavar="LABEL=RUN",
        action="append",
        help="one more row of the headline; may be repeated; '' for none",
    )
    parser.add_argument(
        "--ablation", metavar="RUN", help="run whose heat map is shown; '' for its own"
    )
    for key, kind, text in (
        ("strips", int, "expressions with pictures"),
        ("frames", int, "pictures per strip"),
        ("width", int, "pixels of one picture"),
        ("megabytes", float, "of all pictures in the page; the player's others lie beside it"),
        ("player", int, "pixels of the player's pictures"),
        ("resamples", int, "of the bootstrap over videos"),
        ("confidence", float, "of its intervals, such as 0.95"),
        ("seed", int, "of its resampling"),
    ):
        parser.add_argument(f"--{key}", type=kind, help=text)
    return parser
