"""Train from a store, or without one: PyTorch datasets and the sampler that keeps their reads local.

::

    import trajstore.torch as tt

    loaders = tt.loaders("store.zarr", batch_size=32, layout="VCTHW")
    for epoch in range(10):
        loaders.train.sampler.set_epoch(epoch)
        for batch in loaders.train:
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
from trajstore.torch.loading import Loaders, loaders
from trajstore.torch.sampler import ShardShuffleSampler

__all__ = [
    "Batch",
    "GeneratedDataset",
    "Loaders",
    "ShardShuffleSampler",
    "TrajectoryDataset",
    "collate",
    "loaders",
]
