"""How much of the class a single moment gives away, measured: what a model must beat before it has seen motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajstore.reading.samples import Samples
from trajstore.scene.order import SPLIT_NAMES

NEIGHBOURS: Final = 15
ROWS_MAX: Final = 4000
"""Rows that are looked at, of each split."""

BYTES_MAX: Final = 2**30
"""Frames that are decoded for the measurement."""

ROWS_MIN: Final = 40
"""With fewer rows to learn from or to guess, a share says nothing."""

PICTURE_SIDE: Final = 16
"""Pictures are reduced to at most this many pixels a side."""


@dataclass(frozen=True)
class Shortcut:
    """How often the class is guessed from one moment.

    Attributes
    ----------
    frame : int
        The frame, counted from 1.
    learned, guessed : int
        Rows of the first split that it was learned from, and of the second that were guessed.
    splits : tuple of str
        These two.
    chance : float
        How often the most frequent class is right.
    position, picture : float
        How often the position, and a picture of the first camera, is right.
    picture_guessed : int
        Pictures that were guessed.
    """

    frame: int
    learned: int
    guessed: int
    splits: tuple[str, str]
    chance: float
    position: float
    picture: float
    picture_guessed: int

    @property
    def method(self) -> str:
        """How it was measured, in one sentence."""
        first, second = self.splits
        return (
            f"{NEIGHBOURS} nearest neighbours at frame {self.frame} of the split {first} vote for the class "
            f"of each of {self.guessed:,} samples of the split {second} ({self.learned:,} to learn from; "
            f"{self.picture_guessed:,} pictures of camera 0, without their median grey, at most "
            f"{PICTURE_SIDE} pixels a side)"
        )


def measure_shortcut(samples: Samples) -> Shortcut | None:
    """Guess the class from the middle frame of the whole dataset; None where a split has too few rows."""
    splits = samples.column("split", range(min(len(samples), 10 * ROWS_MAX)))
    found = {name: np.flatnonzero(splits == index)[:ROWS_MAX] for index, name in enumerate(SPLIT_NAMES)}
    first = "train"
    second = "val" if len(found["val"]) >= ROWS_MIN else "test"
    learn, guess = found[first], found[second]
    if min(len(learn), len(guess)) < ROWS_MIN:
        return None
    middle = (samples.spec.video.frames + 1) // 2
    labels = [samples.column("class_label", rows) for rows in (learn, guess)]
    places = [samples.column("position", rows)[:, middle - 1].astype(np.float64) for rows in (learn, guess)]
    position = _vote(places[0], places[1], labels[0], labels[1])
    video = samples.spec.video
    most = max(ROWS_MIN, BYTES_MAX // (3 * video.frames * video.height * video.width))
    few = [learn[: most * 3 // 4], guess[: most // 4]]
    seen = [_reduce(samples.read(rows, cameras=[0], frames=[middle])) for rows in few]
    pictures = _vote(seen[0], seen[1], labels[0][: len(few[0])], labels[1][: len(few[1])])
    return Shortcut(
        frame=middle,
        learned=len(learn),
        guessed=len(guess),
        splits=(first, second),
        chance=float(np.bincount(labels[1]).max() / len(guess)),
        position=position,
        picture=pictures,
        picture_guessed=len(few[1]),
    )


def _reduce(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Small grey pictures (n, pixels) out of (n, 1, 1, 3, height, width), as far from their median as they are."""
    grey = frames[:, 0, 0].mean(axis=1)
    for axis in (1, 2):
        step = -(-grey.shape[axis] // PICTURE_SIDE)
        edges = np.arange(0, grey.shape[axis], step)
        counts = np.diff(np.append(edges, grey.shape[axis]))
        shape = [-1 if one == axis else 1 for one in range(3)]
        grey = np.add.reduceat(grey, edges, axis=axis) / counts.reshape(shape)
    flat = grey.reshape(len(grey), -1)
    away = np.abs(flat - np.median(flat, axis=1, keepdims=True))
    scaled: NDArray[np.float64] = away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9)
    return scaled


def _vote(
    learned: NDArray[np.float64],
    asked: NDArray[np.float64],
    labels: NDArray[np.int8],
    expected: NDArray[np.int8],
) -> float:
    """How often most of the nearest neighbours have the right label."""
    right, count = 0, min(NEIGHBOURS, len(learned))
    squares = (learned**2).sum(axis=1)
    for some in np.array_split(np.arange(len(asked)), -(-len(asked) // 500)):
        distances = squares - 2 * asked[some] @ learned.T
        nearest = labels[np.argpartition(distances, count - 1, axis=1)[:, :count]]
        votes = np.stack([(nearest == label).sum(axis=1) for label in range(int(labels.max()) + 1)], axis=1)
        right += int((votes.argmax(axis=1) == expected[some]).sum())
    return right / len(asked)
