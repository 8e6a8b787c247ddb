"""Words that people try in a spec and that are no fields, and what the spec has for them.

The page "Specs to try" shows the same words; a test compares them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

PAGE: Final = "docs/how-to/specs-to-try.md"
"""The page that shows what to write."""

FIELDS: Final = {
    "dataset.samples": "num_samples, n_samples, num_clips, num_videos, clips, videos, dataset.size",
    "dataset.seed": "random_seed, rng_seed, random_state",
    "dataset.classes": "class_names, num_classes, trajectory, trajectories, trajectory_types",
    "dataset.weights": "class_weights, class_balance, class_ratio, imbalance",
    "splits.train, splits.val and splits.test": "split, train_ratio, train_split, val_ratio, val_split, validation, "
    "test_ratio, test_split, dataset.splits",
    "video.frames": "num_frames, n_frames, clip_length, sequence_length, seq_len, timesteps",
    "video.cameras": "num_cameras, n_cameras, num_views, n_views, views, camera.count",
    "video.height and video.width": "resolution, image_size, img_size, frame_size, video.size",
    "video.horizon": "prediction_horizon, future_frames",
    "scene.radius": "object_size, object_radius, sphere_radius, bodies.size",
    "scene.size": "path_size, trajectory_size",
    "bodies.distractors, which counts the bodies beside the target": "num_objects, n_objects, objects, object_count, "
    "num_bodies, bodies.count",
    "bodies.distractors, and a larger scene.radius: any body hides what is behind it": "occluder, occluders, "
    "num_occluders, occlusion",
    "bodies.shapes": "shape, object_shape, object_shapes",
    "bodies.motion": "bodies.classes, object_motion",
    "camera.orbit, in degrees over the clip": "camera_motion, moving_camera, moving_cameras, camera.motion, "
    "camera.moving, camera.rotation, camera.speed",
    "camera.distance, camera.elevation and camera.azimuth; cameras look at the origin": "position, positions, "
    "camera_position, camera_positions, look_at, camera.height",
    "camera.margin; the focal length follows from it": "fov, focal_length, zoom, camera.intrinsics",
    "camera.azimuth_jitter, elevation_jitter, distance_jitter or roll_jitter": "jitter, camera_jitter",
    "render.light": "lights, lighting, light_direction, light_position",
    "background.patterns": "background_pattern, background_texture, render.background",
    "sensor.noise": "noise_std, noise_level, noise_sigma, gaussian_noise",
    "sensor.blur": "motion_blur, shutter, shutter_speed, exposure",
    'annotations.groups = ["depth_map"]': "depth, depth_map, depth_maps",
    'annotations.groups = ["segmentation"]': "mask, masks, segmentation, instance_segmentation",
    'annotations.groups = ["flow"]': "flow, optical_flow",
    'annotations.groups = ["normals"]': "normals, surface_normals",
    'annotations.groups = ["tracks"]': "tracks, point_tracks",
    "storage.samples_per_shard": "shard_size",
}
"""Other words for a field, or for several, by what to write."""

ABSENT: Final = {
    "frames are numbered and have no times; video.frames says how many there are": "fps, frame_rate, framerate, "
    "duration, seconds",
    "a path takes the whole clip; for slower motion raise video.frames or lower scene.size": "speed, velocity, "
    "object_speed",
    "there are no forces and no collisions; the classes Bouncing and Pendulum move as under gravity": "gravity, "
    "physics, collisions, mass, friction",
    "frames are RGB in uint8; convert them where you read them": "grayscale, gray, color_mode, channels, rgb",
    "colours are random; the labels object_color and background_color hold them": "color, colour, colors, "
    "colours, object_color, background_color",
    "a body has one colour; only backgrounds have patterns: background.patterns": "texture, textures, material, "
    "materials",
    "bodies are spheres, cubes, cylinders or cones: bodies.shapes": "mesh, meshes, model, models",
    "backgrounds are drawn, not loaded: background.patterns": "image, images, background_image, hdri",
    "bodies are shaded by one light and cast no shadows": "shadow, shadows, reflections",
    "a clip has one target and one class; the other bodies have paths but no class": "target, targets, num_targets, "
    "multi_label",
    "cameras are pinholes without distortion": "distortion, lens, rolling_shutter",
    "every store has the labels box and pixel; there is nothing to switch on": "box, boxes, bbox, bounding_boxes, "
    "keypoints",
}
"""Words for what no spec decides, by why not and what there is instead."""

SYNONYMS: Final = {
    **{word: f"write {fields}" for fields, words in FIELDS.items() for word in words.split(", ")},
    **{word: f"{reason}; see {PAGE}" for reason, words in ABSENT.items() for word in words.split(", ")},
}
"""What to do, by word; a word may begin with the section that it is meant for."""


def advise(place: Sequence[int | str]) -> str:
    """What to do about an unknown field, given by section and name or by name alone; empty for other words.

    Examples
    --------
    >>> advise(["video", "num_frames"]), advise(["Class-Weights"]), advise(["video", "sharpness"])
    ('; write video.frames', '; write dataset.weights', '')
    """
    words = [str(part).casefold().replace("-", "_") for part in place[-2:]]
    advice = SYNONYMS.get(".".join(words)) or SYNONYMS.get(words[-1])
    return f"; {advice}" if advice else ""
