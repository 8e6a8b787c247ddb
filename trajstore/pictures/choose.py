"""Which rows, cameras and frames of some samples are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from trajstore.errors import IncompleteStoreError, SpecError
from trajstore.reading.rows import check_split
from trajstore.reading.samples import Samples
from trajstore.scene.order import SPLIT_NAMES
from trajstore.spec import VideoSection
from trajstore.storage.location import Location
from trajstore.store.layout import FRAMES
from trajstore.text import describe_unknown, format_count, quote

ROWS_MAX: Final = 12
"""Rows that are shown at a time."""

ROWS_OF_ONE_CLASS: Final = 4
"""Rows that are shown of a class that was asked for."""

ROWS_SEARCHED_MAX: Final = 1_000_000
"""Rows among which samples of a class and a split are looked for."""

BYTES_MAX: Final = 2**30
"""Pictures that are kept in memory at a time."""


def choose_rows(
    samples: Samples,
    rows: Sequence[int] | None = None,
    *,
    class_name: str | None = None,
    split: str | None = None,
) -> tuple[int, ...]:
    """Choose which samples to show."""
    if rows is not None and len(rows):
        if class_name is not None or split is not None:
            message = "rows: found rows together with a class or a split, expected one or the other"
            raise SpecError(message)
        chosen = tuple(dict.fromkeys(samples.check_rows(rows).tolist()))
        if len(chosen) > ROWS_MAX:
            message = f"rows: found {len(chosen)}, expected at most {ROWS_MAX} to show at a time; name fewer"
            raise SpecError(message)
        return chosen
    names = samples.spec.dataset.classes
    if class_name is not None and class_name not in names:
        message = f"class: {describe_unknown(class_name, names)}"
        raise SpecError(message)
    check_split(split)
    found = _find_first(samples, class_name, split)
    if class_name is None and split is None and samples.spec.splits.train > 0.0:
        trained_on = _find_first(samples, None, "train")
        found = trained_on if len(trained_on) == len(found) else found
    if not found:
        raise _explain_none(samples, class_name, split)
    return found


def _find_first(samples: Samples, class_name: str | None, split: str | None) -> tuple[int, ...]:
    """The first rows of each class, or of one; ordered by class, then by row."""
    names = samples.spec.dataset.classes
    wanted = range(min(len(names), ROWS_MAX)) if class_name is None else [names.index(class_name)]
    each = 1 if class_name is None else ROWS_OF_ONE_CLASS
    found: dict[int, list[int]] = {label: [] for label in wanted}
    for piece in _written_pieces(samples):
        labels = samples.column("class_label", piece)
        is_eligible = np.ones(len(piece), dtype=bool)
        if split is not None:
            is_eligible = samples.column("split", piece) == SPLIT_NAMES.index(split)
        for label, of_class in found.items():
            places = np.flatnonzero(is_eligible & (labels == label))[: each - len(of_class)]
            of_class += [piece[place] for place in places]
        if all(len(of_class) == each for of_class in found.values()):
            break
    return tuple(row for of_class in found.values() for row in of_class)


def _written_pieces(samples: Samples) -> Iterator[range]:
    """Rows that can be shown, shard by shard, so that no more flags are read than are needed."""
    each, stop = samples.rows_per_shard, min(len(samples), ROWS_SEARCHED_MAX)
    for first in range(0, stop, each):
        yield from samples.written_rows("class_label", FRAMES, within=range(first, min(first + each, stop)))


def _explain_none(
    samples: Samples, class_name: str | None, split: str | None
) -> IncompleteStoreError | SpecError:
    """The error that says why there is nothing to show."""
    location = samples.location
    searched = min(len(samples), ROWS_SEARCHED_MAX)
    written = sum(map(len, _written_pieces(samples)))
    if not written:
        place = location.argument if isinstance(location, Location) else quote(location)
        return IncompleteStoreError(f"{location}: no row is written yet; go on with: trajstore build {place}")
    what = f"sample of class {class_name}" if class_name else "sample"
    where = f" in the split {split}" if split else ""
    among = "first " if searched < len(samples) else "written " if written < searched else ""
    return SpecError(
        f"{location}: found no {what}{where} among the {among}{format_count(written)} rows; ask for another"
    )


def choose_frames(
    video: VideoSection, *, rows: int, cameras: int, most: int, last: int | None = None
) -> tuple[int, ...]:
    """Which frames to show so that their pictures fit into memory, up to the last or to that which is given."""
    frame_bytes = rows * cameras * 3 * video.height * video.width
    return spread(last or video.frames, min(most, max(2, BYTES_MAX // frame_bytes)), first=1)


def favor_transients(frames: Sequence[int], spans: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """As many frames, the last among them, at which as many bodies as possible are there that come and go.

    Examples
    --------
    >>> favor_transients((1, 11, 22, 32), [(5, 6), (6, 8), (20, 20)])
    (1, 6, 20, 32)
    """
    last, pending = frames[-1], list(spans)
    chosen: list[int] = []
    best: int | None = last
    while best is not None:
        chosen.append(best)
        pending = [span for span in pending if not span[0] <= chosen[-1] <= span[1]]
        seen = Counter(frame for low, high in pending for frame in range(low, high + 1))
        best = (
            max(seen, key=lambda frame: (seen[frame], -frame), default=None)
            if len(chosen) < len(frames)
            else None
        )
    while len(chosen) < len(frames):  # those left, as far from the others as possible
        chosen.append(max(frames, key=lambda frame: min(abs(frame - other) for other in chosen)))
    return tuple(sorted(chosen))


def choose_cameras(count: int, *, most: int) -> tuple[int, ...]:
    """Some of the cameras, evenly spaced around the scene.

    Examples
    --------
    >>> choose_cameras(4, most=8), choose_cameras(20, most=8)
    ((0, 1, 2, 3), (0, 2, 5, 7, 10, 12, 15, 17))
    """
    chosen = min(count, most)
    return tuple(place * count // chosen for place in range(chosen))


def spread(count: int, most: int, *, first: int = 0) -> tuple[int, ...]:
    """Some of a sequence of numbers, evenly spaced, the first and the last among them.

    Examples
    --------
    >>> spread(32, 4, first=1), spread(2, 4), spread(5, 1)
    ((1, 11, 22, 32), (0, 1), (4,))
    """
    if most == 1:
        return (first + count - 1,)
    return tuple(
        (first + np.unique(np.linspace(0, count - 1, min(count, most)).round())).astype(int).tolist()
    )
