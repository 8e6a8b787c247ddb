"""The format ``hdf5``: one file with all arrays, dimensions, units and coordinates, laid out as netCDF-4.

The chunks of frames and annotations are compressed in threads, into ``parts/``: those of some rows one after the other,
then their lengths. When all parts are there, `finish` puts their chunks as they are into ``dataset.h5``, under another
name, adds the label columns, and gives it its name; then the parts are removed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from io import FileIO
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from trajstore.errors import SpecError
from trajstore.exporters.interface import BadFileError, Bytes, Decoded, Dtype, Encoder, Export, Format, Part
from trajstore.exporters.records import CAPTION_BYTES, Label, Source
from trajstore.reading.coordinates import NAMES, list_meanings, name_coordinates
from trajstore.reading.samples import Samples
from trajstore.storage.durable import publishing, remove_all
from trajstore.store.columns import Column
from trajstore.store.layout import FRAMES, plan_layout

if TYPE_CHECKING:
    import h5py

DATASET_FILE: Final = "dataset.h5"
PART_FOLDER: Final = "parts"

PART_BYTES: Final = 32 * 2**20
"""About how many bytes of a part are held in memory, uncompressed."""

COLUMN_ROWS: Final = 4096
"""Rows of the label columns that are written at a time."""

COLUMN_BYTES: Final = 2**17
"""About the size of a chunk of a label column: several fit into the cache that HDF5 keeps of each."""

CHUNK_SLACK: Final = 1024
"""So many bytes more a chunk may take than what is in it."""

ENTRY_BYTES: Final = 256
"""More than HDF5 takes to say where a chunk is."""

FILE_SLACK: Final = 2**17
"""More than it takes beside chunks."""

GZIP_LEVEL: Final = 2
"""With zlib-ng as small as level 4 of zlib, and six times as fast."""

ZSTD_LEVEL: Final = 3

_LENGTH = np.dtype("<u4")


@dataclass(frozen=True)
class _Array:
    """An array whose chunks are made in threads; a chunk is what one camera sees of a body, or of all."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    """Of a sample."""

    dtype: np.dtype[Any]
    attributes: Mapping[str, Any]

    @property
    def chunk(self) -> tuple[int, ...]:
        """Shape of a chunk of a sample."""
        split = self.dims.index("camera") if "camera" in self.dims else 0  # the sample is the first dimension
        return (*(1 for _ in self.shape[:split]), *self.shape[split:])

    @property
    def grid(self) -> tuple[int, ...]:
        """Chunks along each dimension of a sample."""
        return tuple(size // step for size, step in zip(self.shape, self.chunk, strict=True))

    @property
    def row_bytes(self) -> int:
        """Uncompressed bytes of a sample."""
        return prod(self.shape) * self.dtype.itemsize


class Hdf5File(Format):
    """``dataset.h5``.

    See `trajstore.exporters.Format`.
    """

    summary = "one file with all arrays and labels, for h5py, xarray and whatever reads netCDF-4; exact"
    options: Mapping[str, tuple[str, ...]] = {"compression": ("gzip", "zstd", "none")}
    extra = "hdf5"
    holds_annotations = True
    is_assembled = True

    def list_dtypes(self, _: Mapping[str, str]) -> tuple[Dtype, ...]:
        """The types of frames that it holds."""
        return ("uint8", "float32")

    def list_packages(self, options: Mapping[str, str]) -> tuple[str, ...]:
        """What writes HDF5 and its dimensions, and what compresses."""
        compression = {"gzip": ("zlib-ng",), "zstd": ("hdf5plugin",), "none": ()}
        return ("h5py", "h5netcdf", *compression[_name_compression(options)])

    def check(self, source: Source) -> None:
        """Refuse columns that are asked for: the file has all of them."""
        if source.columns:
            message = (
                f"columns: found {', '.join(source.columns)}, expected none with format hdf5, which holds all columns "
                "anyway"
            )
            raise SpecError(message)

    def plan(self, rows: NDArray[np.int64], _: NDArray[np.int8], source: Source) -> list[Part]:
        """A part for some rows that follow each other in the store."""
        each = max(1, PART_BYTES // sum(array.row_bytes for array in list_arrays(source)))
        numbers = rows // each
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        return [
            Part(tuple(some.tolist()), (f"{PART_FOLDER}/{int(some[0]) // each:06d}.chunks",))
            for some in np.split(rows, starts[1:])
        ]

    def list_results(self, _: Sequence[Part], __: Source) -> Iterator[str]:
        """The file."""
        yield DATASET_FILE

    def make_encoder(self, source: Source) -> Encoder:
        """Make an encoder for one thread."""
        return _ChunkEncoder(source)

    def finish(self, export: Export) -> None:
        """Put the parts together, and remove them."""
        path = export.folder / DATASET_FILE
        with publishing(path) as partial, _ReservedFile(partial, _measure(export)) as file:
            _write_columns(file, export)
            _copy_chunks(file, export)
            file.finish()
        remove_all(export.folder / PART_FOLDER)

    def decode(self, folder: Path, part: Part, source: Source) -> Iterator[Decoded | BadFileError]:
        """Read samples of the file."""
        import h5py

        if _name_compression(source.options) == "zstd":
            import hdf5plugin  # noqa: F401 - registers the filter
        try:
            with h5py.File(folder / DATASET_FILE) as file:
                yield from _read_samples(file, part, source)
        except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
            detail = f"cannot be read: {str(error).partition(chr(10))[0]}"
            raise BadFileError(detail, path=DATASET_FILE, code="unreadable") from None


class _ReservedFile(FileIO):
    """A file for HDF5, which crashes where writing fails: its room is taken before, and errors are told at the end."""

    def __init__(self, path: Path, size: int) -> None:
        super().__init__(path, "w+b")
        self._error: OSError | None = None
        self._end = 0
        try:
            os.posix_fallocate(self.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                self.close()
                raise

    def write(self, data: Any) -> int:
        """Write all, or note why not."""
        view = memoryview(data).cast("B")
        size = len(view)
        try:
            while view:
                view = view[super().write(view) :]
        except OSError as error:
            self._error = self._error or error
        self._end = max(self._end, self.tell())
        return size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, counted from the end of the content where that is asked for."""
        return super().seek(self._end + offset) if whence == os.SEEK_END else super().seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        """Note where the content ends; the room behind it is kept."""
        self._end = self.tell() if size is None else size
        return self._end

    def finish(self) -> None:
        """Give back the room that is not needed; raises the first error of writing."""
        if self._error:
            raise self._error
        super().truncate(self._end)


def list_arrays(source: Source) -> tuple[_Array, ...]:
    """The frames and the arrays of the annotations."""
    frames, shapes = plan_layout(source.spec).column(FRAMES), source.array_shapes
    return (
        _Array(FRAMES, frames.dims, source.tensor_shape, np.dtype(source.tensor_dtype), frames.attributes),
        *(
            _Array(column.name, column.dims, shapes[column.name], np.dtype(column.dtype), column.attributes)
            for column in source.arrays
        ),
    )


def _name_compression(options: Mapping[str, str]) -> str:
    """How chunks are compressed."""
    return options.get("compression", "gzip")


def _is_shuffled(array: _Array, source: Source) -> bool:
    """Whether the bytes of its elements are put apart before they are compressed."""
    return array.dtype.itemsize > 1 and _name_compression(source.options) != "none"


class _ChunkEncoder(Encoder):
    """Compresses the chunks of samples."""

    uses_labels = False

    def __init__(self, source: Source) -> None:
        self._source, self._arrays = source, list_arrays(source)
        frames, *others = self._arrays
        self.frames: NDArray[np.uint8] = np.empty(frames.shape, np.uint8)
        self.annotations: Mapping[str, NDArray[Any]] = {
            array.name: np.empty(array.shape, array.dtype) for array in others
        }
        self._compress = _make_compressor(_name_compression(source.options))

    def encode(self, part: Part, labels: Iterator[Label]) -> Iterator[tuple[str, Bytes]]:
        """The chunks of a part, then their lengths."""
        (name,) = part.files
        lengths: list[int] = []
        for _ in part.rows:
            next(labels)
            for array in self._arrays:
                chunks = self._read(array).reshape(prod(array.grid), -1)
                for chunk in chunks:
                    data = self._compress(
                        _shuffle(chunk) if _is_shuffled(array, self._source) else chunk.data
                    )
                    lengths.append(len(data))
                    yield name, data
        yield name, np.array(lengths, _LENGTH).tobytes()

    def _read(self, array: _Array) -> NDArray[Any]:
        """The sample's values."""
        if array.name != FRAMES:
            return self.annotations[array.name]
        return self.frames if array.dtype == np.uint8 else self.frames / np.float32(255)


def _shuffle(chunk: NDArray[Any]) -> bytes:
    """All first bytes of the elements, then all second ones, and so on: HDF5's filter ``shuffle``."""
    return chunk.view(np.uint8).reshape(-1, chunk.itemsize).T.tobytes()


def _make_compressor(name: str) -> Callable[[Any], Bytes]:
    """What compresses a chunk."""
    if name == "gzip":
        from zlib_ng import zlib_ng

        return lambda data: zlib_ng.compress(data, GZIP_LEVEL)
    if name == "zstd":
        from zstandard import ZstdCompressor

        compressor = ZstdCompressor(level=ZSTD_LEVEL)
        return lambda data: compressor.compress(data)
    return bytes


def _list_filters(name: str) -> dict[str, Any]:
    """The same for HDF5."""
    if name == "gzip":
        return {"compression": "gzip", "compression_opts": GZIP_LEVEL}
    if name == "zstd":
        from hdf5plugin import Zstd

        return dict(Zstd(clevel=ZSTD_LEVEL))
    return {}


def _write_columns(target: _ReservedFile, export: Export) -> None:
    """Write everything but the chunks of the frames and annotations."""
    import h5netcdf

    samples, source = export.samples, export.source
    layout, rows = plan_layout(source.spec), _list_rows(export)
    cameras = list(source.cameras or range(source.spec.video.cameras))
    static = dict(zip((column.name for column in layout.static), samples.calibration(rows[:1]), strict=False))
    with h5netcdf.File(target, "w") as file:
        file.attrs["fingerprint"] = source.fingerprint
        file.attrs["spec"] = source.spec.model_dump_json()
        file.attrs["trajstore_version"] = version("trajstore")
        file.attrs["coordinates"] = " ".join(NAMES)
        sizes = {"sample": len(rows), "camera": len(cameras)}
        columns = [layout.column(name) for name in (*samples.columns, *static)]
        for column in columns:
            sizes = dict(zip(column.dims, column.shape, strict=True)) | sizes
        for array in list_arrays(source):
            sizes = dict(zip(array.dims[1:], array.shape, strict=True)) | sizes
        file.dimensions = sizes
        along = name_coordinates(source.spec, sizes) | {"sample": rows, "camera": np.array(cameras)}
        for dim, values in along.items():
            _create(file, dim, (dim,), np.asarray(values))
        for array in list_arrays(source):
            _create_chunked(file, array, source)
        for name, values in static.items():
            values = values if name == "intrinsics" else values[0]
            _create(file, name, layout.column(name).dims, values[cameras], layout.column(name).attributes)
        for name in samples.columns:
            _write_column(file, layout.column(name), samples, rows, cameras)
        for name, numbers in NAMES.items():
            names = list_meanings(layout.column(numbers).attributes)
            _create(file, name, ("sample",), names[samples.read_column(numbers, rows)])
        caption = file.create_variable("caption", ("sample",), _make_text())
        caption.attrs["long_name"] = "what is to be seen, in one English sentence"
        for at in range(0, len(rows), COLUMN_ROWS):
            some = rows[at : at + COLUMN_ROWS]
            caption[at : at + len(some)] = np.array(samples.captions(some), object)


def _measure(export: Export) -> int:
    """The bytes of the file, rather more than less."""
    chunks = sum((export.folder / name).stat().st_size for part in export.parts for name in part.files)
    layout, samples = plan_layout(export.source.spec), export.samples
    labels = sum(layout.column(name).row_bytes for name in samples.columns) + (1 + len(NAMES)) * CAPTION_BYTES
    count = sum(prod(array.grid) for array in list_arrays(export.source))
    return chunks + len(_list_rows(export)) * (labels + count * ENTRY_BYTES) + FILE_SLACK


def _list_rows(export: Export) -> NDArray[np.int64]:
    """The rows of an export, in ascending order."""
    return np.array([row for part in export.parts for row in part.rows], np.int64)


def _make_text() -> Any:
    """The type of text of any length."""
    import h5py

    return h5py.string_dtype()


def _create(
    file: Any,
    name: str,
    dims: tuple[str, ...],
    values: NDArray[Any],
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Create a small variable."""
    text = values.dtype.kind == "U"
    variable = file.create_variable(name, dims, _make_text() if text else values.dtype)
    variable[...] = values.astype(object) if text else values
    variable.attrs.update(attributes or {})


def _create_chunked(file: Any, array: _Array, source: Source) -> None:
    """Create a variable whose chunks are put down as they are."""
    variable = file.create_variable(
        array.name,
        array.dims,
        _as_stored(array.dtype),
        chunks=(1, *array.chunk),
        shuffle=_is_shuffled(array, source),
        **_list_filters(_name_compression(source.options)),
    )
    variable.attrs.update(array.attributes)
    _mark_bool(variable, array.dtype)


def _write_column(
    file: Any, column: Column, samples: Samples, rows: NDArray[np.int64], cameras: list[int]
) -> None:
    """Create a variable that holds a label column, and fill it."""
    shape, dtype = list(column.shape[1:]), np.dtype(column.dtype)
    if "camera" in column.dims:
        shape[column.dims.index("camera") - 1] = len(cameras)
    variable = file.create_variable(
        column.name,
        column.dims,
        _as_stored(dtype),
        chunks=(min(len(rows), max(1, COLUMN_BYTES // max(1, prod(shape) * dtype.itemsize))), *shape),
        shuffle=dtype.itemsize > 1,
        **_list_filters("gzip"),
    )
    variable.attrs.update(column.attributes)
    _mark_bool(variable, dtype)
    for at in range(0, len(rows), COLUMN_ROWS):
        some = rows[at : at + COLUMN_ROWS]
        values = samples.read_column(column.name, some)
        if "camera" in column.dims:
            values = values.take(cameras, column.dims.index("camera"))
        variable[at : at + len(some)] = values.astype(_as_stored(dtype), copy=False)


def _as_stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type of a variable's values: netCDF has no type for true and false."""
    return np.dtype(np.int8) if dtype.kind == "b" else dtype


def _mark_bool(variable: Any, dtype: np.dtype[Any]) -> None:
    """Say that numbers are true or false, as xarray does."""
    if dtype.kind == "b":
        variable.attrs["dtype"] = "bool"


def _copy_chunks(target: _ReservedFile, export: Export) -> None:
    """Put the chunks of all parts into the file, as they are."""
    import h5py

    arrays = list_arrays(export.source)
    starts = {array.name: list(product(*map(range, array.grid))) for array in arrays}
    each, place, tally = sum(map(len, starts.values())), 0, export.start_tally()
    with h5py.File(target, "r+") as file:
        variables = {array.name: file[array.name].id for array in arrays}
        for part in export.parts:
            data = memoryview((export.folder / part.files[0]).read_bytes())
            count = each * len(part.rows)
            lengths = iter(np.frombuffer(data[-count * _LENGTH.itemsize :], _LENGTH).tolist())
            at = 0
            for _ in part.rows:
                for array in arrays:
                    for start in starts[array.name]:
                        offset = (place, *(a * b for a, b in zip(start, array.chunk, strict=True)))
                        length = next(lengths)
                        variables[array.name].write_direct_chunk(offset, data[at : at + length])
                        at += length
                place += 1
            tally.add(len(part.rows), stored_bytes=at)


def _read_samples(file: h5py.File, part: Part, source: Source) -> Iterator[Decoded]:
    """Read the samples of a part."""
    arrays, layout = list_arrays(source), plan_layout(source.spec)
    cameras = len(source.cameras or range(source.spec.video.cameras))
    names = [column.name for group in layout.groups for column in group.columns if column.shard_shape is None]
    columns = [layout.column(name) for name in names]
    expected = {array.name: (array.shape, array.dtype) for array in arrays}
    for column in columns:
        sizes = ((dim, size) for dim, size in zip(column.dims[1:], column.shape[1:], strict=True))
        expected[column.name] = (
            tuple(cameras if dim == "camera" else size for dim, size in sizes),
            np.dtype(column.dtype),
        )
    for name, (shape, dtype) in expected.items():
        _check_variable(file, name, shape, dtype)
    first = _find_rows(file, part, source)
    for name in expected:
        _check_chunks(file[name], name, range(first, first + len(part.rows)))
    labels = {name: file[name][first : first + len(part.rows)].astype(expected[name][1]) for name in names}
    for index, row in enumerate(part.rows):
        frames, *others = (
            file[array.name][first + index].astype(array.dtype, copy=False) for array in arrays
        )
        annotations = {array.name: values for array, values in zip(arrays[1:], others, strict=True)}
        yield Decoded(row, frames, None, {name: labels[name][index] for name in names}, annotations)


def _find_rows(file: h5py.File, part: Part, source: Source) -> int:
    """Where the rows of a part begin."""
    _check_variable(file, "sample", (), np.dtype(np.int64))
    most = sum(stop - first for first, stop in source.row_ranges)
    if file["sample"].size > most:
        message = f"sample: found {file['sample'].size} rows, expected at most {most}"
        raise BadFileError(message, path=DATASET_FILE, code="shape")
    rows = file["sample"][...]
    first = int(np.searchsorted(rows, part.rows[0]))
    if not np.array_equal(rows[first : first + len(part.rows)], part.rows):
        message = f"sample: found other rows than {part.rows[0]} to {part.rows[-1]}"
        raise BadFileError(message, path=DATASET_FILE, code="invalid")
    return first


def _check_chunks(variable: h5py.Dataset, name: str, rows: range) -> None:
    """Refuse chunks of more bytes than they hold: they could be made to inflate without end."""
    sizes = variable.chunks
    if sizes is None:
        return
    starts = (range(0, size, step) for size, step in zip(variable.shape[1:], sizes[1:], strict=True))
    first = rows.start // sizes[0] * sizes[0]
    most = prod(sizes) * variable.dtype.itemsize + CHUNK_SLACK
    for start in product(range(first, rows.stop, sizes[0]), *starts):
        size = variable.id.get_chunk_info_by_coord(start).size
        if size > most:
            message = f"{name}: found a chunk of {size:,} bytes, expected at most {most:,}"
            raise BadFileError(message, path=DATASET_FILE, code="invalid")


def _check_variable(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse a variable of another shape or type, before memory is taken for it, or one that lies elsewhere."""
    import h5py

    is_here = isinstance(file.get(name, getlink=True), h5py.HardLink)
    if not is_here or (variable := file[name]).external or variable.is_virtual:
        message = (
            f"{name}: found a link to another file, expected the values in this one; it was not followed"
        )
        raise BadFileError(message, path=DATASET_FILE, code="unreadable")
    found = (variable.shape[1:], variable.dtype)
    if found != (shape, _as_stored(dtype)):
        message = (
            f"{name}: found {found[1]} of shape {found[0]}, expected {_as_stored(dtype)} of shape {shape}"
        )
        raise BadFileError(message, path=DATASET_FILE, code="shape")
    if variable.chunks and prod(variable.chunks[1:]) > prod(shape):
        message = (
            f"{name}: found chunks of shape {variable.chunks}, expected parts of a sample of shape {shape}"
        )
        raise BadFileError(message, path=DATASET_FILE, code="shape")
