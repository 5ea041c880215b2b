"""Whole videos -> coarse masks: clip plans, frames, masks, the store on devices, after a kill."""

import errno
import io
import os
import signal
import subprocess
import tempfile
import time
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from fork_server import forked_python
from omegaconf import OmegaConf
from PIL import Image

from rvos import CONFIG_DIR, InputError, preset
from rvos.coarse.clips import cut, plan_clips, released_script_lengths
from rvos.coarse.network_frames import NetworkFrames
from rvos.coarse.segment import encode_masks, mask_track, segment_video
from rvos.coarse.settings import CoarseSettings, coarse_settings
from rvos.coarse.stage import CoarseStage, open_coarse_store
from rvos.data.frames import FrameError, FrameFolder, fit, resize_frame
from rvos.data.mevis import read_split
from rvos.data.split import Expression, Video
from rvos.masks import TrackFiles, decode, encode, read_json, write_json
from rvos.mutr import build_mutr
from rvos.mutr.features import Predictions
from rvos.score.measures import FrameScores
from rvos.stages.lightning import TrainerDevices
from rvos.stages.records import raise_failures
from rvos.stages.runner import run_stage
from rvos.stages.store import Stores

ROOT = CONFIG_DIR.parent
SHORT_SIDE = 64
MODEL = OmegaConf.to_container(
    OmegaConf.load(CONFIG_DIR / "model" / "mutr_tiny.yaml"), resolve=True
)
del MODEL["_target_"], MODEL["_partial_"]
COARSE = preset("coarse", "mutr")


def settings_for(**changes) -> CoarseSettings:
    ours = {"checkpoint": None, "clip_length": 4, "cpu_threads": 1}
    return coarse_settings(COARSE | ours | changes)


def random_model(seed: int = 1):
    """`mutr_tiny` whose masks vary: random heads of fresh models are nearly constant."""
    torch.manual_seed(seed)
    model = build_mutr(**MODEL).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) / parameter[0].numel() ** 0.5)
    return model


def write_frames(folder: Path, num_frames: int, seed: int, size=(60, 90)) -> list[str]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (size[0] // 10, size[1] // 10 + num_frames, 3), np.uint8)
    names = [f"{t:05d}" for t in range(num_frames)]
    for t, name in enumerate(names):
        pixels = np.kron(blocks[:, t : t + size[1] // 10], np.ones((10, 10, 1), np.uint8))
        Image.fromarray(pixels).save(folder / f"{name}.jpg")
    return names


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


TEXTS = ["the red circle", "circles moving left", "the star that stops", "The bird", "a cat"]


def make_case(folder: Path) -> Path:
    """A split `valid` of five videos and a checkpoint of `mutr_tiny`."""
    videos = {}
    for v, num_frames in enumerate([9, 3, 5, 4, 6]):
        frames = write_frames(folder / "valid" / "JPEGImages" / f"video{v}", num_frames, seed=v)
        expressions = {str(e): {"exp": text} for e, text in enumerate(TEXTS[: v + 1])}
        videos[f"video{v}"] = {"frames": frames, "expressions": expressions}
    write_json(folder / "valid" / "meta_expressions.json", {"videos": videos})
    model = random_model()
    model.add_words(TEXTS)
    torch.save({"model": model.state_dict()}, folder / "mutr.pth")
    return folder


@pytest.fixture(scope="session")
def case(tmp_path_factory):
    return make_case(tmp_path_factory.mktemp("coarse"))


def opened_store(stores: Path, split, settings, model=MODEL, precision="32-true"):
    return open_coarse_store(
        Stores(stores, "tiny"), split, settings, model=model, precision=precision
    )


def fill(split, store, settings, trainer, model=MODEL):
    stage = CoarseStage(split, store, settings, partial(build_mutr, **model))
    raise_failures(run_stage(stage, split, TrainerDevices(trainer)))


def run(case: Path, stores: Path, **changes):
    split = read_split(case, "valid")
    settings = settings_for(checkpoint=str(case / "mutr.pth"), short_side=SHORT_SIDE, **changes)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False
    )
    store = opened_store(stores, split, settings)
    fill(split, store, settings, trainer)
    return store


@pytest.fixture(scope="session")
def one_device(case, tmp_path_factory):
    stores = tmp_path_factory.mktemp("one_device")
    return stores, run(case, stores)


def files(stores: Path) -> dict[str, bytes]:
    return {str(p.relative_to(stores)): p.read_bytes() for p in stores.rglob("*") if p.is_file()}


# ---------------------------------------------------------------------------------- clip plans


@pytest.mark.parametrize(
    ("num_frames", "clip_length", "lengths"),
    [(11, 4, [4, 4, 3]), (61, 30, [21, 20, 20]), (60, 30, [30, 30]), (30, 30, [30]), (7, 30, [7])],
)
def test_strided_clips(num_frames, clip_length, lengths):
    clips = cut(num_frames, clip_length, "strided")
    assert [len(clip) for clip in clips] == lengths
    assert all(clip.step == len(clips) for clip in clips)
    assert sorted(t for clip in clips for t in clip) == list(range(num_frames))


def test_contiguous_clips():
    assert cut(61, 30, "contiguous") == (range(0, 30), range(30, 60), range(60, 61))
    assert cut(7, 30, "contiguous") == (range(0, 7),)


def test_released_script_lengths():
    """By hand: 11 frames at 4 end with a clip of 3, at 3 with 2, at 2 with 1 (six clips: 2 2 2 2 2
    1); from there on every clip has one frame. A process that starts anew has 4 again: 10 frames
    end with 3, then (3 3 2 2) with 2."""
    videos = [(11, 3), (10, 2), (8, 1)]
    assert released_script_lengths(videos, 4, "strided") == [[4, 3, 2], [1, 1], [1]]
    assert released_script_lengths(videos, 4, "strided", 2) == [[4, 3, 2], [4, 3], [2]]
    assert released_script_lengths([(61, 2)], 30, "contiguous") == [[30, 1]]


def test_released_script_follows_the_order_of_names():
    videos = [
        Video("b", ("0",) * 8, (Expression("b", "0", "x", ()),)),
        Video("a", ("0",) * 5, (Expression("a", "0", "x", ()),)),
    ]
    plans = plan_clips(
        videos, clip_plan="released_script", clip_length=4, sampling="strided", processes=1
    )
    assert [len(clip) for clip in plans["a"][0]] == [3, 2]
    assert [len(clip) for clip in plans["b"][0]] == [2, 2, 2, 2]


# ------------------------------------------------------------------------------ frames and masks


def test_resized_size_truncates_the_long_side():
    assert fit((1080, 1920), 432) == (432, 768)
    assert fit((101, 187), 432) == (432, 799)  # 799.8
    assert fit((187, 101), 432) == (799, 432)


def test_resized_frames_come_back_in_any_order(tmp_path):
    write_frames(tmp_path / "video", 7, seed=0)
    source = FrameFolder(tmp_path / "video")
    expected = [resize_frame(frame, (32, 48)) for frame in source]
    with NetworkFrames(source, 32) as frames:
        assert (len(frames), frames.size, frames.original_size) == (7, (32, 48), (60, 90))
        for clip in (range(5, 7), range(1, 7, 3)):
            assert (frames.read(clip) == np.stack([expected[t] for t in clip])).all()
        clip = frames.clip(range(0, 7, 6), torch.device("cpu"))  # (2, 3, 32, 48)
        red = (expected[6][:, :, 0] / 255 - 0.485) / 0.229
        assert np.abs(clip[1, 0].numpy() - red).max() < 1e-6


def test_encoded_masks_equal_pycocotools():
    rng = np.random.default_rng(0)
    masks = rng.random((6, 13, 7)) < np.array([0, 0.1, 0.5, 0.9, 1, 0.3])[:, None, None]
    found = encode_masks(torch.from_numpy(masks))
    assert found[0] is None
    assert found[1:] == [encode(mask) for mask in masks[1:]]


def test_masks_are_stretched_over_the_frame():
    """The left half of a stride-4 map becomes the left half of the frame, whatever its size."""
    logits = torch.full((9, 8, 8), -5.0)
    logits[:, :, :4] = 5.0
    for rle in mask_track(logits, (33, 50), 0.5):
        assert decode(rle).sum(0).tolist() == [33] * 25 + [0] * 25


# ----------------------------------------------------------------------------------- the answers


def segment(tmp_path, model, **changes):
    if not (tmp_path / "video").exists():
        write_frames(tmp_path / "video", 9, seed=3)
    source = FrameFolder(tmp_path / "video")
    return segment_video(model, source, TEXTS, settings_for(short_side=SHORT_SIDE, **changes))


def differing_pixels(a, b) -> int:
    blank = np.zeros((60, 90), np.uint8)
    pairs = [
        (blank if x is None else decode(x), blank if y is None else decode(y))
        for x, y in zip(a.track, b.track, strict=True)
    ]
    return max(int((x != y).sum()) for x, y in pairs)


@pytest.fixture(scope="module")
def model():
    model = random_model()
    model.add_words(TEXTS)
    return model


def test_masks_depend_on_expression_and_frame(tmp_path, model):
    answers = segment(tmp_path, model)
    masks = {str(mask) for answer in answers for mask in answer.track}
    assert len(masks) > 9, "a model of constant masks shows nothing"
    assert all(len(answer.track) == 9 for answer in answers)
    assert [len(clip.frame_idx) for clip in answers[0].clips] == [3, 3, 3]


def test_masks_that_are_no_numbers_are_an_error(tmp_path, model):
    """Each weight is a number, and what is computed from them is none."""
    overflowing = deepcopy(model)
    with torch.no_grad():
        for value in overflowing.pixel_decoder.parameters():
            value.mul_(1e30)
    with pytest.raises(InputError, match="MUTR's output: tensors that are not numbers"):
        segment(tmp_path, overflowing)


@pytest.mark.parametrize("query", ["per_clip", "long_term"])
def test_expression_batch_changes_at_most_three_pixels(tmp_path, model, query):
    one, many = (segment(tmp_path, model, query=query, expression_batch=n) for n in (1, 4))
    assert max(map(differing_pixels, one, many)) <= 3


class Undecided(torch.nn.Module):
    """Three queries, query q covers q + 1 of 4 rows. The sub-clip from frame t prefers t % 2, the
    whole video 2. Frames tell their number by their brightness."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.threads = set()

    def encode_text(self, texts):
        return texts

    def encode_video(self, frames):  # (1, T, 3, h, w)
        self.threads.add(torch.get_num_threads())
        grey = (frames[0, :, 0].mean((1, 2)) * 0.229 + 0.485) * 255
        return (grey / 20).round().long()  # (T,)

    def forward(self, idx, texts, masks, heads):
        number, rows = len(texts), torch.arange(4)
        preferred = int(idx[0]) % 2
        covered = torch.stack([torch.where(rows <= q, 5.0, -5.0) for q in range(3)])  # (N, h)
        chosen = covered if masks == "all" else covered[preferred : preferred + 1]
        return Predictions(
            logits=torch.nn.functional.one_hot(torch.tensor(preferred), 3)
            .float()[None, :, None]
            .expand(number, -1, -1),
            boxes=torch.zeros(number, len(idx), 3, 4),
            query=torch.full((number,), preferred),
            mask_logits=chosen[None, None, :, :, None].expand(number, len(idx), -1, 4, 4),
            decoder_states=idx[None, :, None, None].float().expand(number, -1, 3, 1),
        )

    def score_queries(self, decoder_states, heads):  # (E, T, N, C)
        assert decoder_states[0, :, 0, 0].tolist() == list(range(9)), "not in the video's order"
        return torch.tensor([[0.1, 0.2, 0.9]]).expand(len(decoder_states), -1)


@pytest.mark.parametrize("sampling", ["strided", "contiguous"])
@pytest.mark.parametrize("query", ["per_clip", "long_term"])
def test_masks_are_those_of_the_chosen_query(tmp_path, sampling, query):
    (tmp_path / "video").mkdir()
    for t in range(9):
        Image.new("L", (80, 40), 20 * t).save(tmp_path / "video" / f"{t}.png")
    settings = settings_for(short_side=32, sampling=sampling, query=query, cpu_threads=2)
    model = Undecided()
    answers = segment_video(model, FrameFolder(tmp_path / "video"), ["a", "b"], settings)
    starts = {t: clip[0] for clip in cut(9, 4, sampling) for t in clip}
    for found in answers:
        rows = [int(decode(mask).sum()) / 80 for mask in found.track]
        wanted = [2 if query == "long_term" else starts[t] % 2 for t in range(9)]
        assert rows == [10 * (q + 1) for q in wanted]
        assert [clip.query for clip in found.clips] == [c[0] % 2 for c in cut(9, 4, sampling)]
        assert (found.long_term is not None) == (query == "long_term")
    assert model.threads == {2} and torch.get_num_threads() == 1


@pytest.mark.parametrize("sampling", ["strided", "contiguous"])
def test_long_term_chooses_one_query_for_the_video(tmp_path, model, sampling):
    answers = segment(tmp_path, model, query="long_term", sampling=sampling)
    per_clip = segment(tmp_path, model, query="per_clip", sampling=sampling)
    for long_term, free in zip(answers, per_clip, strict=True):
        choice = long_term.long_term
        assert len(choice.frame_idx) == 9
        assert choice.query == int(np.argmax(choice.scores))
        assert [c.scores for c in long_term.clips] == [c.scores for c in free.clips]


def test_released_script_of_ones_own_video(tmp_path, model):
    answers = segment(tmp_path, model, clip_plan="released_script")
    lengths = [max(len(clip.frame_idx) for clip in answer.clips) for answer in answers]
    assert lengths == [3, 3, 3, 3, 3]
    answers = segment(tmp_path, model, clip_plan="released_script", clip_length=5)
    assert [len(answer.clips) for answer in answers] == [2, 3, 3, 3, 3]


# ------------------------------------------------------------------------------------- the store


def test_store_holds_masks_scores_and_protocol(case, one_device):
    _, store = one_device
    split = read_split(case, "valid")
    tracks = TrackFiles(store.path)
    assert sorted(tracks.videos()) == sorted(video.name for video in split.videos)
    for video in split.videos:
        masks = tracks.read(video.name)
        assert list(masks) == [e.expression_id for e in video.expressions]
        assert all(len(track) == len(video.frames) for track in masks.values())
    folder = store.path.parent.with_name("coarse_scores") / store.path.name
    scores = read_json(folder / "video0.json.gz")
    assert scores["protocol"]["sampling"] == "strided"
    assert scores["protocol"]["precision"] == "32-true"
    assert len(scores["protocol"]["checkpoint_sha256"]) == 64
    clips = scores["expressions"]["0"]["clips"]
    assert [(clip["start"], clip["step"], clip["frames"]) for clip in clips] == [
        (0, 3, 3),
        (1, 3, 3),
        (2, 3, 3),
    ]
    assert all(clip["query"] == int(np.argmax(clip["scores"])) for clip in clips)


def test_second_start_does_only_what_is_missing(case, one_device, tmp_path, monkeypatch):
    stores, _ = one_device
    copy = tmp_path / "stores"
    subprocess.run(["cp", "-r", stores, copy], check=True)
    before = files(copy)
    store = run(case, copy)  # nothing to do
    (store.path / "video2.json.gz").unlink()
    scores = store.path.parent.with_name("coarse_scores") / store.path.name
    (scores / "video3.json.gz").unlink()
    assert read_json(scores / "provenance.json")["stage"] == "coarse_scores"
    answered = []
    from rvos.coarse import segment

    def counted(*args, original=segment.segment_clips, **keys):
        answered.append(1)
        return original(*args, **keys)

    monkeypatch.setattr(segment, "segment_clips", counted)
    run(case, copy)
    assert len(answered) == 2
    assert files(copy) == before


def test_other_settings_or_checkpoint_are_another_store(case, one_device, tmp_path):
    stores, store = one_device
    split = read_split(case, "valid")
    other = tmp_path / "other.pth"
    torch.save({"model": random_model(seed=2).state_dict()}, other)

    def opened(precision="32-true", model=MODEL, split=split, **changes):
        values = {"checkpoint": str(case / "mutr.pth"), "short_side": SHORT_SIDE} | changes
        return opened_store(tmp_path, split, settings_for(**values), model, precision)

    first_videos = replace(split, videos=split.videos[:3])

    paths = [
        opened().path,
        opened(checkpoint=str(other)).path,
        opened(clip_length=5).path,
        opened(clip_plan="released_script").path,
        opened(clip_plan="released_script", split=first_videos).path,  # other clip lengths
        opened(mask_threshold=0.4).path,
        opened(precision="bf16-mixed").path,
        opened(model=MODEL | {"num_queries": 7}).path,
    ]
    assert len(set(paths)) == len(paths)
    assert paths[0].name == store.path.name
    assert opened(model=MODEL | {"dropout": 0.5}).path == paths[0]
    assert opened(split=first_videos).path == paths[0]


def worker(case, stores, devices, *trouble):
    command = [
        forked_python(),
        "-m",
        "tests.support.coarse_worker",
        case,
        stores,
        devices,
        *trouble,
    ]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests/support")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_bytes_do_not_depend_on_devices_or_a_kill(case, one_device, tmp_path):
    """Killed on one device, continued on two (gloo), against one undisturbed start."""
    stores, store = one_device
    process = worker(case, tmp_path, devices=1)
    folder = tmp_path / "coarse" / store.path.name
    deadline = time.monotonic() + 300
    while not list(folder.glob("video*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert 0 < len(list(folder.glob("video*"))) < 4, "killed too early or too late to show anything"
    process = worker(case, tmp_path, devices=2)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert "GLOBAL_RANK: 1, MEMBER: 2/2" in output and "expression-frames/s" in output
    finished = {name: data for name, data in files(tmp_path).items() if "/." not in name}
    assert finished == files(stores)


@pytest.mark.slow
@pytest.mark.parametrize("videos", [4, 5])
def test_another_run_may_fill_the_same_store(case, one_device, tmp_path, videos):
    """When the second process looks, some or all videos are there that the first one missed.
    With 4 of 5 there, one of the devices has nothing to do."""
    stores, _ = one_device
    process = worker(case, tmp_path, 2, f"filled={stores}", f"videos={videos}")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert files(tmp_path) == files(stores)


@pytest.mark.slow
def test_a_full_disk_of_one_process_is_reported_by_all(case, one_device, tmp_path):
    process = worker(case, tmp_path, 2, "full_disk=1")
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "No space left on device" in output and "Connection closed" not in output
    found = list((tmp_path / "coarse").rglob("video*.json.gz"))
    assert found, "the other process did its share"


@pytest.mark.slow
def test_sigterm_ends_it(case, one_device, tmp_path):
    process = worker(case, tmp_path, 1)
    folder = tmp_path / "coarse" / one_device[1].path.name
    deadline = time.monotonic() + 300
    while not list(folder.glob("video*")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.terminate()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert len(list(folder.glob("video*"))) < 5
    run(case, tmp_path)
    assert files(tmp_path) == files(one_device[0])


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_precisions(case, one_device, tmp_path, precision):
    split = read_split(case, "valid")
    split = replace(split, videos=split.videos[1:2])
    settings = settings_for(checkpoint=str(case / "mutr.pth"), short_side=SHORT_SIDE)
    trainer = pl.Trainer(
        accelerator="cpu",
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    store = opened_store(tmp_path, split, settings, precision=precision)
    fill(split, store, settings, trainer)
    found, wanted = (TrackFiles(s.path).read("video1") for s in (store, one_device[1]))
    assert found.keys() == wanted.keys()
    if precision == "64-true":
        for e in wanted:
            pairs = zip(found[e], wanted[e], strict=True)
            assert all(FrameScores()(a, b)[0] > 0.99 for a, b in pairs)


# ---------------------------------------------------------------------------------------- errors


def copy_case(case, tmp_path) -> Path:
    subprocess.run(["cp", "-r", case, tmp_path / "case"], check=True)
    return tmp_path / "case"


def test_missing_frames_and_texts_that_cannot_be_read_are_found_before_any_work(case, tmp_path):
    folder = copy_case(case, tmp_path)
    (folder / "valid/JPEGImages/video1/00002.jpg").unlink()
    (folder / "valid/JPEGImages/video3/00000.jpg").unlink()
    meta = read_json(folder / "valid/meta_expressions.json")
    meta["videos"]["video4"]["expressions"]["2"]["exp"] = "  "
    meta["videos"]["video2"]["expressions"]["0"]["exp"] = "red " * 300
    write_json(folder / "valid/meta_expressions.json", meta)
    with pytest.raises(InputError) as error:
        run(folder, tmp_path / "stores")
    for part in (
        "video1",
        "00002.jpg",
        "video3",
        "00000.jpg",
        "video4, expression 2",
        "302 tokens",
    ):
        assert part in str(error.value)
    assert not list((tmp_path / "stores").rglob("video*"))


def test_unreadable_frame_is_named_and_the_other_videos_are_done(case, one_device, tmp_path):
    stores, store = one_device
    folder = copy_case(case, tmp_path)
    frame = folder / "valid/JPEGImages/video2/00003.jpg"
    whole = frame.read_bytes()
    frame.write_bytes(whole[:200])
    with pytest.raises(InputError, match="video2.*00003.jpg"):
        run(folder, tmp_path / "stores")
    found = tmp_path / "stores" / "coarse" / store.path.name
    expected = [f"video{v}.json.gz" for v in (0, 1, 3, 4)]
    assert sorted(p.name for p in found.glob("video*")) == expected
    frame.write_bytes(whole)
    run(folder, tmp_path / "stores")
    assert files(tmp_path / "stores") == files(stores)


class NoFrames:
    source, names, size, fps = "a video", (), (60, 90), None

    def __len__(self):
        return 0

    def __iter__(self):
        return iter(())


def test_video_without_frames(tmp_path, model):
    with pytest.raises(FrameError, match="a video: the video has no frames"):
        segment_video(model, NoFrames(), ["x"], settings_for())
    (tmp_path / "video").mkdir()
    with pytest.raises(FrameError, match="no frames"):
        FrameFolder(tmp_path / "video")


class FullDisk(io.BytesIO):
    """Takes the first 100 bytes, then no more, whoever asks."""

    def write(self, data):
        if self.tell() >= 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data[: 100 - self.tell()])


def test_full_temporary_folder(tmp_path, model, monkeypatch):
    write_frames(tmp_path / "video", 3, seed=0)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: FullDisk())
    with pytest.raises(InputError, match="video: No space left .*3 frames.*set TMPDIR"):
        segment_video(model, FrameFolder(tmp_path / "video"), TEXTS, settings_for(short_side=32))


def test_a_checkpoint_that_changes_after_the_store_is_opened(case, tmp_path):
    folder = copy_case(case, tmp_path)
    split = read_split(folder, "valid")
    settings = settings_for(checkpoint=str(folder / "mutr.pth"), short_side=SHORT_SIDE)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    store = opened_store(tmp_path, split, settings)
    other = random_model(seed=2)
    other.add_words(TEXTS)
    torch.save({"model": other.state_dict()}, folder / "mutr.pth")
    with pytest.raises(InputError, match="mutr.pth has changed"):
        fill(split, store, settings, trainer)
    assert not list(store.path.glob("video*"))


def test_stores_that_cannot_be_written(case, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="paths.stores: cannot write to .*file"):
        run(case, tmp_path / "file")


def test_full_disk_keeps_what_is_finished(case, one_device, tmp_path, monkeypatch):
    from rvos.stages import store as module

    written = []

    def write(path, value):
        if len(written) == 5:  # two provenances, scores and masks of a video, scores of the next
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(path)
        write_json(path, value)

    monkeypatch.setattr(module, "write_json", write)
    with pytest.raises(InputError, match="No space left on device.*start again"):
        run(case, tmp_path)
    monkeypatch.undo()
    run(case, tmp_path)
    assert files(tmp_path) == files(one_device[0])


def test_checkpoint_errors(case, tmp_path):
    split = read_split(case, "valid")
    for checkpoint, message in (
        (None, "got null"),
        (123, "coarse.checkpoint: expected a text, or null, got 123"),
        (str(tmp_path / "x.pth"), "no such file"),
    ):
        with pytest.raises(InputError, match=message):
            opened_store(tmp_path, split, settings_for(checkpoint=checkpoint))
    settings = settings_for(checkpoint=str(case / "mutr.pth"))
    other = MODEL | {"num_queries": 7}
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    store = opened_store(tmp_path, split, settings, other)
    with pytest.raises(InputError, match="mutr.pth"):
        fill(split, store, settings, trainer, other)


def test_settings_are_checked_together():
    with pytest.raises(InputError) as error:
        settings_for(sampling="dense", clip_length=0, mask_threshold=1.5)
    for part in (
        "coarse.sampling: expected strided or contiguous, got 'dense'",
        "coarse.clip_length: expected a whole number >= 1, got 0",
        "coarse.mask_threshold",
    ):
        assert part in str(error.value)


def test_a_choice_has_its_own_keys_only():
    assert set(preset("coarse", "files")) == {"_target_", "name", "path"}
    assert not {"path"} & set(COARSE)
