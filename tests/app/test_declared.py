"""Settings are declared by types: also users' classes; all problems at once; stores keep names."""

import hashlib
import json
import pickle
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from test_conf import composed

from rvos import Count, Flag, InputError, Part, Real, SettingsError, Share, Text, Whole, checked
from rvos.app.arguments import as_typed
from rvos.app.evaluation import Evaluation
from rvos.refine import ConditionalFusion, Vote, WindowRule, make_rule
from rvos.settings import LeastMost, build, make, preset

INF, NAN = float("inf"), float("nan")


# ------------------------------------------------------------------------------- kinds of values


@pytest.mark.parametrize(
    "kind, sound, wrong",
    [
        (Count, [1, 15], [0, -1, 1.0, True, "15", None, NAN]),
        (Whole, [0, 7], [-1, 0.0, False, "0", None]),
        (Real, [0, -2, 0.5], [True, "0.5", None, NAN, INF, -INF]),
        (Share, [0, 1, 0.5], [-0.1, 1.1, True, "1", NAN]),
        (Part, [0, 0.99], [1, 1.0, -0.1, NAN]),
        (Flag, [True, False], [0, 1, "yes", None]),
        (Text, ["a", " a "], ["", " ", 3, None, b"a"]),
        (Count | None, [None, 1], [0, "1", False]),
        (Literal["a", "b"], ["a", "b"], ["c", "", None, 1]),
        (LeastMost[Count], [[1, 3], [2, 2], (1, 5)], [[3, 1], [1], [0, 1], 3, "12"]),
        (Annotated[Real, Field(gt=0, le=10)], [0.1, 10], [0, 10.5, "1"]),
    ],
)
def test_what_a_kind_takes(kind, sound, wrong):
    made: Any = type("Made", (), {"__annotations__": {"value": kind}})
    made = checked(made)
    for value in sound:
        kept = made(value=value).value
        assert kept == value or list(kept) == list(value)
        assert isinstance(value, list) or type(kept) is type(value)  # 1 stays 1, not 1.0
    for value in wrong:
        with pytest.raises(SettingsError, match="^value: expected ") as error:
            made(value=value)
        assert str(error.value).endswith(f"got {value!r}")


def test_values_travel_as_those_of_a_dataclass():
    rule = ConditionalFusion(window=15, tau=0.8, box_ratio=0.25)
    settings = {"window": 15, "tau": 0.8, "agree": None, "box_ratio": 0.25}
    assert vars(rule) == settings
    assert pickle.loads(pickle.dumps(rule)) == rule == replace(replace(rule, window=3), window=15)
    assert hash(rule) == hash(ConditionalFusion(15, 0.8, 0.25)) and rule != Vote(15, 0.8)
    with pytest.raises(SettingsError, match="^window: expected a whole number >= 1, got 0"):
        replace(rule, window=0)
    with pytest.raises(FrozenInstanceError):
        rule.window = 3


# --------------------------------------------------------------------------------- users' classes


@dataclass(frozen=True)
class FromTheLibrary(WindowRule):
    margin: float

    def select(self, candidates, start, stop):
        return ()


@checked
class Checked(WindowRule):
    margin: Real

    def select(self, candidates, start, stop):
        return ()


@dataclass(frozen=True)
class Alone:
    window: int
    tau: float
    margin: float

    def __call__(self, candidates):
        return candidates


@pytest.mark.parametrize("rule", [FromTheLibrary, Checked, Alone])
def test_three_wrong_values_of_a_users_rule_are_three_messages(rule):
    settings = {"_target_": f"{__name__}.{rule.__name__}", "window": "x", "tau": [], "margin": "y"}
    for make_it in (lambda: make_rule("own", **settings), lambda: build(settings, "refine")):
        with pytest.raises(SettingsError) as error:
            make_it()
        assert [problem.partition(":")[0] for problem in error.value.problems] == [
            "refine.window",
            "refine.tau",
            "refine.margin",
        ]
    sound = settings | {"window": 3, "tau": 0.5, "margin": 2.0}
    made = make_rule("own", **sound)
    assert type(made) is rule and pickle.loads(pickle.dumps(made)) == made == rule(3, 0.5, 2.0)


@pytest.mark.parametrize("values", [(3, 0.5, 0.5), (3, 0.5, 0.5, 1, 2)])
def test_values_that_need_their_names_are_refused_as_python_does(values):
    with pytest.raises(TypeError, match="Rule: takes 2 values without their names, got"):
        Vote(*values)


class Handmade(WindowRule):
    def __init__(self, scale, **settings):
        super().__init__(**settings)
        object.__setattr__(self, "scale", scale)

    def select(self, candidates, start, stop):
        return ()


def test_a_users_own_init_is_called():
    node = {"_target_": f"{__name__}.Handmade", "scale": 2, "window": 3, "tau": 0.5}
    made = build(node, "refine")
    assert (made.scale, made.window, made.tau) == (2, 3, 0.5)
    with pytest.raises(SettingsError, match="^refine.window: expected a whole number >= 1, got 0"):
        build(node | {"window": 0}, "refine")


def test_the_bounds_of_the_base_hold_for_a_users_rule():
    settings = {"_target_": f"{__name__}.FromTheLibrary", "window": 0, "tau": 2.0, "margin": 1.0}
    with pytest.raises(SettingsError) as error:
        make_rule("own", **settings)
    assert error.value.problems == (
        "refine.window: expected a whole number >= 1, got 0",
        "refine.tau: expected a number >= 0 and < 1, got 2.0",
    )
    with pytest.raises(SettingsError, match=r"Alone: no such key: marging"):
        make(Alone, "refine", {"window": 3, "tau": 0.5, "margin": 1.0, "marging": 1})


@pytest.mark.parametrize("name", ["require", "real", "whole", "one_of"])
def test_an_old_name_says_what_to_write(name):
    with pytest.raises(ImportError, match="declared by its type.*docs/extending.md"):
        exec(f"from rvos.settings import {name}")
    if name != "one_of":
        with pytest.raises(ImportError, match="declared by its type.*docs/extending.md"):
            exec(f"from rvos import {name}")
    with pytest.raises(ImportError, match="cannot import name"):
        exec("from rvos.settings import nothing_of_the_kind")


def test_an_old_key_names_the_new_one():
    with pytest.raises(InputError, match="masklets.with: .*masklets.beside"):
        as_typed(["masklets.with=sam2"], "eval")


# ---------------------------------------------------------------------------- nodes of the config


def test_what_is_wrong_in_nested_nodes_and_beside_them_is_one_message():
    cfg = composed(
        *("eval", "output_dir=x", "coarse=grounded", "coarse.detect.stride=0"),
        *("coarse.objects_at_once=none", "masklets.detect.nms_iou=2", "masklets.noun.method=mine"),
        *("masklets.precision=fp8", "refine.window=0", "score.workers=-1", "report.strips=x"),
    )
    with pytest.raises(SettingsError) as error:
        Evaluation.of(cfg)
    assert sorted(problem.partition(":")[0] for problem in error.value.problems) == [
        "coarse.detect.stride",
        "coarse.objects_at_once",
        "masklets.detect.nms_iou",
        "masklets.noun.method",
        "masklets.precision",
        "refine.window",
        "report.strips",
        "score.workers",
    ]


def test_a_wrong_network_is_named_with_the_other_settings():
    """By the key that was typed: the network stands beside coarse, not in it."""
    wrong = ("model.hidden_dim=100", "model.num_queries=0", "refine.window=0")
    with pytest.raises(SettingsError) as error:
        Evaluation.of(composed("eval", "output_dir=x", "coarse=mutr", *wrong))
    said = {problem.partition(":")[0] for problem in error.value.problems}
    assert said == {"model.hidden_dim", "model.num_queries", "refine.window"}


@pytest.mark.parametrize("mode", ["", "offlin"])
def test_a_wrong_mode_of_wandb_is_named_before_stages_run(mode, monkeypatch):
    """What only reads a finished run, as `rvos merge`, does not ask W&B."""
    import wandb

    wandb.teardown()  # of an earlier test: it reads the environment once
    monkeypatch.setenv("WANDB_MODE", mode)
    cfg = composed("eval", "output_dir=x", "logger=wandb")
    with pytest.raises(SettingsError, match=f"logger=wandb: mode .WANDB_MODE.*got '{mode}'$"):
        Evaluation.of(cfg)
    wandb.teardown()
    Evaluation.of(cfg, stages=False)


# {choice: hash of what the name of its store depends on}, computed by fe8270a
DIGESTS = {
    "masklets=sam2": "80b498595538",
    "masklets=flow": "62e4c332e3c7",
    "masklets=sam3": "d184ccb73cc3",
    "masklets=oracle": "6eb5de57247b",
    "coarse=grounded": "d0d2252ced24",
    "coarse=mutr": "b76d5cb3ce75",
    "coarse=mutr_tiny": "e705b0d022d3",
}


@pytest.mark.parametrize("choice", DIGESTS)
def test_stores_keep_their_names(choice):
    group, _, name = choice.partition("=")
    source = build(preset(group, name), group)
    if name == "oracle":  # the rest are the ground truth and the nouns
        settings = vars(source.oracle)
    elif group == "coarse" and name != "grounded":
        settings = {"protocol": source.protocol(), "model": source.model.keywords}
    else:
        settings = source.settings()
    if name == "grounded":  # fe8270a added it to them in the name
        assert settings.pop("subject") == "rules"
    if name == "flow":  # newer than fe8270a: it changes the masks, and so the name
        assert settings["flow"].pop("max_instances") == 20
    text = json.dumps(settings, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == DIGESTS[choice]
