"""How each format is loaded, in words, in code, and in the configurations that ``datasets`` reads from a card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from trajstore.exporters.plan import METADATA_FILE
from trajstore.exporters.records import Source
from trajstore.sharing.subject import Subject


@dataclass(frozen=True)
class FileGroup:
    """Files of one kind.

    Attributes
    ----------
    name : str
        What they are called in Croissant.
    pattern : str
        Which they are, beside the card.
    media_type : str
        What they are.
    description : str
        What is in them.
    inside : str
        The group of archives that they are in.
    """

    name: str
    pattern: str
    media_type: str
    description: str
    inside: str = ""


def list_groups(subject: Subject) -> list[FileGroup]:
    """The files, by kind."""
    store = subject.folder_name
    match subject.format:
        case "zarr":
            return [
                FileGroup(
                    "store",
                    f"{store}/**",
                    "application/vnd+zarr",
                    "The Zarr v3 store: every file below its folder",
                )
            ]
        case "hdf5":
            return [
                FileGroup(
                    "dataset.h5",
                    "dataset.h5",
                    "application/x-hdf5",
                    "All samples, frames and labels, in one file",
                )
            ]
        case "webdataset":
            return [
                FileGroup("shards", "*.tar", "application/x-tar", "Tar shards of each split"),
                FileGroup("labels", "*.json", "application/json", "A label for each sample", inside="shards"),
            ]
        case "videofolder":
            ending = subject.source.options.get("video", "mp4") if subject.source else "mp4"
            kind = {"mp4": "video/mp4", "mkv": "video/matroska"}[ending]
            return [
                FileGroup("videos", f"*/*.{ending}", kind, "A video for each camera of a sample"),
                FileGroup("rows", "*/metadata.jsonl", "application/jsonlines", "A line for each sample"),
            ]
        case "frames":
            return [
                FileGroup("pictures", "frames/*/*.png", "image/png", "A picture for each frame of a camera"),
                FileGroup("labels", "labels/*.json", "application/json", "A label for each sample"),
            ]
        case _:
            groups = [
                FileGroup(
                    "videos",
                    "videos/*.pt",
                    "application/octet-stream",
                    "A tensor for each sample, torch.save",
                ),
                FileGroup("labels", "labels/*.json", "application/json", "A label for each sample"),
            ]
            if subject.annotations:
                groups.append(
                    FileGroup(
                        "annotations", "annotations/*.pt", "application/octet-stream",
                        "A dictionary of tensors for each sample, torch.save",
                    )
                )  # fmt: skip
            return groups


def list_configs(subject: Subject) -> list[dict[str, Any]]:
    """The configurations by which ``datasets`` loads it; none where it cannot."""
    match subject.format:
        case "webdataset":
            files = [{"split": split, "path": f"{split}-*.tar"} for split in subject.splits]
        case "videofolder":
            files = [{"split": split, "path": f"{split}/**"} for split in subject.splits]
        case _:
            return []
    return [{"config_name": "default", "data_files": files}]


def write_loading(subject: Subject) -> str:
    """How to load it: a few lines of Markdown."""
    if subject.source is None:
        return _STORE.format(name=subject.folder_name)
    return _explain_export(subject, subject.source)


def _explain_export(subject: Subject, source: Source) -> str:
    """How to load an export."""
    options = source.options
    match subject.format:
        case "hdf5":
            note = (
                "`--compression zstd`: h5py and xarray need `import hdf5plugin` first.\n\n"
                if options.get("compression") == "zstd"
                else ""
            )
            video = _HDF5_VIDEO.format(shape=source.tensor_shape, dtype=source.tensor_dtype)
            return note + _HDF5.replace("VIDEO", video)
        case "webdataset":
            return _WEBDATASET.replace("SPLIT", subject.splits[0])
        case "videofolder":
            return _VIDEOFOLDER.replace("SPLIT", subject.splits[0])
        case "frames":
            return _FRAMES.replace("ROW", f"{subject.rows[0]:08d}")
        case _ if options.get("layout") == "traj":
            return _TRAJ.replace("ROW", f"{subject.rows[0]:05d}")
        case _:
            return _TORCH.replace("ROW", f"{subject.rows[0]:04d}").replace("METADATA", METADATA_FILE)


_STORE: Final = """\
With xarray; trajstore need not be installed:

```python
import xarray

dataset = xarray.open_zarr("{name}")
clip = dataset.video[0].values
train = dataset.isel(sample=(dataset.split == 0).values)
```

With PyTorch and trajstore:

```python
from torch.utils.data import DataLoader
from trajstore.torch import ShardShuffleSampler, TrajectoryDataset, collate

dataset = TrajectoryDataset("{name}", split="train")
loader = DataLoader(
    dataset, batch_size=8, sampler=ShardShuffleSampler(dataset, seed=0), collate_fn=collate
)
```

`datasets.load_dataset` reads no Zarr, so it cannot load this store, and the Hub's viewer does not show it. Get the
files (`hf download`, `git clone`) and open them as above, or hand the rows over one by one:

```python
import datasets
import trajstore

reader = trajstore.open_reader("{name}")


def rows():
    for row in range(8):  # or len(reader)
        yield {{"video": reader[row], "class_label": int(reader.column("class_label", [row])[0])}}


dataset = datasets.Dataset.from_generator(rows)
```
"""

_HDF5_VIDEO: Final = 'Array5D({shape}, "{dtype}")'

_HDF5: Final = """\
With xarray, or h5py alone:

```python
import xarray

dataset = xarray.open_dataset("dataset.h5", engine="h5netcdf")
clip = dataset.video[0].values
```

With PyTorch:

```python
import h5py
import torch

with h5py.File("dataset.h5") as file:
    clip = torch.from_numpy(file["video"][0])
    label = int(file["class_label"][0])
```

With `datasets`, which has to be told the columns to load, because it takes no others than those with a value for each
sample; all splits are in one, and the column `split` says which a row belongs to:

```python
from datasets import Array5D, Features, Value, load_dataset

features = Features({"video": VIDEO, "class_label": Value("int8"), "split": Value("int8")})
rows = load_dataset("hdf5", data_files="dataset.h5", features=features, split="train")
```
"""

_WEBDATASET: Final = """\
With PyTorch, through webdataset:

```python
import webdataset

samples = webdataset.WebDataset("SPLIT-000000.tar", shardshuffle=False).decode()
sample = next(iter(samples))
label = sample["json"]
```

With `datasets`:

```python
import datasets

dataset = datasets.load_dataset("webdataset", data_files={"SPLIT": "SPLIT-*.tar"}, split="SPLIT")
```

xarray reads no tar files.
"""

_VIDEOFOLDER: Final = """\
With `datasets` (decoding takes torchcodec):

```python
import datasets

dataset = datasets.load_dataset("videofolder", data_dir=".", split="SPLIT")
```

Each file is a plain video: PyAV, torchcodec and players open it. xarray reads no videos.
"""

_FRAMES: Final = """\
```python
import json
from pathlib import Path

import numpy as np
from PIL import Image

folder = Path("frames/ROW")
frames = np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("camera_0_*.png"))])
```

This format is for looking. `datasets` would take each picture for a row, xarray reads none of it; for training export
another format.
"""

_TORCH: Final = """\
With PyTorch:

```python
import json
from pathlib import Path

import torch

clip = torch.load("videos/sample_ROW.pt", weights_only=True)  # cameras, frames, channels, height, width
label = json.loads(Path("labels/sample_ROW.json").read_text())
target = torch.tensor(label["future_position"])
```

`datasets.load_dataset` and xarray read no `.pt` files, and the Hub's viewer does not show them; METADATA says what is
here.
"""

_TRAJ: Final = """\
With PyTorch:

```python
import json
from pathlib import Path

import torch

clip = torch.load("videos/traj_ROW.pt", weights_only=True)  # frames, channels, height, width
label = json.loads(Path("labels/traj_ROW.json").read_text())
target = torch.tensor(label["positions"][-1])
```

`datasets.load_dataset` and xarray read no `.pt` files, and the Hub's viewer does not show them.
"""
