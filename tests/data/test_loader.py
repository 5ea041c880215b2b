"""Loaders: the same clips for any workers and ranks, resumable; whole videos dealt out once."""

import multiprocessing
import multiprocessing.connection
import os
import random
import re
import signal
import socket
import subprocess
import sys
from functools import partial
from multiprocessing.reduction import recvfds
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from fork_server import forked_python
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from made_data import REPOSITORY
from made_mevis import write_split
from omegaconf import OmegaConf
from torch import nn
from torch._utils import ExceptionWrapper
from torch.utils.data import Dataset

from rvos import CONFIG_DIR, InputError
from rvos.data.split import Expression, Video
from rvos.stages.sharding import balance, cost
from rvos.train import run
from rvos.train.datamodule import ClipLoader, ClipSampler, _start_worker, recount_passes
from rvos.train.run import explained_loading


class Keys(Dataset):
    """Its items are the keys themselves."""

    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, key):
        return torch.tensor(key)


def loader(length=23, batch_size=1, global_batch_size=4, rank=0, world_size=1, seed=3, workers=0):
    sampler = ClipSampler(
        length,
        seed=seed,
        batch_size=batch_size,
        rank=rank,
        world_size=world_size,
        global_batch_size=global_batch_size,
    )
    return ClipLoader(Keys(length), batch_size=batch_size, sampler=sampler, num_workers=workers)


def keys(batches):
    return [tuple(key) for batch in batches for key in batch.tolist()]


def test_an_epoch_shows_each_clip_at_most_once_in_whole_global_batches():
    seen = keys(loader())
    assert len(seen) == len(set(seen)) == 20  # of 23: five batches of 4
    assert {epoch for epoch, _ in seen} == {0}
    assert [index for _, index in seen] != sorted(index for _, index in seen)


def test_each_pass_over_the_loader_is_the_next_epoch_and_the_order_depends_on_seed_and_epoch():
    one = loader()
    first, second = keys(one), keys(one)
    assert {epoch for epoch, _ in second} == {1}
    assert [i for _, i in first] != [i for _, i in second]
    assert keys(loader()) == first and keys(loader(seed=4)) != first


@pytest.mark.parametrize(("world_size", "batch_size"), [(2, 1), (2, 2), (4, 1), (1, 4), (1, 2)])
def test_a_global_batch_is_the_same_for_any_ranks(world_size, batch_size):
    expected = keys(loader())
    shares = [
        keys(loader(rank=rank, world_size=world_size, batch_size=batch_size))
        for rank in range(world_size)
    ]
    per_rank = 4 // world_size
    for step in range(5):
        batch = {key for share in shares for key in share[step * per_rank : (step + 1) * per_rank]}
        assert batch == set(expected[4 * step : 4 * step + 4])


def test_state_counts_what_was_handed_out_not_what_workers_fetched():
    """Seven clips are one whole step of four and a step that is begun again."""
    one = loader(workers=2)
    batches = iter(one)
    head = keys([next(batches) for _ in range(7)])
    state = one.state_dict()
    assert (state["epoch"], state["position"]) == (0, 7)
    rest = loader()
    rest.load_state_dict(state)
    assert head[:4] + keys(rest) == keys(loader())


def test_another_number_of_ranks_can_go_on():
    one = loader()
    batches = iter(one)
    seen = keys([next(batches) for _ in range(8)])
    shares = []
    for rank in range(2):
        part = loader(rank=rank, world_size=2, batch_size=2)
        part.load_state_dict(one.state_dict())
        shares += keys(part)
    assert set(seen) | set(shares) == set(keys(loader())) and len(shares) == 12


@pytest.mark.parametrize("other", [{"seed": 4}, {"length": 30}, {"global_batch_size": 5}])
def test_a_checkpoint_of_other_data_is_refused(other):
    with pytest.raises(InputError, match="ckpt_path: the checkpoint's data has"):
        loader(**other).load_state_dict(loader().state_dict())


@pytest.mark.parametrize(
    ("passes", "earlier", "position", "step_size", "expected"),
    [
        (40, 0, 40, 2, (20, 20)),  # 1 device -> 2
        (10, 60, 40, 1, (40, 280)),  # 4 -> 1, after an epoch of 60 passes with 240 clips
        (7, 0, 14, 4, (3, 3)),  # 2 -> 4, amid a step: 12 clips belong to whole steps of 4
        (5, 5, 20, 4, (5, 10)),  # the same number
    ],
)
def test_forward_passes_are_counted_for_the_devices_there_are(
    passes, earlier, position, step_size, expected
):
    """Lightning's own state: a checkpoint in a batch's end has completed one pass less."""
    count = {"ready": passes, "started": passes, "processed": passes, "completed": passes - 1}
    total = {key: value + earlier for key, value in count.items()}
    loop = {
        "state_dict": {"combined_loader": [{"epoch": 0, "position": position}]},
        "epoch_loop.batch_progress": {"current": count, "total": total, "is_last_batch": False},
    }
    recount_passes({"loops": {"fit_loop": loop}}, step_size=step_size, global_batch_size=4)
    progress = loop["epoch_loop.batch_progress"]
    for name, ready in zip(("current", "total"), expected, strict=True):
        assert progress[name] == {
            "ready": ready,
            "started": ready,
            "processed": ready,
            "completed": ready - 1,
        }


class Recorder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen += [tuple(key) for key in batch.tolist()]
        return self.weight * 0

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder, data, *, ckpt_path=None):
    module = Recorder()
    saver = pl.callbacks.ModelCheckpoint(
        folder, filename="{step}", every_n_train_steps=1, save_top_k=-1
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=False,
        callbacks=[saver],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return module.seen


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_of_any_step_continues_with_the_same_clips(tmp_path):
    """20 clips in batches of 4 are 5 steps an epoch: steps 5 and 10 are the last of theirs."""
    whole = fit(tmp_path, loader(batch_size=4))
    assert [epoch for epoch, _ in whole] == [0] * 20 + [1] * 20 + [2] * 20
    for step in (3, 5, 8):
        rest = fit(
            tmp_path / "again", loader(batch_size=4), ckpt_path=tmp_path / f"step={step}.ckpt"
        )
        assert rest == whole[4 * step :]


# ---------------------------------------------------------------------------------- data module


def settings(folder, *overrides):
    with initialize_config_dir(str(CONFIG_DIR), version_base="1.3"):
        return compose(
            overrides=[
                "+data=synthetic",
                "+seed=0",
                "+paths.data=.",
                f"data.root={folder}",
                "data.val_split=train",
                "data.clip.resizing.short_sides=[48]",
                "data.clip.plain_short_side=48",
                "data.num_workers=0",
                *overrides,
            ]
        ).data


@pytest.fixture
def module(tmp_path):
    def make(*overrides):
        data = instantiate(settings(tmp_path, *overrides))
        data.prepare_data()
        data.setup("fit")
        return data

    if not (tmp_path / "train").exists():
        write_split(tmp_path, videos=("a", "b"))
    return make


def test_workers_do_not_change_the_clips(module):
    batches = {
        n: list(
            module(
                "data.batch_size=4", "data.global_batch_size=4", f"data.num_workers={n}"
            ).train_dataloader()
        )
        for n in (0, 2)
    }
    assert len(batches[0]) == len(batches[2]) == 4
    for one, other in zip(batches[0], batches[2], strict=True):
        assert one.expressions == other.expressions and one.identities == other.identities
        for name in ("frames", "padding", "masks", "boxes_cxcywh_norm", "valid", "frame_idx"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_a_program_that_ends_amid_an_epoch_ends_its_workers_too(tmp_path):
    """They ignore SIGTERM, which is what multiprocessing would send them before it waits."""
    write_split(tmp_path, videos=("a", "b"))
    config = settings(tmp_path, "data.num_workers=2")
    OmegaConf.resolve(config)
    script = f"""
from hydra.utils import instantiate
module = instantiate({OmegaConf.to_container(config)!r})
module.prepare_data()
module.setup("fit")
batches = iter(module.train_dataloader())
next(batches)
"""
    subprocess.run([forked_python(), "-c", script], check=True, timeout=100, cwd=REPOSITORY)


def test_validation_shows_the_same_plain_clips_every_time(module):
    data = module("data.val_clips=3")
    first, second = list(data.val_dataloader()), list(data.val_dataloader())
    assert len(first) == 3 and first[0].frames.shape == (1, 5, 3, 64, 64)
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("overrides", "need"),
    [
        # Clips of 5 x 64 x 64 (48 x 48 in multiples of 32): 5 * 13 + 1 bytes for each pixel, 0.27
        # MB a batch of one. Workers hold two each, and one is with the trainer; twice: validation.
        (["data.num_workers=1"], 2 * 3 * 66 * 64 * 64),
        (["data.num_workers=4", "data.batch_size=2"], 2 * 9 * 2 * 66 * 64 * 64),
        (["data.num_workers=2", "data.val_split=null"], 5 * 66 * 64 * 64),
    ],
)
def test_shared_memory_that_is_too_small(module, monkeypatch, overrides, need):
    plain = "data.clip.resizing.crop_probability=0"
    data = module("data.global_batch_size=8", plain, *overrides)

    def has(free):
        usage = SimpleNamespace(total=2**26, used=2**26 - free, free=free)
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage)

    has(need)
    data.check_shared_memory(1)
    with pytest.raises(InputError, match=r"2 device\(s\)"):
        data.check_shared_memory(2)
    has(need - 1)
    with pytest.raises(InputError, match=r"--shm-size=\d+m.*data.num_workers=\d") as raised:
        data.check_shared_memory(1)
    fewer = int(re.search(r"\(data.num_workers=(\d)", str(raised.value))[1])
    data.num_workers = fewer
    data.check_shared_memory(1)
    data.num_workers = fewer + 1
    with pytest.raises(InputError):
        data.check_shared_memory(1)


class Fails(Keys):
    """Its fourth item is none: the worker that makes it meets with what `how` says."""

    def __init__(self, how):
        super().__init__(8)
        self.how = how

    def __getitem__(self, key):
        if key[1] == self.how[0]:
            return self.how[1]()
        return super().__getitem__(key)


def unsendable():
    return lambda: None  # a local function cannot be pickled: what a full /dev/shm does to tensors


ENDS = {
    "killed": (
        lambda: os.kill(os.getpid(), signal.SIGKILL),
        r"signal: Killed\. .*memory most likely ran out",
    ),
    "bus error": (
        lambda: os.kill(os.getpid(), signal.SIGBUS),
        r"signal: Bus error\. Its last message stands above",
    ),
    "a batch that cannot be sent": (
        unsendable,
        r"(exit code 1|ended amid a batch \(.*\))\. Its last message stands above",
    ),
}


def end_of_a_run(name):
    """Print the one error of a run with such a loader process."""
    sampler = ClipSampler(8, seed=0, batch_size=1, global_batch_size=1, rank=0, world_size=1)
    bad = list(sampler)[3][1]
    batches = ClipLoader(
        Fails((bad, ENDS[name][0])),
        sampler=sampler,
        batch_size=None,
        num_workers=2,
        worker_init_fn=_start_worker,
    )
    try:
        with explained_loading(2):
            list(batches)
    except InputError as error:
        print(error, flush=True)


@pytest.mark.parametrize("name", ENDS)
def test_a_loader_process_that_ends_ends_the_run(name):
    """In a process of its own: PyTorch's handler of dead children raises anywhere in it."""
    program = "import sys, test_loader as t; t.end_of_a_run(sys.argv[1])"
    done = subprocess.run(
        [forked_python(), "-c", program, name],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
        cwd=REPOSITORY / "tests/data",
        capture_output=True,
        text=True,
        timeout=120,  # it must not wait for ever
    )
    assert re.search(ENDS[name][1], done.stdout), done.stderr


class Gone:
    """Its sender is gone when the receiver asks for the rest of it."""

    def __init__(self, ask):
        self.ask = ask

    def __reduce__(self):
        return self.ask, ()


def end_of_file():
    mine, senders = multiprocessing.Pipe()
    senders.close()
    mine.recv()  # EOFError


def no_descriptor():
    mine, senders = socket.socketpair()
    senders.send(b"x")
    recvfds(mine, 1)  # RuntimeError: received 0 items of ancdata


def no_socket():
    multiprocessing.connection.Client("/nowhere/pymp-gone", family="AF_UNIX")  # FileNotFoundError


def reset():
    mine, senders = multiprocessing.Pipe()
    mine.send(0)
    senders.close()
    mine.recv()  # ConnectionResetError


def of_the_dataset():
    raise EOFError("a file ends too early")


def asked_for(ask):
    return ClipLoader(
        Fails((0, partial(Gone, ask))),
        sampler=ClipSampler(8, seed=0, batch_size=1, global_batch_size=1, rank=0, world_size=1),
        batch_size=None,
        num_workers=1,
    )


@pytest.mark.parametrize("ask", [end_of_file, no_descriptor, no_socket, reset])
def test_a_loader_process_that_is_gone_amid_a_batch_is_one_message(ask):
    """Which error the trainer's process meets depends on the moment."""
    with pytest.raises(InputError, match="DataLoader worker ended amid a batch .* data.num_wor"):
        with explained_loading(1):
            list(asked_for(ask))


def test_a_second_death_while_the_first_is_explained_is_one_message_too(monkeypatch):
    """PyTorch's handler of dead children raises wherever the trainer's process happens to be."""
    told = iter([RuntimeError("DataLoader worker (pid 7) exited unexpectedly with exit code 1. x")])

    def interrupted(error):
        for second in told:
            raise second
        return False

    monkeypatch.setattr(run, "_ends_amid_a_batch", interrupted)
    with pytest.raises(
        InputError, match=r"\ADataLoader worker \(pid 7\) .* code 1\. Its last mess"
    ):
        with explained_loading(1):
            list(asked_for(end_of_file))


def test_other_errors_of_a_training_stay_what_they_are():
    with pytest.raises(EOFError, match="a file ends too early"), explained_loading(1):
        list(asked_for(of_the_dataset))


def test_a_mistake_that_a_loader_process_finds_is_one_message():
    """PyTorch sends it on with the worker's traceback as text."""
    try:
        raise InputError("frame 00004.jpg: damaged; mend it")
    except InputError:
        sent = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(InputError, match=r"\Aframe 00004.jpg: damaged; mend it\Z"):
        with explained_loading(2):
            sent.reraise()


def test_accumulation_makes_up_the_global_batch(module):
    data = module("data.global_batch_size=8", "data.batch_size=2")
    assert [data.accumulate_grad_batches(n) for n in (1, 2, 4)] == [4, 2, 1]
    with pytest.raises(InputError, match="expected a multiple of .* 2 x 3 = 6, got 8"):
        data.accumulate_grad_batches(3)


def test_a_global_batch_larger_than_the_data_is_an_error(module):
    with pytest.raises(InputError, match="expected at most the 16 clips .* got 17"):
        module("data.global_batch_size=17").train_dataloader()


def videos_of(rng, count):
    return [
        Video(
            str(i),
            ("f",) * rng.randint(20, 200),
            tuple(Expression(str(i), str(e), "x", ()) for e in range(rng.randint(1, 30))),
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_videos_are_dealt_out_once_and_evenly(world_size):
    videos = videos_of(random.Random(0), 140)
    shares = balance([cost(video) for video in videos], world_size)
    assert sorted(i for share in shares for i in share) == list(range(140))
    loads = [sum(cost(videos[i]) for i in share) for share in shares]
    assert max(loads) < 1.02 * sum(loads) / world_size


def test_fewer_videos_than_ranks_leave_some_ranks_idle():
    assert balance([5, 7], 3) == [[1], [0], []]
