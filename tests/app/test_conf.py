"""Every preset composes, and every choice of a group has the same keys."""

from functools import cache

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from made_data import REPOSITORY
from omegaconf import OmegaConf

CONF = REPOSITORY / "conf"
PROGRAMS = [p.stem for p in CONF.glob("*.yaml") if (REPOSITORY / f"{p.stem}.py").is_file()]
CHOICES = [(p.parent.name, p.stem) for p in sorted(CONF.glob("*/*.yaml"))]


def composed(program, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(program, list(overrides))


@cache
def groups_of(program):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(program, ["output_dir=x"], return_hydra_config=True)
    return set(cfg.hydra.runtime.choices)


CHOICES_OF_PROGRAMS = [
    (program, group, choice)
    for program in PROGRAMS
    for group, choice in CHOICES
    if group in groups_of(program)
]


def turns(program):
    """Overrides such that every choice of every group has its turn, one of each group at once; an
    experiment, which chooses for other groups, is alone."""
    groups = {}
    for own, group, choice in CHOICES_OF_PROGRAMS:
        if own == program:
            groups.setdefault(group, []).append(f"{group}={choice}")
    alone = groups.pop("experiment", [])
    most = max(map(len, groups.values()))
    together = [[of[turn % len(of)] for of in groups.values()] for turn in range(most)]
    return [*together, *([one] for one in alone)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_choice_composes(program):
    for overrides in turns(program):
        cfg = composed(program, *overrides, "output_dir=x")
        assert OmegaConf.to_container(cfg, resolve=True)["task"] == program, overrides


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("group", ["ablation", "callbacks", "logger", "optim"])
def test_choices_of_a_group_have_the_same_keys(program, group):
    choices = [c for p, g, c in CHOICES_OF_PROGRAMS if (p, g) == (program, group)]
    keys = [tuple(composed(program, f"{group}={c}", "output_dir=x")[group]) for c in choices]
    assert len(set(keys)) <= 1


@pytest.mark.parametrize("choice", [c for g, c in CHOICES if g == "refine"])
def test_every_rule_takes_window_and_tau(choice):
    cfg = composed("eval", f"refine={choice}", "refine.window=3", "refine.tau=0.5", "output_dir=x")
    assert (cfg.refine.window, cfg.refine.tau) == (3, 0.5)


@pytest.mark.parametrize(
    "overrides",
    [
        ["masklets=flow", "masklets.oracle.drop=0.5"],
        ["masklets=files", "masklets.detect.stride=3"],
        ["coarse=files", "coarse.clip_length=7"],
        ["refine=vote", "refine.box_ratio=0.5"],
        ["report=none", "report.strips=3"],
        ["presence=none", "presence.threshold=0.5"],
    ],
)
def test_a_key_of_another_choice_is_refused(overrides):
    key = overrides[1].partition("=")[0]
    with pytest.raises(ConfigCompositionException, match=key):
        composed("eval", *overrides, "output_dir=x")


def test_the_papers_numbers():
    cfg = composed("eval", "ablation=paper", "output_dir=x")
    assert (cfg.refine.window, cfg.refine.tau) == (15, 0.8)
    assert (cfg.ablation.windows, cfg.ablation.taus) == ([5, 10, 15, 20], [0.8])


@pytest.mark.parametrize("value, expected", [(None, "weights"), ("", "weights"), ("/w", "/w")])
def test_an_empty_variable_is_no_folder_at_the_root(monkeypatch, value, expected):
    """`$RVOS_WEIGHTS/mutr.pth` of an unset variable would be /mutr.pth."""
    monkeypatch.delenv("RVOS_WEIGHTS", raising=False)
    if value is not None:
        monkeypatch.setenv("RVOS_WEIGHTS", value)
    assert (
        composed("train", "experiment=paper").model.weights == f"{expected}/mutr_joint_swin_l.pth"
    )
