"""Faults of an exported folder: every code, and a list that keeps the first of each and counts all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from trajstore.text import escape

FAULTS: Final = {
    "unfinished": "the export was interrupted",
    "metadata-missing": "there is no metadata.json",
    "metadata-invalid": "metadata.json is not JSON, or not as its schema says",
    "metadata-mismatch": "metadata.json says something else than the files",
    "video-missing": "a sample has no file of frames",
    "label-missing": "a sample has no label file",
    "annotation-missing": "a sample has no file of annotations",
    "file-missing": "a file of several samples is not there",
    "surplus": "a file or folder that does not belong there",
    "file-unreadable": "a file of several samples is truncated or damaged, or holds none",
    "file-invalid": "a file of several samples is laid out otherwise",
    "video-unreadable": "a file of frames is truncated or damaged, or holds none",
    "video-unsafe": "a tensor file wants to run code; it was not run",
    "video-shape": "frames have another shape than the others",
    "video-dtype": "frames have another type than the others, or none that is known",
    "video-storage": "a tensor is a view of larger memory, all of which the file holds",
    "video-checksum": "bytes of a tensor have changed since it was written",
    "annotation-unreadable": "a file of annotations is truncated or damaged, or holds no tensors by name",
    "annotation-unsafe": "a file of annotations wants to run code; it was not run",
    "annotation-shape": "annotations have other names, shapes or types than metadata.json says",
    "annotation-dtype": "an annotation has a type that no annotation has",
    "annotation-storage": "an annotation is a view of larger memory, all of which the file holds",
    "annotation-checksum": "bytes of annotations have changed since they were written",
    "label-unreadable": "a label cannot be read, or is not JSON",
    "label-invalid": "a label is not as its schema says",
    "label-mismatch": "fields of a label contradict each other or the metadata",
    "class-balance": "classes are not as frequent as they should be",
    "store-mismatch": "the store holds another dataset, or lacks annotations",
    "store-missing": "a sample is not in the store, or not written yet",
    "content-video": "frames differ from the store",
    "content-label": "a label, or a column of labels, differs from the store",
    "content-annotation": "annotations differ from the store",
}
"""Every fault that validation knows, by code."""

FAULTS_MAX: Final = 100
"""Faults that a report lists unless the caller says otherwise; all are counted."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    code: str
    path: str
    detail: str

    def __post_init__(self) -> None:
        # names and values of a folder may hold what moves a terminal's cursor
        object.__setattr__(self, "path", escape(self.path))
        object.__setattr__(self, "detail", escape(self.detail))


class Faults:
    """Counts faults and keeps the first of each code."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[str, list[Fault]] = {}
        self.counts: Counter[str] = Counter()

    def add(self, code: str, path: str, detail: str) -> None:
        """Note a fault."""
        self.counts[code] += 1
        if self.counts[code] <= self._most:
            self._kept.setdefault(code, []).append(Fault(code, path, detail))

    def listed(self) -> tuple[Fault, ...]:
        """The first faults, in the order of `FAULTS`, then of their paths."""
        ordered = (
            fault
            for code in FAULTS
            for fault in sorted(self._kept.get(code, []), key=lambda fault: (len(fault.path), fault.path))
        )
        return tuple(fault for fault, _ in zip(ordered, range(self._most), strict=False))
