from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import imageio.v3
import numpy as np
import pytest
from PIL import Image
from support.faults import assert_same_bytes, small_disk, tree

import trajstore
from trajstore.commands.preview import draw, load
from trajstore.errors import (
    CorruptDataError,
    DriftError,
    IncompleteStoreError,
    MissingExtraError,
    NotEnoughSpaceError,
    OutputError,
    SpecError,
)
from trajstore.pictures.annotations import COLORINGS
from trajstore.pictures.encode import FRAMES_PER_SECOND, LAST_SECONDS
from trajstore.pictures.palette import BOX, FUTURE, INK, PAPER, to_rgb
from trajstore.pictures.source import open_samples
from trajstore.spec import DatasetSpec


@pytest.fixture(scope="module")
def small_spec() -> DatasetSpec:
    return DatasetSpec.from_fields(samples=44, frames=3, height=16, width=16, cameras=1)


def test_a_store_and_its_spec_give_the_same_pictures(
    tmp_path: Path, tiny_store: Path, tiny_spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("trajstore.commands.preview.name_of", lambda _: "title")
    of_store = trajstore.preview(tiny_store, [5], output=tmp_path / "a.gif")
    of_spec = trajstore.preview(tiny_spec, [5], output=tmp_path / "b.gif")
    assert (of_store.rows, of_store.output, of_store.bytes) == (
        (5,),
        tmp_path / "a.gif",
        (tmp_path / "a.gif").stat().st_size,
    )
    assert of_store.classes == of_spec.classes
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_a_sheet_is_written_whole(tmp_path: Path, small_spec: DatasetSpec):
    report = trajstore.preview(small_spec, class_name="Helical", output=str(tmp_path / "Sheet.PNG"))
    assert set(report.classes) == {"Helical"}
    assert len(report.rows) == 4
    with Image.open(tmp_path / "Sheet.PNG") as image:
        assert min(image.size) > 500
        image.load()
    assert list(tree(tmp_path)) == [".", "Sheet.PNG"]


def test_a_gif_plays_all_frames_and_stays_at_the_last(tmp_path: Path, tiny_store: Path):
    trajstore.preview(tiny_store, [1], output=tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        durations = []
        for frame in range(image.n_frames):
            image.seek(frame)
            durations.append(image.info["duration"])
        assert image.info["loop"] == 0
    each = 1000 / FRAMES_PER_SECOND
    assert durations == [each, each, each, 1000 * LAST_SECONDS]


def test_a_gif_has_the_colours_of_marks(tmp_path: Path, tiny_store: Path):
    trajstore.preview(tiny_store, [1, 5, 9, 12], output=tmp_path / "a.gif")
    first, *_, last = imageio.v3.imread(tmp_path / "a.gif", index=None)
    for color in (PAPER, INK, BOX, FUTURE):
        counts = [(frame == to_rgb(color)).all(axis=-1).sum() for frame in (first, last)]
        assert (counts[0] > 0) == (color != FUTURE)
        assert counts[1] > 10


def test_a_gif_of_a_single_frame(tmp_path: Path):
    spec = DatasetSpec.from_fields(samples=4, frames=1, height=16, width=16, cameras=1)
    trajstore.preview(spec, [0], output=tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.n_frames, image.info["duration"]) == (1, 1000 * LAST_SECONDS)


def test_an_mp4_shows_what_the_gif_shows(tmp_path: Path, tiny_store: Path):
    for name in ("a.gif", "a.mp4"):
        trajstore.preview(tiny_store, [1], output=tmp_path / name)
    gif = imageio.v3.imread(tmp_path / "a.gif", index=None)
    mp4 = imageio.v3.imread(tmp_path / "a.mp4", plugin="pyav")
    assert gif.shape == mp4.shape == (4, *gif.shape[1:])
    about = imageio.v3.immeta(tmp_path / "a.mp4", plugin="pyav")
    assert about["codec"] == "h264"
    assert about["duration"] == pytest.approx(3 / FRAMES_PER_SECOND + LAST_SECONDS, abs=0.01)
    for index in range(4):
        assert np.abs(mp4[index].astype(int) - gif[index]).mean() < 3
    assert np.abs(mp4[0].astype(int) - gif[3]).mean() > np.abs(mp4[0].astype(int) - gif[0]).mean()


def test_an_old_file_is_replaced(tmp_path: Path, small_spec: DatasetSpec):
    (tmp_path / "a.gif").write_bytes(b"old")
    trajstore.preview(small_spec, [0], output=tmp_path / "a.gif")
    assert (tmp_path / "a.gif").read_bytes().startswith(b"GIF89a")


def test_a_store_is_left_as_it_is(tmp_path: Path, tiny_store: Path, tiny_copy: Path):
    trajstore.preview(tiny_copy, [0], output=tmp_path / "a.gif")
    assert_same_bytes(tiny_copy, tiny_store)


# ---------------------------------------------------------------------------------------------- annotations


@pytest.mark.parametrize("show", COLORINGS)
def test_annotations_are_drawn_whether_or_not_a_store_holds_them(
    tmp_path: Path, tiny_store: Path, tiny_spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch, show: str
):
    monkeypatch.setattr("trajstore.commands.preview.name_of", lambda _: "title")
    before = tree(tiny_store)
    for ending in ("gif", "png"):
        files = [tmp_path / f"{name}.{ending}" for name in ("of_store", "of_spec", "video")]
        trajstore.preview(tiny_store, [5, 8], output=files[0], show=show)
        trajstore.preview(tiny_spec, [5, 8], output=files[1], show=show)
        trajstore.preview(tiny_store, [5, 8], output=files[2])
        of_store, of_spec, video = (path.read_bytes() for path in files)
        assert of_store == of_spec != video
    assert tree(tiny_store) == before


@pytest.mark.parametrize(("show", "frames"), [("segmentation", 4), ("flow", 3)])
def test_a_film_plays_the_frames_that_have_the_annotation(
    tmp_path: Path, tiny_store: Path, show: str, frames: int
):
    trajstore.preview(tiny_store, [1], output=tmp_path / "a.gif", show=show)
    trajstore.preview(tiny_store, [1], output=tmp_path / "a.mp4", show=show)
    gif = imageio.v3.imread(tmp_path / "a.gif", index=None)
    mp4 = imageio.v3.imread(tmp_path / "a.mp4", plugin="pyav")
    assert len(gif) == len(mp4) == frames
    for index in range(frames):
        assert np.abs(mp4[index].astype(int) - gif[index]).mean() < 3


@pytest.mark.parametrize("ending", ["svg", "pdf"])
def test_a_sheet_of_an_annotation_can_be_printed(tmp_path: Path, small_spec: DatasetSpec, ending: str):
    pages = []
    for name in ("a", "b"):
        trajstore.preview(small_spec, [0], output=tmp_path / f"{name}.{ending}", show="flow")
        pages.append((tmp_path / f"{name}.{ending}").read_bytes())
    assert pages[0] == pages[1]


def test_a_store_of_another_generator_shows_its_frames_only(tmp_path: Path, tiny_copy: Path):
    path, fingerprint = tiny_copy / "zarr.json", open_samples(tiny_copy).spec.fingerprint
    path.write_text(path.read_text().replace(fingerprint, "0" * len(fingerprint)))
    with pytest.raises(DriftError, match="found rows of another generator"):
        trajstore.preview(tiny_copy, [0], output=tmp_path / "a.gif", show="normals")
    assert not (tmp_path / "a.gif").exists()
    trajstore.preview(tiny_copy, [0], output=tmp_path / "a.gif")


def test_what_cannot_be_shown_is_refused_before_anything_is_opened(tmp_path: Path):
    with pytest.raises(
        SpecError, match="show: found 'depth', expected one of video, segmentation, depth_map,"
    ):
        trajstore.preview("no such store", output=tmp_path / "a.png", show="depth")


# ---------------------------------------------------------------------------------------------- options


def test_without_a_file_the_report_holds_the_picture(small_spec: DatasetSpec):
    report = trajstore.preview(small_spec, [0])
    assert report.output is None
    assert report.picture is not None
    assert report._repr_png_() == report.picture
    assert len(report.picture) == report.bytes
    with Image.open(BytesIO(report.picture)) as image:
        assert image.format == "PNG"
    assert len(repr(report)) < 200


def test_a_scale_enlarges_frames(tmp_path: Path, small_spec: DatasetSpec):
    widths = []
    for scale in (5, 20):
        trajstore.preview(small_spec, [0], output=tmp_path / "a.gif", scale=scale)
        with Image.open(tmp_path / "a.gif") as image:
            widths.append(image.size)
    (_, low), (_, high) = widths
    assert high - low == 15 * 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0}, "scale: found 0, expected a number above 0"),
        ({"scale": float("nan")}, "scale: found nan, expected a number above 0"),
        ({"zoom": 0.5}, "zoom: found 0.5, expected a number of at least 1"),
        ({"scale": 1e5}, "scale: found a page of .* px, expected at most 16,000 px a side; choose a smaller"),
    ],
)
def test_scales_that_cannot_be_drawn_are_refused(
    tmp_path: Path, small_spec: DatasetSpec, options: dict[str, float], message: str
):
    with pytest.raises(SpecError, match=message):
        trajstore.preview(small_spec, [0], output=tmp_path / "a.png", **options)  # type: ignore[arg-type]
    assert tree(tmp_path) == {".": None}


@pytest.mark.parametrize("ending", [".png", ".gif"])
def test_without_overlay_frames_are_as_they_are(small_spec: DatasetSpec, ending: str):
    shares = []
    samples = open_samples(small_spec)
    clips = load(samples, [0], [0], ending=ending)
    for overlay in (True, False):
        data = draw(samples, clips, ending, title="a", scale=8, overlay=overlay)
        frames = imageio.v3.imread(data, extension=ending, index=None).astype(int)
        box = np.abs(frames - [0, 0x9E, 0x73]).max(axis=-1) < 12
        shares.append(int(box.sum()))
    marked, plain = shares
    assert marked > 50
    assert plain == 0


def test_several_annotations_stand_beside_each_other(tmp_path: Path, small_spec: DatasetSpec):
    sizes = []
    for show in (["video"], ["video", "segmentation", "depth_map", "flow"]):
        trajstore.preview(small_spec, [0], output=tmp_path / "a.gif", show=show, scale=12)
        with Image.open(tmp_path / "a.gif") as image:
            sizes.append((image.n_frames, image.width))
    assert sizes == [(3, 480), (2, 2 * 14 + 4 * (12 * 16 + 4) - 4)]


@pytest.mark.parametrize("ending", [".png", ".svg", ".gif", ".mp4"])
def test_extremes_are_drawn(tmp_path: Path, ending: str):
    spec = DatasetSpec.from_fields(samples=1, cameras=1, frames=1, height=1, width=1)
    report = trajstore.preview(spec, output=tmp_path / f"a{ending}", show=["video", "flow"], zoom=9)
    assert (report.rows, report.classes) == ((0,), ("Linear",))
    assert (tmp_path / f"a{ending}").stat().st_size == report.bytes


def test_frames_of_a_store_are_drawn_without_numba(tmp_path: Path, tiny_store: Path):
    program = (
        "import sys\n"
        "import trajstore\n"
        f"trajstore.preview({str(tiny_store)!r}, [0])\n"
        "assert not {'numba', 'zarr', 'matplotlib.pyplot', 'imageio'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("a.jpg", SpecError, r"found the ending '\.jpg', expected one of \.png, \.svg, \.pdf, \.gif, \.mp4"),
        ("a", SpecError, "found no ending, expected one of"),
        ("no/such/a.png", OutputError, "the folder .*no/such does not exist; make it with: mkdir -p"),
        ("folder.png", OutputError, "found a folder, expected the name of a file"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_before_anything_is_drawn(
    tmp_path: Path, name: str, error: type[Exception], message: str
):
    (tmp_path / "folder.png").mkdir()
    before = tree(tmp_path)
    with pytest.raises(error, match=message):
        trajstore.preview(tmp_path / "there is no such store", output=tmp_path / name)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["a.png", "video/a.png"])
def test_a_store_holds_nothing_but_its_dataset(tiny_copy: Path, tiny_store: Path, name: str):
    with pytest.raises(OutputError, match=r"lies in the store .*name another folder"):
        trajstore.preview(tiny_copy, [0], output=tiny_copy / name)
    assert_same_bytes(tiny_copy, tiny_store)


@pytest.mark.parametrize(
    ("missing", "name"),
    [("matplotlib", "a.png"), ("matplotlib", "a.gif"), ("av", "a.mp4"), ("matplotlib", "a.mp4")],
)
def test_a_missing_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, name: str
):
    monkeypatch.setattr(
        "trajstore.pictures.outputs.find_spec",
        lambda module: None if module == missing else find_spec(module),
    )
    with pytest.raises(MissingExtraError, match=rf"needs {missing}, .*pip install '\.\[preview\]'"):
        trajstore.preview("nothing", output=tmp_path / name)


def test_without_the_extra_a_line_says_so_and_nothing_is_imported(tmp_path: Path):
    program = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(['matplotlib', 'imageio', 'av', 'PIL', 'rerun'])\n"
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: real(name) if sys.modules.get(name, 1) else None\n"
        "from trajstore.cli import main\n"
        "main()\n"
    )
    for command, extra in (
        (["preview", "s", "-o", "a.png"], "preview"),
        (["view", "s", "-o", "a.rrd"], "view"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *command],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        (line,) = done.stderr.splitlines()
        assert (done.returncode, done.stdout) == (1, "")
        assert line.startswith("trajstore: output a.")
        assert line.endswith(f"pip install '.[{extra}]'")
    assert tree(tmp_path) == {".": None}


def test_an_unwritten_row_is_refused_and_leaves_no_file(tmp_path: Path, tiny_copy: Path):
    (tiny_copy / "video_written" / "c.1").unlink()
    with pytest.raises(IncompleteStoreError, match="rows 8 … 15 of the video are not written yet"):
        trajstore.preview(tiny_copy, [3, 9], output=tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
    report = trajstore.preview(tiny_copy, output=tmp_path / "a.gif")
    assert not set(report.rows) & set(range(8, 16))


def test_damage_is_told_and_an_old_file_stays(tmp_path: Path, tiny_copy: Path):
    (tmp_path / "a.png").write_bytes(b"old")
    (tiny_copy / "video" / "c.0.0.0.0.0.0").write_bytes(b"")
    with pytest.raises(CorruptDataError, match="make it again with: trajstore repair"):
        trajstore.preview(tiny_copy, [3], output=tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"old"


def test_a_full_or_read_only_disk_is_one_error_and_leaves_nothing(tmp_path: Path, small_spec: DatasetSpec):
    with small_disk(tmp_path / "disk", "size=4k") as disk:
        with pytest.raises(NotEnoughSpaceError, match=r"a\.gif: the disk is full .*nothing was written"):
            trajstore.preview(small_spec, [0], output=disk.folder / "a.gif")
        assert tree(disk.folder) == {".": None}
        disk.change("ro")
        with pytest.raises(OutputError, match=r"no permission to write in .*disk"):
            trajstore.preview(small_spec, [0], output=disk.folder / "a.gif")


def test_what_the_system_refuses_is_one_error(tmp_path: Path, small_spec: DatasetSpec):
    with pytest.raises(OutputError, match="cannot be written: File name too long"):
        trajstore.preview(small_spec, [0], output=tmp_path / f"{'x' * 300}.gif")
    assert tree(tmp_path) == {".": None}


def test_drawing_needs_no_screen_and_changes_no_global_state(tmp_path: Path):
    program = (
        "import sys, trajstore\n"
        "spec = trajstore.DatasetSpec.from_fields(samples=4, frames=2, height=8, width=8, cameras=1)\n"
        "trajstore.preview(spec, [0], output='a.svg')\n"
        "import matplotlib\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'rerun' not in sys.modules\n"
        "before = dict(matplotlib.rcParams)\n"
        "trajstore.preview(spec, [0], output='a.svg')\n"
        "assert dict(matplotlib.rcParams) == before\n"
    )
    environment = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False,
        cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
