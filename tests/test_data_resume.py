"""Order of the training clips: pure in (seed, epoch), the same for any ranks, resumable."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import Dataset

import pytest

from rvos import InputError
from rvos.data.datamodule import ClipLoader, ClipSampler, VideoSampler, balance
from rvos.data.mevis import Expression, Video


class Keys(Dataset):
    def __init__(self, length):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, key):
        return torch.tensor(key)


def loader(length=23, batch_size=1, global_batch_size=4, rank=0, world_size=1, workers=0, seed=3):
    sampler = ClipSampler(length, seed=seed, batch_size=batch_size, rank=rank,
                          world_size=world_size, global_batch_size=global_batch_size)
    return ClipLoader(Keys(length), batch_size=batch_size, sampler=sampler, num_workers=workers)


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


def fit(tmp_path, data, *, ckpt_path=None, **options):
    module = Recorder()
    saver = pl.callbacks.ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1,
                                         save_top_k=-1)
    trainer = pl.Trainer(accelerator="cpu", logger=False, callbacks=[saver], barebones=False,
                         enable_progress_bar=False, enable_model_summary=False, **options)
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return module.seen


@pytest.mark.parametrize("step", [1, 3, 5, 6, 7, 10])
def test_a_checkpoint_of_any_step_continues_with_the_same_clips(tmp_path, step):
    """20 of 23 clips, batches of 4, so 5 steps an epoch; steps 5 and 10 end one."""
    whole = fit(tmp_path, loader(batch_size=4), max_epochs=3)
    assert len(whole) == 60
    assert [epoch for epoch, _ in whole] == [0] * 20 + [1] * 20 + [2] * 20
    rest = fit(tmp_path / "b", loader(batch_size=4), max_epochs=3,
               ckpt_path=tmp_path / f"step={step}.ckpt")
    assert rest == whole[4 * step:]
