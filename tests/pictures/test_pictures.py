"""What is drawn is where the labels say, and no text covers another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import rc_context
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from PIL import Image
from support.worlds import EVERYTHING

from trajstore.pictures import film, sheet
from trajstore.pictures.annotations import COLORINGS, color_clips, show_views
from trajstore.pictures.choose import spread
from trajstore.pictures.clips import HIDDEN, PARTLY, VISIBLE, Clip, load_clips, zoom_in
from trajstore.pictures.encode import encode_still
from trajstore.pictures.film import draw_film
from trajstore.pictures.legend import Entry, find_height, list_colors
from trajstore.pictures.page import Area, Page, resize
from trajstore.pictures.palette import BOX, FAINT, FUTURE, PATH, ROLES, TRANSIENT
from trajstore.pictures.sheet import draw_sheet, fit_tile, plan_sheet
from trajstore.pictures.source import open_samples
from trajstore.pictures.tile import Tile
from trajstore.pictures.world import Outlook, draw_path, look, round_down
from trajstore.spec import DatasetSpec

Pixels = NDArray[np.uint8]


def make_clips(rows: Sequence[int], shown: int = 4, **fields: Any) -> list[Clip]:
    """Clips of a dataset of big spheres, drawn without a store."""
    spec = DatasetSpec.from_fields(**{"samples": 48, "radius": [0.3, 0.35], "seed": 3} | fields)
    video = spec.video
    return list(
        load_clips(
            open_samples(spec),
            rows,
            cameras=range(min(video.cameras, 8)),
            frames=spread(video.frames, shown, first=1),
        )
    )


def rgb(color: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue


def assert_color(page: Pixels, point: Sequence[float], color: str) -> None:
    """Fail unless a colour of the palette is at a point of the page, or right beside it."""
    u, v = (int(value) for value in point)
    near = page[max(0, v - 1) : v + 2, max(0, u - 1) : u + 2].reshape(-1, 3).astype(int)
    assert np.abs(near - rgb(color)).max(axis=1).min() < 60, (point, near)


def count_color(page: Pixels, color: str) -> int:
    return int((np.abs(page.astype(int) - rgb(color)).max(axis=-1) < 6).sum())


def tile_areas(count: int, clip: Clip) -> list[tuple[int, int, Area]]:
    """Where the first sample's pictures lie on a sheet: camera, place of the frame, area."""
    cameras, frames, _, height, width = clip.video.shape
    plan = plan_sheet(count, views=cameras, frames=frames, height=height, width=width)
    assert plan.cell == plan.tile
    left, top = sheet.MARGIN + plan.gutter, sheet.MARGIN + sheet.TITLE + plan.caption + sheet.HEADING
    places = [divmod(number, plan.across) for number in range(cameras * frames)]
    return [
        (*divmod(number, frames), Area(left + j * plan.pitch[0], top + i * plan.pitch[1], *plan.tile))
        for number, (i, j) in enumerate(places)
    ]


def cut(page: Pixels, area: Area) -> Pixels:
    return page[int(area.top) : int(area.bottom), int(area.left) : int(area.right)]


def marked(tile: Tile, clip: Clip, camera: int, frame: int, *, margin: int = 3) -> NDArray[np.bool_]:
    """Which pixels of a tile the line of the box may cover."""
    area, box = tile.area, tile.box_area(clip.target.box[camera, frame - 1])
    v, u = np.mgrid[0 : int(area.height), 0 : int(area.width)]
    x, y = u + 0.5 + area.left, v + 0.5 + area.top
    outside = (
        (x < box.left - margin)
        | (x > box.right + margin)
        | (y < box.top - margin)
        | (y > box.bottom + margin)
    )
    inside = (
        (x > box.left + margin)
        & (x < box.right - margin)
        & (y > box.top + margin)
        & (y < box.bottom - margin)
    )
    return ~(outside | inside)


def test_a_sheet_shows_pictures_pixel_by_pixel_and_marks_where_the_labels_say():
    clips = make_clips([5], cameras=2, frames=3)
    (clip,) = clips
    page = draw_sheet(clips, title="a", subtitle="b")
    page.keep()
    shown = page.shown()
    assert shown.shape == (page.height, page.width, 3)
    for i, j, area in tile_areas(1, clip):
        frame = clip.frames[j]
        tile = Tile(page, area, height=64, width=64)
        found, expected = (
            cut(shown, area),
            resize(clip.video[i, j], int(area.width), int(area.height))[:, :, :3],
        )
        is_marked = marked(tile, clip, i, frame)
        assert 0 < is_marked.mean() < 0.25
        box = tile.box_area(clip.target.box[i, frame - 1])
        for point in (
            (box.left, box.top + box.height / 3),
            (box.right, box.top + box.height / 3),
            (box.left + box.width / 3, box.top),
            (box.left + box.width / 3, box.bottom),
        ):
            assert_color(shown, point, BOX)
        if j < len(clip.frames) - 1:
            np.testing.assert_array_equal(found[~is_marked], expected[~is_marked])
            assert count_color(found, FUTURE) == count_color(found, PATH) == 0
        else:
            future = tile.to_page(clip.future_pixel[i])
            path = tile.path_points(clip.target, i, frame)
            visible = [point for point in path if np.hypot(*(point - future)) > 10]
            assert visible
            for point in visible:
                assert_color(shown, point.tolist(), PATH)
            assert_color(shown, tile.to_page(clip.future_pixel[i]), FUTURE)


def test_a_zoom_shows_the_part_of_each_frame_that_the_target_is_in():
    (clip,) = make_clips([5], cameras=2, frames=3, height=40, width=60, radius=[0.1, 0.12])
    part = zoom_in(clip, 3)
    assert part.video.shape[3:] == (13, 20)
    for i, (j, frame) in itertools.product(range(2), enumerate(clip.frames)):
        left, top = part.corners[i, j]
        frames = clip.video[i, j]
        np.testing.assert_array_equal(part.video[i, j], frames[:, top : top + 13, left : left + 20])
        middle = clip.target.box[i, frame - 1].reshape(2, 2).mean(axis=0) - part.corners[i, j]
        assert (middle >= 0).all()
        assert (middle <= [20, 13]).all()
    whole = zoom_in(clip, 1.0)
    np.testing.assert_array_equal(whole.video, clip.video)
    assert not whole.corners.any()


def test_marks_of_a_part_of_a_frame_are_where_they_are_in_the_whole():
    tile = Tile(Page(300, 300), Area(10, 20, 96, 128), height=32, width=24, corner=(8, 16))
    np.testing.assert_array_equal(tile.to_page([(8, 16), (32, 48)]), [(10, 20), (106, 148)])


@pytest.mark.parametrize("frames", [2, 12, 128])
def test_the_dots_of_a_path_are_apart(frames: int):
    (clip,) = make_clips([0], cameras=1, frames=frames, height=8, width=8)
    page = Page(330, 320)
    draw_path(page, Area(0, 0, 330, 320), clip)
    (path,) = (line for line in page.axes.lines if line.get_marker() == "o")
    dots = np.stack(path.get_data(), axis=-1)[:: path.get_markevery()]
    steps = np.hypot(*np.diff(dots, axis=0).T)
    assert np.median(steps) > 9 if len(steps) > 1 else frames == 2


def test_annotations_beside_frames_have_no_marks_and_are_named():
    samples = open_samples(DatasetSpec.from_fields(samples=8, cameras=2, frames=3, height=16, width=16))
    clips = list(load_clips(samples, [5], cameras=[0, 1], frames=[1, 2, 3]))
    shown, scales = show_views(samples, clips, ["video", "segmentation"])
    assert list(scales) == ["segmentation"]
    page = draw_sheet(shown, title="a", subtitle="b")
    texts = {text.get_text() for text in page.axes.texts}
    assert {f"camera {i}\n{name}" for i in range(2) for name in ("video", "segmentation")} <= texts
    boxes = [patch for patch in page.axes.patches if to_hex(patch.get_edgecolor()).upper() == BOX]
    assert len(boxes) == 2 * 3 + 1  # and one in the legend


def test_pixel_coordinates_are_those_of_the_labels():
    tile = Tile(Page(300, 300), Area(10, 20, 96, 128), height=64, width=48)
    np.testing.assert_array_equal(
        tile.to_page([(0, 0), (48, 64), (0.5, 0.5)]), [(10, 20), (106, 148), (11, 21)]
    )
    assert tile.box_area(np.array([1, 2, 3, 5], np.float32)) == Area(12, 24, 4, 6)


def test_marks_stay_inside_their_picture():
    page = Page(100, 60)
    tile = Tile(page, Area(20, 20, 20, 20), height=10, width=10)
    (clip,) = make_clips([0], shown=1, cameras=1, frames=2)
    body = replace(
        clip.target,
        pixel=np.array([[(-40, 5), (40, 5)]], np.float32),
        box=np.array([[[-3, -3, 5, 5], [38, 3, 42, 7]]], np.float32),
    )
    tile.mark_path(body, 0, 2)
    tile.mark_boxes([body], 0, 1)
    tile.mark_future(np.array([10.0, 10.0]))
    page.keep()
    is_blank = (page.shown() == 255).all(axis=-1)
    assert not is_blank[20:40, 20:40].all()
    is_blank[19:41, 19:41] = True
    assert is_blank.all()


SIZES: dict[str, dict[str, Any]] = {
    "one camera, two frames": {"rows": [0, 1, 2, 3], "cameras": 1, "height": 128, "width": 96, "frames": 2},
    "eight cameras": {"rows": [0, 1], "cameras": 8, "height": 16, "width": 16, "frames": 5},
    "many cameras": {"rows": [7], "cameras": 40, "height": 16, "width": 16, "frames": 5, "elevation": 89.0},
    "one row": {"rows": [17], "cameras": 4, "height": 16, "width": 16, "frames": 12},
    "twelve rows": {"rows": range(12), "cameras": 2, "height": 16, "width": 16, "frames": 2},
    "one pixel": {"rows": [0], "cameras": 1, "height": 1, "width": 1, "frames": 1, "samples": 10**12},
    "low": {"rows": [0], "cameras": 5, "height": 4, "width": 300, "frames": 3},
    "a world": {"rows": [0, 5], "frames": 4, "height": 24, "width": 24} | EVERYTHING,
    "a small world": {
        "rows": [0],
        "cameras": 1,
        "frames": 1,
        "height": 8,
        "width": 8,
        "transients": 2,
        "transient_frames": 1,
    },
    "a large world": {"rows": range(12), "cameras": 8, "frames": 4, "height": 8, "width": 8} | EVERYTHING,
    "motion labels": {
        "rows": [0],
        "cameras": 1,
        "frames": 4,
        "height": 24,
        "width": 24,
        "motion_labels": True,
    },
    "narrow": {"rows": [0], "cameras": 2, "height": 300, "width": 4, "frames": 3, "distance": 900.0},
}
LONG = "a very long name of a dataset that goes on and on and on and on and on and on and on and on.zarr"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["sheet", "film"])
def test_no_text_covers_another_or_leaves_the_page(size: str, kind: str, monkeypatch: pytest.MonkeyPatch):
    assert_texts_have_room(draw(kind, make_clips(**SIZES[size]), monkeypatch))


LEGENDS: dict[str, dict[str, Any]] = {
    "one pixel": SIZES["one pixel"],
    "many bodies": {
        "rows": [0], "cameras": 1, "frames": 2, "height": 8, "width": 8, "distractors": 34,
    },
}  # fmt: skip


@pytest.mark.parametrize("size", LEGENDS)
@pytest.mark.parametrize("kind", ["sheet", "film"])
@pytest.mark.parametrize("show", COLORINGS)
def test_legends_of_annotations_have_room(size: str, kind: str, show: str, monkeypatch: pytest.MonkeyPatch):
    clips = make_clips(**LEGENDS[size])
    colors = list_colors(show, (0.001, 1234.56), clips)
    page = draw(kind, clips, monkeypatch, colors=colors)
    assert_texts_have_room(page)
    assert {entry.text for line in colors for entry in line} <= {text.get_text() for text in page.axes.texts}
    last = max(entry.picture.shape[1] for line in colors for entry in line if entry.picture is not None)
    for image in page.axes.images:
        left, right, bottom, top = image.get_extent()
        assert 0 <= left < right <= page.width
        assert 0 <= top < bottom <= page.height
    heights = [image.get_extent()[2] - image.get_extent()[3] for image in page.axes.images]
    assert last in heights


def draw(
    kind: str, clips: list[Clip], monkeypatch: pytest.MonkeyPatch, colors: Sequence[Sequence[Entry]] = ()
) -> Page:
    """The page of a sheet or of a film with long titles."""
    if kind == "sheet":
        return draw_sheet(clips, title=LONG, subtitle=LONG * 3, colors=colors)
    pages: list[Page] = []

    class Kept(Page):
        def __init__(self, width: int, height: int) -> None:
            super().__init__(width, height)
            pages.append(self)

    monkeypatch.setattr(film, "Page", Kept)
    list(draw_film(clips, title=LONG, colors=colors))
    (page,) = pages
    return page


def assert_texts_have_room(page: Page) -> None:
    """Fail if a text covers another or leaves the page."""
    boxes = {text: text.get_window_extent() for text in page.axes.texts}
    assert len(boxes) > 3
    for text, box in boxes.items():
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= page.width, text
        assert box.y1 <= page.height, text
    for (one, first), (two, second) in combinations(boxes.items(), 2):
        width = min(first.x1, second.x1) - max(first.x0, second.x0)
        height = min(first.y1, second.y1) - max(first.y0, second.y0)
        # the boxes of lines have room above and below the letters
        assert width < 1 or height < 4, (one.get_text(), two.get_text())


def test_a_sheet_says_what_a_sample_is():
    (clip,) = clips = make_clips([5], cameras=2, frames=3)
    texts = {text.get_text() for text in draw_sheet(clips, title="a.zarr", subtitle="b").axes.texts}
    assert {"a.zarr", "b", clip.class_name, f"row 5, split {clip.split}"} <= texts
    assert {"frame 1", "frame 2", "frame 3", "camera 0", "camera 1", "future position, frame 8"} <= texts
    x, y, z = (f"{value:.2f}".replace("-", "−") for value in clip.future_position)
    assert f"radius {clip.target.radius:.3f}, at frame 8: ({x}, {y}, {z})" in texts


@given(height=st.integers(1, 2000), width=st.integers(1, 2000), largest=st.integers(48, 200))
def test_pictures_are_enlarged_by_whole_numbers_or_divided(height: int, width: int, largest: int):
    shown = fit_tile(height, width, largest=largest)
    assert max(shown) <= 1.5 * sheet.LONG_MAX * largest + 1
    if np.sqrt(shown[0] * shown[1]) < 0.6 * largest:  # unless it is so long
        assert max(height, width) > sheet.LONG_MAX * min(height, width)
    if max(shown) >= max(height, width):
        assert shown[0] % width == shown[1] % height == 0
        assert shown[0] // width == shown[1] // height
    else:
        parts = round(max(height, width) / max(shown))
        assert np.abs(np.array(shown) - np.array([width, height]) / parts).max() < 1


@given(
    count=st.integers(1, 12), cameras=st.integers(1, 8), frames=st.integers(1, 4), side=st.integers(1, 300)
)
def test_blocks_have_room_for_all_and_no_empty_column(count: int, cameras: int, frames: int, side: int):
    plan = plan_sheet(count, views=cameras, frames=frames, height=side, width=side)
    assert plan.columns * plan.lines >= count > plan.columns * (plan.lines - 1)
    assert plan.inner_height >= plan.tiles[1] >= cameras * plan.tile[1]
    assert plan.tiles[0] * plan.tiles[1] >= cameras * frames * plan.tile[0] * plan.tile[1]
    assert plan.page[0] >= plan.columns * plan.block[0]
    assert plan.page[1] >= plan.lines * plan.block[1]
    assert min(*plan.path, *plan.rig) >= 150


def test_the_world_is_drawn_to_scale():
    axes = look(np.eye(3))
    np.testing.assert_allclose(
        axes.T @ axes, np.eye(2), atol=1e-12
    )  # orthographic: no direction is stretched
    assert axes[2, 0] == 0
    assert axes[2, 1] > 0  # z is up
    outlook = Outlook(np.array([0.0, 0.0]), Area(100, 50, 200, 100), 40.0)
    np.testing.assert_allclose(outlook.to_page([0, 0, 0]), [200, 100])
    above = outlook.to_page([0, 0, 1])
    assert above[0] == 200
    assert above[1] < 100
    assert [round_down(x) for x in (1.0, 1.99, 2.0, 49.0, 0.07)] == [1.0, 1.0, 2.0, 20.0, 0.05]


def test_large_pictures_are_shrunk_with_smoothing():
    picture = np.zeros((3, 40, 60), np.uint8)
    picture[0, :, ::2] = 200
    small = resize(picture, 15, 10)
    assert small.shape == (10, 15, 4)
    assert np.abs(small[:, :, 0].astype(int) - 100).max() < 30
    assert (small[:, :, 3] == 255).all()


# ---------------------------------------------------------------------------------------------- worlds

BODIES: dict[str, Any] = {
    "rows": [2], "cameras": 2, "frames": 12, "distractors": 2, "transients": [2, 3], "transient_frames": [1, 2],
    "shapes": ["sphere", "cube", "cylinder", "cone"], "radius": [0.1, 0.15],
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_lines_of_boxes_tell_what_a_body_is_there_for_and_how_much_is_seen(role: str):
    (clip,) = make_clips([0], shown=1, cameras=1, frames=1)
    shares = []
    for sight in (VISIBLE, PARTLY, HIDDEN):
        page = Page(100, 100)
        box, seen = np.array([[[20, 20, 80, 80]]], np.float32), np.full((1, 1), sight, np.uint8)
        body = replace(clip.target, role=role, box=box, sight=seen)
        Tile(page, Area(0, 0, 100, 100), height=100, width=100).mark_boxes([body], 0, 1)
        page.keep()
        line = page.shown()[20, 22:78].astype(int)
        shares.append((np.abs(line - rgb(ROLES[role])).max(axis=-1) < 60).mean())
    visible, partly, hidden = shares
    assert visible == 1.0
    assert 0.9 > partly > hidden + 0.1 > 0.2


def test_bodies_have_boxes_while_they_are_there():
    (clip,) = make_clips(**BODIES)
    for frame in range(1, 13):
        page = Page(200, 200)
        Tile(page, Area(0, 0, 200, 200), height=64, width=64).mark_boxes(clip.bodies, 0, frame)
        present = [body for body in clip.bodies if body.is_present(frame)]
        drawn = [to_hex(patch.get_edgecolor()).upper() for patch in page.axes.patches]
        assert drawn == [ROLES[body.role] for body in reversed(present)]  # the target is drawn last
        page.keep()
        assert (count_color(page.shown(), TRANSIENT) > 0) == any(body.role == "transient" for body in present)
    assert {body.role for body in clip.bodies} == {"target", "distractor", "transient"}


def test_a_sheet_of_a_world_shows_its_transients_and_says_what_lines_mean():
    spec = DatasetSpec.from_fields(**{"samples": 48} | {k: v for k, v in BODIES.items() if k != "rows"})
    clips = list(
        load_clips(open_samples(spec), [2], cameras=[0, 1], frames=(1, 5, 8, 12), shows_transients=True)
    )
    (clip,) = clips
    transients = [body for body in clip.bodies if body.role == "transient"]
    assert transients
    assert all(any(map(body.is_present, clip.frames)) for body in transients)
    page = draw_sheet(clips, title="a", subtitle="b")
    texts = [text.get_text() for text in page.axes.texts]
    assert {"target", "distractor", "transient", "partly hidden", "hidden"} <= set(texts)
    assert {f"frame {frame}" for frame in clip.frames} <= set(texts)
    assert clip.caption in " ".join(texts)
    page.keep()
    assert min(count_color(page.shown(), color) for color in ROLES.values()) > 20


def test_a_sheet_says_how_moving_cameras_stand():
    clips = make_clips([0], cameras=2, frames=4, height=16, width=16, orbit=90.0)
    texts = {text.get_text() for text in draw_sheet(clips, title="a", subtitle="b").axes.texts}
    assert "future position, frame 9, cameras as at frame 4" in texts


@pytest.mark.parametrize("show", COLORINGS)
def test_a_sheet_shows_annotations_pixel_by_pixel(show: str):
    spec = DatasetSpec.from_fields(samples=48, cameras=2, frames=3, radius=[0.3, 0.35], seed=3)
    samples = open_samples(spec)
    clips = list(load_clips(samples, [5], cameras=[0, 1], frames=[1, 2]))
    colored, scale = color_clips(samples, clips, show)
    page = draw_sheet(colored, title="a", subtitle="b", colors=list_colors(show, scale, clips))
    page.keep()
    shown = page.shown()
    for i, j, area in tile_areas(1, colored[0]):
        tile = Tile(page, area, height=64, width=64)
        expected = resize(colored[0].video[i, j], int(area.width), int(area.height))[:, :, :3]
        is_free = ~marked(tile, colored[0], i, j + 1)
        if j == 0:  # without the path
            np.testing.assert_array_equal(cut(shown, area)[is_free], expected[is_free])
        assert (np.ptp(cut(shown, area)[is_free].reshape(-1, 3).astype(int), axis=0) > 20).any()
        around = cut(shown, Area(area.left - 1, area.top - 1, area.width + 2, area.height + 2))
        for edge in (around[0], around[-1], around[:, 0], around[:, -1]):
            assert count_color(edge[None], FAINT) > 100


# ---------------------------------------------------------------------------------------------- films


def test_a_film_of_an_annotation_has_its_colours_in_thin_frames():
    samples = open_samples(DatasetSpec.from_fields(samples=8, cameras=1, frames=3, radius=[0.3, 0.35]))
    clips = list(load_clips(samples, [5], cameras=[0], frames=[1, 2]))
    colored, scale = color_clips(samples, clips, "flow")
    legend = list_colors("flow", scale, clips)
    first, _ = draw_film(colored, title="a", colors=legend)
    tile = fit_tile(64, 64, largest=film.TILE_MAX)
    top = film.MARGIN + film.TITLE + find_height(legend[0], film.LEGEND) + film.CAPTION
    area = Area(film.MARGIN, top, *tile)
    where = Tile(Page(10, 10), area, height=64, width=64)
    is_free = ~marked(where, colored[0], 0, 1, margin=6)
    expected = resize(colored[0].video[0, 0], *tile)[:, :, :3]
    differs = np.abs(cut(first, area).astype(int) - expected).max(axis=-1) > 0
    assert differs[is_free].mean() < 0.02  # the path begins
    around = cut(first, Area(area.left - 1, area.top - 1, area.width + 2, area.height + 2))
    for edge in (around[0], around[-1], around[:, 0], around[:, -1]):
        assert count_color(edge[None], FAINT) > 100


def test_a_film_shows_each_frame_and_the_future_at_its_end():
    clips = make_clips([5, 2], 6, cameras=3, frames=6)
    pictures = list(draw_film(clips, title="a"))
    assert len(pictures) == len(clips[0].frames) == 6
    height, width, _ = pictures[0].shape
    assert height % 2 == width % 2 == 0
    tile = fit_tile(64, 64, largest=film.TILE_MAX)
    # the box of the first frame is not in the way of later ones: nothing of a frame is left in the next
    for index, picture in enumerate(pictures):
        for line, clip in enumerate(clips):
            for camera in range(3):
                top = film.MARGIN + film.TITLE + line * (film.CAPTION + tile[1] + film.MARGIN) + film.CAPTION
                area = Area(film.MARGIN + camera * (tile[0] + film.GAP), top, *tile)
                found = cut(picture, area)
                where = Tile(Page(10, 10), area, height=64, width=64)
                expected = resize(clip.video[camera, index], *tile)[:, :, :3]
                is_free = ~marked(where, clip, camera, index + 1)
                if 0 < index < 5:
                    for point in where.path_points(clip.target, camera, index + 1):
                        assert_color(picture, point.tolist(), PATH)
                is_path = np.abs(found.astype(int) - expected).max(axis=-1) > 0
                assert is_path[is_free].mean() < 0.15  # the path alone covers what is free
                is_last = index == 5
                assert (count_color(found, FUTURE) > 10) == is_last
                if is_last:
                    assert_color(picture, where.to_page(clip.future_pixel[camera]), FUTURE)


def test_transients_come_and_go_in_a_film():
    fields = BODIES | {"shown": 12, "distractors": 0}
    (clip,) = clips = make_clips(**fields)
    pictures = list(draw_film(clips, title="a"))
    tile = fit_tile(64, 64, largest=film.TILE_MAX)
    top = film.MARGIN + film.TITLE + film.LEGEND + film.CAPTION
    counts = [
        count_color(cut(picture, Area(film.MARGIN, top, 2 * tile[0] + film.GAP, tile[1])), TRANSIENT)
        for picture in pictures
    ]
    there = [
        any(body.role == "transient" and body.is_present(frame) for body in clip.bodies)
        for frame in clip.frames
    ]
    assert 0 < sum(there) < 12
    assert [count > 20 for count in counts] == there


def test_a_page_does_not_follow_the_style_of_a_notebook():
    clips = make_clips([5], cameras=1, frames=2, height=16, width=16)
    plain = encode_still(draw_sheet(clips, title="a", subtitle="b"), ".png")
    with rc_context({"figure.constrained_layout.use": True}):
        assert encode_still(draw_sheet(clips, title="a", subtitle="b"), ".png") == plain


def test_stills_are_the_same_each_time():
    clips = make_clips([5], cameras=1, frames=2, height=16, width=16)
    pages = [draw_sheet(clips, title="a", subtitle="b") for _ in range(2)]
    for ending, start in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        first, second = (encode_still(page, ending) for page in pages)
        assert first.startswith(start)
        assert first == second
    png = Image.open(BytesIO(encode_still(pages[0], ".png")))
    assert (png.mode, round(png.info["dpi"][0])) == ("RGB", 100)
    assert png.size == (pages[0].width, pages[0].height)
