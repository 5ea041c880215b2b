"""EdgeTAM and Grounding DINO: published keys and shapes, folders loaded, equal to transformers'."""

import numpy as np
import pytest
import torch
from family_models import KEYS_FILE, SIZE, full_models, shapes_of, tiny_edgetam
from small_models import Pictures, package_model, transformers_model
from test_detect import small_detector

from rvos import InputError, SettingsError, preset
from rvos.masks import canonical, read_json
from rvos.settings import build
from rvos.tracking.detect import Detector, load_detector
from rvos.tracking.sam2 import load_tracker
from rvos.tracking.sam2_frames import ModelFrames, processor_pixels
from rvos.tracking.sam2_weights import load_edgetam, load_transformers
from rvos.tracking.track import track_boxes

ON_CPU = {"device": "cpu", "precision": "fp32", "compile": False}


@pytest.mark.slow
def test_keys_and_shapes_of_the_published_sizes():
    """A release of transformers that renames a tensor would leave it random without a word."""
    expected = read_json(KEYS_FILE)
    assert set(expected) == {"grounding-dino-tiny", "grounding-dino-base", "edgetam", "sam3"}
    for name, model in full_models():
        assert shapes_of(model) == expected[name], name


def test_edgetams_list_has_as_many_parameters_as_its_paper_says():
    """13.9 million; the default config of transformers would be another backbone's, 17.8."""
    shapes = read_json(KEYS_FILE)["edgetam"].values()
    assert sum(int(np.prod(shape)) for shape in shapes) == pytest.approx(13.9e6, rel=0.01)


def test_grounding_dino_equals_transformers_bit_for_bit(tmp_path):
    """Saved, loaded and asked by ours, and by transformers' own auto classes."""
    from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

    for part in small_detector():
        part.save_pretrained(tmp_path)
    options = dict(box_threshold=0.0, text_threshold=0.0, nms_iou=1.0, batch_size=2, device="cpu")
    picture = Pictures(1)[0]
    loaded = Detector(*load_detector(str(tmp_path)), **options)
    (ours,) = loaded.detect([picture], ["hot balloon"])
    processor = AutoProcessor.from_pretrained(tmp_path)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(tmp_path).eval()
    inputs = processor(images=picture, text="hot balloon.", return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
    (found,) = processor.post_process_grounded_object_detection(
        outputs, inputs["input_ids"], 0.0, 0.0, [picture.shape[:2]]
    )
    order = found["scores"].argsort(descending=True)
    height, width = picture.shape[:2]
    most = torch.tensor([width, height, width, height])
    boxes, scores = found["boxes"][order].clamp(min=0).minimum(most), found["scores"][order]
    large = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1)  # ours drops what has no pixel
    assert np.array_equal(ours.xyxy, boxes[large].numpy()) and len(ours.xyxy) > 3
    assert np.array_equal(ours.confidence, scores[large].numpy())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny EdgeTAM, saved as transformers saves it."""
    folder = tmp_path_factory.mktemp("edgetam")
    tiny_edgetam().save_pretrained(folder)
    return folder


def library_steps(folder, pictures, prompt_frame_idx):
    """(logits, object scores) per frame by transformers alone: its session, processor, iterator."""
    from transformers import EdgeTamVideoModel, Sam2VideoVideoProcessor
    from transformers.models.edgetam_video.modeling_edgetam_video import (
        EdgeTamVideoInferenceSession,
    )

    model = EdgeTamVideoModel.from_pretrained(folder).eval()
    frames = np.stack([pictures[t] for t in range(len(pictures))])
    processor = Sam2VideoVideoProcessor(size={"height": SIZE, "width": SIZE})
    video = processor(videos=frames, return_tensors="pt").pixel_values_videos[0]
    height, width = pictures.size
    session = EdgeTamVideoInferenceSession(
        video=video, video_height=height, video_width=width, dtype=torch.float32
    )
    for i, (x0, y0, x1, y1) in enumerate(pictures.boxes(prompt_frame_idx).tolist()):
        corners = torch.tensor([[[[x0, y0], [x1, y1]]]]) / torch.tensor([width, height]) * SIZE
        labels = torch.tensor([[[2, 3]]], dtype=torch.int32)
        index = session.obj_id_to_idx(i)
        points = {"point_coords": corners, "point_labels": labels}
        session.add_point_inputs(index, prompt_frame_idx, points)
        session.obj_with_new_inputs = list(range(i + 1))
    found = {}
    for reverse in (False, True):
        for out in model.propagate_in_video_iterator(session, prompt_frame_idx, reverse=reverse):
            scores = out.object_score_logits.flatten().sigmoid()
            found.setdefault(out.frame_idx, (out.pred_masks, scores))
    return found


@pytest.mark.parametrize("prompt_frame_idx", [0, 11])
def test_edgetam_equals_transformers_bit_for_bit(folder, prompt_frame_idx):
    """22 frames: longer than memories (7) and pointers (16), of which ours keeps what is read."""
    pictures = Pictures(22)
    tracker = load_tracker("edgetam", str(folder), **ON_CPU)
    frames = ModelFrames(pictures, tracker.image_size)
    boxes = torch.from_numpy(pictures.boxes(prompt_frame_idx))
    expected = library_steps(folder, pictures, prompt_frame_idx)
    seen = set()
    for frame_idx, logits, scores in tracker.logits(frames, prompt_frame_idx, boxes):
        assert torch.equal(logits, expected[frame_idx][0])
        assert torch.equal(scores, expected[frame_idx][1])
        seen.add(frame_idx)
    frames.close()
    assert seen == set(expected) == set(range(22))
    first, last = expected[0][0], expected[21][0]
    assert first.std() > 1e-3 and (first - last).abs().max() > 1e-5


def tensors_held(session):
    """How many tensors the tracker's state has."""
    return sum(
        isinstance(value, torch.Tensor)
        for entry in session.output_dict_per_obj.values()
        for outputs in entry.values()
        for output in outputs.values()
        for value in output.values()
    )


@pytest.mark.slow
def test_edgetams_state_does_not_grow(folder):
    """As many tensors after 200 frames as after 50."""
    tracker = load_tracker("edgetam", str(folder), **ON_CPU)
    sessions, held = [], {}
    make = tracker._session
    tracker._session = lambda *arguments: sessions.append(make(*arguments)) or sessions[-1]
    pictures = Pictures(200, num_objects=1)
    frames = ModelFrames(pictures, tracker.image_size)
    for step in tracker.logits(frames, 0, torch.from_numpy(pictures.boxes(0))):
        held[step.frame_idx] = tensors_held(sessions[0])
    frames.close()
    assert held[199] == held[50] == held[49] < 200


def test_edgetams_masks_are_rle_of_the_frame_size(folder):
    pictures = Pictures(3)
    tracker = load_tracker("edgetam", str(folder), **ON_CPU)
    found = track_boxes(tracker, pictures, 1, pictures.boxes(1), objects_at_once=2)
    masks = [mask for one in found for mask in one.track if mask]
    assert masks and all(canonical(mask, (96, 144)) == mask for mask in masks)


@pytest.mark.parametrize("size", [(96, 144), (40, 30)])
def test_pixels_are_those_of_the_processor(size):
    """Smaller and larger frames; SAM 2's own are another filter, Meta's."""
    from transformers import Sam2VideoVideoProcessor

    frame = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    processor = Sam2VideoVideoProcessor(size={"height": SIZE, "width": SIZE})
    expected = processor(videos=frame[None], return_tensors="pt").pixel_values_videos[0, 0]
    assert torch.equal(processor_pixels(frame, SIZE), expected)


@pytest.mark.parametrize(
    "choice, changes, told",
    [
        ("sam2", {"tracker": "edgetam"}, "weights: expected EdgeTAM's folder"),
        ("sam2", {"tracker": "sam2_package"}, "weights: expected Meta's .pt file"),
        ("sam2", {"weights": "EdgeTAM-hf"}, "weights: expected SAM 2's folder"),
        ("sam3", {"weights": "sam3.pt"}, "weights: expected a folder or a name on the hub"),
        ("sam2", {"detect": "dino.pth"}, "detect.weights: expected a folder or a name on the hub"),
    ],
)
def test_weights_of_another_form_are_refused_before_any_work(choice, changes, told):
    settings = preset("masklets", choice)
    if "detect" in changes:
        changes = {"detect": settings["detect"] | {"weights": changes["detect"]}}
    with pytest.raises(SettingsError, match=f"^masklets.{told}"):
        build(settings | changes, "masklets")
    edgetam = {"tracker": "edgetam", "weights": "yonigozlan/EdgeTAM-hf"}
    build(preset("masklets", "sam2") | edgetam, "masklets")


def test_weights_of_another_model_are_refused(folder, tmp_path):
    transformers_model(package_model()).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"not the weights of a EdgeTAM .*EdgeTAM-hf"):
        load_edgetam(str(tmp_path))
    with pytest.raises(InputError, match="not the weights of a SAM 2 video model"):
        load_transformers(str(folder))
    with pytest.raises(InputError, match="edgetam.pt: EdgeTAM video: .*got a file"):
        load_edgetam("edgetam.pt")
    with pytest.raises(InputError, match=r"nowhere.*no such weights.*python -m rvos weights"):
        load_edgetam("nowhere-such-folder")
