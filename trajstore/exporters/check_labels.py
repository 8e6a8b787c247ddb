"""What in a label contradicts itself or the metadata, and in what it differs from the store's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from pydantic import BaseModel

from trajstore.exporters.plan import METADATA_FILE
from trajstore.exporters.records import EXTRA_COLUMNS, OPTIONAL, BodyLabel, Label, Source
from trajstore.exporters.traj import TrajLabel
from trajstore.scene.bodies import ROLES
from trajstore.scene.column_names import list_columns

REWORDED: Final = ("caption",)
"""Fields of a label that another version may word in another way, and that are not compared."""

EXACT: Final = ("extrinsics",)
"""Fields of a label that are float64 in a store; other numbers are float32."""


def name_class(label: Label | TrajLabel, classes: tuple[str, ...]) -> str:
    """The name of a label's class, or its number where there is no such class."""
    if isinstance(label, TrajLabel):
        return label.class_name
    return classes[label.class_label] if label.class_label < len(classes) else str(label.class_label)


def find_contradictions(
    label: Label | TrajLabel, classes: tuple[str, ...], source: Source | None
) -> Iterator[str]:
    """What in a label does not fit the rest of it or the metadata."""
    if isinstance(label, TrajLabel):
        yield from _find_in_traj(label, classes, source)
    elif label.class_label >= len(classes):
        yield f"class_label: found {label.class_label}, expected 0…{len(classes) - 1}"
    elif label.class_name not in (None, classes[label.class_label]):
        expected = classes[label.class_label]
        yield f"class_name: found {label.class_name!r}, expected {expected!r} with class_label {label.class_label}"
    if source is None:
        return
    if source.split not in (None, label.split):
        yield f"split: found {label.split!r}, expected {source.split!r} as in {METADATA_FILE}"
    frames = source.tensor_shape[1]
    if label.positions is None or len(label.positions) != frames:
        yield f"positions: found {len(label.positions or ())}, expected {frames}, one for each frame"
    if isinstance(label, Label):
        if source.class_name not in (None, label.class_name):
            yield f"class_name: found {label.class_name!r}, expected {source.class_name!r} as in {METADATA_FILE}"
        yield from _find_in_world(label, source)


def _find_in_traj(label: TrajLabel, classes: tuple[str, ...], source: Source | None) -> Iterator[str]:
    """What in a label of the layout traj does not fit the rest of it or the metadata."""
    if classes and label.class_name not in classes:
        yield f"class: found {label.class_name!r}, expected one of {', '.join(classes)}"
    frames, size = label.num_frames, label.num_cameras
    if source is None:
        if len(label.positions) < frames:
            yield f"positions: found {len(label.positions)}, expected at least num_frames, {frames}"
        if len(label.camera_positions) != size:
            yield f"camera_positions: found {len(label.camera_positions)}, expected num_cameras, {size}"
        return
    cameras, seen, _, height, width = source.tensor_shape
    moving = (seen,) if source.spec.camera.is_moving else ()
    pairs: list[tuple[str, Any, Any]] = [
        ("num_frames", frames, seen),
        ("num_cameras", size, cameras),
        ("resolution", label.resolution, (height, width)),
        ("shape of camera_positions", _shape(label.camera_positions), (cameras, *moving, 3)),
    ]
    yield from (
        f"{name}: found {found}, expected {wanted}" for name, found, wanted in pairs if found != wanted
    )
    if label.future_position is None:
        yield "future_position: found none, expected some"


def _find_in_world(label: Label, source: Source) -> Iterator[str]:
    """What in a label does not fit the spec: what only some stores have, and the shape of it."""
    spec, (cameras, frames) = source.spec, source.tensor_shape[:2]
    columns = list_columns(spec)
    for name, column in OPTIONAL.items():
        has, wants = getattr(label, name) is not None, column in columns
        if has != wants:
            yield f"{name}: found {'some' if has else 'none'}, expected {'some' if wants else 'none'} by the spec"
    for column, name in EXTRA_COLUMNS.items():
        shape = _shape(getattr(label, name))
        expected = (cameras, frames) if column in source.columns else ()
        if shape is None or shape[:2] != expected:
            yield f"{name}: found {shape or 'none'}, expected {expected or 'none'}, cameras × frames"
    if label.extrinsics is not None:
        moving = (frames,) if spec.camera.is_moving else ()
        shape, expected = _shape(label.extrinsics), (cameras, *moving, 3, 4)
        if shape != expected:
            yield f"extrinsics: found shape {shape}, expected {expected}"
    if label.bodies is None or not spec.bodies.are_labelled:
        return
    numbers = [body.body for body in label.bodies]
    if numbers != sorted({0, *numbers}) or numbers[-1] >= spec.bodies.count:
        yield f"bodies: found {numbers}, expected some of 0…{spec.bodies.count - 1} in this order, and 0 among them"
    for body in label.bodies:
        yield from (f"bodies: body {body.body}: {fault}" for fault in _find_in_body(body, cameras, frames))
        if body.body == 0 and label.positions != body.positions:
            yield "bodies: body 0: found other positions than those of the target"


def _find_in_body(body: BodyLabel, cameras: int, frames: int) -> Iterator[str]:
    """What in the label of a body contradicts itself."""
    first, last = body.first_frame, body.last_frame
    if (body.role == ROLES[0]) != (body.body == 0):
        yield f"found role {body.role!r}, expected the target to be body 0"
    if not first <= last <= frames:
        yield f"found frames {first} to {last}, expected some of 1…{frames}"
    if len(body.positions) != frames or _shape(body.visible_pixels) != (cameras, frames):
        yield f"found positions or visible_pixels of other sizes, expected {cameras} cameras × {frames} frames"
        return
    is_there = np.array([first <= frame <= last for frame in range(1, frames + 1)])
    if [point is not None for point in body.positions] != is_there.tolist():
        yield f"found positions at other frames than those at which it is there, {first} to {last}"
    if np.array(body.visible_pixels)[:, ~is_there].any():
        yield f"found visible pixels at other frames than those at which it is there, {first} to {last}"


def _shape(values: Any) -> tuple[int, ...] | None:
    """The shape of nested tuples; None where some are longer than others."""
    try:
        return tuple(np.shape(values))
    except ValueError:
        return None


def find_differences(label: Label | TrajLabel, expected: Label | TrajLabel) -> Iterator[str]:
    """Fields of a label that differ from the store's, in the precision of the store."""
    for name in type(expected).model_fields:
        found, wanted = getattr(label, name), getattr(expected, name)
        if found is None or found == wanted or name in REWORDED:
            continue
        number = np.float64 if name in EXACT else np.float32
        if not _is_same(found, wanted, number):
            yield name


def _is_same(found: Any, wanted: Any, number: type[np.floating[Any]]) -> bool:
    """Whether two parts of labels are the same, in the precision of a type of numbers."""
    if isinstance(found, BaseModel) and isinstance(wanted, BaseModel):
        return _is_same(dict(found), dict(wanted), number)
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(
            _is_same(found[name], wanted[name], number) for name in found
        )
    if isinstance(found, tuple) and isinstance(wanted, tuple):
        return len(found) == len(wanted) and all(
            _is_same(one, other, number) for one, other in zip(found, wanted, strict=True)
        )
    if isinstance(found, float) and isinstance(wanted, float):
        return bool(number(found) == number(wanted))
    return bool(found == wanted)
