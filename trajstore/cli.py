"""The command line: parse, call one library function, print. Nobody imports this module."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from trajstore.errors import DamageError, SpecError, TrajstoreError
from trajstore.text import fit

if TYPE_CHECKING:
    from trajstore.commands.build import BuildReport
    from trajstore.progress import Report
    from trajstore.spec import DatasetSpec
    from trajstore.storage.location import Location


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

StoreArgument = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        help="The store: a folder such as store.zarr, or a URL such as s3://bucket/store.zarr.",
    ),
]
StorageOption = Annotated[
    list[str] | None,
    typer.Option(
        "--storage-option", metavar="KEY=VALUE", help="Endpoint, region and the like of a bucket; repeatable."
    ),
]
SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="STORE|SPEC",
        help="The store: a folder or a URL; or a TOML or JSON file with a spec, to see what it would give.",
    ),
]
RowsArgument = Annotated[
    list[int] | None,
    typer.Argument(
        metavar="ROW",
        help="Rows, counted from 0, at most 12. [default: one of each class]",
        show_default=False,
    ),
]
ClassOption = Annotated[
    str | None, typer.Option("--class", metavar="NAME", help="The first four samples of this class.")
]
OnlySplitOption = Annotated[
    str | None, typer.Option("--split", metavar="train|val|test", help="Only samples of this split.")
]
WorkersOption = Annotated[
    int | None, typer.Option(help="Threads that compute. [default: one for each processor]")
]
ExecutorOption = Annotated[
    str,
    typer.Option(
        metavar="threads|dask",
        help="What computes: threads, or a Dask cluster; without --scheduler it is started here.",
    ),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Dask scheduler of a cluster, such as tcp://host:8786."),
]
BuildersOption = Annotated[
    int | None,
    typer.Option(
        help="Threads that compute, or processes of a local Dask cluster. [default: one for each processor]"
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""click's, which some versions of typer carry inside them."""


def main() -> None:
    """Run a command; every error that is meant for people becomes one line and an exit code."""
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], prog_name="trajstore", standalone_mode=False))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except typer.Abort:
        sys.exit(128 + signal.SIGINT)
    except UsageError as error:
        _fail(_explain_usage(error), 2)
    except (TrajstoreError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        _fail(str(error), getattr(error, "exit_code", 1))


def _print_version(is_wanted: bool) -> None:
    """Print the version and exit."""
    if is_wanted:
        from importlib.metadata import version

        print(f"trajstore {version('trajstore')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    pass


@app.command(
    epilog=_examples(
        "build store.zarr",
        "build store.zarr --samples 1000 --seed 7",
        "build store.zarr --spec spec.toml --dry-run",
        "build store.zarr --part 3/8",
    )
)
def build(
    store: StoreArgument,
    spec: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML or JSON file with the spec; the options below override it."),
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Rows of the dataset. [default: 10000]")] = None,
    seed: Annotated[int | None, typer.Option(help="Key of all random numbers. [default: 0]")] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…", help="Trajectory families. [default: Linear,Circular,Helical,Parabolic]"
        ),
    ] = None,
    cameras: Annotated[int | None, typer.Option(help="Cameras around the scene. [default: 4]")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames that are seen. [default: 32]")] = None,
    height: Annotated[int | None, typer.Option(help="Height of a frame, px. [default: 64]")] = None,
    width: Annotated[int | None, typer.Option(help="Width of a frame, px. [default: 64]")] = None,
    horizon: Annotated[
        int | None, typer.Option(help="Frames from the last seen one to the future position. [default: 5]")
    ] = None,
    samples_per_shard: Annotated[int | None, typer.Option(help="Samples in one file. [default: 250]")] = None,
    workers: BuildersOption = None,
    executor: ExecutorOption = "threads",
    scheduler: SchedulerOption = None,
    part: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Build the I-th of N slices only, so that N jobs share the work."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be written, and write nothing.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Go on although it seems not to fit.")] = False,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Build a store, or what is missing of it.

    Running it again is resuming it; the path alone is enough then.
    """
    fields = {
        "samples": samples,
        "seed": seed,
        "classes": None if classes is None else [name.strip() for name in classes.split(",")],
        "cameras": cameras,
        "frames": frames,
        "height": height,
        "width": width,
        "horizon": horizon,
        "samples_per_shard": samples_per_shard,
    }
    given: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    read = _read_spec(spec)
    location = _locate(store, storage_option)
    if dry_run:
        _print_estimate(location, read, part=part, fields=given)
        return

    with _stop_on_signals() as should_stop, _progress(quiet=quiet) as report:
        from trajstore.commands.build import build as run

        done = run(
            location,
            read,
            workers=workers,
            executor=executor,
            scheduler=scheduler,
            part=part,
            progress=report,
            force=force,
            should_stop=should_stop,
            **given,
        )
    _print_report(done, part=part, location=location)


@app.command(epilog=_examples("info store.zarr", "info store.zarr --json"))
def info(
    store: StoreArgument,
    as_json: JsonOption = False,
    storage_option: StorageOption = None,
    debug: DebugOption = False,
) -> None:
    """Show what a store holds, how complete and how large it is."""
    from trajstore.commands.info import info as summarize

    location = _locate(store, storage_option)
    summary = summarize(location)
    if as_json:
        print(json.dumps(summary.to_json(), indent=2))  # noqa: T201
        return
    from trajstore.report import describe_summary

    _print(describe_summary(summary, location=location))


@app.command(
    epilog=_examples(
        "export store.zarr folder",
        "export store.zarr train --split train",
        "export store.zarr some --rows 0:1000 --dtype float32",
    )
)
def export(
    store: StoreArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New or empty folder, or one to continue.")],
    format: Annotated[  # noqa: A002
        str, typer.Option(metavar="FORMAT", help="pt: videos/sample_NNNN.pt and labels/sample_NNNN.json.")
    ] = "pt",
    split: Annotated[
        str | None, typer.Option(metavar="train|val|test", help="Only this split. [default: all]")
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(metavar="A:B", help="Only rows A to B − 1, counted from 0. [default: all]"),
    ] = None,
    dtype: Annotated[
        str, typer.Option(metavar="uint8|float32", help="Type of the tensors; float32 is from 0 to 1.")
    ] = "uint8",
    workers: WorkersOption = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Export what is written of an unfinished store.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Go on although it seems not to fit.")] = False,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Export samples to loose files, or what is missing of them.

    Running it again is resuming it: what is there and right is not written again.
    """
    from trajstore.commands.export import export as run
    from trajstore.report import describe_export

    with _progress(quiet=quiet) as report, _stop_on_signals() as should_stop:
        done = run(
            _locate(store, storage_option),
            folder,
            format=format,
            split=split,
            rows=rows,
            dtype=dtype,
            workers=workers,
            progress=report,
            allow_partial=allow_partial,
            force=force,
            should_stop=should_stop,
        )
    _print(describe_export(done))


@app.command(epilog=_examples("validate folder", "validate folder --against store.zarr --json"))
def validate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Exported folder, whoever wrote it.")],
    against: Annotated[
        str | None, typer.Option(metavar="STORE", help="Compare the contents with this store, row by row.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Threads. [default: one for each processor]")] = None,
    max_faults: Annotated[
        int, typer.Option(min=0, help="List at most so many faults; all are counted.")
    ] = 100,
    as_json: JsonOption = False,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Check an exported folder, whoever wrote it.

    Files, labels, tensors, checksums, balance and metadata; exits with 4 if anything is wrong.
    """
    from trajstore.commands.validate import validate as run
    from trajstore.report import describe_validation

    with _progress(quiet=quiet) as report, _stop_on_signals() as should_stop:
        done = run(
            folder,
            None if against is None else _locate(against, storage_option),
            workers=workers,
            progress=report,
            max_faults=max_faults,
            should_stop=should_stop,
        )
    if as_json:
        print(json.dumps(done.to_json(), indent=2))  # noqa: T201
    else:
        _print(describe_validation(done))
    if not done.is_valid:
        counts = ", ".join(f"{code} {count:,}" for code, count in done.fault_counts.items())
        message = (
            f"{folder}: found faults ({counts}), expected none; remove the faulty files and export again"
        )
        raise DamageError(message)


@app.command(epilog=_examples("verify store.zarr", "verify store.zarr --deep --json"))
def verify(
    store: StoreArgument,
    deep: Annotated[
        bool, typer.Option("--deep", help="Draw every sample again, not one of each shard.")
    ] = False,
    as_json: JsonOption = False,
    workers: WorkersOption = None,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Check everything in a store against its spec; changes nothing.

    Exits with 4 if anything is damaged. What a store that is not finished still lacks is no damage.
    """
    from trajstore.commands.verify import verify as run

    location = _locate(store, storage_option)
    with _progress(quiet=quiet) as report, _stop_on_signals() as should_stop:
        done = run(location, deep=deep, workers=workers, progress=report, should_stop=should_stop)
    if as_json:
        print(json.dumps(done.to_json(), indent=2))  # noqa: T201
    else:
        from trajstore.report import describe_verification

        _print(describe_verification(done, location=location))
    if not done.is_sound:
        message = f"{store}: damage found; mend it with: trajstore repair {location.argument}"
        raise DamageError(message)


@app.command(
    epilog=_examples(
        "repair store.zarr",
        "repair store.zarr --spec spec.toml",
        "verify store.zarr --json > report.json",
        "repair store.zarr --report report.json",
    )
)
def repair(
    store: StoreArgument,
    spec: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML or JSON file with the spec, where zarr.json is lost."),
    ] = None,
    report_file: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Output of verify --json: repair what it names, check nothing else.",
        ),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Draw every sample again to find damage, not one of each shard.")
    ] = False,
    workers: WorkersOption = None,
    force: Annotated[bool, typer.Option("--force", help="Go on although it seems not to fit.")] = False,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Make again what is damaged in a store, and nothing else.

    Files that do not belong to the store are named, and left for you to remove.
    """
    from trajstore.commands.repair import repair as run
    from trajstore.report import describe_repair

    location = _locate(store, storage_option)
    with _progress(quiet=quiet) as report, _stop_on_signals() as should_stop:
        done = run(
            location,
            spec=_read_spec(spec),
            report=_read_report(report_file),
            deep=deep,
            workers=workers,
            progress=report,
            force=force,
            should_stop=should_stop,
        )
    _print(describe_repair(done))
    if done.remaining:
        files = " ".join(shlex.quote(f"{done.location}/{finding.key}") for finding in done.remaining)
        how = "then: rm" if location.folder is not None else "then remove"
        message = f"{store}: found objects that do not belong to a store; look at them, {how} {files}"
        raise DamageError(message)


@app.command(epilog=_examples("extend store.zarr --samples 30000"))
def extend(
    store: StoreArgument,
    samples: Annotated[int, typer.Option(help="Rows that the store is to have.")],
    workers: BuildersOption = None,
    executor: ExecutorOption = "threads",
    scheduler: SchedulerOption = None,
    force: Annotated[bool, typer.Option("--force", help="Go on although it seems not to fit.")] = False,
    storage_option: StorageOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Give a store more rows; those that are there stay as they are.

    Running it again, or build, goes on where it was interrupted.
    """
    from trajstore.commands.extend import extend as run

    location = _locate(store, storage_option)
    with _progress(quiet=quiet) as report, _stop_on_signals() as should_stop:
        done = run(
            location,
            samples,
            workers=workers,
            executor=executor,
            scheduler=scheduler,
            progress=report,
            force=force,
            should_stop=should_stop,
        )
    _print_report(done, part=None, location=location)


def _locate(store: str, options: list[str] | None) -> Location:
    """Where a store is, from the command's arguments."""
    from trajstore.storage.location import Location, parse_options

    return Location.parse(store, parse_options(options or []))


@app.command(
    epilog=_examples(
        "preview store.zarr -o sheet.png",
        "preview spec.toml -o film.gif",
        "preview store.zarr 17 42 -o rows.mp4",
        "preview store.zarr --class Helical --split val -o helical.png",
    )
)
def preview(
    source: SourceArgument,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help=".png, .svg, .pdf: a contact sheet; .gif, .mp4: all cameras play in sync.",
        ),
    ],
    rows: RowsArgument = None,
    class_name: ClassOption = None,
    split: OnlySplitOption = None,
    storage_option: StorageOption = None,
    debug: DebugOption = False,
) -> None:
    """Draw samples of a store, or of a spec before anything is built.

    Marked are the path, the box of the silhouette and the future position.
    """
    from trajstore.commands.preview import preview as run
    from trajstore.report import describe_preview

    location = _locate(source, storage_option)
    done = run(location, rows, output=output, class_name=class_name, split=split)
    _print(describe_preview(done))


@app.command(
    epilog=_examples(
        "view store.zarr", "view store.zarr 17 42", "view store.zarr --class Circular -o circular.rrd"
    )
)
def view(
    source: SourceArgument,
    rows: RowsArgument = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.rrd", help="Save a recording; needs no screen."),
    ] = None,
    class_name: ClassOption = None,
    split: OnlySplitOption = None,
    storage_option: StorageOption = None,
    debug: DebugOption = False,
) -> None:
    """Show samples in the Rerun viewer, in space and time.

    Cameras with what they see, boxes, and the path in the world; with -o a recording for later.
    """
    from trajstore.commands.view import view as run
    from trajstore.report import describe_view

    location = _locate(source, storage_option)
    done = run(location, rows, output=output, class_name=class_name, split=split)
    _print(describe_view(done))


def _read_report(path: Path | None) -> dict[str, Any] | None:
    """The report of an earlier verification."""
    if path is None:
        return None
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = (
            f"report {path}: cannot be read ({error}), expected what `trajstore verify STORE --json` prints"
        )
        raise SpecError(message) from None
    return report


def _read_spec(path: Path | None) -> DatasetSpec | None:
    """The spec of a file."""
    if path is None:
        return None
    from trajstore.spec import DatasetSpec

    return DatasetSpec.from_file(path)


def _print_estimate(
    location: Location, spec: DatasetSpec | None, *, part: str | None, fields: dict[str, Any]
) -> None:
    """What a build would write."""
    from trajstore.report import describe_plan
    from trajstore.storage.disk_space import check_space, inspect_filesystem
    from trajstore.storage.open import open_storage
    from trajstore.store.plan import plan_build

    plan = plan_build(open_storage(location), spec, part=part, **fields)
    filesystem = None if location.folder is None else inspect_filesystem(location.folder)
    estimate = plan.estimate(filesystem.block if filesystem else 1)
    _print(describe_plan(plan, estimate, filesystem))
    if filesystem:
        check_space(estimate, filesystem, location=str(location))


def _print_report(report: BuildReport, *, part: str | None, location: Location) -> None:
    """What a build did."""
    from trajstore.report import describe_build

    _print(describe_build(report, part=part, location=location))


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Report]:
    """Progress on standard error, or none."""
    from trajstore.progress import ignore, show_progress

    if quiet:
        yield ignore
        return
    with show_progress() as report:
        yield report


@contextmanager
def _stop_on_signals() -> Iterator[Callable[[], int]]:
    """Turn the first SIGINT or SIGTERM into a request to stop; the second ends the process at once."""
    received: list[int] = []

    def handle(number: int, _: FrameType | None) -> None:
        if received:
            os._exit(128 + number)  # safe at any instant: whatever is on the disk is whole
        received.append(number)
        os.write(2, b"\nstopping: what has begun is finished first (once more to stop at once)\n")

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: received[0] if received else 0
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _explain_usage(error: Any) -> str:
    """What is wrong with the arguments, and where to read what is right."""
    command = error.ctx.command_path if error.ctx else "trajstore"
    return f"{error.format_message().rstrip('.')} (see: {command} --help)"


def _fail(message: str, code: int) -> None:
    """Print one line on standard error, more where a terminal is narrower, and exit."""
    _print(f"trajstore: {' '.join(message.split())}", sys.stderr)
    sys.exit(code)


def _print(text: str, stream: TextIO | None = None) -> None:
    """Print lines on standard output, or another stream, that fit the terminal."""
    stream = stream or sys.stdout
    print(fit(text, stream), file=stream)
