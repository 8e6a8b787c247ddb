"""Families of one's own: found by name, recorded, compared, checked; and stores of them read without them."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.faults import assert_same_bytes, tree_bytes

import trajstore
from trajstore import families
from trajstore.errors import ClusterError, SpecError
from trajstore.families import TAKEN, load_family, trace_family
from trajstore.reading.generator import SampleGenerator
from trajstore.scene.scene import make_scene
from trajstore.spec import DatasetSpec
from trajstore.store.layout import plan_layout
from trajstore.trajectories import FAMILIES, FAMILY_UNIFORMS, Family

EXAMPLE = Path(__file__).parents[1] / "examples" / "family_package"
TINY: dict[str, Any] = {"samples": 12, "frames": 4, "height": 16, "width": 16, "cameras": 1}

ZIGZAG = """
import numpy as np
import trajstore

def zigzag(uniforms, times):
    turns = (2.0 + uniforms[:, :1]) * times
    across = np.abs(turns - np.floor(turns) - 0.5)
    return np.stack([times + 0.0 * across, across, 0.0 * across], axis=-1)

def corners(uniforms):
    return 2.0 + uniforms[:, 0]

family = trajstore.Family(zigzag, version="3", parameters={"corners": corners})
"""
"""A module with a function and a family."""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """What a process knows of families ends with each test."""
    forget()
    yield
    forget()


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a module ``mine`` that can be imported."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def write(text: str = ZIGZAG, name: str = "mine") -> Path:
        path = folder / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        return path

    return write


def forget() -> None:
    """Be like a process that has imported nothing yet."""
    families._try_family.cache_clear()
    for name in ("mine", "zigzag"):
        sys.modules.pop(name, None)
    sys.path_importer_cache.clear()


def run_python(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, which is not on Python's path, as it is not for an installed command."""
    environment = {"PYTHONPATH": str(Path(trajstore.__file__).parents[1]), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=folder, env=environment, capture_output=True, text=True
    )


def run_command(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder."""
    words = ["trajstore", *map(str, arguments)]
    return run_python(f"import sys; sys.argv = {words!r}; from trajstore.cli import main; main()", folder)


def test_a_function_and_a_family_are_found_and_recorded(write: Callable[..., Path]):
    write()
    spec = DatasetSpec.from_fields(classes=["Linear", "mine:zigzag", "mine:family"])
    module = sys.modules["mine"]
    function, family = spec.dataset.families
    source = inspect.getsource(module.zigzag)
    assert (function.name, function.version, function.parameters) == ("mine:zigzag", "1", ())
    assert function.source == hashlib.sha256(source.encode()).hexdigest()
    assert (family.name, family.version, family.parameters) == ("mine:family", "3", ("corners",))
    assert load_family("mine:family", spec.dataset.families) is module.family
    assert load_family("mine:zigzag", spec.dataset.families) == Family(module.zigzag)
    assert load_family("Linear", ()) is FAMILIES["Linear"]


def test_rows_are_those_of_the_same_family_built_in(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    write()
    mine = DatasetSpec.from_fields(
        classes=["mine:family", "Helical"], motion=["mine:zigzag"], distractors=2, motion_labels=True, **TINY
    )
    columns = make_scene(mine, range(8)).columns
    module = sys.modules["mine"]
    monkeypatch.setitem(FAMILIES, "Zigzag", module.family)
    theirs = DatasetSpec.from_fields(
        classes=["Zigzag", "Helical"], motion=["Zigzag"], distractors=2, motion_labels=True, **TINY
    )
    expected = make_scene(theirs, range(8)).columns
    assert list(columns) == list(expected)
    for name, values in columns.items():
        assert values.tobytes() == expected[name].tobytes(), name
    assert np.isfinite(columns["corners"]).tolist() == (columns["class_label"] == 0).tolist()


def test_the_fingerprint_covers_what_a_family_is(write: Callable[..., Path]):
    versions = {
        "": ZIGZAG,
        "source": ZIGZAG.replace("0.5", "0.25"),
        "source of a parameter": ZIGZAG.replace("return 2.0 +", "return 3.0 +"),
        "version": ZIGZAG.replace('version="3"', 'version="4"'),
        "upright": ZIGZAG.replace("zigzag, v", "zigzag, True, v"),
        "name of a parameter": ZIGZAG.replace('{"corners"', '{"turning_points"'),
    }
    prints = set()
    for text in versions.values():
        write(text)
        forget()
        prints.add(DatasetSpec.from_fields(classes=["mine:family"]).fingerprint)
    assert len(prints) == len(versions)


def test_what_is_outside_the_functions_is_not_what_a_family_is(write: Callable[..., Path]):
    write()
    fingerprint = DatasetSpec.from_fields(classes=["mine:family"]).fingerprint
    write("# a line above\n" + ZIGZAG)
    forget()
    assert DatasetSpec.from_fields(classes=["mine:family"]).fingerprint == fingerprint


def test_a_stored_spec_is_read_without_importing(write: Callable[..., Path]):
    write()
    spec = DatasetSpec.from_fields(classes=["Linear", "mine:family"], motion_labels=True)
    text = spec.model_dump_json()
    write("raise RuntimeError")
    forget()
    again = DatasetSpec.model_validate_json(text)
    assert again == spec
    assert again.fingerprint == spec.fingerprint
    assert again.dataset.parameters == ("corners",)
    # nor is what is recorded imported anew when a spec is changed
    assert again.replace(seed=3).replace(seed=0) == spec
    assert DatasetSpec.from_mapping(json.loads(text)) == spec
    assert "mine" not in sys.modules


def test_a_family_without_a_record_is_refused_where_nothing_is_imported(write: Callable[..., Path]):
    write()
    text = json.dumps({"dataset": {"classes": ["mine:family"]}})
    with pytest.raises(ValueError, match=r"dataset\.classes: unknown class 'mine:family'"):
        DatasetSpec.model_validate_json(text)
    assert "mine" not in sys.modules


def test_records_follow_what_a_spec_uses(write: Callable[..., Path]):
    write()
    both = DatasetSpec.from_fields(classes=["mine:family", "mine:zigzag"])
    assert both.replace(classes=["Linear", "Circular", "Helical", "Parabolic"]) == DatasetSpec()
    alone = both.replace(classes=["mine:zigzag"])
    assert [record.name for record in alone.dataset.families] == ["mine:zigzag"]
    assert alone.replace(classes=["mine:family", "mine:zigzag"]) == both
    moved = DatasetSpec().replace(motion=["mine:family"], distractors=1)
    assert [record.name for record in moved.dataset.families] == ["mine:family"]
    assert DatasetSpec.from_mapping(moved.model_dump(mode="json")) == moved


TRACED = """
import numpy as np, trajstore
def path(uniforms, times):
    points = np.zeros((len(uniforms), len(times), 3))
"""
BAD = {
    "no module": (None, "nowhere:path", r"importing it raised ModuleNotFoundError: No module named 'nowhere'"),
    "a module that raises": ("1 / 0", "mine:path", r"importing it raised ZeroDivisionError: division by zero"),
    "a module that exits": ("raise SystemExit(3)", "mine:path", r"importing it raised SystemExit: 3; expected one of"),
    "a module that is none": ("def (", "mine:path", r"importing it raised SyntaxError: .*; expected one of Linear"),
    "no such attribute": ("x = 1", "mine:path", r"raised AttributeError: module 'mine' has no attribute 'path'"),
    "no attribute named": ("x = 1", "mine:", r"unknown class 'mine:', expected one of Linear, .*module:function"),
    "a number": ("path = 3", "mine:path", r"found int, expected a function or a trajstore\.Family"),
    "NaN": (TRACED + "    return points + np.nan", "mine:path", r"found the point \[nan, nan, nan\] at time -0\.129, "),
    "infinity": (TRACED + "    return points + np.inf", "mine:path", r"found the point \[inf, .* expected finite"),
    "too large": (TRACED + "    return points + 1e200", "mine:path", r"found the point \[1e\+200, .* common size"),
    "another shape": (TRACED + "    return points[..., :2]", "mine:path", r"float64 of shape \(5, 44, 2\), expected "),
    "no array": (TRACED + "    return None", "mine:path", r"found object of shape \(\), expected float64"),
    "text": (TRACED + "    return points.astype(str)", "mine:path", r"found <U32 of shape \(5, 44, 3\), expected flo"),
    "what raises": (TRACED + "    raise KeyError('a\\nb')", "mine:path", r"its path raised KeyError: .*; expected num"),
    "other arguments": ("def path(uniforms):\n    return 0", "mine:path", r"its path raised TypeError: path\(\) takes"),
    "chance": (
        TRACED + "    return points + np.random.default_rng().random(3)", "mine:path",
        r"found other points in a second call, expected twice the same points",
    ),
    "dependence on other rows": (
        TRACED + "    return points + uniforms.mean() + times[:, None]", "mine:path",
        r"expected points that depend on their own row of uniforms only",
    ),
    "dependence on other times": (
        TRACED + "    return points + (times / times.max())[:, None]", "mine:path",
        r"expected points that depend on their own time only",
    ),
    "a lost shape": (
        TRACED + "    return points + 1e10 + times[:, None]", "mine:path",
        r"found a path of extent 1\.387 at a distance of 1e\+10 from the origin, expected it at most 1e\+08 extents",
    ),
    "an extent near 0": (
        TRACED + "    return points + 5e-324 * np.floor(2.0 * times[:, None])", "mine:path",
        r"found a path of extent 1\.482e-323 at a distance of 9\.881e-324",
    ),
    "a C function": ("path = len", "mine:path", r"its source cannot be found, expected a function in a Python file"),
    "an object": (
        "class Path:\n    def __call__(self, uniforms, times):\n        return 0\npath = Path()", "mine:path",
        r"its source cannot be found|a source that was changed",
    ),
    "no source": (
        "exec('def path(uniforms, times): return 0')",
        "mine:path",
        r"its source cannot be found|a source that was changed",
    ),
    "a version that is no text": (
        TRACED + "    return points\nf = trajstore.Family(path, version=2)", "mine:f", r"version: found 2; .*string",
    ),
    "parameters without names": (
        TRACED + "    return points\nf = trajstore.Family(path, parameters=[path])", "mine:f",
        r"found list as parameters, expected functions by name",
    ),
    "a parameter with a name that is taken": (
        TRACED + "    return points\nf = trajstore.Family(path, parameters={'radius': path})", "mine:f",
        r"found a parameter 'radius', expected a name .* not one that a store uses itself; rename it",
    ),
    "a parameter with a name that is none": (
        TRACED + "    return points\nf = trajstore.Family(path, parameters={'a b': path})", "mine:f",
        r"found a parameter 'a b', expected a name that is an identifier",
    ),
    "a parameter of another shape": (
        TRACED + "    return points\ndef size(uniforms):\n    return uniforms\n"
        "f = trajstore.Family(path, parameters={'size': size})", "mine:f",
        r"found float64 of shape \(5, 8\) as parameter size, expected float64 of shape \(5,\)",
    ),
    "a parameter that raises": (
        TRACED + "    return points\ndef size(uniforms):\n    raise ValueError\n"
        "f = trajstore.Family(path, parameters={'size': size})", "mine:f", r"parameter size raised ValueError",
    ),
}  # fmt: skip
"""Modules, the name of a family in them, and what is said about it."""


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("field", ["dataset.classes", "bodies.motion"])
def test_a_bad_family_is_refused_in_one_line(write: Callable[..., Path], what: str, field: str):
    text, name, found = BAD[what]
    if text is not None:
        write(text)
    with pytest.raises(SpecError, match=found) as error:
        DatasetSpec.from_fields(**{field.partition(".")[2]: [name]})
    message = str(error.value)
    assert message.startswith(f"spec: {field}: ")
    assert name.partition(":")[0] in message
    assert "\n" not in message
    assert error.value.exit_code == 2


def test_rows_that_only_later_turn_out_bad_are_refused_too(write: Callable[..., Path]):
    write(TRACED + "    points[uniforms[:, 0] > 0.99] = np.nan\n    return points\n")
    spec = DatasetSpec.from_fields(classes=["mine:path"], samples=2000, cameras=1)
    with pytest.raises(SpecError, match=r"^family mine:path: found the point \[nan, nan, nan\] at time 0, "):
        make_scene(spec, range(2000))
    write(TRACED + "    points[uniforms[:, 0] > 0.99] = 1e15 + times[:, None]\n    return points\n")
    forget()
    spec = DatasetSpec.from_fields(classes=["mine:path"], samples=2000, cameras=1)
    with pytest.raises(
        SpecError, match=r"^family mine:path: found a path of extent 1\.125 at a distance of 1e\+15"
    ):
        make_scene(spec, range(2000))


def test_a_family_gets_copies_and_no_empty_tables(write: Callable[..., Path]):
    write(
        "def path(uniforms, times):\n"
        "    assert len(uniforms)\n"
        "    points = uniforms[:, None, :3] + times[:, None]\n"
        "    uniforms[:], times[:] = 0.5, 0.5\n"
        "    return points.astype('f4')\n"
    )
    family = load_family("mine:path", DatasetSpec.from_fields(classes=["mine:path"]).dataset.families)
    table, times = np.random.default_rng(0).random((3, FAMILY_UNIFORMS)), np.linspace(0.0, 1.0, 5)
    before = table.tobytes(), times.tobytes()
    points = trace_family(family, table, times)
    assert (points.shape, points.dtype) == ((3, 5, 3), np.float64)
    assert (table.tobytes(), times.tobytes()) == before
    assert trace_family(family, table[:0], times).shape == (0, 5, 3)
    assert trace_family(family, table, times[2:3]).tobytes() == points[:, 2:3].tobytes()


def test_paths_may_hardly_move_while_a_shutter_is_open(write: Callable[..., Path]):
    write(TRACED + "    return points + 1e3 + np.maximum(times - 0.5, 0.0)[:, None] ** 2\n")
    spec = DatasetSpec.from_fields(classes=["mine:path"])
    family = load_family("mine:path", spec.dataset.families)
    moments = 0.5 + 1e-7 * np.arange(4.0)
    assert np.ptp(trace_family(family, np.zeros((1, FAMILY_UNIFORMS)), moments)) < 1e-12


CHANGES = {
    "source": (ZIGZAG.replace("0.5", "0.25"), r"found source '[0-9a-f]{16}', expected '[0-9a-f]{16}'"),
    "version": (ZIGZAG.replace('version="3"', 'version="4"'), r"found version '4', expected '3'"),
    "is_upright": (ZIGZAG.replace("zigzag, v", "zigzag, True, v"), r"found is_upright True, expected False"),
}
SOURCE_TOLD = (
    r"^family mine:family: {}, which the rows were made with; install that one, or build another store$"
)


@pytest.mark.parametrize("what", CHANGES)
def test_a_family_that_has_changed_makes_no_rows(write: Callable[..., Path], what: str):
    write()
    spec = DatasetSpec.from_fields(classes=["mine:family"], **TINY)
    make_scene(spec, range(3))
    text, found = CHANGES[what]
    write(text)
    forget()
    with pytest.raises(SpecError, match=SOURCE_TOLD.format(found)):
        make_scene(spec, range(3))
    with pytest.raises(SpecError, match=SOURCE_TOLD.format(found)):
        SampleGenerator(spec)[0]
    write()
    forget()
    make_scene(spec, range(3))


def test_a_source_that_changed_after_its_import_is_no_source(write: Callable[..., Path]):
    write()
    importlib.import_module("mine")
    write(ZIGZAG.replace("0.5", "0.25"))
    with pytest.raises(SpecError, match=r"found a source that was changed after .*; start Python anew$"):
        DatasetSpec.from_fields(classes=["mine:zigzag"])
    write(ZIGZAG + ")")  # in the middle of being edited
    with pytest.raises(SpecError, match=r"start Python anew$"):
        DatasetSpec.from_fields(classes=["mine:zigzag"])
    write()
    assert DatasetSpec.from_fields(classes=["mine:zigzag"]).dataset.families[0].name == "mine:zigzag"


def test_the_names_that_a_store_uses_are_taken():
    spec = DatasetSpec.from_fields(
        classes=list(FAMILIES), motion_labels=True, distractors=1, shapes=["cube"], margin=-1.0, roll_jitter=5.0,
        orbit=10.0, patterns=["noise"], light_jitter=5.0, noise=1.0, blur=0.5,
    )  # fmt: skip
    names = {name for column in plan_layout(spec).columns for name in (column.name, *column.dims)}
    assert names - set(spec.dataset.parameters) <= TAKEN
    assert not TAKEN & set(spec.dataset.parameters)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example package, as pip installs it."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    folder = tmp_path / "site"
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
            for group, entries in project["entry-points"].items()
        )
    )
    (folder / "zigzag.py").write_bytes((EXAMPLE / "zigzag.py").read_bytes())
    monkeypatch.syspath_prepend(folder)


@pytest.mark.usefixtures("installed")
def test_the_example_package_offers_a_family():
    spec = DatasetSpec.from_fields(
        classes=["Zigzag", "Linear"], motion_labels=True, **TINY | {"frames": 400, "samples": 40}
    )
    assert [(record.name, record.parameters) for record in spec.dataset.families] == [
        ("Zigzag", ("corners",))
    ]
    columns = make_scene(spec, range(40)).columns
    for label, corners, points in zip(
        columns["class_label"], columns["corners"], columns["position"].astype(np.float64), strict=True
    ):
        steps = np.diff(points, axis=0)
        turns = np.linalg.norm(np.cross(steps[1:], steps[:-1]), axis=1) > 1e-3 * (steps[1:] ** 2).sum(axis=1)
        found = np.count_nonzero(np.diff(turns.astype(int), prepend=0) == 1)
        assert found == (corners if label == 0 else 0)
        assert np.isnan(corners) == (label == 1)
    said = r"unknown class 'Zag', .*trajstore\.families \(Zigzag\); did you mean Zigzag\?$"
    with pytest.raises(SpecError, match=said):
        DatasetSpec.from_fields(classes=["Zag"])


@pytest.mark.usefixtures("installed")
def test_a_family_whose_package_is_gone_is_named_with_what_offers_it(monkeypatch: pytest.MonkeyPatch):
    spec = DatasetSpec.from_fields(classes=["Zigzag", "Linear"], **TINY)
    forget()
    monkeypatch.undo()
    with pytest.raises(
        SpecError,
        match=r"family Zigzag: no installed package offers it; the rows were made with its version '.*' \(source "
        r"\w{16}\), .* offers Zigzag as an entry point of the group trajstore\.families",
    ):
        load_family("Zigzag", spec.dataset.families)


def test_the_example_is_short_and_explained():
    lines = (EXAMPLE / "zigzag.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 20
    text = (EXAMPLE / "README.md").read_text()
    for word in ("zigzag:zigzag", "--classes Linear,Zigzag", "corners"):
        assert word in text


def test_the_page_on_families_shows_the_example():
    page = (EXAMPLE.parents[1] / "docs" / "how-to" / "own-families.md").read_text(encoding="utf-8")
    _, _, code = (EXAMPLE / "zigzag.py").read_text(encoding="utf-8").partition("\n\n")
    assert f"```python\n{code}```\n" in page


def test_without_installed_families_none_is_offered():
    with pytest.raises(SpecError, match=r"an entry point of the group trajstore\.families$"):
        DatasetSpec.from_fields(classes=["Zag"])


def test_the_command_finds_a_family_in_its_folder_and_a_store_is_read_without_it(tmp_path: Path):
    folder, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "mine.py").write_text(ZIGZAG)
    (folder / "spec.toml").write_text(
        '[dataset]\nclasses = ["Linear", "mine:family"]\nmotion_labels = true\nsamples = 12\n'
        "[video]\nframes = 4\nheight = 16\nwidth = 16\ncameras = 1\n"
    )
    store = tmp_path / "a.zarr"
    built = run_command("build", store, "--spec", "spec.toml", folder=folder)
    assert built.returncode == 0, built.stderr
    program = f"""
import sys, trajstore
reader = trajstore.open_reader({str(store)!r})
assert reader.spec.dataset.classes == ("Linear", "mine:family")
assert reader[11].shape == (1, 4, 3, 16, 16)
corners, label = reader.column("corners"), reader.column("class_label")
assert ((2.0 <= corners) == (label == 1)).all()
assert trajstore.info({str(store)!r}).classes == {{"Linear": 6, "mine:family": 6}}
assert trajstore.open({str(store)!r})["corners"].dims == ("sample",)
assert "mine" not in sys.modules
"""
    found = run_python(program, elsewhere)
    assert found.returncode == 0, found.stderr
    # what makes rows needs the family; without it nothing is changed
    before = tree_bytes(store)
    refused = run_command("extend", store, "--samples", 20, folder=elsewhere)
    assert refused.returncode == 2
    said = " ".join(refused.stderr.split())
    assert "family mine:family: importing it raised ModuleNotFoundError" in said
    assert "the rows were made with its version '3'" in said
    assert "install the package that has the module mine, or run this in the folder that has it" in said
    assert "Traceback" not in refused.stderr
    assert tree_bytes(store) == before
    assert run_command("extend", store, "--samples", 20, folder=folder).returncode == 0
    (folder / "mine.py").write_text(ZIGZAG.replace("0.5", "0.25"))
    for command in (
        ("extend", store, "--samples", 24), ("verify", store), ("verify", store, "--deep"),
    ):  # fmt: skip
        refused = run_command(*command, folder=folder)
        assert refused.returncode == 2, (command, refused)
        assert "family mine:family: found source" in " ".join(refused.stderr.split())


def test_workers_of_a_cluster_find_and_compare_families(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("distributed")
    (tmp_path / "mine.py").write_text(ZIGZAG)
    monkeypatch.chdir(tmp_path)
    fields = TINY | {"classes": ["mine:family", "Still"], "samples_per_shard": 4}
    for executor in ("threads", "dask"):
        trajstore.build(tmp_path / executor, executor=executor, workers=2, **fields)
    assert_same_bytes(tmp_path / "threads", tmp_path / "dask")
    # this process knows the family as it was; its workers import it as it is
    (tmp_path / "mine.py").write_text(ZIGZAG.replace("0.5", "0.25"))
    from trajstore.executors.local import start_workers

    with start_workers(1) as workers:
        for command in (trajstore.verify, trajstore.repair, partial(trajstore.extend, samples=40)):
            with pytest.raises(
                ClusterError, match=r"worker .*: family mine:family: found source .*build another store"
            ) as refused:
                command(tmp_path / "dask", executor="dask", scheduler=workers.address)
            assert refused.value.exit_code == SpecError.exit_code
