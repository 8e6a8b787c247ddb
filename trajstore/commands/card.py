"""Write what a dataset needs to be given away: README.md, Croissant, checksums, a picture, the spec."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np

from trajstore.commands.preview import CAMERAS_MAX, ENDINGS, draw, load
from trajstore.errors import CorruptDataError, OutputError, SpecError
from trajstore.executors.run import RunOptions
from trajstore.executors.threads import ThreadExecutor
from trajstore.exporters.records import CARD_FILES
from trajstore.pictures.choose import ROWS_MAX, choose_cameras
from trajstore.pictures.outputs import check_installed
from trajstore.progress import STEPS, Report, Tally, shows_progress
from trajstore.sharing.checksums import CHECKSUM_FILE, Checksum, hash_files, list_files, render_checksums
from trajstore.sharing.croissant import write_croissant
from trajstore.sharing.licenses import check_license
from trajstore.sharing.readme import MARK, write_readme
from trajstore.sharing.shortcuts import Shortcut, measure_shortcut
from trajstore.sharing.subject import Subject, open_subject
from trajstore.show import Shown
from trajstore.storage.disk_space import explain_failed_write
from trajstore.storage.durable import make_folders, publish_all
from trajstore.storage.location import Location
from trajstore.text import explain_install, quote

README, CROISSANT, _, PICTURE, SPEC = CARD_FILES

ENDING: Final = ".card"
"""What the folder of a store's card is called more than the store."""

NAME_MAX: Final = 100
"""Characters of a name."""


@dataclass(frozen=True, repr=False)
class CardReport(Shown):
    """What a card says.

    Attributes
    ----------
    location : str
        The store or export.
    folder : Path
        Where the card is.
    files : tuple of str
        Its files.
    license : str
        The license, by its identifier; ``unknown`` where none was chosen.
    checked_files, checked_bytes : int
        Files of the dataset whose checksums were found, and their bytes.
    shortcut : Shortcut or None
        How often one moment gives the class away; None where there are too few samples to measure it.
    notes : tuple of str
        What was left out, and why.
    seconds : float
        Wall time.
    """

    _shown = "location folder files license checked_files checked_bytes shortcut notes seconds"

    location: str
    folder: Path
    files: tuple[str, ...]
    license: str
    checked_files: int
    checked_bytes: int
    shortcut: Shortcut | None
    notes: tuple[str, ...]
    seconds: float


@shows_progress
def card(
    path: str | Path | Location,
    output: str | Path | None = None,
    *,
    license: str | None = None,  # noqa: A002
    name: str | None = None,
    workers: int | None = None,
    progress: Report | bool | None = None,
    should_stop: Callable[[], int] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> CardReport:
    """Write the dataset card of a finished store or export.

    Writes ``README.md`` (a card as Hugging Face shows it), ``croissant.json`` (Croissant 1.1), ``checksums.sha256`` (as
    ``sha256sum`` writes it, of all files of the dataset), ``spec.toml`` (from which it is made again), and
    ``preview.png`` where the preview extra is installed. Either all of them are written, or none.

    Parameters
    ----------
    path : path-like
        A store, a folder or a URL, or an exported folder of any format.
    output : path-like, optional
        The folder for the card, made if it is not there. By default that of an export itself, and for a store
        ``STORE.card`` beside it: nothing else may lie in a store. A store in a bucket needs one.
    license : str, optional
        An identifier of Hugging Face, such as ``cc-by-4.0``; by default ``unknown``, and the card says that none was
        chosen.
    name : str, optional
        What to call the dataset; by default as its folder without an ending.
    workers : int, optional
        Threads; by default one for each processor.
    progress : bool or callable, optional
        True shows a bar; a function receives `trajstore.progress.Progress` events.
    should_stop : callable, optional
        Asked before each task; anything but 0 is the number of a signal, and stops: nothing is written then.
    storage_options : mapping, optional
        See `trajstore.build`.

    Returns
    -------
    CardReport
        What the card says.

    Raises
    ------
    SpecError
        If the license or the name is invalid.
    StoreError
        If there is no store, it is damaged or not finished.
    ExportError
        If the export is not finished, or trajstore did not write it.
    DriftError
        If the installed generator does not make the rows of an export.
    OutputError
        If the folder cannot be written, or holds other files of the names of a card.
    MissingExtraError
        If the card extra is not installed.
    NotEnoughSpaceError
        If the disk is full.
    InterruptedBuildError
        If ``should_stop`` asked for it.
    """
    started = time.monotonic()
    identifier = check_license(license)
    options = RunOptions(workers=workers, progress=progress, should_stop=should_stop)
    ThreadExecutor(workers)  # checks the number
    check_installed(("yaml",), extra="card", what="card")
    location = Location.parse(path, storage_options)
    subject = open_subject(location)
    title = _check_name(
        subject.folder_name.rpartition(".")[0] or subject.folder_name if name is None else name
    )
    folder = _choose_folder(subject, None if output is None else Path(output))
    names = list_files(subject.storage)
    checksums = hash_files(subject.storage, names, options)
    for file, found in checksums.items():
        if found.digest is None:
            message = (
                f"{location}/{file}: {found.reason}, expected a file that stays as it is; nothing was written"
            )
            raise CorruptDataError(message)
    digests = {file: found.digest for file, found in checksums.items() if found.digest is not None}
    notes = []
    tally = Tally("describe", options.report, total=3, done=0, raw_bytes_each=0, unit=STEPS)
    shortcut = measure_shortcut(subject.samples)
    tally.add(1, stored_bytes=0)
    picture = _draw(subject, title)
    tally.add(1, stored_bytes=0)
    if picture is None:
        notes.append(f"no picture, for matplotlib is not installed; {explain_install('preview')}")
    proof = render_checksums(digests)
    size = sum(found.size for found in checksums.values())
    files = {
        README: write_readme(
            subject,
            name=title,
            license=identifier,
            shortcut=shortcut,
            picture=None if picture is None else PICTURE,
            stored_bytes=size,
            files=len(names),
        ),
        CROISSANT: write_croissant(
            subject,
            name=title,
            license=identifier,
            shortcut=shortcut,
            checksums=checksums,
            proof=Checksum(hashlib.sha256(proof).hexdigest(), len(proof)),
        ),
        CHECKSUM_FILE: proof,
        SPEC: subject.spec.to_toml().encode(),
        **({} if picture is None else {PICTURE: picture}),
    }
    _write(folder, files)
    tally.add(1, stored_bytes=0)
    return CardReport(
        location=str(location),
        folder=folder,
        files=tuple(files),
        license=identifier,
        checked_files=len(names),
        checked_bytes=size,
        shortcut=shortcut,
        notes=tuple(notes),
        seconds=time.monotonic() - started,
    )


def _check_name(name: str) -> str:
    """A name that fits on a line."""
    text = name.strip()
    if not text or len(text) > NAME_MAX or not text.isprintable():
        message = f"name: found {name[:NAME_MAX]!r}, expected a line of 1 to {NAME_MAX} characters"
        raise SpecError(message)
    return text


def _choose_folder(subject: Subject, given: Path | None) -> Path:
    """Where the card goes; refuse what cannot be written, before anything takes time."""
    own = subject.location.folder
    if given is None and own is None:
        message = f"{subject.location}: lies in a bucket; name a folder here for the card: -o FOLDER"
        raise SpecError(message)
    if given is None:
        assert own is not None
        given = own.with_name(own.absolute().name + ENDING) if subject.source is None else own
    if own is not None and subject.source is None and given.resolve().is_relative_to(own.resolve()):
        message = (
            f"output {given}: lies in the store {own}, which must hold nothing else; name another folder"
        )
        raise OutputError(message)
    if os.path.lexists(given) and not given.is_dir():
        message = f"output {given}: found a file, expected a folder or nothing; name another"
        raise OutputError(message)
    if not given.is_dir() and not given.parent.is_dir():
        command = f"mkdir -p {quote(str(given.parent))}"
        message = f"output {given}: the folder {given.parent} does not exist; make it with: {command}"
        raise OutputError(message)
    writable = given if given.is_dir() else given.parent
    if not os.access(writable, os.R_OK | os.W_OK | os.X_OK):
        message = (
            f"output {given}: no permission to write in {writable}; change its permissions or name another"
        )
        raise OutputError(message)
    strange = [name for name in CARD_FILES if os.path.lexists(given / name)]
    if strange and not _is_ours(given / README):
        message = (
            f"output {given}: found {strange[0]}, which trajstore card did not write; move it away or name another "
            "folder"
        )
        raise OutputError(message)
    return given


def _is_ours(readme: Path) -> bool:
    """Whether a card may be replaced."""
    try:
        return MARK.encode() in readme.read_bytes()
    except OSError:
        return False


def _draw(subject: Subject, title: str) -> bytes | None:
    """A contact sheet of the first sample of each class; None where nothing here can draw it."""
    if any(find_spec(module) is None for module in ENDINGS[".png"]):
        return None
    samples, source = subject.samples, subject.source
    labels = samples.column("class_label", range(len(samples)))[subject.rows]
    _, first = np.unique(labels, return_index=True)
    rows = subject.rows[first[:ROWS_MAX]].tolist()
    among = range(samples.spec.video.cameras) if source is None or source.cameras is None else source.cameras
    cameras = [among[place] for place in choose_cameras(len(among), most=CAMERAS_MAX)]
    clips = load(samples, rows, cameras, ending=".png")
    return draw(samples, clips, ".png", title=title)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files, or none where there is no room."""
    try:
        make_folders(folder)
        publish_all((folder / name, data) for name, data in files.items())
    except OSError as error:
        raise explain_failed_write(folder, error, state="no card was written", kind=OutputError) from error
