"""Train a small 3D convolutional net on the four classes, from a store, on the CPU.

Run it with the path of a store, or without one to build a small one first::

    python examples/train_classifier.py [STORE] [--epochs 6]
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import trajstore
from trajstore.torch import ShardShuffleSampler, TrajectoryDataset, collate


class Net(nn.Module):
    """Three convolutions over each camera's clip, and one linear layer over all cameras."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        channels = (1, 8, 16, 32)
        self.clip = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv3d(a, b, 3, stride=2, padding=1), nn.BatchNorm3d(b), nn.ReLU(), nn.Dropout3d(0.1)
                )
                for a, b in pairwise(channels)
            )
        )
        self.classify = nn.LazyLinear(classes)

    def forward(self, video: Tensor) -> Tensor:
        """Logits (batch, classes) of clips (batch, V, C, T, H, W) uint8."""
        clips = video.flatten(0, 1).float() / 255
        # colours differ from sample to sample; what moves is what differs from the background in the corner
        moving = (clips - clips[..., :1, :1]).abs().amax(1, keepdim=True)
        return self.classify(self.clip(moving).reshape(len(video), -1))


def train(path: str | Path, *, epochs: int, batch_size: int = 16, workers: int = 0) -> float:
    """Train on the split ``train``.

    Returns
    -------
    float
        Share of the split ``val`` that is classified correctly.
    """
    torch.manual_seed(0)
    training = TrajectoryDataset(path, split="train", layout="VCTHW", columns=["class_label"])
    validation = TrajectoryDataset(path, split="val", layout="VCTHW", columns=["class_label"])
    sampler = ShardShuffleSampler(training, seed=0)
    batches = DataLoader(
        training, batch_size=batch_size, sampler=sampler, num_workers=workers, collate_fn=collate
    )
    net = Net(classes=4)
    net(next(iter(batches))["video"])  # gives the last layer its size
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for batch in batches:
            loss = nn.functional.cross_entropy(net(batch["video"]), batch["class_label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    net.eval()
    with torch.no_grad():
        correct = sum(
            int((net(batch["video"]).argmax(1) == batch["class_label"]).sum())
            for batch in DataLoader(validation, batch_size=64, collate_fn=collate)
        )
    return correct / len(validation)


def main() -> None:
    """Read the command line, train, and print the accuracy."""
    parser = argparse.ArgumentParser(description="Train a small 3D convolutional net from a store.")
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = arguments.store or Path(folder) / "small.zarr"
        if arguments.store is None:
            trajstore.build(store, samples=600, cameras=2, frames=16, height=24, width=24)
        accuracy = train(store, epochs=arguments.epochs, workers=arguments.workers)
    print(f"accuracy on the split val: {accuracy:.0%}, by chance 25%")  # noqa: T201


if __name__ == "__main__":
    main()
