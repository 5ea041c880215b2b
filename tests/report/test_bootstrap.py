"""Bootstrap over videos, against cases that can be worked out and against a plain loop."""

import numpy as np
import pytest

from rvos import InputError
from rvos.report.bootstrap import Bootstrap

SETTINGS = {"resamples": 4000, "confidence": 0.95, "seed": 0}


def test_the_mean_is_over_expressions_not_over_videos():
    """Video a: 0, 0, 0; video b: 1. Mean over expressions 1/4; resamples are aa 0, ab 1/4, bb 1."""
    interval = Bootstrap(["a", "a", "a", "b"], **SETTINGS).interval([0, 0, 0, 1])
    assert (interval.mean, interval.low, interval.high) == (0.25, 0.0, 1.0)
    assert not interval.excludes_zero


def test_equal_differences_have_no_spread():
    bootstrap = Bootstrap(["a", "b", "b"], **SETTINGS)
    interval = bootstrap.interval(np.array([0.5, 0.7, 0.9]) - np.array([0.4, 0.6, 0.8]))
    assert interval.low == pytest.approx(0.1) and interval.high == pytest.approx(0.1)
    assert interval.excludes_zero


def test_agrees_with_resampling_in_a_loop():
    rng = np.random.default_rng(1)
    videos = [f"v{i}" for i in rng.integers(0, 12, 100)]
    values = rng.random(100)
    names = sorted(set(videos))
    by_video = {v: [x for w, x in zip(videos, values, strict=True) if w == v] for v in names}
    means = []
    for _ in range(4000):
        drawn = [x for v in rng.choice(names, len(names)) for x in by_video[v]]
        means.append(np.mean(drawn))
    expected = np.quantile(means, [0.025, 0.975])
    found = Bootstrap(videos, **SETTINGS).interval(values)
    assert [found.low, found.high] == pytest.approx(expected, abs=0.01)
    assert found.mean == pytest.approx(values.mean())


def test_the_draws_do_not_depend_on_their_blocks():
    """They are kept in blocks of 1,000: the means are those of one multinomial draw."""
    rng = np.random.default_rng(2)
    videos = [f"v{i}" for i in rng.integers(0, 300, 900)]  # more than a byte counts
    values = rng.random(900)
    names, idx = np.unique(videos, return_inverse=True)
    even = np.full(len(names), 1 / len(names))
    drawn = np.random.default_rng(5).multinomial(len(names), even, size=2500)  # (R, V)
    expected = (drawn @ np.bincount(idx, values)) / (drawn @ np.bincount(idx))
    bootstrap = Bootstrap(videos, resamples=2500, confidence=0.95, seed=5)
    np.testing.assert_allclose(bootstrap.resampled(values)[1], expected, rtol=1e-12)


def test_same_seed_same_interval():
    values = np.linspace(0, 1, 9)
    videos = list("aabbccdde")
    assert Bootstrap(videos, **SETTINGS).interval(values) == Bootstrap(videos, **SETTINGS).interval(
        values
    )
    other = Bootstrap(videos, **{**SETTINGS, "seed": 1}).interval(values)
    assert other != Bootstrap(videos, **SETTINGS).interval(values)


@pytest.mark.parametrize("wrong", [{"resamples": 0}, {"confidence": 1}, {"confidence": 0}])
def test_bad_settings(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Bootstrap(["a"], **{**SETTINGS, **wrong})


def test_a_mean_over_some_of_the_values():
    """Of two videos a resample has one twice, or both: the means are 0.2, 0.8 or 0.4."""
    bootstrap = Bootstrap(["a", "a", "b", "b"], **SETTINGS)
    mean, means = bootstrap.among([0, 1, 2]).resampled([0.2, 0.2, 0.8, 9.0])
    assert mean == pytest.approx(0.4)
    assert set(means.round(9)) == {0.2, 0.4, 0.8}
    found = bootstrap.around(mean, means)
    assert (found.low, found.high) == pytest.approx((0.2, 0.8))


def test_resamples_without_any_of_the_values_are_left_out():
    bootstrap = Bootstrap(["a", "b"], **SETTINGS)
    some = bootstrap.among([0])
    mean, means = some.resampled([0.3, 1])
    assert np.isnan(means).any() and mean == 0.3
    found = bootstrap.around(mean, means)
    assert (found.low, found.high) == pytest.approx((0.3, 0.3))
