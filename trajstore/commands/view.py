"""Walk through samples in the Rerun viewer: pictures, boxes, the path in the world, all on one timeline."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from trajstore.errors import OutputError, SpecError
from trajstore.pictures.annotations import check_computable, check_show
from trajstore.pictures.choose import choose_frames, choose_rows
from trajstore.pictures.clips import VIDEO, load_clips
from trajstore.pictures.outputs import check_installed, check_is_outside, check_output, write_output
from trajstore.pictures.recording import record, serve_recording, show_recording
from trajstore.pictures.source import name_of, open_samples
from trajstore.show import Shown
from trajstore.spec import DatasetSpec, SpecLike
from trajstore.storage.location import Location

ENDINGS: Final[dict[str, tuple[str, ...]]] = {".rrd": ("rerun",)}
"""The files that can be written, and the modules that each needs."""

FRAMES_MAX: Final = 10_000
"""Frames that are shown; of longer samples evenly spaced ones."""


@dataclass(frozen=True, repr=False)
class ViewReport(Shown):
    """What is shown in the viewer.

    Attributes
    ----------
    output : Path or None
        The recording; None if it is shown on the screen or in a browser.
    rows : tuple of int
        The rows.
    classes : tuple of str
        The class of each.
    bytes : int
        Size of the recording; 0 if it is shown on the screen.
    url : str or None
        Where browsers of this machine find the viewer, until Python ends.
    """

    _shown = "output rows classes bytes"

    output: Path | None
    rows: tuple[int, ...]
    classes: tuple[str, ...]
    bytes: int
    url: str | None = None
    server: subprocess.Popen[Any] | None = field(default=None, repr=False, compare=False)

    def wait(self) -> None:
        """Serve browsers until the server ends or somebody interrupts it."""
        if self.server is not None:
            with suppress(KeyboardInterrupt):
                self.server.wait()


def view(
    source: SpecLike | Location,
    rows: Sequence[int] | None = None,
    *,
    output: str | Path | None = None,
    web: bool = False,
    show: Sequence[str] = (VIDEO,),
    class_name: str | None = None,
    split: str | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> ViewReport:
    """Show some samples in the Rerun viewer, on the screen or in a browser, or save a recording for it.

    The world has the bodies while they are there, and the cameras where they stand at each frame; the box of a body
    that others hide has a thinner line.

    Parameters
    ----------
    source : path-like, Location, DatasetSpec or mapping
        A store, a folder or a URL, finished or not; or a spec, or a TOML or JSON file with one, to see what would come.
    rows : sequence of int, optional
        Which rows, at most 12; negative ones count from the end. By default the first written one of each class,
        of the split train where that has all classes.
    output : path-like, optional
        A file ending in ``.rrd`` to save the recording to, which needs no screen; replaced if it is there.
    web : bool, default False
        Serve the viewer to a browser of this machine, which needs no screen. To look from another machine, forward
        the two ports: ``ssh -L 9090:127.0.0.1:9090 -L 9876:127.0.0.1:9876 HOST``.
    show : sequence of {'video', 'segmentation', 'depth_map', 'flow', 'normals', 'amodal'}
        What the cameras show beside each other: frames, or annotations, whether or not the store holds them. Flow, to
        the next frame, is arrows on the frames; depth has the world's unit.
    class_name : str, optional
        Instead of rows: the first four samples of this class.
    split : {'train', 'val', 'test'}, optional
        Instead of rows: only samples of this split.
    storage_options : mapping, optional
        See `trajstore.build`.

    Returns
    -------
    ViewReport
        What is shown. The viewer goes on when this returns.

    Raises
    ------
    SpecError
        If an argument is invalid, there are no such rows, or the file's ending is not supported.
    DriftError
        If an annotation is asked for, and the installed generator does not make the rows of the store.
    StoreError
        If there is no store, it is damaged, or rows are not written yet.
    OutputError
        If there is no screen, the viewer does not start, or the file cannot be written.
    MissingExtraError
        If rerun-sdk is not installed.
    """
    shown = tuple(dict.fromkeys([show] if isinstance(show, str) else show))
    check_show(shown)
    if web and output is not None:
        message = (
            f"view: found both a browser and the file {output} to show samples in, expected one or the other"
        )
        raise SpecError(message)
    path = None if output is None else Path(output)
    if path is None:
        check_installed(("rerun",), extra="view", what="view")
        if not web:
            _check_screen(source)
    else:
        check_output(path, ENDINGS, extra="view")
    samples = open_samples(source, storage_options=storage_options)
    if path is not None:
        check_is_outside(path, samples.location)
    if shown != (VIDEO,):
        check_computable(samples)
    chosen = choose_rows(samples, rows, class_name=class_name, split=split)
    video = samples.spec.video
    frames = choose_frames(video, rows=len(chosen), cameras=video.cameras, most=FRAMES_MAX)
    clips = list(load_clips(samples, chosen, cameras=range(video.cameras), frames=frames))
    classes = tuple(clip.class_name for clip in clips)
    title = name_of(samples)
    if web:
        data = record(samples, clips, title, show=shown)
        url, server = serve_recording(data, instead=_save_command(source))
        return ViewReport(None, chosen, classes, len(data), url, server)
    if path is None:
        show_recording(samples, clips, title, show=shown, instead=_save_command(source))
        return ViewReport(None, chosen, classes, 0)
    data = record(samples, clips, title, show=shown)
    write_output(path, data)
    return ViewReport(path, chosen, classes, len(data))


def _check_screen(source: SpecLike | Location) -> None:
    """Raise unless a window can be opened."""
    if not sys.platform.startswith("linux") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    message = (
        "view: found no screen (neither DISPLAY nor WAYLAND_DISPLAY is set); look from a browser with: "
        f"trajstore view {_place(source)} --web, or save a recording with: {_save_command(source)}"
    )
    raise OutputError(message)


def _save_command(source: SpecLike | Location) -> str:
    """The command that saves a recording."""
    return f"trajstore view {_place(source)} -o FILE.rrd"


def _place(source: SpecLike | Location) -> str:
    """What to call the source in a command."""
    return "STORE" if isinstance(source, DatasetSpec | Mapping) else Location.parse(source).argument
