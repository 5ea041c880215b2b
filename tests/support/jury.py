"""What wrong answers do to J&F, for juries and rounds, beside what the binomial rule forecasts.

    PYTHONPATH=.:tests/support python tests/support/jury.py FOLDER     # prints the table

300 synthetic expressions, a fifth without target. Coarse masks are those of any object, so that
what stays where nothing is decided is often wrong.
"""

import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import comb
from pathlib import Path

from asked_run import prepared, truth_of
from stub_model import StubModel

from rvos.ask.oracle import Decisions, score_decisions
from rvos.ask.pictures import Gallery
from rvos.ask.prompts import Prompts
from rvos.ask.questions import Asked
from rvos.ask.rounds import Conversation, Jury

WIDTH, FRAMES = 48, 2  # the stub does not look at pictures


def at_least(count: int, jurors: int, chance: float) -> float:
    """How likely at least `count` of the jurors are, each with this chance."""
    return sum(
        comb(jurors, k) * chance**k * (1 - chance) ** (jurors - k) for k in range(count, jurors + 1)
    )


@dataclass(frozen=True)
class Cell:
    """One row of the table; scores in 0..1."""

    present_right: float  # share of presence that is right
    present_forecast: float
    JF: float
    JF_forecast: float  # presence right, and most jurors right about the set
    calls: int


@dataclass
class Experiment:
    """A run, and the conversations about its first `count` expressions."""

    run: Path
    tags: dict
    count: int = 300

    @classmethod
    def made(cls, folder: Path, *, videos: int = 60) -> "Experiment":
        """Write the data and run eval.py in a process of its own."""
        tags, arguments = prepared(folder, videos=videos, num_objects=(3, 4))
        line = [sys.executable, "-m", "rvos", "eval", *arguments, f"output_dir={folder / 'run'}"]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
        assert len(tags) >= 300
        return cls(folder / "run", tags)

    @cached_property
    def asked(self) -> Asked:
        return Asked.of(self.run)

    @cached_property
    def truth(self) -> dict:
        return truth_of(self.run, self.tags)

    @cached_property
    def galleries(self) -> dict:
        found = {}
        for video in self.asked.split.videos:
            for expressions, tracks in self.asked.groups(video):
                gallery = Gallery(self.asked.split, video, tracks, width=WIDTH)
                found |= {(e.video, e.expression_id): (e, gallery) for e in expressions}
        return found

    @cached_property
    def prompts(self) -> Prompts:
        return Prompts.read("default")

    def scores(self, named: dict[str, Decisions]) -> dict[str, float]:
        """Mean J&F of the first `count` expressions by decisions."""
        scored = score_decisions(self.run, self.asked, named)
        chosen = [scored[self.tags[tag]] for tag in range(self.count)]
        return {name: sum(s.decided[name] for s in chosen) / self.count for name in named}

    def decisions(self, error: float, rounds: int, jurors: int) -> tuple[dict, int]:
        """What a jury decides; the calls that the first `count` expressions needed."""
        models = tuple("abc"[:jurors])
        jury = Jury(models, models, jurors // 2 + 1, rounds, FRAMES)
        stub = StubModel(self.truth, error=error, seed=1)
        decided, calls = {}, 0
        for tag, (video, key) in self.tags.items():
            e, gallery = self.galleries[video, key]
            kept = self.asked.windows(e)
            talk = Conversation(e, gallery, kept, jury, self.prompts, stub.put)
            outcome = talk()
            decided.setdefault(video, {})[key] = outcome.decision
            calls += sum(len(x.calls) for x in outcome.exchanges) if tag < self.count else 0
        return decided, calls

    def cell(self, error: float, rounds: int, jurors: int) -> Cell:
        decided, calls = self.decisions(error, rounds, jurors)
        agree = jurors // 2 + 1
        truths = [self.truth[tag]["present"] for tag in range(self.count)]
        says = [decided[v][k]["present"] for v, k in (self.tags[t] for t in range(self.count))]
        absent_right = at_least(agree, jurors, 1 - error)
        present_right = 1 - at_least(agree, jurors, error)
        forecasts = [present_right if there else absent_right for there in truths]
        whole = at_least(agree, jurors, 1 - error)  # most jurors have the right set
        JF = [f * whole if there else f for f, there in zip(forecasts, truths, strict=True)]
        return Cell(
            sum(a == b for a, b in zip(truths, says, strict=True)) / self.count,
            sum(forecasts) / self.count,
            self.scores({"jury": decided})["jury"],
            sum(JF) / self.count * self.oracle,
            calls,
        )

    @cached_property
    def oracle(self) -> float:
        """J&F of the best choice."""
        best: dict = {}
        for tag, (video, key) in self.tags.items():
            best.setdefault(video, {})[key] = self.truth[tag]
        return self.scores({"oracle": best})["oracle"]


def main(folder: Path) -> None:
    """Print the table."""
    experiment = Experiment.made(folder)
    print(f"oracle's choice: J&F {100 * experiment.oracle:.1f}")
    print("| wrong | jurors | rounds | presence right | forecast | J&F | forecast | calls |")
    print("|---|---|---|---|---|---|---|---|")
    for error, jurors, rounds in product((0.0, 0.05, 0.1, 0.2), (1, 2, 3), (1, 2, 3)):
        c = experiment.cell(error, rounds, jurors)
        shares = (c.present_right, c.present_forecast, c.JF, c.JF_forecast)
        told = " | ".join(f"{100 * share:.1f}" for share in shares)
        calls = c.calls / experiment.count
        print(f"| {100 * error:.0f} % | {jurors} | {rounds} | {told} | {calls:.1f} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
