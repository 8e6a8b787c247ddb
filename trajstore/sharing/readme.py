"""The card: README.md as Hugging Face shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from trajstore.sharing.licenses import OTHER, SPDX, UNKNOWN
from trajstore.sharing.loading import list_configs, write_loading
from trajstore.sharing.shortcuts import Shortcut
from trajstore.sharing.subject import ZARR, Subject
from trajstore.text import format_bytes, format_count, quote

MARK: Final = "<!-- written by trajstore card, which replaces this file when it is run again -->"
"""The line by which a card of ours is known."""

BAR: Final = "\\|"
"""A bar that ends no cell of a table."""

SIZES: Final = (
    (10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B"), (10**12, "100B<n<1T"),
)  # fmt: skip
"""Size categories of Hugging Face, each below a number of samples."""

TASKS: Final = {"segmentation": "image-segmentation", "depth_map": "depth-estimation"}
"""Tasks of Hugging Face that an annotation is for."""

INTENDED: Final = (
    "Training and testing models of motion and three-dimensional structure from several views: "
    "classifying trajectories, "
    "predicting a future position, tracking, and whatever the annotations are for."
)
LIMITS: Final = (
    (
        "It does not look real: simple shaded solids, one light, no shadows, no collisions. It tests "
        "whether a model sees motion "
        "in space, not whether it knows the world."
    ),
    "Scores on it are comparable only with scores on the same rows, the same cameras and the same splits.",
)


def write_readme(
    subject: Subject,
    *,
    name: str,
    license: str,  # noqa: A002
    shortcut: Shortcut | None,
    picture: str | None,
    stored_bytes: int,
    files: int,
) -> bytes:
    """Write the card; ``picture`` is the file of a picture that lies beside it."""
    parts = [
        _write_front(subject, name, license),
        MARK,
        f"# {_escape(name)}",
        describe(subject),
        f"![One sample of each class: what the cameras see over time, and the path in the world]({picture})"
        if picture
        else "",
        "## What is in it",
        _write_counts(subject),
        f"{format_bytes(stored_bytes)} in {format_count(files)} files.",
        "## Columns",
        _write_columns(subject),
        "## How to load it",
        write_loading(subject).strip(),
        "## How it was made",
        _write_making(subject),
        "## Known shortcuts and limits",
        *describe_shortcut(shortcut),
        *(f"- {text}" for text in LIMITS),
        "## Whether a copy is right",
        _write_proof(subject),
        "## License",
        describe_license(license),
    ]
    return ("\n\n".join(part for part in parts if part) + "\n").encode()


def describe(subject: Subject) -> str:
    """What it is, in a few sentences."""
    cameras, frames, _, height, width = subject.frame_shape
    names, spec = subject.spec.dataset.classes, subject.spec
    bodies = "one body" if not spec.bodies.are_labelled else "a target among other bodies"
    what = "camera" if cameras == 1 else "calibrated cameras"
    return (
        f"{format_count(len(subject.rows))} synthetic clips of {bodies} in motion, seen by {cameras} "
        f"{what}: {frames} frames "
        f"of {height} × {width} px, RGB. Each clip is of one of {len(names)} classes of motion "
        f"({', '.join(names)}), with "
        f"exact labels: the path in the world and where the body will be {spec.video.horizon} frames "
        f"after the last seen one. "
        "Made by a program from a specification; no camera, person or place is involved."
    )


def describe_shortcut(shortcut: Shortcut | None) -> list[str]:
    """What one moment tells of the class, as items of a list."""
    if shortcut is None:
        return [
            "- How much a single still picture tells of the class was not measured: there are too few samples to do so."
        ]
    return [
        (
            f"- **Where the body is tells something of the class**: from one still moment the class is guessed right "
            f"in {shortcut.position:.0%} of the samples by the position in the world, in "
            f"{shortcut.picture:.0%} by a picture, by chance "
            f"in {shortcut.chance:.0%}. A model has learned motion only where it does better than that."
        ),
        f"- How that was measured, on this dataset: {shortcut.method}. Another method may find more.",
    ]


def describe_license(name: str) -> str:
    """What may be done with it."""
    if name == UNKNOWN:
        return "None was chosen. Before you pass this on or publish what you made of it, ask whoever gave it to you."
    if name == OTHER:
        return "The terms are in the file [LICENSE](LICENSE)."
    return f"[{SPDX[name]}](https://spdx.org/licenses/{SPDX[name]}.html)"


def _write_front(subject: Subject, name: str, license: str) -> str:  # noqa: A002
    """The front matter: what Hugging Face reads."""
    import yaml

    configs = list_configs(subject)
    samples = len(subject.rows)
    front: dict[str, Any] = {
        "pretty_name": name,
        "license": license,
        **({"license_name": "see-license", "license_link": "LICENSE"} if license == OTHER else {}),
        "size_categories": [next((text for limit, text in SIZES if samples < limit), "n>1T")],
        "task_categories": [
            "video-classification",
            *(task for annotation, task in TASKS.items() if annotation in subject.annotations),
        ],
        "tags": ["trajstore", "synthetic", "video", "multi-view", "trajectory", subject.format],
        **({"configs": configs} if configs else {"viewer": False}),
    }
    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{text}---"


def _write_table(header: Sequence[str], rows: Sequence[Sequence[object]], right: int = 0) -> str:
    """A table, whose last columns are numbers."""
    left = len(header) - right
    lines = [header, ["---"] * left + ["---:"] * right, *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', BAR) for cell in line)} |" for line in lines)


def _write_counts(subject: Subject) -> str:
    """Samples by class and split."""
    splits, counts = subject.splits, subject.counts
    rows = [
        [name, *(format_count(row[split]) for split in splits), format_count(sum(row.values()))]
        for name, row in counts.items()
    ]
    sums = [sum(row[split] for row in counts.values()) for split in splits]
    rows.append(["all", *map(format_count, sums), format_count(sum(sums))])
    return _write_table(["class", *splits, "all"], rows, right=len(splits) + 1)


def _write_columns(subject: Subject) -> str:
    """What each sample has."""
    if subject.format in (ZARR, "hdf5"):
        return _write_arrays(subject)
    shape = " × ".join(map(str, subject.frame_shape))
    source = subject.source
    kind = source.tensor_dtype if source else "uint8"
    scale = "0 … 1" if kind == "float32" else "0 … 255"
    rows = [
        [
            "frames",
            "camera, frame, channel, y, x",
            shape,
            kind,
            scale,
            "what the cameras see, red, green, blue",
        ]
    ]
    rows += [list(field) for field in list_labels(subject)]
    return (
        _write_table(["field", "dimensions", "shape", "type", "unit", ""], rows)
        + "\n\nFrames are numbered from 1: array index = frame − 1. World: right-handed, z up."
    )


def _write_arrays(subject: Subject) -> str:
    """The arrays, as the layout of the store has them."""
    rows = []
    sizes = {"camera": subject.cameras, "sample": len(subject.rows)}
    for column in subject.columns:
        shape = [sizes.get(dim, size) for dim, size in zip(column.dims, column.shape, strict=True)]
        texts = column.attributes
        note = "; ".join(str(texts[key]) for key in ("long_name", "comment") if texts.get(key))
        if meanings := texts.get("flag_meanings"):
            note += f"; {', '.join(f'{i} {word}' for i, word in enumerate(str(meanings).split()))}"
        dims, size = ", ".join(column.dims), " × ".join(map(str, shape))
        rows.append([f"`{column.name}`", dims, size, column.dtype, texts.get("units", ""), note])
    return (
        _write_table(["array", "dimensions", "shape", "dtype", "unit", ""], rows)
        + "\n\nFrames are numbered from 1: array index = frame − 1. World: right-handed, z up. Cameras: "
        "OpenCV's x right, y down, "
        "z forward; pixel centres at half-integers, origin top left."
    )


def list_labels(subject: Subject) -> list[tuple[str, str, str, str, str, str]]:
    """Fields of a JSON label that every sample has: name, dimensions, shape, type, unit, what it is."""
    frames, cameras = subject.spec.video.frames, subject.cameras
    classes = ", ".join(f"{i} {name}" for i, name in enumerate(subject.spec.dataset.classes))
    path, world = ("frame, axis", f"{frames} × 3"), "world units"
    if subject.source is not None and subject.source.options.get("layout") == "traj":
        return [
            ("class", "", "", "text", "", "name of the trajectory class"),
            ("positions", *path, "float", world, "centre of the target at each seen frame, z up"),
        ]
    asked = () if subject.source is None else subject.source.columns
    seen = {
        "pixel": (
            "pixels", "camera, frame, uv", f"{cameras} × {frames} × 2", "float", "px",
            "projected centre of the target: right, down from the top left corner",
        ),
        "depth": (
            "depths", "camera, frame", f"{cameras} × {frames}", "float", world,
            "z of the target's centre in the camera's frame",
        ),
        "box": (
            "boxes", "camera, frame, edge", f"{cameras} × {frames} × 4", "float", "px",
            "box of the target's exact silhouette: u_min, v_min, u_max, v_max",
        ),
    }  # fmt: skip
    return [
        ("class_label", "", "", "int", "", classes),
        ("class_name", "", "", "text", "", "name of the trajectory class"),
        ("split", "", "", "text", "", "train, val or test"),
        ("caption", "", "", "text", "", "what is to be seen, in one English sentence"),
        ("positions", *path, "float", world, "centre of the target at each seen frame, z up"),
        (
            "future_position", "axis", "3", "float", world,
            f"the same at frame {frames + subject.spec.video.horizon}, counted from 1",
        ),
        *(seen[name] for name in asked),
    ]  # fmt: skip


def _write_making(subject: Subject) -> str:
    """The commands, the spec, the fingerprint and the versions."""
    versions = ", ".join(f"{name} {number}" for name, number in subject.versions.items())
    lines = [
        (
            "Every row is a pure function of this spec, its seed and its number. To make it again, with the "
            "spec below in `spec.toml`:"
        ),
        "```sh\n" + "\n".join(subject.command()) + "\n```",
        f"It is the same if its fingerprint is: `{subject.fingerprint}`. Finished {subject.finished}"
        + (f" by {versions}." if versions else "."),
    ]
    if subject.spec.dataset.families:
        lines.append(
            "Its spec names families of motion of its own: the package that defines them has to be installed, too."
        )
    lines.append(f"```toml\n{subject.spec.to_toml().strip()}\n```")
    return "\n\n".join(lines)


def _write_proof(subject: Subject) -> str:
    """How to check a copy."""
    if subject.format == ZARR:
        commands = f"(cd {quote(subject.folder_name)} && sha256sum --quiet -c ../checksums.sha256)\n"
        commands += f"trajstore verify {quote(subject.folder_name)} --against checksums.sha256\n"
        where = "The names in `checksums.sha256` are those inside of the store's folder. Either line does:"
    else:
        commands = "sha256sum --quiet -c checksums.sha256\ntrajstore verify . --against checksums.sha256\n"
        where = "Either line does:"
    note = "The second names surplus files, too. `croissant.json` describes the dataset for machines."
    return f"{where}\n\n```sh\n{commands}```\n\n{note}"


def _escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return "".join(f"\\{sign}" if sign in r"\`*_[]<>#|" else sign for sign in text)
