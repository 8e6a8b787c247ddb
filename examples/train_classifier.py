"""Train a small 3D convolutional network on the classes of a store, on the CPU.

Run it with the path of a store, or without one to build a small one first::

    python examples/train_classifier.py [STORE] [--epochs 8]
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import trajstore
from trajstore.torch import loaders


class Net(nn.Module):
    """Three convolutions over the clip of each camera, and one linear layer over all cameras."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.clip = nn.Sequential()
        for a, b in pairwise((1, 8, 16, 32)):
            # no batch statistics: validation sees the same network as training, from the first epoch on
            self.clip.extend(
                [nn.Conv3d(a, b, 3, stride=2, padding=1), nn.GroupNorm(4, b), nn.ReLU(), nn.Dropout3d(0.1)]
            )
        self.classify = nn.LazyLinear(classes)

    def forward(self, video: Tensor) -> Tensor:
        """Logits (batch, classes) of clips (batch, V, C, T, H, W) uint8."""
        clips = video.flatten(0, 1).float() / 255
        # colours differ from sample to sample and say nothing about the class: show what moves
        moving = (clips - clips.mean(2, keepdim=True)).abs().amax(1, keepdim=True)
        return self.classify(self.clip(moving).reshape(len(video), -1))


def guess_from_still(path: str | Path) -> float:
    """What one still picture tells: the accuracy on val of guessing the class from one distance.

    It is that of the sphere from the middle of the picture, halfway through the clip, in eight bins.
    """
    with trajstore.open_reader(path) as reader:
        label, split, pixel = (reader.column(name) for name in ("class_label", "split", "pixel"))
        video, classes = reader.spec.video, len(reader.spec.dataset.classes)
    offset = pixel[:, :, video.frames // 2] - np.array([video.width, video.height]) / 2
    distance = np.linalg.norm(offset, axis=-1)  # (sample, camera)
    bins = np.digitize(distance, np.quantile(distance, np.arange(1, 8) / 8))
    votes = np.zeros((8, classes), int)
    np.add.at(votes, (bins[split == 0], label[split == 0, None]), 1)
    return float((votes.argmax(1)[bins[split == 1]] == label[split == 1, None]).mean())


def train(path: str | Path, *, epochs: int, batch_size: int = 16, workers: int = 0, seed: int = 0) -> float:
    """Train on the split ``train`` and print how it goes.

    Returns
    -------
    float
        Share of the split ``val`` that is classified correctly in the end.
    """
    torch.manual_seed(seed)
    batches, validation, _ = loaders(
        path,
        batch_size=batch_size,
        seed=seed,
        num_workers=workers,
        layout="VCTHW",
        columns=["class_label"],
    )
    net = Net(classes=len(batches.dataset.classes))
    accuracy = measure(net, validation)  # also gives the last layer its size
    if not epochs:
        return accuracy
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * len(batches))
    for epoch in range(epochs):
        batches.sampler.set_epoch(epoch)
        losses = []
        for batch in batches:
            loss = nn.functional.cross_entropy(net(batch["video"]), batch["class_label"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        accuracy = measure(net, validation)
        print(  # noqa: T201
            f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.2f}, accuracy on val {accuracy:.0%}",
            flush=True,
        )
    return accuracy


def measure(net: nn.Module, batches: torch.utils.data.DataLoader[dict[str, Tensor]]) -> float:
    """Share of the samples that are classified correctly."""
    net.eval()
    with torch.no_grad():
        right = torch.cat([net(batch["video"]).argmax(1) == batch["class_label"] for batch in batches])
    net.train()
    return float(right.float().mean())


def main() -> None:
    """Read the command line, train, and print the accuracy beside what one still picture gives."""
    parser = argparse.ArgumentParser(description="Train a small 3D convolutional network from a store.")
    parser.add_argument("store", nargs="?", type=Path)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = arguments.store or Path(folder) / "small.zarr"
        if arguments.store is None:
            trajstore.build(store, samples=800, cameras=2, frames=16, height=24, width=24)
        still = guess_from_still(store)
        print(f"to beat, from one still picture: {still:.0%}", flush=True)  # noqa: T201
        accuracy = train(store, epochs=arguments.epochs, workers=arguments.workers, seed=arguments.seed)
    print(f"accuracy on val: {accuracy:.0%}, from one still picture: {still:.0%}")  # noqa: T201


if __name__ == "__main__":
    main()
