"""The one-pass ablation gives what each cell alone gives."""

import hashlib

import numpy as np
import pytest

from rvos import InputError, SettingsError
from rvos.masks import canonical_track
from rvos.refine import (
    Candidates,
    ConditionalFusion,
    KeepCoarse,
    Masklets,
    Vote,
    WholeVideo,
)
from rvos.score import score_track
from rvos.score.ablation import (
    COARSE,
    REFINED,
    Expression,
    Fingerprint,
    Hashes,
    grid,
    labelled,
    score_rules,
)

VOTE = Vote(window=15, tau=0.8)


def expressions(made_data, video="long"):
    masklets = Masklets([canonical_track(t) for t in made_data.masklets[video]["square"]])
    truth = canonical_track(made_data.mask_dict[f"{video}-moving"])
    return [
        Expression(e, "square", truth, Candidates(made_data.coarse[video][e], masklets))
        for e in ("0", "1")
    ]


def test_every_cell_equals_the_cell_alone(made_data):
    rules = {COARSE: KeepCoarse(), **grid([1, 3, 7, 20], [0.0, 0.3, 0.99], VOTE)}
    assert len(rules) == 13
    together = score_rules(expressions(made_data), rules)
    for label, rule in rules.items():
        for e, expression in enumerate(expressions(made_data)):
            alone = rule(expression.candidates)
            J, F = score_track(expression.truth, alone.track)
            scored = together[e][label]
            assert scored.refinement == alone
            assert (scored.J == J).all() and (scored.F == F).all()


def test_the_vote_repairs_the_jump(made_data):
    rules = {COARSE: KeepCoarse(), REFINED: Vote(window=7, tau=0.8)}
    first = score_rules(expressions(made_data), rules)[0]
    coarse, refined = first[COARSE], first[REFINED]
    assert coarse.J.tolist() == [1, 1, 1, 0, 0, 1, 1] and refined.J.tolist() == [1] * 7


def test_cells_have_labels_in_the_order_of_the_grid():
    assert list(grid([1, 2], [0.1, 0.25], VOTE).items()) == [
        ("window=1 tau=0.1", Vote(1, 0.1)),
        ("window=1 tau=0.25", Vote(1, 0.25)),
        ("window=2 tau=0.1", Vote(2, 0.1)),
        ("window=2 tau=0.25", Vote(2, 0.25)),
    ]
    assert grid([], [], VOTE) == {} == grid([], [], KeepCoarse())


def test_all_wrong_values_of_a_grid_are_named_at_once():
    for windows, taus in (([1], []), ([], [0.5])):
        with pytest.raises(InputError, match="both ablation.windows and ablation.taus"):
            grid(windows, taus, VOTE)
    nan = float("nan")
    with pytest.raises(SettingsError) as error:
        grid([1, 0, 2.5, True, 1], [0.1, 1.0, nan], VOTE)
    assert error.value.problems == (
        "ablation.windows: expected different values, each a whole number >= 1, "
        "got [1, 0, 2.5, True, 1]",
        "ablation.taus: expected different values, each a number >= 0 and < 1, got [0.1, 1.0, nan]",
    )
    with pytest.raises(SettingsError, match=r"ablation.windows: expected different .*\[1, 5, 1\]"):
        grid([1, 5, 1], [0.5], VOTE)
    for wrong in (0, 2.5, True, "5", None):
        with pytest.raises(SettingsError, match="ablation.windows: expected different values"):
            grid([1, wrong], [0.5], VOTE)
    with pytest.raises(SettingsError) as error:
        grid([0], [], VOTE)
    assert len(error.value.problems) == 2
    with pytest.raises(SettingsError, match="ablation.windows: expected different values.* got 5"):
        grid(5, [0.5], VOTE)


def test_the_grid_is_that_of_the_rule():
    """Its class and its other settings stay; a rule without window or tau has no grid."""
    fusion = ConditionalFusion(window=15, tau=0.8, box_ratio=0.25)
    assert list(grid([1, 5], [0.5], fusion).values()) == [
        ConditionalFusion(window=1, tau=0.5, box_ratio=0.25),
        ConditionalFusion(window=5, tau=0.5, box_ratio=0.25),
    ]
    for rule, name in ((KeepCoarse(), "none"), (WholeVideo(0.8), "whole_video")):
        with pytest.raises(SettingsError, match=f"window and refine.tau.*got refine={name}"):
            grid([1], [0.5], rule, name=name)


def test_labels_do_not_clash():
    rule, cells = Vote(3, 0.5), grid([1], [0.5], VOTE)
    assert list(labelled(rule, cells, {"vote": rule})) == [COARSE, REFINED, *cells, "vote"]
    with pytest.raises(InputError, match="ablation.rules: another rule has this name: refined"):
        labelled(rule, cells, {"refined": rule})


def test_hashes_are_of_the_text_of_all_lines():
    mask = {"size": [1, 2], "counts": "02"}
    tracks = {
        "a/0": {"x": [mask, None], "y": [None, None]},
        "b/1": {"y": [mask], "x": [mask]},  # the order of labels does not matter
    }
    frames = {"a/0": ["00", "01"], "b/1": ["x"]}
    hashes = Hashes()
    for prefix, both in tracks.items():
        hashes.update(Fingerprint.of(prefix, frames[prefix], both))
    texts = {"x": "a/0/00:02\na/0/01:-\nb/1/x:02\n", "y": "a/0/00:-\na/0/01:-\nb/1/x:02\n"}
    assert hashes.hexdigests() == {
        label: hashlib.sha256(text.encode()).hexdigest() for label, text in texts.items()
    }


def test_means_do_not_depend_on_company(made_data):
    """The mean of a cell is taken over the same floats in the same order as alone."""
    rules = {COARSE: KeepCoarse(), REFINED: Vote(3, 0.5)}
    pair = score_rules(expressions(made_data), rules)
    single = score_rules(expressions(made_data)[:1], {"alone": Vote(3, 0.5)})
    assert float(np.mean(pair[0][REFINED].F)) == float(np.mean(single[0]["alone"].F))
