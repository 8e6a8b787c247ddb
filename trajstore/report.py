"""What the commands print: plans, results and stores in a few aligned lines."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from trajstore.text import escape, format_bytes, format_count, format_rate, format_seconds, quote

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from trajstore.commands.annotate import AnnotationList
    from trajstore.commands.build import BuildReport
    from trajstore.commands.card import CardReport
    from trajstore.commands.export import ExportReport
    from trajstore.commands.info import Summary
    from trajstore.commands.preview import PreviewReport
    from trajstore.commands.repair import RepairReport
    from trajstore.commands.verify import VerifyReport
    from trajstore.commands.verify_copy import CopyReport
    from trajstore.commands.view import ViewReport
    from trajstore.exporters import Format
    from trajstore.exporters.check import ValidationReport
    from trajstore.exporters.plan import ExportPlan
    from trajstore.integrity.findings import Finding
    from trajstore.storage.disk_space import Estimate, Filesystem
    from trajstore.storage.location import Location
    from trajstore.store.plan import BuildPlan

FINDINGS_MAX = 40
"""Findings that are printed one by one."""

SHOWN = ("samples", "seed", "classes", "families", "cameras", "frames", "height", "width")
"""Fields of a spec that stand elsewhere in the description of a store."""

WORLD = ("dataset", "video", "scene", "camera", "render", "background", "sensor")
"""Sections of a spec that decide rows, beside the bodies and the splits."""


def describe_summary(summary: Summary, *, location: Location) -> str:
    """Describe a store."""
    sizes = summary.sample_shape
    cameras = f"{sizes['camera']} camera{'' if sizes['camera'] == 1 else 's'}"
    shape = f"{cameras} × {sizes['frame']} frames × 3 channels × {sizes['y']} × {sizes['x']}"
    last = summary.history[-1]
    lines = [
        _headline(summary),
        *_rows(
            ("written", _written(summary)),
            ("classes", _counts(summary.classes)),
            ("splits", _counts(summary.splits)),
            ("sample", f"{shape}, uint8, {format_bytes(summary.sample_bytes)}"),
            ("bodies", _list_changes(summary.spec, "bodies")),
            ("world", _list_changes(summary.spec, *WORLD)),
            ("size", _size(summary)),
            ("annotations", _more(summary)),
            ("seed", f"{summary.spec['dataset']['seed']}, fingerprint {summary.fingerprint[:16]}"),
            (last["event"], f"{last['time']} by trajstore {last['versions']['trajstore']}"),
        ),
    ]
    if not summary.is_complete:
        lines.append(_continue(location))
    return "\n".join(lines)


def describe_build(report: BuildReport, *, part: str | None, location: Location) -> str:
    """Describe what a build did."""
    summary = report.summary
    lines = [
        _headline(summary) + (f", part {part} done" if part else ""),
        *_rows(
            ("classes", _counts(summary.classes)),
            ("splits", _counts(summary.splits)),
            ("size", _size(summary)),
            (
                "time",
                _pace(report)
                if report.new_samples
                else f"{format_seconds(report.seconds)}, nothing was missing",
            ),
        ),
    ]
    if summary.is_complete:
        lines += [f"next: trajstore info {location.argument}", f"      {_open_command(location)}"]
    elif part:
        lines += [f"next: the other parts, or all that is missing: trajstore build {location.argument}"]
    return "\n".join(lines)


def describe_annotation(
    report: BuildReport, *, names: Collection[str], part: str | None, location: Location
) -> str:
    """Describe what annotating a store did."""
    summary = report.summary
    rows = max((report.new_rows.get(name, 0) for name in names), default=0)
    written = {name: summary.written[name] for name in summary.written if name in names}
    is_complete = all(count == summary.samples for count in written.values())
    state = "complete" if is_complete else "unfinished"
    counted = ", ".join(f"{name} {format_count(count)}" for name, count in written.items())
    sizes = ", ".join(f"{name} {format_bytes(summary.stored_bytes[name])}" for name in written)
    pace = f"{format_seconds(report.seconds)}, {format_rate(rows / report.seconds)} samples/s"
    lines = [
        f"{summary.location}: {state}, {counted} of {format_count(summary.samples)} samples"
        + (f", part {part} done" if part else ""),
        *_rows(
            ("size", sizes),
            ("time", pace if rows else f"{format_seconds(report.seconds)}, nothing was missing"),
        ),
    ]
    if is_complete:
        lines += [f"next: {_open_command(location)}"]
    elif part:
        command = f"trajstore annotate {location.argument} {' '.join(written)}"
        lines += [f"next: the other parts, or all that is missing: {command}"]
    return "\n".join(lines)


def describe_annotations(found: AnnotationList) -> str:
    """List all annotations: how much is there, how large it is, what its arrays hold."""
    lines = [f"{found.location}: {format_count(found.samples)} samples"]
    width = max(len(state.name) for state in found.annotations)
    for state in found.annotations:
        is_complete = state.written == found.samples
        there = (
            f"complete, {format_bytes(state.stored_bytes)}"
            if is_complete
            else f"{format_count(state.written)} of {format_count(found.samples)}, {format_bytes(state.stored_bytes)}"
            f" of about {format_bytes(state.estimated_bytes)}"
            if state.is_there
            else f"not there, about {format_bytes(state.estimated_bytes)}"
        )
        lines.append(f"  {state.name:<{width}}  {there}")
        lines += [f"  {'':<{width}}  {name}: {meaning}" for name, meaning in state.arrays.items()]
    return "\n".join(lines)


def describe_removal(removed: tuple[str, ...], *, location: Location) -> str:
    """Describe what was taken away."""
    return f"{location}: {', '.join(removed)} removed" if removed else f"{location}: nothing of it is there"


def describe_plan(
    plan: BuildPlan, estimate: Estimate, quiet: Estimate | None, filesystem: Filesystem | None
) -> str:
    """Describe what a build would write, and what it would be without the sensor's noise if there is any."""
    rows, total = plan.pending_samples, plan.spec.dataset.samples
    what = f"{', '.join(plan.annotations)} of " if plan.annotations else ""
    lines = [
        f"{plan.location}: would write {what}{format_count(rows)} of {format_count(total)} samples",
        *_rows(("size", _about(estimate))),
    ]
    if quiet is not None:
        share = f"noise does not compress: without sensor.noise about {format_bytes(quiet.bytes)}"
        lines += _rows(("noise", share))
    return "\n".join([*lines, *_describe_free(filesystem)])


def describe_export_plan(plan: ExportPlan, estimate: Estimate, filesystem: Filesystem) -> str:
    """Describe what an export would write."""
    total = format_count(len(plan.rows))
    if plan.is_done:
        return f"{plan.folder}: complete, {total} samples; nothing to write"
    lines = [
        f"{plan.folder}: would write {format_count(plan.missing_samples)} of {total} samples",
        *_rows(("size", _about(estimate))),
    ]
    return "\n".join([*lines, *_describe_free(filesystem)])


def _about(estimate: Estimate) -> str:
    """Bytes and files that are going to be written."""
    files = f"{format_count(estimate.files)} file{'' if estimate.files == 1 else 's'}"
    return f"about {format_bytes(estimate.bytes)} in {files}"


def _describe_free(filesystem: Filesystem | None) -> list[str]:
    """How much room there is; nothing of a bucket."""
    if filesystem is None:
        return []
    free = _rows(("free", f"{format_bytes(filesystem.free)} on the filesystem of {filesystem.path}"))
    return [*free, *([f"note: {hint}"] if (hint := filesystem.hint()) else [])]


def _continue(location: Location) -> str:
    """How to go on with a store that is not finished."""
    return f"continue with: trajstore build {location.argument}"


def _open_command(location: Location) -> str:
    """The shell command that opens a store in Python, in the quotes that are easiest to read."""
    options = "".join(
        f"{', ' if index else ''}'{name}': '{value}'"
        for index, (name, value) in enumerate(location.shown_options)
    )
    more = f", storage_options={{{options}}}" if options else ""
    code = f"import trajstore; print(trajstore.open({str(location)!r}{more}))"
    return f'python -c "{code}"' if not set(code) & set('"$`\\!') else f"python -c {quote(code)}"


def describe_export(report: ExportReport) -> str:
    """Describe what an export did."""
    metadata = report.metadata
    total = format_count(metadata.total_samples)
    if not report.new_samples:
        return f"{report.location}: complete, {total} samples; nothing to write"
    lines = [
        f"{report.location}: exported {format_count(report.new_samples)} of {total} samples",
        *_rows(
            ("classes", _list_counts(_drop_zeros(metadata.class_distribution))),
            ("splits", _list_counts(_drop_zeros(metadata.split_distribution or {}))),
            ("tensors", f"{_shape(metadata.tensor_shape)} {metadata.tensor_dtype}"),
            ("annotations", ", ".join(metadata.annotations)),
            ("size", f"{format_bytes(report.new_bytes)} written"),
            ("time", _pace(report)),
        ),
    ]
    return "\n".join(lines)


def describe_formats(formats: Mapping[str, Format]) -> str:
    """List the formats of exports, each in one line, and their own options."""
    width = max(map(len, formats))
    lines = []
    for name, format in formats.items():  # noqa: A001
        options = "".join(f"; --{option} {'|'.join(values)}" for option, values in format.options.items())
        lines.append(f"{name:<{width}}  {format.summary}{options}")
    return "\n".join(lines)


def describe_validation(report: ValidationReport) -> str:
    """Describe what validation found."""
    count = report.fault_count
    verdict = f"{format_count(count)} fault{'' if count == 1 else 's'}" if count else "valid"
    samples = format_count(report.samples)
    found = (
        f"{_shape(report.tensor_shape)} {report.tensor_dtype}, {format_bytes(report.video_bytes)}"
        if report.tensor_shape
        else "none can be read"
    )
    layout = f", layout {report.layout}" if report.layout else ""
    author = "" if report.by_trajstore else ", not written by trajstore"
    rows = [
        ("format", f"{report.format}{layout}{author}"),
        ("videos", f"{format_count(report.videos)} of {samples}"),
        ("tensors", found),
        ("labels", f"{format_count(report.labels)} of {samples}"),
        ("annotations", f"{format_count(report.annotations)} of {samples}" if report.annotations else ""),
        ("classes", _counts(report.classes)),
        ("splits", _counts(report.splits) if report.splits else ""),
        ("against", report.against or ""),
        ("PSNR", f"{report.psnr:.1f} dB at worst" if report.psnr is not None else ""),
        ("time", format_seconds(report.seconds)),
    ]
    lines = [f"{escape(report.location)}: {verdict}, {samples} samples", *_rows(*rows)]
    if report.faults:
        width = max(len(fault.code) for fault in report.faults)
        lines += [
            "faults",
            *(f"  {fault.code:<{width}}  {fault.path}: {fault.detail}" for fault in report.faults),
        ]
    if len(report.faults) < count:
        more = format_count(count - len(report.faults))
        lines.append(f"  … {more} more; in all {_list_counts(report.fault_counts)}")
    return "\n".join(lines)


def _pace(report: BuildReport | ExportReport) -> str:
    """How long something took, and how fast it went."""
    return f"{format_seconds(report.seconds)}, {format_rate(report.new_samples / report.seconds)} samples/s"


def _shape(shape: tuple[int, ...] | None) -> str:
    """Sizes of a tensor's dimensions."""
    return " × ".join(map(str, shape or ()))


def describe_verification(report: VerifyReport, *, location: Location) -> str:
    """Describe what a verification has found."""
    damage = ", ".join(f"{count} {kind}" for kind, count in report.counts().items())
    checked = f"{_list_counts(report.checked)} of {format_count(report.samples)} rows"
    pixels = "every sample drawn again" if report.deep else "one sample per shard drawn again"
    pending = f"{_list_counts(report.pending)} rows; {_continue(location)}"
    lines = [
        f"{report.location}: {f'damaged: {damage}' if damage else 'no damage found'}",
        *_rows(
            ("checked", f"{checked}; {pixels}"),
            ("pending", pending if any(report.pending.values()) else ""),
            ("time", format_seconds(report.seconds)),
        ),
    ]
    return "\n".join([*lines, *_table(report.findings)])


def describe_card(report: CardReport) -> str:
    """Describe a card."""
    found, license_ = report.shortcut, report.license
    share = (
        f"class guessed from one frame: {100 * found.position:.0f} % by position, "
        f"{100 * found.picture:.0f} % by picture, {100 * found.chance:.0f} % by chance"
        if found
        else "not measured, too few samples"
    )
    checked = f"{format_count(report.checked_files)} files, {format_bytes(report.checked_bytes)}"
    lines = [
        f"{report.folder}: card of {report.location}",
        *_rows(
            ("files", ", ".join(report.files)),
            ("hashed", checked),
            ("license", license_ if license_ != "unknown" else "none chosen yet; choose one with --license"),
            ("shortcut", share),
            ("time", format_seconds(report.seconds)),
        ),
        *(f"note: {note}" for note in report.notes),
    ]
    return "\n".join(lines)


def describe_copy(report: CopyReport) -> str:
    """Describe how a copy compares with checksums."""
    differences = report.differences
    counts = ", ".join(f"{format_count(len(names))} {kind}" for kind, names in differences.items())
    listed = [(kind, name) for kind, names in differences.items() for name in names]
    width = max(map(len, differences), default=0)
    lines = [
        f"{report.location}: {f'differs: {counts}' if differences else 'the same'}",
        *_rows(
            ("against", f"{report.against}, {format_count(report.files)} files"),
            ("read", format_bytes(report.bytes)),
            ("time", format_seconds(report.seconds)),
        ),
        *(f"  {kind:<{width}}  {_show_name(name)}" for kind, name in listed[:FINDINGS_MAX]),
    ]
    if len(listed) > FINDINGS_MAX:
        lines.append(
            f"and {format_count(len(listed) - FINDINGS_MAX)} more; all of them: trajstore verify --json"
        )
    return "\n".join(lines)


def _show_name(name: str) -> str:
    """The name of a file of unknown origin, as it cannot harm a terminal."""
    return name if name.isprintable() else ascii(name)


def describe_repair(report: RepairReport) -> str:
    """Describe what a repair did."""
    done = report.done
    rebuilt: Counter[str] = Counter()
    for task in done.rebuild:
        rebuilt[task.group] += len(task.rows)
    lines = _rows(
        ("rebuilt", f"{_list_counts(rebuilt)} rows" if rebuilt else ""),
        ("metadata", ", ".join(done.metadata)),
        ("flags", f"{format_count(len(done.restore))} set again" if done.restore else ""),
        (
            "cleared",
            f"{format_count(len(done.forget))} damaged flags of rows that are not built"
            if done.forget
            else "",
        ),
        ("removed", f"{format_count(len(report.removed))} temporary files" if report.removed else ""),
    )
    headline = f"{report.location}: {'repaired' if lines else 'nothing to repair'}"
    time = _rows(("time", format_seconds(report.seconds)))
    return "\n".join([headline, *lines, *time, *_table(report.found)])


def _table(findings: tuple[Finding, ...]) -> list[str]:
    """A line for each finding: kind, object, rows, what was found."""
    if not findings:
        return []
    rows = [
        ("FOUND", "OBJECT", "ROWS", ""),
        *(
            (
                finding.kind if finding.is_damage else f"({finding.kind})",
                finding.key,
                f"{finding.task.rows.start}:{finding.task.rows.stop}" if finding.task else "",
                finding.detail,
            )
            for finding in findings[:FINDINGS_MAX]
        ),
    ]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    if len(findings) > FINDINGS_MAX:
        more = format_count(len(findings) - FINDINGS_MAX)
        lines.append(f"and {more} more; all of them: trajstore verify --json")
    return ["", *lines]


def describe_preview(report: PreviewReport) -> str:
    """Describe a preview."""
    return f"{report.output}: {format_bytes(report.bytes)}, {_list_rows(report.rows, report.classes)}"


def describe_view(report: ViewReport) -> str:
    """Describe what is shown in the viewer."""
    rows = _list_rows(report.rows, report.classes)
    if report.url is not None:
        return f"in a browser of this machine, until Ctrl-C: {report.url} ({rows})"
    if report.output is None:
        return f"in the viewer: {rows}"
    command = f"rerun {quote(str(report.output))}"
    return f"{report.output}: {format_bytes(report.bytes)}, {rows}\nnext: {command}"


def _list_rows(rows: tuple[int, ...], classes: tuple[str, ...]) -> str:
    """Rows with their classes."""
    pairs = zip(rows, classes, strict=True)
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(f'{row} {name}' for row, name in pairs)}"


def _headline(summary: Summary) -> str:
    """Name a store and say whether it is complete."""
    if summary.is_complete:
        return f"{summary.location}: complete, {format_count(summary.samples)} samples"
    missing = {name: rows for name, rows in summary.written.items() if rows < summary.samples}
    if not missing.keys() & {"labels", "video"}:
        state = ", ".join(f"{name} {format_count(rows)}" for name, rows in missing.items())
        return (
            f"{summary.location}: annotations unfinished, {state} of {format_count(summary.samples)} samples"
        )
    written = format_count(summary.written["video"])
    return f"{summary.location}: unfinished, {written} of {format_count(summary.samples)} samples"


def _rows(*rows: tuple[str, str]) -> list[str]:
    """Names and values, aligned; nothing where there is no value."""
    width = max([7, *(len(name) for name, value in rows if value)])
    return [f"  {name:<{width}}  {value}" for name, value in rows if value]


def _counts(counts: dict[str, int]) -> str:
    """Names with counts, if there is anything."""
    return _list_counts(counts) if any(counts.values()) else "none"


def _drop_zeros(counts: dict[str, int]) -> dict[str, int]:
    """The counts of what there is."""
    return {name: count for name, count in counts.items() if count}


def _list_counts(counts: dict[str, int]) -> str:
    """Names with counts."""
    return ", ".join(f"{name} {format_count(count)}" for name, count in counts.items())


def _written(summary: Summary) -> str:
    """Rows of each column group."""
    return ", ".join(
        f"{name} {format_count(rows)} ({100 * rows // summary.samples} %)"
        for name, rows in summary.written.items()
    )


def _list_changes(spec: dict[str, Any], *sections: str) -> str:
    """What some sections of a spec have that is not the default, as one writes it in a spec."""
    from trajstore.spec import DatasetSpec  # imports pydantic

    defaults = dict(DatasetSpec().walk())
    return ", ".join(
        f"{section}.{name} = {json.dumps(value, ensure_ascii=False)}"
        for section in sections
        for name, value in spec.get(section, {}).items()
        if name not in SHOWN and value != defaults[section, name]
    )


def _size(summary: Summary) -> str:
    """Stored and raw bytes, without annotations."""
    size = summary.total_stored_bytes - sum(map(summary.stored_bytes.__getitem__, _annotations(summary)))
    rows = summary.written["video"]
    if not rows:
        return f"{format_bytes(size)} on disk"
    return (
        f"{format_bytes(size)} on disk, {format_bytes(summary.raw_bytes)} raw "
        f"({summary.raw_bytes / size:.3g}× smaller), {format_bytes(size / rows)} per sample"
    )


def _annotations(summary: Summary) -> list[str]:
    """Annotations that a store has."""
    names: list[str] = summary.spec.get("annotations", {}).get("groups", [])
    return names


def _more(summary: Summary) -> str:
    """Annotations with their stored bytes, those of a sample where any is written."""
    return ", ".join(
        f"{name} {format_bytes(size)}" + (f" ({format_bytes(size / rows)} per sample)" if rows else "")
        for name in _annotations(summary)
        for size, rows in ((summary.stored_bytes[name], summary.written[name]),)
    )
