"""Several datasets in one training: shares of an epoch, the same clips on any devices, resuming."""

from collections import Counter

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("pytorch_lightning")

from hydra.utils import instantiate  # noqa: E402
from made_mevis import write_split  # noqa: E402
from made_refcoco import write_refcoco  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from test_clip import same  # noqa: E402
from test_conf import composed  # noqa: E402

from rvos import InputError, SettingsError  # noqa: E402
from rvos.settings import build  # noqa: E402
from rvos.train.callbacks import Shares  # noqa: E402
from rvos.train.datamodule import ClipLoader, ClipSampler  # noqa: E402
from rvos.train.joint import JointClips, Source, share_out  # noqa: E402


@pytest.mark.parametrize(
    "total, weights, expected",
    [
        (9, (1, 2), (3, 6)),
        (10, (1, 1, 1), (4, 3, 3)),
        (10, (0.5, 0.3, 0.2), (5, 3, 2)),
        (7, (4, 3), (4, 3)),
        (5, (1, 1e-9), (5, 0)),
        (11, (0.26, 0.26, 0.48), (3, 3, 5)),  # 2.86, 2.86, 5.28
    ],
)
def test_shares_by_hand(total, weights, expected):
    names = "abc"[: len(weights)]
    assert share_out(total, dict(zip(names, weights, strict=True))) == dict(
        zip(names, expected, strict=True)
    )


def clips(sizes, weights, seed=0):
    """Clips of sources of which only the number of clips is known."""
    sources = {name: range(size) for name, size in sizes.items()}
    return JointClips(sources, dict(zip(sizes, weights, strict=True)), seed=seed)


def epoch_of(joint, epoch):
    return Counter(joint.clip(epoch, index) for index in range(len(joint)))


def test_without_weights_an_epoch_has_each_clip_once():
    joint = clips({"a": 3, "b": 7, "c": 1}, [None] * 3)
    expected = [(name, i) for name, size in (("a", 3), ("b", 7), ("c", 1)) for i in range(size)]
    for epoch in range(3):
        assert epoch_of(joint, epoch) == Counter(expected)


def test_with_weights_an_epoch_has_their_ratio():
    """10 clips as 4 : 1 are 8 and 2: a's three clips show twice, two of them again; b shows two
    of its seven. Which ones depends on seed and epoch alone."""
    joint = clips({"a": 3, "b": 7}, [4, 1])
    assert joint.counts == {"a": 8, "b": 2} and len(joint) == 10
    seen = []
    for epoch in range(30):
        counts = epoch_of(joint, epoch)
        assert sorted(counts["a", i] for i in range(3)) == [2, 3, 3]
        assert sorted(counts["b", i] for i in range(7)) == [0] * 5 + [1] * 2
        seen += [clip for clip in counts if clip[0] == "b"]
    assert len(set(seen)) == 7  # none is left out for ever
    again, other = clips({"a": 3, "b": 7}, [4, 1]), clips({"a": 3, "b": 7}, [4, 1], seed=1)
    epochs = [[epoch_of(c, e) for e in range(9)] for c in (joint, again, other)]
    assert epochs[0] == epochs[1] != epochs[2]


# ---------------------------------------------------------------------------------- real datasets


def settings(folder, *overrides):
    small = ["resizing.short_sides=[40]", "plain_short_side=40", "resizing.crop_probability=0"]
    return OmegaConf.to_container(
        composed(
            "train",
            "data=joint",
            f"data.root={folder / 'mevis'}",
            "data.split=train",
            "data.val_split=train",
            f"data.sources.refcoco.root={folder / 'refcoco'}",
            "data.sources.refcoco_plus=null",
            "data.sources.refcocog=null",
            "data.sources.ref_youtube_vos.format=mevis",
            f"data.sources.ref_youtube_vos.root={folder / 'mevis'}",
            "data.num_workers=0",
            *(f"data.clip.{key}" for key in small),
            *overrides,
            "output_dir=x",
        ).data,
        resolve=True,
    )


@pytest.fixture
def module(tmp_path):
    """4 sentences of pictures; 4 expressions with 2 anchors each of a video of 7 frames."""
    write_refcoco(tmp_path)
    write_split(tmp_path / "mevis")

    def make(*overrides):
        data = instantiate(settings(tmp_path, *overrides))
        data.prepare_data()
        data.setup("fit")
        return data

    return make


def loader(data, rank=0, world_size=1, batch_size=1, seed=0):
    joint = data.train_data
    sampler = ClipSampler(
        len(joint),
        seed=seed,
        batch_size=batch_size,
        global_batch_size=4,
        rank=rank,
        world_size=world_size,
        sources=joint.counts,
    )
    return ClipLoader(joint, sampler=sampler, batch_size=None)


def test_sources_are_read_and_told_apart(module):
    data = module()
    assert data.train_data.counts == {"refcoco": 4, "ref_youtube_vos": 8}
    assert set(data.train_data.meta_sha256) == {"refcoco", "ref_youtube_vos"}
    assert {"left man", "both squares"} <= set(data.train_data.texts)
    sources = Counter(data.train_data[0, i].identity[0].split("/")[0] for i in range(12))
    assert sources == data.train_data.counts
    assert {s.identity[0] for s in data.val_data} == {"cat"}  # of the dataset itself
    data.check_shared_memory(1)


def test_a_clip_is_the_same_in_every_pass_over_the_data_and_new_when_it_comes_again(module):
    """12 clips as 5 : 1 are 10 and 2: pictures' four sentences come two or three times."""
    weights = ["data.sources.refcoco.weight=5", "data.sources.ref_youtube_vos.weight=1"]
    joint, again = module(*weights).train_data, module(*weights).train_data
    assert joint.counts == {"refcoco": 10, "ref_youtube_vos": 2}
    assert all(same(joint[1, i], again[1, i]) for i in range(12))
    assert joint.clip(1, 0) == joint.clip(1, 4) == ("refcoco", 0)
    assert not same(joint[1, 0], joint[1, 4]) and not same(joint[1, 0], joint[2, 0])


@pytest.mark.parametrize("world_size, batch_size", [(2, 1), (2, 2), (4, 1)])
def test_a_global_batch_is_the_same_on_any_devices(module, world_size, batch_size):
    data = module()
    whole = list(loader(data))
    shares = [list(loader(data, rank, world_size, batch_size)) for rank in range(world_size)]
    assert [len(share) for share in shares] == [12 // world_size] * world_size
    per_rank = 4 // world_size
    for step in range(3):
        steps = [share[step * per_rank : (step + 1) * per_rank] for share in shares]
        # Ranks take turns of `batch_size` clips.
        mine = [
            clip
            for i in range(0, per_rank, batch_size)
            for clips in steps
            for clip in clips[i : i + batch_size]
        ]
        assert all(map(same, whole[4 * step : 4 * step + 4], mine))


def test_an_epoch_goes_on_where_it_stopped(module):
    """Five clips are a whole step of four and one that is begun again."""
    whole = list(loader(module()))
    first = loader(module())
    batches = iter(first)
    for _ in range(5):
        next(batches)
    rest = loader(module())
    rest.load_state_dict(first.state_dict())
    left = list(rest)
    assert len(left) == 8 and all(map(same, whole[4:], left))
    assert len({clip.identity[0].split("/")[0] for clip in left}) == 2


def test_a_checkpoint_of_other_shares_is_refused(module):
    state = loader(module()).state_dict()
    weights = ["data.sources.refcoco.weight=1", "data.sources.ref_youtube_vos.weight=1"]
    other = loader(module(*weights))  # as many clips
    with pytest.raises(InputError, match=r"sources {'refcoco': 4, .*'refcoco': 6"):
        other.load_state_dict(state)
    del state["sources"]  # of a version that had one dataset
    other.load_state_dict(state)


def test_the_shares_so_far_are_those_of_the_clips_that_were_seen(module):
    data = module()
    one = loader(data, batch_size=2)
    assert one.sampler.shares() == {"refcoco": 0, "ref_youtube_vos": 0}
    seen = Counter()
    for number, clip in enumerate(one, 1):
        seen[clip.identity[0].split("/")[0]] += 1
        if number % 2 == 0:
            one.sampler.position = number  # the loader counts batches of two
            assert one.sampler.shares() == {n: seen[n] / number for n in data.train_data.counts}
    assert one.sampler.shares() == {"refcoco": 4 / 12, "ref_youtube_vos": 8 / 12}


def test_a_source_without_a_target_names_itself(module, tmp_path):
    nothing = {"0": {"exp": "the dog", "obj_id": [], "anno_id": []}}
    write_split(tmp_path / "none", expressions=nothing)
    with pytest.raises(InputError, match="none/train: no expression names an object"):
        module(f"data.sources.ref_youtube_vos.root={tmp_path / 'none'}")


# ---------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "overrides, told",
    [
        (["data.sources.refcoco.weight=2"], "data.sources: expected .* all or none have a weight"),
        (["data.sources.refcoco.weight=0"], r"data.sources.refcoco.weight: expected .*, got 0"),
        (["data.sources.refcoco.split=null"], r"data.sources.refcoco.split: expected a text"),
        (["data.train_split=train"], "data.train_split: expected null beside data.sources"),
        (["data.sources.refcoco=null", "data.sources.ref_youtube_vos=null"], "data.sources: exp"),
        (["data.sources.refcoco=3"], "data.sources: expected null, or sources by name"),
    ],
)
def test_wrong_sources_are_named(tmp_path, overrides, told):
    with pytest.raises(SettingsError, match=told):
        build(settings(tmp_path, *overrides), "data")


def test_sound_sources_pass(tmp_path):
    build(settings(tmp_path), "data")
    weights = ["data.sources.refcoco.weight=0.5", "data.sources.ref_youtube_vos.weight=3"]
    build(settings(tmp_path, *weights), "data")


def test_every_wrong_key_of_a_source_is_listed():
    with pytest.raises(SettingsError) as raised:
        Source(format="", root=3, split=None, meta="", weight="half")
    keys = [problem.partition(":")[0] for problem in raised.value.problems]
    assert keys == ["format", "root", "split", "meta", "weight"]


def test_shares_count_optimizer_steps():
    with pytest.raises(SettingsError, match="^every_n_steps: expected a whole"):
        Shares(every_n_steps=0)
