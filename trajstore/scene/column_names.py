"""Which label columns a spec asks for."""

from __future__ import annotations

from typing import Final

from trajstore.spec import DatasetSpec

ALWAYS: Final = (
    "class_label", "split", "position", "future_position", "pixel", "depth", "box", "radius", "object_color",
    "background_color",
)  # fmt: skip
"""Columns of every dataset, all but the first two and the last of the target."""

OF_BODIES: Final = (
    "body_role", "body_shape", "body_radius", "body_color", "first_frame", "last_frame", "body_position",
    "body_pixel", "body_depth", "body_box", "visible_pixels",
)  # fmt: skip
"""Columns of datasets with several bodies, or with others than spheres."""

MOTION_LABELS: Final = ("speed", "path_length", "direction")
"""Labels of a path, whatever its class."""


def list_columns(spec: DatasetSpec) -> tuple[str, ...]:
    """Names of the label columns, in the order in which they are written."""
    bodies, camera = spec.bodies, spec.camera
    is_narrow = camera.margin < 0.0
    asked: list[tuple[bool, tuple[str, ...]]] = [
        (True, ALWAYS),
        (bodies.are_labelled, OF_BODIES),
        (bodies.shapes != ("sphere",), ("body_orientation",)),
        (is_narrow, ("in_view",)),
        (is_narrow and bodies.are_labelled, ("body_in_view",)),
        (camera.is_jittered or camera.is_moving, ("extrinsics",)),
        (spec.background.patterns != ("plain",), ("background_pattern", "background_second_color")),
        (spec.render.light_jitter > 0.0, ("light",)),
        (spec.sensor.is_noisy, ("noise",)),
        (spec.sensor.is_blurred, ("shutter",)),
        (spec.dataset.motion_labels, (*MOTION_LABELS, *spec.dataset.parameters)),
    ]
    return tuple(name for is_asked, names in asked if is_asked for name in names)
