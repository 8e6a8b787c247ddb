"""Train from a store, or without one: PyTorch datasets and the sampler that keeps their reads local.

::

    import torch, trajstore.torch as tt

    dataset = tt.TrajectoryDataset("store.zarr", split="train", layout="VCTHW")
    sampler = tt.ShardShuffleSampler(dataset, seed=0)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=32, sampler=sampler, num_workers=2, collate_fn=tt.collate
    )
    for epoch in range(10):
        sampler.set_epoch(epoch)
        for batch in loader:
            clips = batch["video"].to(device).float() / 255
            loss = loss_of(model(clips), batch["class_label"].to(device))

What knows tensors is here; how samples are read is not, but in `trajstore.reading`.
"""

try:
    import torch  # noqa: F401
except ImportError as error:  # pragma: no cover
    from trajstore.text import explain_install

    message = f"trajstore.torch needs PyTorch, which is not installed; {explain_install('torch')}"
    raise ImportError(message) from error

from trajstore.torch.datasets import Batch, GeneratedDataset, TrajectoryDataset, collate
from trajstore.torch.sampler import ShardShuffleSampler

__all__ = ["Batch", "GeneratedDataset", "ShardShuffleSampler", "TrajectoryDataset", "collate"]
