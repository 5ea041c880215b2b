"""The scorer without the rest: numpy, numba and pycocotools are enough."""

import subprocess
import sys

from made_data import REPOSITORY

PROGRAM = """
import sys
from importlib.abc import MetaPathFinder

KNOWN = {"numpy", "numba", "llvmlite", "pycocotools", "rvos", *sys.stdlib_module_names}
import numba, numpy, pycocotools.mask  # what these import themselves is theirs


class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in KNOWN:
            raise ImportError(f"the scorer imports {name}")


before = set(sys.modules)
sys.meta_path.insert(0, Refuse())
from rvos.masks import encode
from rvos.score import FrameScores, Summary, boundary_f, j_and_f, jaccard, score_track
from rvos.score.davis import db_eval_boundary, db_eval_iou, f_measure

pixels = numpy.zeros((8, 8), bool)
pixels[2:6, 2:6] = True
J, F = score_track([encode(pixels), None], [encode(pixels), encode(pixels)])
summary = Summary.of(J, F)
assert (summary.J, summary.F, summary.JF) == (0.5, 0.5, 0.5), summary
assert j_and_f(pixels, pixels) == j_and_f(encode(pixels), pixels) == (1, 1)
assert jaccard(pixels, encode(pixels)) == db_eval_iou(pixels, pixels) == 1
assert boundary_f(pixels, None) == db_eval_boundary(pixels, 0 * pixels) == 0 == f_measure(
    0 * pixels, pixels
)
new = {name.partition(".")[0] for name in set(sys.modules) - before}
assert new <= KNOWN, new - KNOWN
print("alone")
"""


BLAS = """
import sys
import numpy
from rvos.score import j_and_f

assert j_and_f(numpy.eye(4), numpy.eye(4)) == (1, 1)
assert "scipy.linalg" not in sys.modules
from numba.np import linalg

linalg.ensure_blas()  # what numba calls when it compiles a product of matrices
assert "scipy.linalg.cython_blas" in sys.modules
"""


def run(program):
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_scorer_imports_nothing_else():
    """J and F are 1 in the first frame, and 0 in the second, where nothing is there."""
    assert run(PROGRAM) == "alone\n"


def test_the_first_score_does_without_scipy_and_numba_still_finds_it():
    run(BLAS)
