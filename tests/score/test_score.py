"""J and F on drawn masks, with values derived here from the definitions."""

import numpy as np
import pytest

from rvos import SettingsError, preset
from rvos.data.split import Expression, Split, Video
from rvos.masks import area, canonical, encode, read_json
from rvos.refine import KeepCoarse, Vote
from rvos.score import (
    COARSE,
    REFINED,
    Scorer,
    ScoreStage,
    VideoFiles,
    VideoInputs,
    make_metrics,
    score_track,
)
from rvos.score.contour import contour_of, in_common, tolerance_radius
from rvos.score.measures import decay, recall, temporal_ious
from rvos.stages.pool import PoolDevices
from rvos.stages.runner import run_stage


def square(x, y, side, size=(100, 120)):
    pixels = np.zeros(size)
    pixels[y : y + side, x : x + side] = 1
    return canonical(encode(pixels))


def slow_boundary(pixels):
    """The definition, pixel by pixel."""
    height, width = pixels.shape
    result = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            others = [
                pixels[v, u]
                for v, u in ((y, x + 1), (y + 1, x), (y + 1, x + 1))
                if v < height and u < width
            ]
            result[y, x] = any(other != pixels[y, x] for other in others)
    return result


def slow_f(truth, prediction, radius):
    g, p = (np.argwhere(slow_boundary(m)) for m in (truth, prediction))
    if len(g) == 0 or len(p) == 0:
        return float(len(g) == len(p))
    near = ((g[:, None] - p[None]) ** 2).sum(-1) <= radius**2
    precision, recalled = near.any(0).mean(), near.any(1).mean()
    total = precision + recalled
    return 2 * precision * recalled / total if total else 0.0


@pytest.mark.parametrize("seed", range(40))
def test_f_against_the_definition(seed):
    rng = np.random.default_rng(seed)
    size = rng.integers(1, [40, 60], endpoint=True)
    truth, prediction = (_blobs(rng, size) for _ in range(2))
    _, F = score_track([canonical(encode(truth))], [canonical(encode(prediction))])
    radius = tolerance_radius(*(int(n) for n in size))
    assert F[0] == pytest.approx(slow_f(truth, prediction, radius), abs=1e-12)


def _blobs(rng, size):
    kind = rng.integers(4)
    if kind == 0:
        return (rng.random(size) < 0.3).astype(np.uint8)
    pixels = np.zeros(size, np.uint8)
    for _ in range(kind):
        y, x = rng.integers(0, size)
        pixels[y : y + rng.integers(1, 20), x : x + rng.integers(1, 30)] = 1
    return pixels


def test_radius():
    assert tolerance_radius(480, 854) == 8 and tolerance_radius(1080, 1920) == 18
    assert tolerance_radius(1, 1) == 1


def test_j():
    """Two 10 x 10 squares, 5 apart: 50 pixels in common, 150 together."""
    J, _ = score_track([square(0, 0, 10)], [square(5, 0, 10)])
    assert J[0] == 50 / 150


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        (None, None, (1, 1)),
        (square(3, 3, 5), None, (0, 0)),
        (None, square(3, 3, 5), (0, 0)),
        (encode(np.ones((9, 9))), encode(np.ones((9, 9))), (1, 1)),  # no boundary on either side
        (encode(np.ones((9, 9))), None, (0, 1)),  # neither has a boundary pixel
    ],
)
def test_conventions(truth, prediction, expected):
    J, F = score_track([truth], [prediction])
    assert (J[0], F[0]) == expected


def test_first_and_last_frame_count():
    """Right in the two middle frames only: half of the frames."""
    good, bad = square(0, 0, 10), square(60, 60, 10)
    J, F = score_track([good] * 4, [bad, good, good, bad])
    assert J.tolist() == F.tolist() == [0, 1, 1, 0] and J.mean() == 0.5


def test_boundary_offset_by_more_than_the_radius_does_not_match():
    radius = tolerance_radius(100, 120)  # 2
    lines = [np.zeros((100, 120)) for _ in range(3)]
    for pixels, x in zip(lines, (20, 20 + radius, 21 + radius), strict=True):
        pixels[:, :x] = 1
    truth, near, far = (contour_of(encode(pixels)) for pixels in lines)
    assert in_common(truth, near)[1:] == (100, 100) and truth.num_pixels == near.num_pixels == 100
    assert in_common(truth, far)[1:] == (0, 0)


def test_recall_counts_values_above_one_half():
    assert recall(np.array([0.5, 0.51, 1.0, 0.2])) == 0.5


def test_decay_by_hand():
    """T = 8: ids round(linspace(1, 8, 5)) - 1 = 0, 2, 3 (4.5 -> 5 with 1e-10, less 1: 4), 5, 7."""
    values = np.arange(8.0)
    assert np.linspace(1, 8, 5).tolist() == [1, 2.75, 4.5, 6.25, 8]
    assert decay(values) == np.mean([0, 1, 2]) - np.mean([5, 6, 7])
    assert decay(values[:3]) == 0


def test_decay_is_right_beyond_256_frames():
    """T = 1001: quarters are frames 0..250 and 750..1000."""
    values = np.zeros(1001)
    values[:251], values[750:] = 1, 0.25
    assert decay(values) == 0.75


def test_temporal_ious():
    a, b = square(0, 0, 10), square(5, 0, 10)
    truth, prediction = [a, a, None, None, a], [None, b, b, None, a]
    J, _ = score_track(truth, prediction)
    tiou, viou = temporal_ious(truth, prediction, J)
    assert tiou == 2 / 4 and viou == pytest.approx((1 / 3 + 1) / 4)
    assert temporal_ious([None], [None], np.array([1.0])) == (1, 1)


# ----------------------------------------------------------------------------------- metrics


def area_error(truth, prediction, J, F, *, power=1):
    """An own metric: how much too big or too small the prediction is, of all frames together."""
    g, p = (sum(map(area, track)) for track in (truth, prediction))
    return (abs(g - p) / max(g, p, 1)) ** power


def test_the_metrics_of_the_presets_are_the_six_of_the_papers():
    """Of the same tracks as above, by the functions that are tested there."""
    metrics = make_metrics(preset("score", "default")["extra"])
    a, b = square(0, 0, 10), square(5, 0, 10)
    truth, prediction = [a, a, None, None, a], [None, b, b, None, a]
    J, F = score_track(truth, prediction)
    tiou, viou = temporal_ious(truth, prediction, J)
    assert {label: metric(truth, prediction, J, F) for label, metric in metrics.items()} == {
        "J_recall": recall(J),
        "J_decay": decay(J),
        "F_recall": recall(F),
        "F_decay": decay(F),
        "tIoU": tiou,
        "vIoU": viou,
    }


def test_own_metrics_with_and_without_arguments_and_left_out_ones():
    """Prediction of half the truth's area: an error of 1/2, squared 1/4."""
    target = f"{__name__}.area_error"
    entries = {"plain": target, "squared": {"_target_": target, "power": 2}, "tIoU": None}
    metrics = make_metrics(entries)
    assert list(metrics) == ["plain", "squared"]
    truth, J = [square(0, 0, 10)] * 2, np.zeros(2)
    values = [metric(truth, [truth[0], None], J, J) for metric in metrics.values()]
    assert values == [0.5, 0.25]


def test_metrics_that_cannot_be_made_are_all_named():
    with pytest.raises(SettingsError) as error:
        make_metrics(
            {
                "a": "nowhere.metric",
                "b": "rvos.score.measures.nothing",
                "c": "rvos.score.measures.COUNTS",
                "d": {"_target_": "rvos.score.measures.Recall", "of": "K"},
                "e": {"_target_": "rvos.score.measures.Recall"},
                "f": {"of": "J"},
                "g": 3,
                "h": "rvos.score.measures.Summary",
                "frames_kept_coarse": "rvos.score.measures.tIoU",
                "fine": "rvos.score.measures.tIoU",
            }
        )
    keys = [problem.partition(": ")[0] for problem in error.value.problems]
    named = ["a", "b", "c", "d.of", "e", "f", "g", "h", "frames_kept_coarse"]
    assert keys == [f"score.extra.{key}" for key in named]
    assert "cannot import nowhere.metric" in error.value.problems[0]
    assert "expected J or F, got 'K'" in error.value.problems[3]


class Given(ScoreStage):
    """Scores inputs that are there, without files."""

    def __init__(self, videos, scorer):
        self.of_video = {inputs.video.name: inputs for inputs in videos}
        self.job, self.files = scorer, VideoFiles(scorer.output_dir)

    def missing(self, video):
        return not self.files.has(video, "")

    def read(self, split, video):
        return self.of_video[video.name]


@pytest.mark.parametrize("workers", [1, 2])
def test_metrics_and_rules_travel_to_the_workers_by_label(tmp_path, workers):
    """Two videos; the masklet is the truth, twice as large as the coarse mask that lies in it."""
    truth, coarse = square(0, 0, 10), canonical(encode(half(10)))
    videos = [
        VideoInputs(
            Video(name, ("0", "1"), (Expression(name, "7", "the square", ("0",)),)),
            {"7": [truth] * 2},
            {"7": [coarse] * 2},
            {"square": [[truth] * 2]},
            {"7": "square"},
        )
        for name in ("a", "b")
    ]
    rules = {COARSE: KeepCoarse(), REFINED: Vote(2, 0.4), "strict": Vote(2, 0.5)}
    metrics = make_metrics({"error": f"{__name__}.area_error"})
    split = Split(tmp_path, "made", tuple(v.video for v in videos), "")
    stage = Given(videos, Scorer(rules, metrics, tmp_path))
    assert run_stage(stage, split, PoolDevices(workers)) == {}
    found = [r for v in videos for r in VideoFiles(tmp_path).read(v.video.name).expressions]
    assert [(r.video, r.expression_id, r.expression) for r in found] == [
        ("a", "7", "the square"),
        ("b", "7", "the square"),
    ]
    for result in found:
        assert {label: s.J for label, s in result.scores.items()} == {
            COARSE: 0.5,
            REFINED: 1.0,
            "strict": 0.5,
            "empty": 0.0,
            "whole frame": 100 / (100 * 120),
            "largest masklet": 1.0,
        }
        assert result.scores["strict"].frames_kept_coarse == 2
        assert result.extra == {"error": 0.0} and result.refined.JF == 1.0
    inputs = read_json(tmp_path / "inputs" / "a.json.gz")
    assert inputs == {
        "frames": ["0", "1"],
        "tracks": [[coarse] * 2, [truth] * 2],
        "coarse": {"7": 0},
        "truth": {"7": 1},
    }
    scores = read_json(tmp_path / "scores" / "a.json.gz")["7"]
    assert scores["refined"] == {"J": [1.0, 1.0], "F": [1.0, 1.0]}
    assert scores["coarse"]["J"] == [0.5, 0.5] and set(scores) == {"coarse", "refined"}


def half(side, size=(100, 120)):
    """The left half of `square(0, 0, side)`."""
    pixels = np.zeros(size)
    pixels[:side, : side // 2] = 1
    return pixels
