"""The command line: parse, call one library function, print. Nobody imports this module."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO, TypeVar

import typer
from typer import Argument, Option

import trajstore
from trajstore import report
from trajstore.errors import DamageError, OutputError, SpecError, TrajstoreError, describe_failure, is_full
from trajstore.progress import ignore, show_progress
from trajstore.storage.location import Location, parse_options
from trajstore.streams import BestEffort, lenient_streams
from trajstore.text import fit, join_lines, quote

if TYPE_CHECKING:
    from trajstore.spec import DatasetSpec
    from trajstore.store.plan import BuildPlan

Command = TypeVar("Command", bound=Callable[..., None])


def _examples(*commands: str) -> str:
    """Commands at the end of a help text, one a line."""
    return "\n".join(["\b", "Examples:", *(f"  trajstore {command}" for command in commands)])


app = typer.Typer(
    name="trajstore",
    help="Synthetic multi-camera video datasets with exact labels, in one Zarr store.",
    epilog=_examples("build store.zarr", "info store.zarr", "verify store.zarr", "build --help"),
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _command(*examples: str) -> Callable[[Command], Command]:
    """Make a function a command of its name, with examples at the end of its help."""
    return app.command(epilog=_examples(*examples))


StoreArgument = Annotated[
    str,
    Argument(
        metavar="STORE",
        help="The store: a folder such as store.zarr, or a URL such as s3://bucket/store.zarr.",
    ),
]
StorageOption = Annotated[
    list[str] | None,
    Option(
        "--storage-option",
        metavar="KEY=VALUE",
        help="A setting of the bucket, such as its endpoint or region; may be repeated.",
    ),
]
SourceArgument = Annotated[
    str,
    Argument(
        metavar="STORE|SPEC",
        help="The store: a folder or a URL; or a TOML or JSON file with a spec, to see what it would give.",
    ),
]
RowsArgument = Annotated[
    list[int] | None,
    Argument(
        metavar="ROW",
        help="Rows, counted from 0, at most 12. [default: one of each class]",
        show_default=False,
    ),
]
ClassOption = Annotated[
    str | None, Option("--class", metavar="NAME", help="The first four samples of this class.")
]
OnlySplitOption = Annotated[
    str | None, Option("--split", metavar="train|val|test", help="Only samples of this split.")
]
SHOWN: Final = "video|segmentation|depth_map|flow|normals|amodal"
WorkersOption = Annotated[
    int | None,
    Option(help="Number of threads, or of processes of a local Dask cluster. [default: one per processor]"),
]
ExecutorOption = Annotated[
    str,
    Option(
        metavar="threads|dask",
        help="Compute in threads or on a Dask cluster, which is started here unless --scheduler names one.",
    ),
]
SchedulerOption = Annotated[
    str | None,
    Option(metavar="ADDRESS", help="Address of a running Dask scheduler, such as tcp://host:8786."),
]
PartOption = Annotated[
    str | None,
    Option(metavar="I/N", help="Build the I-th of N slices only, so that N jobs share the work."),
]
DryRunOption = Annotated[
    bool, Option("--dry-run", help="Print what would be written and how much space is free; write nothing.")
]
ForceOption = Annotated[bool, Option("--force", help="Go on even if it seems not to fit on the disk.")]
QuietOption = Annotated[bool, Option("--quiet", "-q", help="Show no progress.")]
DebugOption = Annotated[bool, Option("--debug", help="Show the full traceback of an error.")]
JsonOption = Annotated[bool, Option("--json", help="Print JSON instead of text.")]

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""click's, which some versions of typer carry inside them."""


def main() -> None:
    """Run a command; every error that is meant for people becomes one line and an exit code."""
    with lenient_streams() as out:
        try:
            code = app(sys.argv[1:] or ["--help"], prog_name="trajstore", standalone_mode=False)
            out.flush()
            if out.error is not None:
                raise out.error
            sys.exit(code)
        except BrokenPipeError:
            sys.exit(1)
        except UsageError as error:
            _fail(_explain_usage(error), 2)
        except Exception as error:
            # click takes the end of any file for a wish to stop
            cause = error.__cause__ if isinstance(error, typer.Abort) else error
            if isinstance(cause, KeyboardInterrupt):
                sys.exit(128 + signal.SIGINT)
            if "--debug" in sys.argv:
                raise
            _fail(*_explain_failure(cause or error))


def _print_version(is_wanted: bool) -> None:
    """Print the version and exit."""
    if is_wanted:
        from importlib.metadata import version

        _print(f"trajstore {version('trajstore')}")
        raise typer.Exit


def _list_formats(is_wanted: bool) -> None:
    """List the formats of exports and exit."""
    if is_wanted:
        from trajstore.exporters import FORMATS

        _print(report.describe_formats(FORMATS))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@_command(
    "build store.zarr",
    "build store.zarr --samples 1000 --seed 7",
    "build store.zarr --spec spec.toml --dry-run",
    "build store.zarr --part 3/8",
)
def build(
    store: StoreArgument,
    spec: Annotated[
        Path | None,
        Option(metavar="FILE", help="TOML or JSON file with the spec; the options below override it."),
    ] = None,
    samples: Annotated[int | None, Option(help="Rows of the dataset. [default: 10000]")] = None,
    seed: Annotated[int | None, Option(help="Seed of all random numbers. [default: 0]")] = None,
    classes: Annotated[
        str | None,
        Option(metavar="A,B,…", help="Trajectory families. [default: Linear,Circular,Helical,Parabolic]"),
    ] = None,
    cameras: Annotated[int | None, Option(help="Cameras around the scene. [default: 4]")] = None,
    frames: Annotated[int | None, Option(help="Frames of a clip. [default: 32]")] = None,
    height: Annotated[int | None, Option(help="Height of a frame, px. [default: 64]")] = None,
    width: Annotated[int | None, Option(help="Width of a frame, px. [default: 64]")] = None,
    horizon: Annotated[
        int | None, Option(help="Frames from the last seen one to the future position. [default: 5]")
    ] = None,
    samples_per_shard: Annotated[
        int | None, Option(help="Samples in one file. [default: about 32 MiB]")
    ] = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = "threads",
    scheduler: SchedulerOption = None,
    part: PartOption = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Build a store, or finish one.

    Run it again to resume; the path alone is enough then.
    """
    fields = {
        "samples": samples,
        "seed": seed,
        "classes": None if classes is None else _split_names(classes),
        "cameras": cameras,
        "frames": frames,
        "height": height,
        "width": width,
        "horizon": horizon,
        "samples_per_shard": samples_per_shard,
    }
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    location, read = _locate(store, storage_option), _read_spec(spec)
    if dry_run:
        from trajstore.storage.open import open_storage
        from trajstore.store.plan import plan_build

        _print_plan(plan_build(open_storage(location), read, part=part, **given))
        return
    with _watch(quiet=quiet) as watching:
        done = trajstore.build(
            location,
            read,
            workers=workers,
            executor=executor,
            scheduler=scheduler,
            part=part,
            force=force,
            **watching,
            **given,
        )
    _print_message(report.describe_build(done, part=part, location=location))


@_command("spec -o spec.toml", "spec store.zarr")
def spec(
    source: Annotated[
        str | None,
        Argument(
            metavar="STORE",
            help="A store, or a file with a spec. [default: the spec of the default dataset]",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, Option("--output", "-o", metavar="FILE", help="A new file to write it to.")
    ] = None,
    storage_option: StorageOption = None,
    debug: DebugOption = False,
) -> None:
    """Print a spec as TOML to start from, each field explained.

    Change what you like, leave out the rest, and build it with: trajstore build STORE --spec FILE
    """
    if source is None:
        found = trajstore.DatasetSpec()
    else:
        from trajstore.pictures.source import open_samples

        found = open_samples(_locate(source, storage_option)).spec
    text = found.to_toml(comments=True)
    if output is None:
        print(text, end="")  # noqa: T201  as it is: a line that is broken would be another
        return
    from trajstore.storage.durable import publish

    try:
        publish(output, text.encode(), exclusive=True)
    except FileExistsError:
        message = f"output {output}: found a file, expected none of this name; name another, or remove it"
        raise OutputError(message) from None
    _print_message(
        f"{output}: written; build it with: trajstore build store.zarr --spec {quote(str(output))}"
    )


@_command(
    "annotate store.zarr segmentation depth_map",
    "annotate store.zarr flow --part 3/8",
    "annotate store.zarr --list",
    "annotate store.zarr --remove flow",
)
def annotate(
    store: StoreArgument,
    names: Annotated[
        list[str] | None,
        Argument(
            metavar="NAME",
            help="segmentation, depth_map, flow, normals, amodal, tracks; all in one pass.",
            show_default=False,
        ),
    ] = None,
    points: Annotated[
        int | None, Option(help="Points of each camera that tracks follows. [default: 64]")
    ] = None,
    is_list: Annotated[
        bool, Option("--list", help="List all annotations, their sizes, and which ones the store has.")
    ] = False,
    remove: Annotated[
        list[str] | None, Option("--remove", metavar="NAME", help="Remove an annotation; repeatable.")
    ] = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = "threads",
    scheduler: SchedulerOption = None,
    part: PartOption = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Add masks, depth, flow, normals or tracks to a store.

    Run it again to resume. Frames and labels stay as they are.
    """
    location = _locate(store, storage_option)
    if bool(names) + bool(remove) + is_list != 1:
        found = "several" if names or remove else "none"
        message = f"annotate {location}: found {found} of NAME, --list and --remove, expected one of them"
        raise SpecError(message)
    if is_list:
        listed = trajstore.list_annotations(location)
        _print_result(listed, report.describe_annotations(listed), as_json=as_json)
        return
    if remove:
        removed = trajstore.remove_annotations(location, *remove)
        _print_message(report.describe_removal(removed, location=location))
        return
    wanted = names or []
    if dry_run:
        from trajstore.storage.open import open_storage
        from trajstore.store.plan import plan_annotation

        _print_plan(plan_annotation(open_storage(location), wanted, points=points, part=part))
        return
    with _watch(quiet=quiet) as watching:
        done = trajstore.annotate(
            location,
            *wanted,
            points=points,
            workers=workers,
            executor=executor,
            scheduler=scheduler,
            part=part,
            force=force,
            **watching,
        )
    _print_message(report.describe_annotation(done, names=wanted, part=part, location=location))


@_command("info store.zarr", "info store.zarr --json")
def info(
    store: StoreArgument,
    as_json: JsonOption = False,
    storage_option: StorageOption = None,
    debug: DebugOption = False,
) -> None:
    """Show what a store holds, and how large and complete it is."""
    location = _locate(store, storage_option)
    with show_progress(busy="looking at its files"):
        summary = trajstore.info(location)
    _print_result(summary, report.describe_summary(summary, location=location), as_json=as_json)


@_command(
    "export store.zarr folder",
    "export store.zarr train --split train",
    "export store.zarr some --rows 0:1000 --dtype float32",
    "export store.zarr helices --class Helical --columns box,pixel",
)
def export(
    store: StoreArgument,
    folder: Annotated[
        Path, Argument(metavar="DIR", help="The output folder: new, empty, or an export to continue.")
    ],
    format: Annotated[  # noqa: A002
        str, Option(metavar="FORMAT", help="The output format; --list shows them all.")
    ] = "pt",
    layout: Annotated[
        str | None,
        Option(
            metavar="sample|traj",
            help="For pt: the names of files and the layout of labels. [default: sample]",
        ),
    ] = None,
    compression: Annotated[
        str | None,
        Option(metavar="gzip|zstd|none", help="For hdf5: how chunks are compressed. [default: gzip]"),
    ] = None,
    video: Annotated[
        str | None,
        Option(
            metavar="npy|mp4|mkv",
            help="For webdataset (npy or mp4) and videofolder (mp4 or mkv): how frames are stored.",
        ),
    ] = None,
    list_formats: Annotated[
        bool, Option("--list", is_eager=True, callback=_list_formats, help="List the formats and exit.")
    ] = False,
    split: Annotated[
        str | None, Option(metavar="train|val|test", help="Only this split. [default: all]")
    ] = None,
    class_name: Annotated[
        str | None, Option("--class", metavar="NAME", help="Only samples of this class. [default: all]")
    ] = None,
    rows: Annotated[
        str | None, Option(metavar="A:B", help="Only rows A to B − 1; the first row is 0. [default: all]")
    ] = None,
    cameras: Annotated[
        str | None,
        Option(metavar="N,…", help="Only these cameras, in this order; the first is 0. [default: all]"),
    ] = None,
    dtype: Annotated[
        str | None,
        Option(
            metavar="uint8|float32",
            help="Type of the frames; float32 goes from 0 to 1. [default: that of the format]",
        ),
    ] = None,
    annotations: Annotated[
        str | None,
        Option(
            metavar="NAME,…|none", help="Only these annotations, or none. [default: all that the store has]"
        ),
    ] = None,
    columns: Annotated[
        str | None,
        Option(
            metavar="NAME,…",
            help="Add where the target is in each picture to the labels: pixel, depth, box.",
        ),
    ] = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = "threads",
    scheduler: SchedulerOption = None,
    dry_run: DryRunOption = False,
    allow_partial: Annotated[
        bool, Option("--allow-partial", help="Export what is written so far of an unfinished store.")
    ] = False,
    force: ForceOption = False,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Export samples as files for other tools.

    If it was interrupted, run it again: files that are there and right are kept.
    """
    location = _locate(store, storage_option)
    what: dict[str, Any] = {
        "format": format,
        "options": {"layout": layout, "compression": compression, "video": video},
        "split": split,
        "class_name": class_name,
        "rows": rows,
        "cameras": None if cameras is None else _parse_cameras(cameras),
        "dtype": dtype,
        "annotations": None if annotations is None else _split_names(annotations.removeprefix("none")),
        "columns": _split_names(columns or ""),
        "allow_partial": allow_partial,
    }
    if dry_run:
        from trajstore.exporters.plan import plan_export
        from trajstore.storage.disk_space import check_space, inspect_filesystem

        plan, filesystem = plan_export(location, folder, **what), inspect_filesystem(folder)
        with show_progress():
            estimate = plan.estimate(filesystem.block)
        _print(report.describe_export_plan(plan, estimate, filesystem))
        check_space(estimate, filesystem, location=str(folder), fewer_files="export fewer rows")
        return
    with _watch(quiet=quiet) as watching:
        done = trajstore.export(
            location,
            folder,
            workers=workers,
            executor=executor,
            scheduler=scheduler,
            force=force,
            **what,
            **watching,
        )
    _print_message(report.describe_export(done))


@_command("validate folder", "validate folder --against store.zarr --json")
def validate(
    folder: Annotated[Path, Argument(metavar="DIR", help="The exported folder.")],
    against: Annotated[
        str | None, Option(metavar="STORE", help="Also compare each sample with this store.")
    ] = None,
    workers: Annotated[int | None, Option(help="Number of threads. [default: one per processor]")] = None,
    max_faults: Annotated[int, Option(min=0, help="List at most this many faults; all are counted.")] = 100,
    as_json: JsonOption = False,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Check an exported folder, even one of another program.

    Checks files, labels, tensors, annotations, checksums, class balance and metadata. Exits with 4 if anything is
    wrong.
    """
    store = None if against is None else _locate(against, storage_option)
    with _watch(quiet=quiet) as watching:
        done = trajstore.validate(folder, store, workers=workers, max_faults=max_faults, **watching)
    _print_result(done, report.describe_validation(done), as_json=as_json)
    if not done.is_valid:
        counts = ", ".join(f"{code} {count:,}" for code, count in done.fault_counts.items())
        message = (
            f"{folder}: found faults ({counts}), expected none; remove the faulty files and export again"
        )
        raise DamageError(message)


@_command("card store.zarr", "card store.zarr --license cc-by-4.0 --name 'Four motions'", "card folder")
def card(
    store: Annotated[
        str, Argument(metavar="STORE|DIR", help="A finished store, or a folder exported from one.")
    ],
    output: Annotated[
        Path | None,
        Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Folder for the card. [default: STORE.card for a store, the folder itself for an export]",
        ),
    ] = None,
    license: Annotated[  # noqa: A002
        str | None,
        Option(
            metavar="ID", help="License by its Hugging Face name: cc-by-4.0, cc0-1.0, … [default: unknown]"
        ),
    ] = None,
    name: Annotated[
        str | None, Option(metavar="TEXT", help="Name of the dataset. [default: that of the folder]")
    ] = None,
    workers: Annotated[int | None, Option(help="Number of threads. [default: one per processor]")] = None,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Write what a dataset needs to be published.

    A README.md for Hugging Face, croissant.json, checksums.sha256, spec.toml and a picture.
    """
    location = _locate(store, storage_option)
    with _watch(quiet=quiet) as watching:
        done = trajstore.card(location, output, license=license, name=name, workers=workers, **watching)
    _print(report.describe_card(done))


@_command(
    "verify store.zarr", "verify store.zarr --deep --json", "verify store.zarr --against checksums.sha256"
)
def verify(
    store: StoreArgument,
    against: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Only compare the files of a copied store or export with these checksums.",
        ),
    ] = None,
    deep: Annotated[bool, Option("--deep", help="Draw every sample again, not just one per shard.")] = False,
    as_json: JsonOption = False,
    workers: WorkersOption = None,
    executor: ExecutorOption = "threads",
    scheduler: SchedulerOption = None,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Check everything in a store against its spec; change nothing.

    Exits with 4 if anything is damaged. Rows of an unfinished store that are not written yet are not damage.
    """
    location = _locate(store, storage_option)
    if against is not None:
        if deep or executor != "threads" or scheduler is not None:
            message = (
                "against: found together with --deep, --executor or --scheduler, expected one or the other"
            )
            raise SpecError(message)
        with _watch(quiet=quiet) as watching:
            compared = trajstore.verify_copy(location, against, workers=workers, **watching)
        _print_result(compared, report.describe_copy(compared), as_json=as_json)
        if not compared.is_same:
            counts = ", ".join(f"{kind} {len(names):,}" for kind, names in compared.differences.items())
            message = (
                f"{location}: differs from {against} ({counts}); get these files again, or make them again"
            )
            raise DamageError(message)
        return
    with _watch(quiet=quiet) as watching:
        done = trajstore.verify(
            location, deep=deep, workers=workers, executor=executor, scheduler=scheduler, **watching
        )
    _print_result(done, report.describe_verification(done, location=location), as_json=as_json)
    if not done.is_sound:
        message = f"{location}: damage found; mend it with: trajstore repair {location.argument}"
        raise DamageError(message)


@_command(
    "repair store.zarr",
    "repair store.zarr --spec spec.toml",
    "verify store.zarr --json > report.json",
    "repair store.zarr --report report.json",
)
def repair(
    store: StoreArgument,
    spec: Annotated[
        Path | None,
        Option(metavar="FILE", help="TOML or JSON file with the spec, needed only if zarr.json is lost."),
    ] = None,
    report_file: Annotated[
        Path | None,
        Option(
            "--report",
            metavar="FILE",
            help="Output of verify --json: check and repair only what it lists.",
        ),
    ] = None,
    deep: Annotated[
        bool, Option("--deep", help="Draw every sample again to find damage, not just one per shard.")
    ] = False,
    workers: WorkersOption = None,
    executor: ExecutorOption = "threads",
    scheduler: SchedulerOption = None,
    force: ForceOption = False,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Rebuild what is damaged in a store, and nothing else.

    Files that do not belong to the store are listed; removing them is up to you.
    """
    location = _locate(store, storage_option)
    with _watch(quiet=quiet) as watching:
        done = trajstore.repair(
            location,
            spec=_read_spec(spec),
            report=_read_report(report_file),
            deep=deep,
            workers=workers,
            executor=executor,
            scheduler=scheduler,
            force=force,
            **watching,
        )
    _print_message(report.describe_repair(done))
    if done.remaining:
        files = " ".join(quote(f"{done.location}/{finding.key}") for finding in done.remaining)
        how = "then: rm" if location.folder is not None else "then remove"
        message = f"{location}: found objects that do not belong to a store; look at them, {how} {files}"
        raise DamageError(message)


@_command("extend store.zarr --samples 30000", "extend store.zarr --samples 30000 --dry-run")
def extend(
    store: StoreArgument,
    samples: Annotated[int, Option(help="Total number of rows afterwards.")],
    workers: WorkersOption = None,
    executor: ExecutorOption = "threads",
    scheduler: SchedulerOption = None,
    dry_run: DryRunOption = False,
    force: ForceOption = False,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Add rows to a store; the rows that it has do not change.

    If it was interrupted, run it again, or run build.
    """
    location = _locate(store, storage_option)
    if dry_run:
        from trajstore.commands.extend import plan_extension
        from trajstore.storage.open import open_storage

        _print_plan(plan_extension(open_storage(location), samples))
        return
    with _watch(quiet=quiet) as watching:
        done = trajstore.extend(
            location,
            samples,
            workers=workers,
            executor=executor,
            scheduler=scheduler,
            force=force,
            **watching,
        )
    _print_message(report.describe_build(done, part=None, location=location))


@_command(
    "preview store.zarr -o sheet.png",
    "preview spec.toml -o film.gif",
    "preview store.zarr 17 42 -o rows.mp4",
    "preview store.zarr --class Helical --split val -o helical.png",
    "preview store.zarr --show video --show flow -o flow.png",
    "preview store.zarr --scale 4 --zoom 2 --no-overlay -o large.png",
)
def preview(
    source: SourceArgument,
    output: Annotated[
        Path,
        Option(
            "--output",
            "-o",
            metavar="FILE",
            help=".png, .svg, .pdf: a contact sheet; .gif, .mp4: all cameras play in sync.",
        ),
    ],
    rows: RowsArgument = None,
    show: Annotated[
        list[str] | None,
        Option(
            metavar=SHOWN,
            help="What the pictures show, repeatable. [default: video]",
            show_default=False,
        ),
    ] = None,
    scale: Annotated[
        float | None, Option(metavar="FACTOR", help="How many times their size frames are shown.")
    ] = None,
    zoom: Annotated[
        float, Option(metavar="FACTOR", help="At 2, show half of each side of a frame, around the target.")
    ] = 1.0,
    overlay: Annotated[
        bool, Option("--overlay/--no-overlay", help="Draw path, boxes and future position over frames.")
    ] = True,
    class_name: ClassOption = None,
    split: OnlySplitOption = None,
    storage_option: StorageOption = None,
    debug: DebugOption = False,
) -> None:
    """Draw samples of a store, or of a spec before anything is built.

    Marked are the path, the box of the silhouette and the future position.

    Annotations are shown whether or not the store holds them.
    """
    location = _locate(source, storage_option)
    with show_progress(busy="drawing"):
        done = trajstore.preview(
            location,
            rows,
            output=output,
            show=show or ["video"],
            scale=scale,
            zoom=zoom,
            overlay=overlay,
            class_name=class_name,
            split=split,
        )
    _print_message(report.describe_preview(done))


@_command(
    "view store.zarr", "view store.zarr 17 42 --web", "view store.zarr --class Circular -o circular.rrd"
)
def view(
    source: SourceArgument,
    rows: RowsArgument = None,
    output: Annotated[
        Path | None, Option("--output", "-o", metavar="FILE.rrd", help="Save a recording; needs no screen.")
    ] = None,
    web: Annotated[
        bool,
        Option("--web", help="Serve the viewer to a browser of this machine until Ctrl-C; needs no screen."),
    ] = False,
    show: Annotated[
        list[str] | None,
        Option(metavar=SHOWN, help="What the cameras show, repeatable. [default: video]", show_default=False),
    ] = None,
    class_name: ClassOption = None,
    split: OnlySplitOption = None,
    storage_option: StorageOption = None,
    debug: DebugOption = False,
) -> None:
    """Show samples in the Rerun viewer, in space and time.

    Cameras with what they see, boxes, and the path in the world; with -o a recording for later.
    """
    location = _locate(source, storage_option)
    with show_progress(busy="drawing"):
        done = trajstore.view(
            location, rows, output=output, web=web, show=show or ["video"], class_name=class_name, split=split
        )
    _print_message(report.describe_view(done))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server ends with this process
    done.wait()


def _locate(store: str, options: list[str] | None) -> Location:
    """Where a store is, from the command's arguments."""
    return Location.parse(store, parse_options(options or []))


def _split_names(text: str) -> list[str]:
    """Names between commas."""
    return [name.strip() for name in text.split(",")] if text else []


def _parse_cameras(text: str) -> list[int]:
    """Numbers of cameras between commas."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        message = f"cameras: found {text!r}, expected numbers between commas, such as 0,2"
        raise SpecError(message) from None


def _read_spec(path: Path | None) -> DatasetSpec | None:
    """The spec of a file."""
    return None if path is None else trajstore.DatasetSpec.from_file(path)


def _read_report(path: Path | None) -> dict[str, Any] | None:
    """The report of an earlier verification."""
    if path is None:
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = (
            f"report {path}: cannot be read ({error}), expected what `trajstore verify STORE --json` prints"
        )
        raise SpecError(message) from None
    return found


def _print_plan(plan: BuildPlan) -> None:
    """Print what would be written, and raise if it does not fit."""
    from trajstore.storage.disk_space import check_space, inspect_filesystem

    location = plan.location
    filesystem = None if location.folder is None else inspect_filesystem(location.folder)
    block = filesystem.block if filesystem else 1
    with show_progress():
        estimate, quiet = plan.estimate(block), plan.estimate_quiet(block)
    _print(report.describe_plan(plan, estimate, quiet, filesystem))
    if filesystem:
        check_space(estimate, filesystem, location=str(location))


@contextmanager
def _watch(*, quiet: bool) -> Iterator[dict[str, Any]]:
    """Show progress and turn signals into requests to stop, for as long as a function runs with these arguments.

    The first SIGINT or SIGTERM is a request; the second ends the process at once.
    """
    received: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        if received:
            os._exit(128 + number)  # safe at any instant: whatever is on the disk is whole
        received.append(number)
        with suppress(OSError):
            os.write(2, b"\nstopping: what has begun is finished first (once more to stop at once)\n")

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with nullcontext(ignore) if quiet else show_progress() as progress:
            yield {"progress": progress, "should_stop": lambda: received[0] if received else 0}
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _explain_usage(error: Any) -> str:
    """What is wrong with the arguments, and where to read what is right."""
    command = error.ctx.command_path if error.ctx else "trajstore"
    return f"{error.format_message().rstrip('.')} (see: {command} --help)"


def _explain_failure(error: BaseException) -> tuple[str, int]:
    """What has gone wrong, and the exit code that says so."""
    if isinstance(error, TrajstoreError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename is not None else ""
        return f"{place}{describe_failure(error)}", 3 if is_full(error) else 1
    if isinstance(error, MemoryError):
        return f"found too little memory ({error}), ask for less or use fewer --workers", 1
    return f"unexpected {type(error).__name__}: {error}; add --debug to see where, and please report it", 1


def _fail(message: str, code: int) -> None:
    """Print one line on standard error, more where a terminal is narrower, and exit."""
    _print(f"trajstore: {join_lines(message)}", sys.stderr)
    sys.exit(code)


def _print_result(done: Any, text: str, *, as_json: bool) -> None:
    """Print what a command found, for people or for machines."""
    if as_json:
        print(json.dumps(done.to_json(), indent=2))  # noqa: T201
    else:
        _print(text)


def _print_message(text: str) -> None:
    """Print what a command has done; that is done whether or not anybody can read of it."""
    _print(text)
    sys.stdout.flush()
    if isinstance(sys.stdout, BestEffort):
        sys.stdout.error = None


def _print(text: str, stream: TextIO | None = None) -> None:
    """Print lines on standard output, or another stream, that fit the terminal."""
    stream = stream or sys.stdout
    print(fit(text, stream), file=stream)
