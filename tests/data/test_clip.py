"""Training clips: the sampling rule, targets, transforms, expressions, determinism."""

import itertools
from collections import Counter
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from made_mevis import FRAMES, SIZE, break_huffman_table, left_of, square, write_split

from rvos import CONFIG_DIR, InputError, SettingsError
from rvos.data.frames import IMAGENET_MEAN, IMAGENET_STD, fit, normalise
from rvos.data.mevis import Annotations, read_split
from rvos.masks import decode
from rvos.train import augment
from rvos.train.augment import Photometric, Resizing
from rvos.train.clips import ClipDataset, collate, tight_boxes
from rvos.train.recipe import Geometry, draw_frames, mirror_words


@lru_cache
def default_recipe():
    """The defaults of conf/data/mevis.yaml at sizes that fit 48 x 64 frames."""
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        clip = instantiate(compose(overrides=["+data=mevis"]).data.clip, _convert_="all")
    resizing = replace(
        clip.resizing,
        short_sides=(36, 48),
        max_long_side=64,
        crop_short_sides=(48, 56),
        crop_sides=(40, 56),
    )
    return replace(clip, resizing=resizing, plain_short_side=48)


def recipe(**changes):
    return replace(default_recipe(), **changes)


@pytest.fixture
def dataset(tmp_path):
    def make(skip_bad=False, seed=0, videos=("cat",), **changes):
        if not (tmp_path / "train").exists():
            write_split(tmp_path, videos=videos)
        split = read_split(tmp_path, "train")
        return ClipDataset(
            split, Annotations(split), recipe(**changes), seed=seed, skip_bad=skip_bad
        )

    return make


# ------------------------------------------------------------------------------ sampling of frames


@pytest.mark.parametrize("anchor", [0, 5, 10, 15])
def test_the_sampling_rule_and_its_statistics(anchor):
    """18 frames: the local distances are uniform on 1..3, the others uniform on the candidates.

    Counted over 6,000 draws: a share p has standard deviation sqrt(p (1 - p) / 6000) <= 0.0065.
    """
    rng = np.random.default_rng(0)
    draws = [draw_frames(rng, anchor, 18, 5, (1, 3)) for _ in range(6000)]
    locals_seen, others = Counter(), Counter()
    for frames in draws:
        assert frames == sorted(frames) and len(frames) == 5 and anchor in frames
        assert frames[0] >= 0 and frames[-1] <= 17
        befores = [f for f in {max(0, anchor - d) for d in (1, 2, 3)} if f in frames]
        assert befores and any(min(17, anchor + d) in frames for d in (1, 2, 3))
    if anchor == 10:
        # Before, anchor and after are neighbours in a clip: nothing is drawn between them.
        for frames in draws:
            at = frames.index(anchor)
            before = frames[at - 1]
            after = next(f for f in frames if f > anchor)
            locals_seen[anchor - before] += 1
            locals_seen[before - after] += 1
            rest = list(frames)
            for f in (before, anchor, after):
                rest.remove(f)
            others.update(rest)
        assert all(abs(locals_seen[d] / 6000 - 1 / 3) < 0.03 for d in (1, 2, 3))
        # 0..6 are candidates whatever the local frames are, 14..17 likewise: equally likely.
        always = [others[f] / 6000 for f in (*range(7), *range(14, 18))]
        assert max(always) - min(always) < 0.04
        # The last local frame is a candidate itself, so it can occur twice.
        assert any(max(Counter(frames).values()) == 2 for frames in draws)


def test_few_candidates_mean_the_whole_video():
    """4 frames, anchor 2: at most 0 and 3 are candidates, so two are drawn from all four."""
    rng = np.random.default_rng(0)
    seen = {tuple(draw_frames(rng, 2, 4, 5, (1, 3))) for _ in range(500)}
    assert any(frames.count(2) == 2 for frames in seen)  # the anchor itself, again


@pytest.mark.parametrize("length", [1, 2, 3, 60])
@pytest.mark.parametrize("num_frames", [1, 2, 3, 5, 9])
def test_any_length_gives_a_full_clip(length, num_frames):
    rng = np.random.default_rng(0)
    for anchor in range(0, length, num_frames):
        frames = draw_frames(rng, anchor, length, num_frames, (1, 3))
        assert len(frames) == num_frames and set(frames) <= set(range(length))
        assert anchor in frames


def test_strided_clips_are_those_of_inference(dataset):
    """7 frames in clips of 5: every second, from 0 or 1; what lacks at the end is the last."""
    data = dataset(frames="strided")
    assert [data[0, i].frame_idx.tolist() for i in (0, 1)] == [[0, 2, 4, 6, 6], [1, 3, 5, 6, 6]]


def test_one_clip_per_expression_and_anchor(dataset):
    data = dataset()
    assert len(data) == 4 * 2  # 7 frames: anchors 0 and 5
    clips = [data.clip(i) for i in range(8)]
    assert [(e.expression_id, anchor) for _, e, anchor in clips] == [
        ("0", 0),
        ("0", 5),
        ("1", 0),
        ("1", 5),
        ("2", 0),
        ("2", 5),
        ("x", 0),
        ("x", 5),
    ]


# ------------------------------------------------------------------------------------- targets


def test_targets_are_those_of_the_frames_shown(dataset):
    """The frames tell their position (red = 30 t), the object's left edge is 3 + 5 t."""
    data = dataset(recipe="plain")
    for epoch in range(5):
        sample = data[epoch, 0]
        assert sample.identity == ("cat", "0") and sample.valid.all()
        assert sample.frames.shape == (5, 3, *SIZE)
        red = (sample.frames[:, 0] * IMAGENET_STD[0] + IMAGENET_MEAN[0]).mean((1, 2)) * 255 / 30
        assert torch.equal(red.round().long(), sample.frame_idx)
        for t, mask, box in zip(
            sample.frame_idx.tolist(), sample.masks, sample.boxes_cxcywh_norm, strict=True
        ):
            x = left_of(t)
            assert mask.sum() == 6 * 8 and mask[10:18, x : x + 6].all()
            expected = torch.tensor([(x + 3) / 64, 14 / 48, 6 / 64, 8 / 48])
            torch.testing.assert_close(box, expected)


def test_inclusive_boxes_are_a_pixel_narrower(dataset):
    tight, narrow = (dataset(recipe="plain", boxes=b)[0, 0] for b in ("tight", "inclusive"))
    difference = tight.boxes_cxcywh_norm - narrow.boxes_cxcywh_norm
    expected = torch.tensor([0.5 / 64, 0.5 / 48, 1 / 64, 1 / 48]).expand(5, 4)
    torch.testing.assert_close(difference, expected)


def test_several_objects_become_one_target(dataset):
    """Object 1 is absent in frames 2 and 3; there the target is object 0 alone."""
    sample = dataset(recipe="plain")[0, 2]
    for t, mask in zip(sample.frame_idx.tolist(), sample.masks, strict=True):
        other = np.zeros(SIZE, bool) if t in (2, 3) else decode(square(40, 4 * t, 10, 5)) > 0
        one = decode(square(left_of(t), 10, 6, 8)) > 0
        assert np.array_equal(mask.numpy(), one | other)


def test_clips_without_target_are_replaced_or_kept(dataset):
    replaced, kept = dataset()[0, 4], dataset(no_target="keep")[0, 4]  # "the dog": no annotation
    assert replaced.identity[1] in ("0", "1") and replaced.valid.any()
    assert kept.identity == ("cat", "2")
    assert not kept.valid.any() and not kept.masks.any() and not kept.boxes_cxcywh_norm.any()
    assert dataset(no_target="keep")[0, 6].identity == ("cat", "x")  # annotated, never visible


def test_a_split_without_any_target_is_an_error_at_once(tmp_path):
    write_split(tmp_path, expressions={"0": {"exp": "the dog", "anno_id": []}})
    split = read_split(tmp_path, "train")
    with pytest.raises(InputError, match="no expression names an object to train on"):
        ClipDataset(split, Annotations(split), recipe(), seed=0, skip_bad=False)


def test_a_file_damaged_after_the_check_is_named_or_replaced(dataset, tmp_path, caplog):
    whole = dataset(videos=("cat", "dog"), skip_bad=True)
    for name in FRAMES:
        break_huffman_table(tmp_path / "train" / "JPEGImages" / "cat" / f"{name}.jpg")
    sample = whole[0, 0]
    assert sample.identity[0] == "dog" and "cat" in caplog.text
    with pytest.raises(
        InputError, match=r"cat/000\d\d.jpg: cannot be decoded: .*data.skip_bad=true"
    ):
        dataset()[0, 0]


# ----------------------------------------------------------------------------------- transforms


@pytest.mark.parametrize("key", list(itertools.product(range(6), (0, 2))))
def test_boxes_and_masks_agree_after_any_transform(dataset, key):
    sample = dataset()[key]
    _, h, w = sample.masks.shape
    box = sample.boxes_cxcywh_norm * torch.tensor([w, h, w, h])
    xyxy = torch.cat([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], 1)
    torch.testing.assert_close(xyxy, tight_boxes(sample.masks), atol=1e-4, rtol=0)
    assert torch.equal(sample.valid, sample.masks.flatten(1).any(1))
    assert sample.frames.shape[-2:] == (h, w)


def test_upstreams_boxes_follow_the_geometry(dataset):
    """Within a pixel of rounding and the missing one, where the whole object is in the crop."""
    data = dataset(boxes="inclusive")
    for epoch in range(30):
        sample = data[epoch, 0]
        _, h, w = sample.masks.shape
        box = sample.boxes_cxcywh_norm * torch.tensor([w, h, w, h])
        xyxy = torch.cat([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], 1)
        tight = tight_boxes(sample.masks)
        fine = sample.valid & sample.masks.flatten(1).any(1)
        assert (xyxy - tight)[fine].abs().max() < 2.6


@pytest.mark.parametrize("flip", [False, True])
def test_frames_and_masks_are_cut_and_mirrored_alike(tmp_path, flip):
    """A white rectangle on black: after crop and resize the bright pixels are those of its mask."""
    image = np.zeros((200, 300, 3), np.uint8)
    image[60:140, 100:220] = 255
    cv2.imwrite(str(tmp_path / "a.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
    mask = torch.from_numpy((image[..., 0] > 0).astype(np.uint8))[None]
    geometry = Geometry((20, 70, 160, 200), (64, 80), flip)
    for reduced in (False, True):
        frames = augment.read_frames([tmp_path / "a.jpg"], geometry, (200, 300), reduced)
        placed = augment.place_masks(mask, geometry)
        assert frames.shape == (1, 3, 64, 80) and placed.shape == (1, 64, 80)
        assert ((frames[0, 0] > 127) == placed[0]).float().mean() > 0.97
    boxes = torch.tensor([[100.0, 60, 220, 140]])
    placed_box = augment.place_boxes(boxes, geometry)
    torch.testing.assert_close(placed_box, tight_boxes(placed), atol=1.0, rtol=0)


def test_reduced_decoding_asks_for_no_less_than_needed(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    smooth = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)
    cv2.imwrite(str(tmp_path / "a.jpg"), smooth, [cv2.IMWRITE_JPEG_QUALITY, 95])
    sizes = {}
    for short in (90, 91, 180, 200):
        geometry = Geometry((0, 0, 360, 640), fit((360, 640), short, None), False)
        decoded = augment._decode(tmp_path / "a.jpg", geometry, (360, 640), True)
        sizes[short] = decoded.shape[0]
        full, reduced = (
            augment.read_frames([tmp_path / "a.jpg"], geometry, (360, 640), r).float()
            for r in (False, True)
        )
        assert (full - reduced).abs().mean() < 3
    assert sizes == {90: 90, 91: 180, 180: 180, 200: 360}


def test_sizes_follow_upstreams_rounding():
    """By hand: 720 x 1280 at short side 512 would be 910 long, so 640: round(640 * 720 / 1280)."""
    assert fit((720, 1280), 512, 640) == (360, 640)
    assert fit((720, 1280), 320, 640) == (320, 568)  # int(568.9)
    assert fit((480, 854), 392, 640) == (360, 640)  # round(359.7), then int(360 * 854 / 480) = 640
    assert fit((1280, 720), 288, 640) == (512, 288)
    assert fit((500, 500), 416, 640) == (416, 416)
    assert fit((360, 640), 360, 640) == (360, 640)


def test_upstreams_sizes_are_all_drawn_and_no_others():
    resizing = Resizing(
        (288, 320, 352, 392, 416, 448, 480, 512), 640, 0.5, (400, 500, 600), (384, 600), 0.5
    )
    rng = np.random.default_rng(0)
    drawn = [resizing.draw(rng, (720, 1280)) for _ in range(4000)]
    whole = [g for g in drawn if g.crop == (0, 0, 720, 1280)]
    assert abs(len(whole) / 4000 - 0.5) < 0.03
    assert abs(sum(g.flip for g in drawn) / 4000 - 0.5) < 0.03
    assert {g.size for g in whole} == {(288, 512), (320, 568), (352, 625), (360, 640)}
    for g in drawn:
        top, left, height, width = g.crop
        assert 0 <= top and top + height <= 720 and 0 <= left and left + width <= 1280
        assert max(g.size) <= 640
        assert g.size[0] / g.size[1] == pytest.approx(height / width, rel=0.02)
        if g not in whole:  # 384..600 pixels at 400, 500 or 600 of 720
            assert 384 * 720 / 600 - 1 <= width <= 600 * 720 / 400 + 1
            assert 384 * 720 / 600 - 1 <= height <= 720


PHOTOMETRIC = Photometric(32, (0.5, 1.5), (0.5, 1.5), 18, 0.0, "clip")


def test_overflow_is_clipped_or_wraps():
    """Brightness alone on 250: clipped it never gets darker unless it is lowered."""
    bright = torch.full((40, 3, 2, 2), 250, dtype=torch.uint8)
    only = replace(PHOTOMETRIC, contrast=(1, 1), saturation=(1, 1), hue=0)
    clipped = only(np.random.default_rng(0), bright)
    wrapped = replace(only, overflow="wrap")(np.random.default_rng(0), bright)
    assert clipped.min() >= 250 - 32
    assert (wrapped < 50).any()
    assert torch.equal(wrapped[wrapped > 50], clipped[wrapped > 50])
    shares = (clipped[:, 0, 0, 0] != 250).float().mean()
    assert 0.2 < shares < 0.8  # with probability 1/2, frame by frame


def test_channel_order_is_the_only_thing_that_exchanges_colours():
    red = torch.zeros(200, 3, 2, 2, dtype=torch.uint8)
    red[:, 0] = 200
    kept = PHOTOMETRIC(np.random.default_rng(0), red)
    assert (kept.argmax(1) == 0).all()
    mixed = replace(PHOTOMETRIC, channel_order_probability=1.0)(np.random.default_rng(0), red)
    shares = [(mixed.argmax(1)[:, 0, 0] == c).float().mean() for c in range(3)]
    assert all(abs(share - 1 / 3) < 0.12 for share in shares)


def test_normalise_is_imagenets():
    frames = torch.tensor([0, 128, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    torch.testing.assert_close(normalise(frames).flatten(), torch.tensor(expected))


# ------------------------------------------------------------------------------------- expressions


def test_mirrored_words():
    text = "Left cat turning right, brightly lit; RIGHT-most leftovers"
    assert mirror_words(text, "whole") == (
        "Right cat turning left, brightly lit; LEFT-most leftovers"
    )
    assert mirror_words("brightly left", "substring") == "bleftly right"
    assert mirror_words(mirror_words(text, "whole"), "whole") == text


def test_expressions_swap_with_the_picture_and_keep_their_case(dataset):
    flipped = dataset(resizing=replace(recipe().resizing, flip_probability=1.0, crop_probability=0))
    sample = flipped[0, 0]
    assert sample.expression == "The bright square on the right moving left"
    starts = tight_boxes(sample.masks)[:, 0]
    assert (
        torch.equal(starts.argsort(descending=True), torch.arange(5))
        or (starts[:-1] >= starts[1:]).all()
    )  # it now moves left
    assert dataset(recipe="plain")[0, 0].expression == "The bright square on the left moving right"
    assert dataset(recipe="plain", lower_case=True)[0, 0].expression.startswith("the bright")


# ----------------------------------------------------------------------------- batches, determinism


def same(a, b):
    return (
        a.expression == b.expression
        and a.identity == b.identity
        and all(
            torch.equal(getattr(a, name), getattr(b, name))
            for name in ("frames", "boxes_cxcywh_norm", "masks", "valid", "frame_idx")
        )
    )


def test_a_clip_is_a_function_of_seed_epoch_and_index(dataset):
    assert same(dataset()[3, 1], dataset()[3, 1])
    assert same(dataset()[1], dataset()[0, 1])
    assert not same(dataset()[3, 1], dataset()[4, 1])
    assert not same(dataset(seed=0)[3, 1], dataset(seed=1)[3, 1])


def test_batches_are_padded_to_multiples_and_say_where(dataset):
    small = dataset(recipe="plain")[0, 0]
    tall = replace(small, frames=torch.ones(5, 3, 70, 40), masks=torch.ones(5, 70, 40).bool())
    batch = collate([small, tall], pad_to=32)
    assert len(batch) == 2 and batch.frames.shape == (2, 5, 3, 96, 64)
    assert batch.sizes.tolist() == [[48, 64], [70, 40]]
    assert batch.padding.shape == (2, 96, 64)
    assert (~batch.padding).flatten(1).sum(1).tolist() == [48 * 64, 70 * 40]
    assert not batch.padding[0, :48, :64].any() and batch.padding[0, 48:].all()
    assert torch.equal(batch.frames[0, ..., :48, :64], small.frames)
    assert not batch.frames[1, ..., 40:].any() and not batch.masks[1, :, 70:].any()
    assert torch.equal(batch.boxes_cxcywh_norm[0], small.boxes_cxcywh_norm)
    moved = batch.to("cpu")
    assert moved.expressions == batch.expressions and torch.equal(moved.masks, batch.masks)


@pytest.mark.parametrize(("key", "value"), [("recipe", "mine"), ("no_target", "drop")])
def test_unknown_choices_are_named(key, value):
    with pytest.raises(SettingsError, match=rf"^{key}: expected .* or .*, got '{value}'"):
        recipe(**{key: value})
