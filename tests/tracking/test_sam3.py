"""SAM 3: equal to transformers' own; state dropped without effect; NMS, filling; known answers."""

import numpy as np
import pytest
import torch
from coloured import COLOURS, NUM_FRAMES, OBJECTS, frame, mask, track, write_split
from family_models import SAM3_SIZE, sam3_processor, tiny_sam3
from small_models import Pictures
from transformers import Sam3ImageProcessor, Sam3VideoModel
from transformers.models.sam3_video import modeling_sam3_video

from rvos import InputError, SettingsError, preset
from rvos.data.mevis import read_split
from rvos.masklets import Sam3
from rvos.masks import decode, encode, read_json, write_json
from rvos.settings import build
from rvos.stages.devices import OneDevice
from rvos.stages.store import Stores
from rvos.stages.work import CoarseFiles, Work
from rvos.tracking.sam2_frames import processor_pixels
from rvos.tracking.sam3 import HALF, ConceptSegmenter, MaskKernels, drop_unread, load_sam3

ON_CPU = {"device": "cpu", "precision": "fp32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny SAM 3 as transformers saves it, with its processor."""
    folder = tmp_path_factory.mktemp("sam3")
    tiny_sam3(hotstart_delay=0).save_pretrained(folder)
    sam3_processor().save_pretrained(folder)
    return folder


def segmenter(folder, **options):
    return ConceptSegmenter(*load_sam3(str(folder)), **ON_CPU, **options)


def library_answers(folder, pictures, nouns):
    """(logits by frame and object, masks by noun and object) of transformers alone."""
    model, processor = load_sam3(str(folder))
    session = processor.init_video_session(np.stack([pictures[t] for t in range(len(pictures))]))
    processor.add_text_prompt(session, nouns)
    logits, masks = {}, {}
    for out in model.propagate_in_video_iterator(session):
        logits[out.frame_idx] = out.obj_id_to_mask
        found = processor.postprocess_outputs(session, out)
        by_key = dict(zip(found["object_ids"].tolist(), found["masks"].numpy(), strict=True))
        for noun, keys in found["prompt_to_obj_ids"].items():
            for key in keys:
                of_noun = masks.setdefault(noun, {})
                of_key = of_noun.setdefault(key, [None] * len(pictures))
                of_key[out.frame_idx] = encode(by_key[key]) if by_key[key].any() else None
    return logits, masks


def our_answers(segmenter, pictures, nouns):
    """(logits by frame and object, what `segment` gives)."""
    logits, output = {}, segmenter._output

    def kept(session, frame_idx):
        found = output(session, frame_idx)
        logits[frame_idx] = dict(found.obj_id_to_mask)
        return found

    segmenter._output = kept
    return logits, segmenter.segment(pictures, nouns)


def assert_equal_and_alive(found, expected):
    """Bit for bit the same logits, which differ from frame to frame."""
    assert found.keys() == expected.keys()
    for frame_idx, of_frame in expected.items():
        assert found[frame_idx].keys() == of_frame.keys()
        for key, logits in of_frame.items():
            assert torch.equal(found[frame_idx][key], logits)
    first, last = expected[max(expected) - 1], expected[max(expected)]
    changes = [(first[key] - last[key]).abs().max() for key in first.keys() & last.keys()]
    assert len(changes) > 1 and min(changes) > 1e-6


def test_equal_to_transformers_bit_for_bit(folder):
    """Two nouns, by transformers' own session, processor, iterator and post-processing.

    The model takes no object back, for which transformers would give the others wrong masks.
    """
    pictures = Pictures(20)
    logits, masks = library_answers(folder, pictures, ["cat", "dog"])
    found, (tracks, scores) = our_answers(segmenter(folder), pictures, ["cat", "dog"])
    assert_equal_and_alive(found, logits)
    shown = {noun: [one for one in of.values() if any(one)] for noun, of in masks.items()}
    assert {noun: of_noun for noun, of_noun in tracks.items() if of_noun} == shown
    for noun in ("cat", "dog"):
        assert len(scores[noun]["detector"]) == len(scores[noun]["object"]) == len(tracks[noun])


# Detections confirm objects (and so make conditioning frames) never; every 2nd frame.
CONFIRMED = {"recondition_every_nth_frame": 2, "high_conf_thresh": 0.0, "high_iou_thresh": 0.0}


@pytest.mark.parametrize("changes", [{}, CONFIRMED])
def test_dropping_state_changes_nothing(changes):
    """30 frames: more than memories (7), pointers (16) and conditioning frames (4)."""
    everything, kept = (
        our_answers(
            ConceptSegmenter(tiny_sam3(**changes), sam3_processor(), **ON_CPU, keep_state=keep),
            Pictures(30),
            ["cat", "dog"],
        )
        for keep in (True, False)
    )
    assert_equal_and_alive(kept[0], everything[0])
    assert kept[1] == everything[1]


def tensors_held(session):
    """(tensors of the tracker's state beside the pointers of conditioning frames, these)."""
    outputs = [
        (kind, output)
        for entry in session.output_dict_per_obj.values()
        for kind, by_frame in entry.items()
        for output in by_frame.values()
    ]
    pointers = sum(kind == "cond_frame_outputs" for kind, _ in outputs)
    total = sum(isinstance(v, torch.Tensor) for _, output in outputs for v in output.values())
    total += sum(len(by_frame) for by_frame in session.mask_inputs_per_obj.values())
    return total - pointers, pointers


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, CONFIRMED])
def test_state_does_not_grow(changes, monkeypatch):
    """Per object as many tensors after 200 frames as after 50."""
    held, confirmed = {}, {}

    def counted(session, frame_idx, config):
        drop_unread(session, frame_idx, config)
        others, pointers = tensors_held(session)
        count = max(len(session.obj_ids), 1)
        held[frame_idx], confirmed[frame_idx] = others / count, pointers / count
        assert len(session.obj_id_to_tracker_score_frame_wise) == 0

    monkeypatch.setattr("rvos.tracking.sam3.drop_unread", counted)
    model = tiny_sam3(max_num_objects=2, hotstart_delay=0, **changes)
    ConceptSegmenter(model, sam3_processor(), **ON_CPU).segment(Pictures(200), ["cat"])
    # At most 15 pointers, 6 pairs of memories, 4 pairs of conditioning frames' memories.
    assert 0 < held[49] <= 15 + 2 * 6 + 2 * 4
    assert held[199] == held[49]
    if changes:  # but for the pointers of conditioning frames, which all later frames read
        assert confirmed[199] > confirmed[49] > 4
    else:
        assert confirmed[199] == 1


def test_weights_missing_or_of_another_model(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.*no such weights.*python -m rvos weights"):
        load_sam3("nowhere-such-folder")
    with pytest.raises(InputError, match="got a file"):
        load_sam3("sam3.pt")
    (tmp_path / "sam3.pt").mkdir()
    with pytest.raises(InputError, match="no such weights"):
        load_sam3(str(tmp_path / "sam3.pt"))
    model = tiny_sam3()
    state = model.state_dict()
    del state["detector_model.dot_product_scoring.query_proj.weight"]
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(InputError, match="not whole: .* lacks the processor"):
        load_sam3(str(tmp_path))
    sam3_processor().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"SAM 3 video model.*query_proj"):
        load_sam3(str(tmp_path))
    with torch.no_grad():
        model.detector_model.dot_product_scoring.query_proj.bias[0] = torch.inf
    model.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"(?s)not numbers .*query_proj\.bias$"):
        load_sam3(str(tmp_path))


@pytest.mark.parametrize("size", [(96, 144), (40, 30)])
def test_pixels_are_those_of_the_processor(size):
    """1008 x 1008, mean and deviation 0.5, bilinear: its image processor's defaults."""
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = Sam3ImageProcessor()(picture, return_tensors="pt").pixel_values[0]
    assert expected.shape == (3, 1008, 1008)
    assert torch.equal(processor_pixels(picture, 1008, HALF, HALF), expected)


def test_a_noun_of_too_many_tokens(folder):
    with pytest.raises(InputError, match="expected at most 32 tokens for SAM 3, got 42"):
        segmenter(folder).segment(Pictures(2), ["a" * 40])


# ------------------------------------------------------------------------- NMS and filling


@pytest.fixture
def kernels(monkeypatch):
    monkeypatch.setattr(modeling_sam3_video, "cv_utils_kernel", MaskKernels())


def rectangle(x0, y0, x1, y1, size=(24, 32)):
    """Mask logits (H, W): 5 inside, -5 outside."""
    logits = torch.full(size, -5.0)
    logits[y0:y1, x0:x1] = 5
    return logits


def nms(logits, scores):
    return modeling_sam3_video.nms_masks(torch.tensor(scores), torch.stack(logits), 0.3, 0.5)


# IoU of a with b: 90 / 110 = 0.82; with c: 50 / 150 = 0.33; c and d do not touch.
OVERLAPPING = [
    rectangle(0, 0, 10, 10),
    rectangle(1, 0, 11, 10),
    rectangle(5, 0, 15, 10),
    rectangle(20, 0, 30, 10),
]


def test_of_two_overlapping_instances_the_surer_stays(kernels):
    assert nms(OVERLAPPING, [0.6, 0.9, 0.8, 0.5]).tolist() == [False, True, True, True]
    assert nms(OVERLAPPING, [0.9, 0.6, 0.8, 0.2]).tolist() == [
        True,
        False,
        True,
        False,
    ]  # below 0.3
    # b and a are equal in score: the earlier one. c overlaps b by 60 / 140 only.
    assert nms(OVERLAPPING, [0.6, 0.6, 0.4, 0.4]).tolist() == [True, False, True, True]


def test_what_was_dropped_drops_nothing(kernels):
    """Neighbours overlap with IoU 70 / 130 = 0.54, the outer two with 40 / 160 only."""
    shifted = [rectangle(x, 0, x + 10, 10) for x in (0, 3, 6)]
    assert nms(shifted, [0.9, 0.8, 0.7]).tolist() == [True, False, True]


def test_without_kernels_transformers_keeps_both_and_fills_nothing(monkeypatch):
    """What ours is for. If this fails, transformers has learnt it: see whether ours can go."""
    monkeypatch.setattr(modeling_sam3_video, "cv_utils_kernel", False)
    assert nms(OVERLAPPING, [0.6, 0.9, 0.8, 0.5]).all()
    logits = rectangle(0, 0, 10, 10)
    logits[4, 4] = -5
    assert filled(logits).equal(logits)


def filled(logits, max_area=16):
    return modeling_sam3_video.fill_holes_in_mask_scores(logits[None, None], max_area)[0, 0]


def test_small_holes_are_filled_and_sprinkles_removed(kernels):
    logits = rectangle(4, 4, 20, 20)  # 256 pixels
    logits[6:10, 6:10] = -5  # a hole of 16: filled
    logits[12:17, 12:16] = -5  # one of 20: stays
    logits[0:2, 28:31] = 5  # a sprinkle of 6: goes
    logits[20:23, 24:30] = 5  # 18: stays
    expected = logits.clone()
    expected[6:10, 6:10] = 0.1
    expected[0:2, 28:31] = -0.1
    assert filled(logits).equal(expected)


def test_pixels_that_touch_at_a_corner_are_one_component(kernels):
    logits = torch.full((24, 32), -5.0)
    logits[10:16, 10:16] = 5  # 36 pixels
    diagonal = range(8)
    logits[[2 + i for i in diagonal], [2 + i for i in diagonal]] = 5  # to (9, 9): touches (10, 10)
    assert filled(logits).equal(logits)


def test_odd_sizes_and_small_objects(kernels):
    """An object of 8 pixels is more than half of the mask, and stays; alone, so does one of 2."""
    logits = torch.full((15, 21), -5.0)
    logits[2:4, 2:6] = 5
    assert filled(logits).equal(logits)
    labels, areas = MaskKernels().cc_2d((logits > 0).to(torch.uint8)[None, None])
    assert areas[0, 0][logits > 0].unique().tolist() == [8] and areas[0, 0][logits < 0].max() == 0
    assert labels.max() == 1


# --------------------------------------------------------------------------- known answers


class Eyes(torch.nn.Module):
    """In place of the image encoder."""

    def get_vision_features(self, pixel_values):
        return pixel_values


class Stub(Sam3VideoModel):
    """SAM 3 whose networks know the coloured video; what becomes of their answers is its own.

    Detection: each rectangle of a noun's colour, with 0.9. Tracking: the same rectangle, visible
    with 0.75. Frame 1 has a bird besides that no frame confirms; it is tracked where it was.
    """

    def __init__(self, config):
        super().__init__(config)
        self.detector_model = Eyes()
        self.row_of = {}  # by object: the row in which its rectangle begins

    def forward(self, inference_session, frame_idx=None, **options):
        self.now = frame_idx
        return super().forward(inference_session, frame_idx, **options)

    def get_vision_features_for_tracker(self, vision_embeds):
        return [], []

    def run_detection(self, inference_session, vision_embeds):
        found = {}
        for key, noun in inference_session.prompts.items():
            masks = [mask(i, self.now) for i, (kind, *_) in enumerate(OBJECTS) if kind == noun]
            masks = [decode(m) for m in masks if m]
            if noun == "bird" and self.now == 1:
                masks = [GHOST]
            logits = torch.tensor(np.array(masks)).reshape(-1, *GHOST.shape) * 20.0 - 10
            count = len(logits)
            scores = torch.full((count,), 0.9)
            found[key] = {"bbox": torch.zeros(count, 4), "mask": logits, "scores": scores}
        return found

    def run_tracker_propagation(self, inference_session, frame_idx, reverse):
        tracked = [self._tracked(key, frame_idx) for key in inference_session.obj_ids]
        logits = torch.tensor(np.array(tracked)).reshape(-1, *GHOST.shape) * 20.0 - 10
        return logits, torch.full((len(logits),), 0.75).logit()

    def _tracked(self, key, frame_idx):
        for i, (_, _, y, _) in enumerate(OBJECTS):
            if y == self.row_of[key]:
                return decode(mask(i, frame_idx))
        return GHOST

    def _tracker_update_memories(self, *arguments, **named):
        pass

    def _tracker_add_new_objects(
        self, inference_session, frame_idx, new_obj_ids, new_obj_masks, reverse=False
    ):
        for key, logits in zip(new_obj_ids, new_obj_masks, strict=True):
            inference_session.obj_id_to_idx(key)
            self.row_of[key] = int(torch.nonzero((logits > 0).any(1))[0])


GHOST = np.zeros(frame(0).shape[:2], np.uint8)
GHOST[58:62, 60:70] = 1


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run masklets=sam3 with the stub on the coloured video: (masklets, scores)."""

    def run(nouns, **changes):
        write_split(tmp_path, {str(i): f"the {noun}" for i, noun in enumerate(nouns)})
        monkeypatch.setattr(Sam3, "weights_used", lambda self: {})

        def prepare(self, place):
            self._segmenter = ConceptSegmenter(
                tiny_sam3(Stub, **changes), sam3_processor(), **ON_CPU
            )

        monkeypatch.setattr(Sam3, "prepare", prepare)
        source = build(preset("masklets", "sam3"), "masklets")
        split = read_split(tmp_path, "valid_u")
        found = source.tracks(
            Work(split, Stores(tmp_path / "stores", "made"), OneDevice()), CoarseFiles(None)
        )
        scores = found.tracks.folder_beside("masklet_scores") / "a.json.gz"
        return found.tracks.read("a"), read_json(scores)

    return run


def test_out_of_memory_is_a_video_that_does_not_fit(run, monkeypatch, tmp_path):
    def segment(self, frames, nouns):
        raise torch.OutOfMemoryError("tried to allocate too much")

    monkeypatch.setattr(ConceptSegmenter, "segment", segment)
    with pytest.raises(InputError, match="video a is not there"):
        run(["cat"])
    (failed,) = tmp_path.rglob(".a.failed")
    assert "masklets: videos that do not fit into memory" in failed.read_text()


def test_a_noun_of_too_many_tokens_is_told_before_the_network_loads(folder, tmp_path):
    write_split(tmp_path, {"0": "the dog"})
    write_json(tmp_path / "nouns.json", {"a": {"0": "dog. " + "a" * 40}})
    changes = {"nouns": str(tmp_path / "nouns.json"), "weights": str(folder)}
    source = build(preset("masklets", "sam3") | changes, "masklets")
    split = read_split(tmp_path, "valid_u")
    with pytest.raises(InputError, match="expected at most 32 tokens for SAM 3, got 42"):
        source.check(Work(split, Stores(tmp_path / "stores", "made"), OneDevice()))


@pytest.mark.parametrize("delay", [0, 3, 15])
def test_every_instance_is_tracked_from_the_frame_in_which_it_is_seen(run, delay):
    """The second dog enters in frame 3; `delay` frames pass before an answer is given."""
    masklets, scores = run(
        ["cat", "dog"], hotstart_delay=delay, hotstart_unmatch_thresh=0, hotstart_dup_thresh=0
    )
    assert masklets == {"cat": [track(1)], "dog": [track(0), track(2)]}
    # In its first frame an object has the detector's score, then the tracker's.
    seen = [0.9] + [0.75] * (NUM_FRAMES - 1)
    late = [0.0] * 3 + [0.9] + [0.75] * (NUM_FRAMES - 4)
    assert scores["cat"] == {"detector": [0.9], "object": [pytest.approx(seen)]}
    assert scores["dog"]["detector"] == [0.9, 0.9]
    assert scores["dog"]["object"] == [pytest.approx(seen), pytest.approx(late)]


def test_an_instance_that_no_later_frame_confirms_is_taken_back(run):
    """Unmatched in frames 2, 3 and 4, within the delay of 4 frames; nothing of it was given out.

    In frame 4, in which it goes, the second dog behind it keeps its own mask.
    """
    masklets, scores = run(["bird", "dog"], hotstart_delay=4, hotstart_unmatch_thresh=3)
    assert masklets == {"bird": [], "dog": [track(0), track(2)]}
    assert scores["dog"]["object"][1] == pytest.approx([0] * 3 + [0.9] + [0.75] * 4)


def test_settings():
    assert set(COLOURS) >= {kind for kind, *_ in OBJECTS} and SAM3_SIZE == 56
    settings = preset("masklets", "sam3")
    with pytest.raises(SettingsError, match="masklets.precision: .*bf16"):
        build(settings | {"precision": "fp8"}, "masklets")
    assert build(settings, "masklets").settings() == {"precision": "bf16"}
