"""Look at samples before trusting them: a contact sheet or an animation, of a store or of what would be built."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final, TypeAlias

from trajstore.errors import SpecError
from trajstore.pictures.annotations import check_computable, check_show, find_last, show_views
from trajstore.pictures.choose import choose_cameras, choose_frames, choose_rows
from trajstore.pictures.clips import VIDEO, Clip, load_clips, zoom_in
from trajstore.pictures.outputs import check_installed, check_is_outside, check_output, write_output
from trajstore.pictures.source import name_of, open_samples
from trajstore.reading.samples import Samples
from trajstore.show import Shown
from trajstore.spec import DatasetSpec, SpecLike
from trajstore.storage.location import Location
from trajstore.text import format_count

STILL: Final = (".png", ".svg", ".pdf")
ENDINGS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys([*STILL, ".gif"], ("matplotlib",)),
    ".mp4": ("matplotlib", "av"),
}
"""The files that can be written, and the modules that each needs."""

INLINE: Final = {".svg": "image/svg+xml", ".gif": "image/gif", ".mp4": "video/mp4"}
"""What a notebook shows in HTML, and what browsers call it."""

INLINE_BYTES_MAX: Final = 20 * 2**20
"""Bytes of the largest file that a notebook takes into itself."""

Content: TypeAlias = bytes
"""What a file holds: a report's ``bytes`` is its size."""

CAMERAS_MAX: Final = 8
"""Cameras that are shown; of more, evenly spaced ones."""

SHEET_FRAMES: Final = 4
"""Frames of a contact sheet."""

FILM_FRAMES_MAX: Final = 600
"""Frames that are played; of longer samples evenly spaced ones."""


@dataclass(frozen=True, repr=False)
class PreviewReport(Shown):
    """What a preview shows; as the last value of a notebook's cell, the picture itself.

    Attributes
    ----------
    output : Path or None
        The file; None if there is none.
    rows : tuple of int
        The rows, in the order in which they are shown.
    classes : tuple of str
        The class of each.
    bytes : int
        Size of the picture.
    picture : bytes or None
        The picture, if it is a PNG.
    """

    _shown = "output rows classes bytes"

    output: Path | None
    rows: tuple[int, ...]
    classes: tuple[str, ...]
    bytes: int
    picture: Content | None = None

    def _repr_png_(self) -> Content | None:
        """A contact sheet that is a PNG, for notebooks."""
        return self.picture

    def _repr_html_(self) -> str | None:
        """A film or a drawing, and the table; nothing where there is a PNG, for notebooks show HTML in place of it."""
        if self.picture is not None or self.output is None:
            return None
        kind, data, table = INLINE.get(self.output.suffix.lower()), self._read(), super()._repr_html_()
        if kind is None or data is None:
            return table
        source = f'src="data:{kind};base64,{b64encode(data).decode()}" style="max-width: 100%"'
        return (
            f"<video controls loop {source}></video>{table}" if "video" in kind else f"<img {source}>{table}"
        )

    def _read(self) -> Content | None:
        """The file, unless it is too large for a notebook, or gone."""
        try:
            return None if self.output is None or self.bytes > INLINE_BYTES_MAX else self.output.read_bytes()
        except OSError:
            return None


def preview(
    source: SpecLike | Location,
    rows: Sequence[int] | None = None,
    *,
    output: str | Path | None = None,
    show: str | Sequence[str] = VIDEO,
    scale: float | None = None,
    zoom: float = 1.0,
    overlay: bool = True,
    class_name: str | None = None,
    split: str | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> PreviewReport:
    """Draw some samples: pictures with path, boxes and future position, the path in the world, the labels in words.

    Boxes of the target, of distractors and of transients differ in colour; that of a body which others hide is dashed,
    or dotted where nothing of it is seen. The legend says how moving cameras see the future position.

    Parameters
    ----------
    source : path-like, Location, DatasetSpec or mapping
        A store, a folder or a URL, finished or not; or a spec, or a TOML or JSON file with one, to see what would come.
    rows : sequence of int, optional
        Which rows, at most 12; negative ones count from the end. By default the first written one of each class,
        of the split train where that has all classes.
    output : path-like, optional
        The file; replaced if it is there. ``.png``, ``.svg`` and ``.pdf`` are a contact sheet, of at most 8 cameras
        and 4 frames, chosen so that transients are seen. ``.gif`` and ``.mp4`` play all frames, of cameras in sync;
        the last one stays for two seconds and shows the future position. Without a file the report holds a contact
        sheet as PNG, and a notebook shows it.
    show : {'video', 'segmentation', 'depth_map', 'flow', 'normals', 'amodal'} or a sequence of these
        What the pictures show: frames, or annotations, whether or not the store holds them. The legend says what their
        colours mean. Flow leads to the next frame, so the last frame has none and is left out.
    scale : float, optional
        How many times their size frames are shown: 2 makes each pixel four. By default what suits the page.
    zoom : float, default 1
        At 2, pictures show half of the width and half of the height of a frame, around the target; and so on.
    overlay : bool, default True
        Whether path, boxes and future position are drawn over the pictures.
    class_name : str, optional
        Instead of rows: the first four samples of this class.
    split : {'train', 'val', 'test'}, optional
        Instead of rows: only samples of this split.
    storage_options : mapping, optional
        See `trajstore.build`.

    Returns
    -------
    PreviewReport
        What is shown.

    Raises
    ------
    SpecError
        If an argument is invalid, there are no such rows, or the file's ending is not supported.
    DriftError
        If an annotation is asked for, and the installed generator does not make the rows of the store.
    StoreError
        If there is no store, it is damaged, or rows are not written yet.
    OutputError
        If the file cannot be written.
    MissingExtraError
        If matplotlib or what else the file needs is not installed.

    Examples
    --------
    >>> import tempfile, trajstore
    >>> spec = trajstore.DatasetSpec.from_fields(samples=8, frames=4, height=16, width=16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = trajstore.preview(spec, [5], output=f"{folder}/row5.png")
    >>> report.rows, report.classes
    ((5,), ('Linear',))
    """
    shown = tuple(dict.fromkeys([show] if isinstance(show, str) else show))
    check_show(shown)
    _check_number("scale", scale, above=0.0)
    _check_number("zoom", zoom, least=1.0)
    path = None if output is None else Path(output)
    if path is None:
        check_installed(ENDINGS[".png"], extra="preview", what="preview")
    else:
        check_output(path, ENDINGS, extra="preview")
    samples = open_samples(source, storage_options=storage_options)
    if path is not None:
        check_is_outside(path, samples.location)
    if shown != (VIDEO,):
        check_computable(samples)
    chosen = choose_rows(samples, rows, class_name=class_name, split=split)
    cameras = choose_cameras(samples.spec.video.cameras, most=max(1, CAMERAS_MAX // len(shown)))
    ending = ".png" if path is None else path.suffix.lower()
    clips = load(samples, chosen, cameras, ending=ending, show=shown)
    data = draw(
        samples, clips, ending, shown, title=name_of(samples), scale=scale, zoom=zoom, overlay=overlay
    )
    if path is not None:
        write_output(path, data)
    classes = tuple(clip.class_name for clip in clips)
    return PreviewReport(path, chosen, classes, len(data), data if ending == ".png" else None)


def _check_number(name: str, value: float | None, *, above: float = -1.0, least: float = 0.0) -> None:
    """Refuse a number that is too small."""
    if value is not None and not (isfinite(value) and value > above and value >= least):
        expected = f"above {above:g}" if above >= least else f"of at least {least:g}"
        message = f"{name}: found {value:g}, expected a number {expected}"
        raise SpecError(message)


def load(
    samples: Samples,
    rows: Sequence[int],
    cameras: Sequence[int],
    *,
    ending: str,
    show: Sequence[str] = (VIDEO,),
) -> list[Clip]:
    """Load what a file with this ending shows of some rows and cameras."""
    video = samples.spec.video
    most = SHEET_FRAMES if ending in STILL else FILM_FRAMES_MAX
    last = find_last(video.frames, show)
    frames = choose_frames(video, rows=len(rows), cameras=len(cameras) * len(show), most=most, last=last)
    return list(load_clips(samples, rows, cameras=cameras, frames=frames, shows_transients=ending in STILL))


def draw(
    samples: Samples,
    clips: list[Clip],
    ending: str,
    show: Sequence[str] = (VIDEO,),
    *,
    title: str,
    scale: float | None = None,
    zoom: float = 1.0,
    overlay: bool = True,
) -> bytes:
    """The bytes of a file with this ending."""
    # matplotlib takes half a second to import: not before everything else is known to be right
    from trajstore.pictures.encode import encode_gif, encode_mp4, encode_still
    from trajstore.pictures.film import draw_film
    from trajstore.pictures.legend import list_all_colors
    from trajstore.pictures.sheet import draw_sheet

    clips, scales = show_views(samples, clips, show)
    colors = list_all_colors(scales, clips)
    if zoom > 1.0:
        clips = [zoom_in(clip, zoom) for clip in clips]
    style: dict[str, Any] = {"title": title, "colors": colors, "scale": scale, "overlay": overlay}
    if ending in STILL:
        page = draw_sheet(clips, subtitle=_describe(samples.spec), **style)
        return encode_still(page, ending)
    encode = {".gif": encode_gif, ".mp4": encode_mp4}[ending]
    return encode(draw_film(clips, **style))


def _describe(spec: DatasetSpec) -> str:
    """Describe a dataset in a line."""
    video = spec.video
    counts = {"sample": spec.dataset.samples, "camera": video.cameras, "frame": video.frames}
    numbers = [
        *(f"{format_count(count)} {name}{'' if count == 1 else 's'}" for name, count in counts.items()),
        f"{video.height} × {video.width} px",
        f"seed {spec.dataset.seed}",
    ]
    return ", ".join(numbers)
