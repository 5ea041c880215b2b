"""A jury of three against wrong answers, on 300 expressions, beside the binomial forecast."""

import pytest
from jury import Experiment, at_least


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return Experiment.made(tmp_path_factory.mktemp("jury"))


def test_binomial_by_hand():
    assert at_least(2, 3, 0.9) == pytest.approx(0.9**3 + 3 * 0.9**2 * 0.1)
    assert at_least(1, 1, 0.3) == pytest.approx(0.3)


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_jury_of_three(experiment, rounds):
    perfect = experiment.cell(0.0, rounds, 3)
    assert perfect.JF == experiment.oracle and perfect.present_right == 1
    assert experiment.cell(0.05, rounds, 3).JF >= 0.95 * experiment.oracle
    tenth = experiment.cell(0.1, rounds, 3)
    assert tenth.JF >= 0.92 * experiment.oracle
    assert tenth.JF >= tenth.JF_forecast - 0.02
    assert abs(tenth.present_right - tenth.present_forecast) < 0.02


def test_one_juror_is_worse(experiment):
    alone = experiment.cell(0.2, 1, 1)
    assert alone.JF < experiment.cell(0.2, 1, 3).JF < experiment.oracle
    assert abs(alone.present_right - 0.8) < 0.05
