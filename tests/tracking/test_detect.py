"""Grounding DINO: batches equal singles, thresholds, clipping, empty results, errors."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from rvos import InputError, SettingsError
from rvos.tracking import Detection
from rvos.tracking.detect import Detector, load_detector, prompt


@pytest.fixture(scope="module")
def model_and_processor():
    return small_detector()


def small_detector():
    """A small random Grounding DINO. The special ids of its vocabulary are those of BERT: the
    model separates phrases by them."""
    from transformers import (
        BertTokenizerFast,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    words = {f"[unused{i}]": i for i in range(1100)}
    special = {
        "[PAD]": 0,
        "[UNK]": 100,
        "[CLS]": 101,
        "[SEP]": 102,
        "[MASK]": 103,
        ".": 1012,
        "?": 1029,
        "cat": 1050,
        "dog": 1051,
        "hot": 1052,
        "balloon": 1053,
    }
    vocab = {word: i for word, i in words.items() if i not in special.values()} | special
    tokenizer = BertTokenizerFast(vocab=vocab)
    images = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    torch.manual_seed(3)
    config = GroundingDinoConfig(
        backbone_config={
            "model_type": "swin",
            "embed_dim": 8,
            "depths": [1, 1, 1, 1],
            "num_heads": [1, 1, 2, 2],
            "window_size": 4,
            "image_size": 64,
            "out_features": ["stage2", "stage3", "stage4"],
        },
        text_config={
            "model_type": "bert",
            "vocab_size": 1100,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
        },
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=12,
    )
    model = GroundingDinoForObjectDetection(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(1.5)  # boxes and confidences that differ
    return model, GroundingDinoProcessor(images, tokenizer)


def detector(model_and_processor, **changes):
    options = dict(box_threshold=0.0, text_threshold=0.0, nms_iou=1.0, batch_size=8, device="cpu")
    return Detector(*model_and_processor, **(options | changes))


def pictures(*sizes):
    random = np.random.default_rng(0)
    return [random.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]


def assert_same(a, b):
    assert len(a.xyxy) > 0
    np.testing.assert_allclose(a.confidence, b.confidence, atol=1e-4)
    np.testing.assert_allclose(a.xyxy, b.xyxy, atol=1e-2)  # pixels


@pytest.mark.parametrize("sizes", [[(64, 80)] * 3, [(64, 80), (80, 64), (40, 60)]])
def test_batched_equals_single(model_and_processor, sizes):
    """Also for frames of different sizes, and prompts of different length."""
    frames, nouns = pictures(*sizes), ["cat", "hot balloon", "dog"]
    together = detector(model_and_processor).detect(frames, nouns)
    alone = detector(model_and_processor, batch_size=1).detect(frames, nouns)
    for a, b in zip(together, alone, strict=True):
        assert_same(a, b)


def test_nouns_are_asked_one_by_one_because_together_gives_other_boxes(model_and_processor):
    one = detector(model_and_processor)
    frame = pictures((64, 80))
    alone, both = one.detect(frame, ["cat"])[0], one.detect(frame, ["cat. dog"])[0]
    assert len(alone.xyxy) != len(both.xyxy) or np.abs(alone.xyxy - both.xyxy).max() > 1e-2


def test_the_prompt_is_lower_case_with_a_final_period():
    assert prompt(" Cat ") == "cat." and prompt("hot balloon.") == "hot balloon."


def test_thresholds(model_and_processor):
    frames = pictures((64, 80))
    every = detector(model_and_processor).detect(frames, ["cat"])[0]
    assert len(every.xyxy) > 3 and (np.diff(every.confidence) <= 0).all()
    middle = float(np.median(every.confidence))
    some = detector(model_and_processor, box_threshold=middle).detect(frames, ["cat"])[0]
    assert 0 < len(some.xyxy) < len(every.xyxy) and (some.confidence > middle).all()
    wordless = detector(model_and_processor, text_threshold=1.0).detect(frames, ["cat"])[0]
    assert wordless.xyxy.shape == (0, 4) and wordless.confidence.shape == (0,)


def test_nothing_found_is_an_empty_result(model_and_processor):
    found = detector(model_and_processor, box_threshold=1.0).detect(pictures((64, 80)), ["cat"])[0]
    assert found.xyxy.shape == (0, 4) and found.xyxy.dtype == np.float32
    assert detector(model_and_processor).detect([], []) == []


def test_boxes_that_are_no_numbers_are_an_error(model_and_processor):
    model, processor = model_and_processor
    overflowing = deepcopy(model)
    with torch.no_grad():
        for value in overflowing.parameters():
            value.mul_(1e30)
    with pytest.raises(InputError, match="Grounding DINO's output: .*not numbers"):
        detector((overflowing, processor)).detect(pictures((96, 128)), ["cat"])


def test_duplicates_go_boxes_are_clipped_and_empty_ones_dropped(model_and_processor):
    boxes = [[-5.0, 2, 30, 40], [-4, 2, 30, 41], [50, 10, 200, 30], [90, 5, 120, 9], [3, 3, 3, 9]]
    found = {
        "boxes": torch.tensor(boxes),
        "scores": torch.tensor([0.5, 0.9, 0.7, 0.6, 0.8]),
        "text_labels": ["cat", "cat", "cat", "cat", "cat"],
    }
    kept = detector(model_and_processor, nms_iou=0.7)._cleaned(found, (60, 80))
    assert kept.xyxy.tolist() == [[0, 2, 30, 41], [50, 10, 80, 30]]
    assert kept.confidence.tolist() == pytest.approx([0.9, 0.7])


def test_out_of_memory_goes_on_in_halves(model_and_processor):
    model, processor = model_and_processor
    sizes = []

    class Small(torch.nn.Module):
        config = model.config

        def forward(self, **inputs):
            sizes.append(len(inputs["input_ids"]))
            if sizes[-1] > 1:
                raise torch.cuda.OutOfMemoryError("full")
            return model(**inputs)

    frames, nouns = pictures((64, 80), (64, 80), (64, 80)), ["cat", "dog", "cat"]
    found = detector((Small(), processor)).detect(frames, nouns)
    assert sizes == [3, 1, 2, 1, 1]
    for a, b in zip(found, detector(model_and_processor).detect(frames, nouns), strict=True):
        assert_same(a, b)


def test_saved_folder_loads(model_and_processor, tmp_path):
    model, processor = model_and_processor
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = detector(load_detector(str(tmp_path)), batch_size=2)
    frames = pictures((64, 80))
    assert_same(
        loaded.detect(frames, ["dog"])[0], detector(model_and_processor).detect(frames, ["dog"])[0]
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("nowhere/groundingdino_swinb.pth", "got a file.*grounding-dino-base, or -tiny for Swin-T"),
        ("nowhere-such-folder", "no such weights.*python -m rvos weights"),
    ],
)
def test_missing_weights(weights, message, monkeypatch):
    with pytest.raises(InputError, match=message):
        load_detector(weights)


def test_thresholds_out_of_range():
    with pytest.raises(SettingsError) as error:
        Detection(
            weights="x",
            frames="first",
            stride=1,
            box_threshold=35,
            text_threshold=0.2,
            nms_iou=-0.7,
            covered_iou=0.5,
            batch_size=2,
        )
    assert "box_threshold" in str(error.value)  # both problems at once
    assert "nms_iou" in str(error.value)


def test_a_text_that_is_too_long_is_cut_with_a_warning(model_and_processor, caplog):
    """As the original code does; the network itself would end in a RuntimeError."""
    found = detector(model_and_processor)
    long = " ".join(["hot", "dog", "cat"] * 200)
    frame = np.zeros((64, 96, 3), np.uint8)
    assert len(found.detect([frame, frame], [long, "cat"])) == 2
    assert caplog.text.count("Grounding DINO reads 256 tokens of 603") == 1
