"""The one-pass ablation gives what each cell alone gives."""

import hashlib

import numpy as np
import pytest

from rvos import InputError
from rvos.masks import canonical_track
from rvos.refine import Candidates, KeepCoarse, Masklets, Vote
from rvos.score import score_track
from rvos.score.ablation import Expression, Fingerprint, Hashes, grid, score_rules


def expressions(made_data, video="long"):
    masklets = Masklets([canonical_track(t) for t in made_data.masklets[video]["square"]])
    truth = canonical_track(made_data.mask_dict[f"{video}-moving"])
    return [
        Expression(e, "square", truth, Candidates(made_data.coarse[video][e], masklets))
        for e in ("0", "1")
    ]


def test_every_cell_equals_the_cell_alone(made_data):
    cells = grid([1, 3, 7, 20], [0.0, 0.3, 0.99])
    together = score_rules(expressions(made_data), [KeepCoarse(), *cells])
    for i, cell in enumerate([KeepCoarse(), *cells]):
        for e, expression in enumerate(expressions(made_data)):
            alone = cell(expression.candidates)
            J, F = score_track(expression.truth, alone.track)
            scored = together[e][i]
            assert scored.refinement == alone
            assert (scored.J == J).all() and (scored.F == F).all()


def test_the_vote_repairs_the_jump(made_data):
    coarse, refined = score_rules(expressions(made_data), [KeepCoarse(), Vote(window=7, tau=0.8)])[
        0
    ]
    assert coarse.J.tolist() == [1, 1, 1, 0, 0, 1, 1] and refined.J.tolist() == [1] * 7


def test_grid_order_and_errors():
    assert grid([1, 2], [0.1, 0.2]) == [Vote(w, t) for w in (1, 2) for t in (0.1, 0.2)]
    assert grid([], []) == []
    for windows, taus in (([1], []), ([], [0.5])):
        with pytest.raises(InputError, match="both ablation.windows and ablation.taus"):
            grid(windows, taus)
    with pytest.raises(InputError, match="refine.tau"):
        grid([1], [0.1, 1.0])


def test_hashes_are_of_the_text_of_all_lines():
    mask = {"size": [1, 2], "counts": "02"}
    tracks = {"a/0": ([mask, None], [None, None]), "b/1": ([mask], [mask])}
    frames = {"a/0": ["00", "01"], "b/1": ["x"]}
    hashes = Hashes(2)
    for prefix, both in tracks.items():
        hashes.update(Fingerprint.of(prefix, frames[prefix], both))
    texts = ("a/0/00:02\na/0/01:-\nb/1/x:02\n", "a/0/00:-\na/0/01:-\nb/1/x:02\n")
    assert hashes.hexdigests() == [hashlib.sha256(t.encode()).hexdigest() for t in texts]


def test_means_do_not_depend_on_company(made_data):
    """The mean of a cell is taken over the same floats in the same order as alone."""
    rules = [KeepCoarse(), Vote(3, 0.5)]
    pair = score_rules(expressions(made_data), rules)
    single = score_rules(expressions(made_data)[:1], rules[1:])
    assert float(np.mean(pair[0][1].F)) == float(np.mean(single[0][0].F))
