"""SAM 2: both backends agree, dropped state changes nothing, Meta's files convert strictly."""

import itertools
import logging

import numpy as np
import pytest
import torch
from small_models import (
    IMAGE_SIZE,
    Pictures,
    package_model,
    trackers,
    transformers_model,
)

from rvos import InputError
from rvos.masks import canonical, decode
from rvos.tracking import sam2
from rvos.tracking.sam2 import TransformersTracker
from rvos.tracking.sam2_frames import ModelFrames
from rvos.tracking.sam2_package import PackageTracker, build_package
from rvos.tracking.sam2_weights import (
    SIZES,
    config_for,
    convert,
    load_transformers,
    size_of,
    version_of,
)
from rvos.tracking.track import Step, autocast, track_boxes


def masks_of(pictures, prompt_frame_idx):
    """(O, H, W) bool: the left half of each square, so not what its box would say."""
    masks = torch.zeros((2, *pictures.size), dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(
        masks, pictures.boxes(prompt_frame_idx).astype(int), strict=True
    ):
        mask[y0:y1, x0 : (x0 + x1) // 2] = True
    return masks


def all_logits(tracker, pictures, prompt_frame_idx, prompts=None):
    """(T, O, H, W) at the resolution of the frames."""
    frames = ModelFrames(pictures, tracker.image_size)
    if prompts is None:
        prompts = torch.from_numpy(pictures.boxes(prompt_frame_idx))
    found = {}
    for frame_idx, logits, _ in tracker.logits(frames, prompt_frame_idx, prompts):
        assert frame_idx not in found
        if logits.shape[-2:] != pictures.size:
            logits = torch.nn.functional.interpolate(
                logits, pictures.size, mode="bilinear", align_corners=False
            )
        found[frame_idx] = logits[:, 0]
    frames.close()
    assert sorted(found) == list(range(len(pictures)))
    return torch.stack([found[t] for t in range(len(pictures))])


def test_backends_agree_on_object_scores():
    """Their bias is that of logit 1, so that scores are near 0.73 and differ visibly."""
    package = package_model()
    with torch.no_grad():
        package.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(1)
    on_cpu = {"device": "cpu", "precision": "fp32"}
    ours = TransformersTracker(transformers_model(package), compile=False, **on_cpu)
    pictures = Pictures(9)
    expected, found = (
        track_boxes(tracker, pictures, 4, pictures.boxes(4), objects_at_once=2)
        for tracker in (PackageTracker(package, **on_cpu), ours)
    )
    for one, other in zip(expected, found, strict=True):
        assert one.object_scores == pytest.approx(other.object_scores, abs=1.01e-4)
        assert all(abs(score - 0.7311) < 0.05 for score in one.object_scores)
        assert len(set(one.object_scores)) > 1


def assert_varies(logits):
    """Neither constant within a mask nor the same in all frames (random models may be either)."""
    assert logits.abs().max() < 100  # -1024 says: absent
    assert logits.std(dim=(-2, -1)).min() > 1e-3
    assert (logits[1:] - logits[:-1]).abs().amax(dim=(1, 2, 3)).min() > 1e-4


@pytest.mark.parametrize("prompt_frame_idx", [0, 7, 17])
def test_backends_agree_on_the_same_pixels(prompt_frame_idx):
    package, ours = trackers()
    pictures = Pictures(18)  # longer than the memory (7) and the pointers (16)
    expected = all_logits(package, pictures, prompt_frame_idx)
    assert_varies(expected)
    torch.testing.assert_close(
        all_logits(ours, pictures, prompt_frame_idx), expected, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("prompt_frame_idx", [0, 6])
def test_backends_agree_on_masks_as_prompts(prompt_frame_idx):
    """In the prompt's frame the mask itself comes out, at a quarter of the model's resolution."""
    package, ours = trackers()
    pictures = Pictures(9)  # longer than the memory (7)
    prompts = masks_of(pictures, prompt_frame_idx)
    expected = all_logits(package, pictures, prompt_frame_idx, prompts)
    found = all_logits(ours, pictures, prompt_frame_idx, prompts)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    others = [t for t in range(9) if t != prompt_frame_idx]
    assert_varies(found[others])
    shown = found[prompt_frame_idx] > 0
    assert ((shown & prompts).sum((1, 2)) / (shown | prompts).sum((1, 2))).min() > 0.5
    from_boxes = all_logits(ours, pictures, prompt_frame_idx)
    assert not torch.allclose(from_boxes[others], found[others], atol=1e-4)


def test_dropping_state_changes_nothing_for_masks():
    pictures = Pictures(12)
    prompts = masks_of(pictures, 6)
    everything = all_logits(trackers(keep_state=True)[1], pictures, 6, prompts)
    assert torch.equal(all_logits(trackers()[1], pictures, 6, prompts), everything)


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_backends_agree_at_hiera_tiny(version):
    size = SIZES[0]
    package = package_model(size, 256, version)
    ours = TransformersTracker(
        transformers_model(package, size, 256, version),
        device="cpu",
        precision="fp32",
        compile=False,
    )
    pictures = Pictures(6)
    expected = all_logits(PackageTracker(package, device="cpu", precision="fp32"), pictures, 2)
    assert_varies(expected)
    torch.testing.assert_close(all_logits(ours, pictures, 2), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("backend", [0, 1])
def test_dropping_state_changes_nothing(backend):
    """36 frames from frame 17: state is dropped in both directions, and read across the prompt."""
    pictures = Pictures(36)
    everything = all_logits(trackers(keep_state=True)[backend], pictures, 17)
    assert_varies(everything)
    assert torch.equal(all_logits(trackers()[backend], pictures, 17), everything)


def test_memory_matters():
    """The state that is kept is read: without it later masks differ."""
    _, ours = trackers()
    pictures = Pictures(12)
    expected = all_logits(ours, pictures, 0)
    drop = sam2.drop_unread
    try:
        sam2.drop_unread = lambda outputs, *rest: [
            entry["non_cond_frame_outputs"].clear() for entry in outputs.values()
        ]
        forgetful = all_logits(ours, pictures, 0)
    finally:
        sam2.drop_unread = drop
    assert torch.equal(forgetful[:2], expected[:2])
    assert not torch.allclose(forgetful[-1], expected[-1], atol=1e-4)


def test_state_stays_bounded():
    """At most the 15 frames of object pointers, 6 with memories, no full-size masks."""
    _, ours = trackers()
    sessions = []
    make = ours._session
    ours._session = lambda *arguments: sessions.append(make(*arguments)) or sessions[-1]
    frames = ModelFrames(Pictures(26), IMAGE_SIZE)
    for frame_idx, _, _ in ours.logits(frames, 0, torch.from_numpy(Pictures(26).boxes(0))):
        if frame_idx < 20:
            continue
        for entry in sessions[0].output_dict_per_obj.values():
            kept = entry["non_cond_frame_outputs"].values()
            assert len(kept) <= 16
            assert sum(out["maskmem_features"] is not None for out in kept) <= 7
            assert sum("high_res_masks" in out for out in kept) <= 1  # the frame just done
    frames.close()


@pytest.mark.parametrize(
    ("size", "version"),
    list(itertools.product(SIZES, ["2.0", "2.1"])),
    ids=lambda value: getattr(value, "name", value),
)
def test_every_published_architecture_converts_strictly(size, version):
    """Names and shapes of the package's own model load into ours, built from the same config."""
    from transformers import Sam2VideoModel

    state = _shapes_of_package(size, version)
    assert size_of(state) == size and version_of(state) == version
    with torch.device("meta"):
        model = Sam2VideoModel(config_for(size, version=version))
    result = model.load_state_dict(convert(state), strict=True, assign=True)
    assert not result.missing_keys and not result.unexpected_keys
    ours = {id(p) for p in model.parameters()} | {id(b) for b in model.buffers()}
    assert len(ours) >= len(state) - 4


def _shapes_of_package(size, version):
    """State dict on the meta device: the big models are built without their numbers."""
    prefix = "sam2.1/sam2.1" if version == "2.1" else "sam2/sam2"
    linspace = torch.linspace  # Hiera reads numbers from its result, which meta tensors have not
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        patch.setattr(torch, "linspace", lambda *a, **k: linspace(*a, **(k | {"device": "cpu"})))
        return build_package(f"{prefix}_hiera_{size.name}.yaml").state_dict()


def test_meta_file_roundtrip(tmp_path):
    """A .pt file as Meta's: the loaded model has the file's numbers."""
    state = {
        key: torch.full(value.shape, 0.001 * i)
        for i, (key, value) in enumerate(_shapes_of_package(SIZES[0], "2.1").items())
    }
    path = tmp_path / "sam2.1_hiera_tiny.pt"
    torch.save({"model": state}, path)
    model = load_transformers(str(path))
    loaded = model.state_dict()
    for ours, theirs in {
        "no_memory_embedding": "no_mem_embed",
        "mask_decoder.iou_prediction_head.layers.0.weight": (
            "sam_mask_decoder.iou_prediction_head.layers.1.weight"
        ),
        "memory_encoder.mask_downsampler.layers.2.layer_norm.bias": (
            "memory_encoder.mask_downsampler.encoder.7.bias"
        ),
    }.items():
        assert torch.equal(loaded[ours], state[theirs])
    assert torch.equal(
        loaded["prompt_encoder.point_embed.weight"][2],
        state["sam_prompt_encoder.point_embeddings.2.weight"][0],
    )
    del state["no_obj_ptr"]
    torch.save({"model": state}, path)
    with pytest.raises(InputError, match="no_object_pointer"):
        load_transformers(str(path))


def test_hugging_face_folder(tmp_path):
    model = transformers_model(package_model())
    model.save_pretrained(tmp_path)
    loaded = load_transformers(str(tmp_path))
    assert loaded.config.image_size == IMAGE_SIZE
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


@pytest.mark.parametrize(
    ("tracker", "weights"),
    [
        ("transformers", "nowhere/sam2.1_hiera_large.pt"),
        ("transformers", "nowhere-such-folder"),
        ("sam2_package", "nowhere/sam2.1_hiera_large.pt"),
        ("sam2_package", "facebook/sam2.1-hiera-large"),
    ],
)
def test_missing_weights_say_what_was_searched_and_where_to_get_them(tracker, weights):
    with pytest.raises(InputError) as error:
        sam2.load_tracker(tracker, weights, device="cpu", precision="fp32", compile=False)
    where = ("github.com/facebookresearch/sam2", "python -m rvos weights")
    assert weights in str(error.value) and any(text in str(error.value) for text in where)


def test_a_file_that_is_no_checkpoint(tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="x.pt: not a readable checkpoint"):
        load_transformers(str(path))
    torch.save({"model": {"a": torch.zeros(1)}}, path)
    with pytest.raises(InputError, match="expected Hiera tiny, small"):
        load_transformers(str(path))


# ----------------------------------------------------------------------------------- masklets


class FakeTracker:
    """Every object is its box, in all frames; runs out of memory above `capacity` objects."""

    image_size = 32

    def __init__(self, capacity=100):
        self.capacity = capacity
        self.groups = []

    def logits(self, frames, prompt_frame_idx, boxes_xyxy):
        self.groups.append(len(boxes_xyxy))
        for t in range(len(frames)):
            if t == 2 and len(boxes_xyxy) > self.capacity:
                raise torch.cuda.OutOfMemoryError("tried to allocate too much")
            logits = torch.full((len(boxes_xyxy), 1, *frames.frames.size), -1.0)
            for i, (x0, y0, x1, y1) in enumerate(boxes_xyxy.int().tolist()):
                logits[i, 0, y0:y1, x0:x1] = 1
            yield Step(t, logits, torch.arange(len(boxes_xyxy)) / 8 + t / 64)


def test_groups_of_objects_keep_their_order():
    pictures = Pictures(4, num_objects=5)
    tracker = FakeTracker()
    tracks = track_boxes(tracker, pictures, 0, pictures.boxes(0), objects_at_once=2)
    assert tracker.groups == [2, 2, 1]
    for (track, _), (x0, y0, x1, y1) in zip(tracks, pictures.boxes(0).astype(int), strict=True):
        assert len(track) == 4
        assert decode(track[3])[y0:y1, x0:x1].all() and decode(track[3]).sum() == 24 * 24


@pytest.mark.parametrize("found", ["logits", "object_scores"])
def test_a_tracker_that_computes_no_numbers_is_an_error(found, monkeypatch):
    """Weights that are numbers, and overflow in the run: no empty masks."""

    def logits(self, frames, prompt_frame_idx, boxes_xyxy, steps=FakeTracker.logits):
        for step in steps(self, frames, prompt_frame_idx, boxes_xyxy):
            yield step._replace(**{found: getattr(step, found) * torch.nan})

    monkeypatch.setattr(FakeTracker, "logits", logits)
    pictures = Pictures(3, num_objects=1)
    with pytest.raises(InputError, match="tracker's output, frame 0: .* not numbers"):
        track_boxes(FakeTracker(), pictures, 0, pictures.boxes(0), objects_at_once=2)


def test_out_of_memory_halves_the_group_and_says_so(caplog):
    pictures = Pictures(4, num_objects=5)
    tracker = FakeTracker(capacity=2)
    with caplog.at_level(logging.WARNING):
        tracks = track_boxes(tracker, pictures, 0, pictures.boxes(0), objects_at_once=8)
    assert tracker.groups == [5, 3, 2, 1, 2]
    assert len(tracks) == 5 and all(mask is not None for track, _ in tracks for mask in track)
    # Of object i of its group in frame t: i / 8 + t / 64, to four digits. Groups: 2, 1, 2.
    assert tracks[1].object_scores == [0.125, 0.1406, 0.1562, 0.1719]
    assert [found.object_scores[0] for found in tracks] == [0, 0.125, 0, 0, 0.125]
    assert "going on with 3" in caplog.text and "masklets.objects_at_once=3" in caplog.text
    with pytest.raises(InputError, match="out of GPU memory with one object"):
        track_boxes(FakeTracker(capacity=0), pictures, 0, pictures.boxes(0), objects_at_once=8)


def test_no_boxes_no_tracks():
    empty = np.zeros((0, 4), np.float32)
    assert track_boxes(FakeTracker(), Pictures(3), 0, empty, objects_at_once=4) == []


def test_masks_of_a_real_model_are_rle_of_the_frame_size():
    _, ours = trackers()
    pictures = Pictures(5)
    tracks = track_boxes(ours, pictures, 2, pictures.boxes(2), objects_at_once=1)
    masks = [mask for track, _ in tracks for mask in track if mask]
    assert masks and all(canonical(mask, (96, 144)) == mask for mask in masks)


def test_frames_are_read_once_per_pass_and_only_when_needed():
    pictures = Pictures(10)
    frames = ModelFrames(pictures, 16)
    for t in (4, 4, 5, 6, 7, 8, 9, 3, 2, 1, 0):
        assert frames[t].shape == (3, 16, 16)
    frames.close()
    assert max(np.bincount(pictures.read)) <= 2 and set(pictures.read) == set(range(10))


@pytest.mark.parametrize(
    ("has", "precision", "expected"),
    [
        ({"avx512_bf16": True}, "bf16", torch.bfloat16),
        ({"avx512_bf16": True}, "fp32", torch.float32),
        ({"avx2": True, "avx512_bf16": False}, "bf16", torch.float32),
    ],
)
def test_a_cpu_computes_in_bf16_where_it_can(monkeypatch, has, precision, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    values = torch.ones(2, 2)
    with autocast(torch.device("cpu"), precision):
        assert (values @ values).dtype == expected


@pytest.mark.parametrize("backend", [0, 1])
def test_bf16_on_a_cpu_gives_nearly_the_same_masks(monkeypatch, backend):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    pictures = Pictures(6)
    expected = all_logits(trackers()[backend], pictures, 2)
    half = trackers()[backend]
    half.precision = "bf16"
    found = all_logits(half, pictures, 2)
    assert not torch.equal(found, expected)
    assert ((found > 0) == (expected > 0)).float().mean() > 0.97
