"""Scores of every protocol beside the published scripts, on made-up data in their layouts.

    python benchmarks/protocols.py --mevis CHECKOUT --visa CHECKOUT ...

A CHECKOUT is one of the repositories of SETS; scripts of those that are not given do not run. They
need scikit-image, scipy, pandas, tqdm and termcolor. A made-up dataset has about 200 expressions or
objects: targets overlap, come and go, some expressions have several targets or none, and of the
answers some are missing, empty, of another size, or too many. rvos refuses answers of another size:
it gets the others, and what a script does with them stands in docs/protocols.md.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
sys.path[:0] = [str(REPOSITORY)]

import reasoning  # noqa: E402
import refer  # noqa: E402
from machine import describe, write  # noqa: E402
from made import Beside  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402


@dataclass(frozen=True)
class Script:
    """A published script, and what runs it beside rvos."""

    repository: str
    file: str
    beside: Callable[[Path, Path, int], Beside]
    protocol: str

    @property
    def option(self) -> str:
        return self.repository.partition("/")[2].lower().replace("_", "-")


O3 = "Dmmm1997/VideoSEG-O3"
SCRIPTS = [
    Script("henghuiding/MeViS", "tools/eval_mevis.py", refer.mevis, "expressions:strict"),
    Script(
        *("davisvideochallenge/davis2017-evaluation", "davis2017/evaluation.py"),
        *(refer.davis, "davis17"),
    ),
    Script("iSEE-Laboratory/Long_RVOS", "eval/eval_long_rvos", refer.long_rvos, "long_rvos:strict"),
    Script(O3, "tools/eval/eval_longrvos.py", refer.long_rvos_o3, "long_rvos:videoseg-o3"),
    Script("cilinyan/VISA", "tools/eval_revos.py", refer.revos, "revos:strict"),
    Script("bytedance/Sa2VA", "tools/eval/eval_ref_sav.py", reasoning.ref_sav, "ref_sav:strict"),
    Script(
        *("showlab/VideoLISA", "evaluation/reason_vos/eval_reason_vos.py"),
        *(reasoning.reason_vos, "reason_vos:strict"),
    ),
    Script(O3, "tools/eval/eval_reasonvos.py", reasoning.reason_vos_o3, "reason_vos:videoseg-o3"),
    Script("dengandong/GroundMoRe", "evaluate_groundmore.py", reasoning.groundmore, "groundmore"),
    Script(O3, "tools/eval/eval_groundmore.py", reasoning.groundmore_o3, "groundmore:videoseg-o3"),
    Script(
        *("henghuiding/MOSE-api", "MOSEv2/sam2_rcms/tools/score.py"),
        *(reasoning.mosev2, "mosev2:strict"),
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for script in {script.option: script for script in SCRIPTS}.values():
        parser.add_argument(f"--{script.option}", type=Path, metavar="CHECKOUT")
    parser.add_argument("--seeds", type=int, default=3, help="made-up datasets per script")
    given = vars(parser.parse_args())
    described = describe(["numpy", "opencv-python-headless", "pycocotools", "scipy"])
    rows = []
    for script in SCRIPTS:
        if (checkout := given[script.option.replace("-", "_")]) is not None:
            rows.append(row_of(script, checkout.resolve(), given["seeds"]))
    table = Table("script", "protocol", "expressions", "largest difference (0..1)")
    for row in rows:
        difference = f"{row['largest_difference']:.1e}"
        table.add_row(row["script"], row["protocol"], str(row["expressions"]), difference)
    Console().print(table)
    write("protocols", {**described, "seeds": given["seeds"], "scripts": rows})


def row_of(script: Script, checkout: Path, seeds: int) -> dict[str, Any]:
    """What the results have of a script; effects are of the first dataset."""
    found = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            found.append(script.beside(Path(folder), checkout, seed))
    git = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return {
        "script": f"{script.repository}, {script.file}",
        "commit": subprocess.check_output(git, text=True).strip(),
        "protocol": script.protocol,
        "expressions": sum(one.expressions for one in found),
        "numbers": sum(len(one.differences) for one in found),
        "largest_difference": max(abs(x) for one in found for x in one.differences),
        "points_of_J&F_by_quirk": found[0].effects,
    }


if __name__ == "__main__":
    main()
