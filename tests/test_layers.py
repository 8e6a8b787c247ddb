"""Imports run downwards only, and what must start fast loads nothing heavy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "trajstore"

LAYERS = (
    ("__main__",),
    ("cli", "report", "__init__", "schemas"),
    ("commands",),
    ("sharing",),
    ("pictures", "torch", "integrity", "exporters"),
    ("reading",),
    ("store",),
    ("scene",),
    ("spec", "storage"),
    ("families",),
    ("trajectories", "executors"),
    ("progress", "show", "kernels"),
    ("errors", "spec_words", "streams", "text", "toml"),
)
"""Modules and folders of the package, the outermost first.

Each may import what stands in a layer below its own, and what is in its own folder; the command line also its report.
"""

HEAVY = {
    "zarr",
    "xarray",
    "numba",
    "torch",
    "dask",
    "distributed",
    "numcodecs",
    "pandas",
    "pydantic",
    "tensorstore",
    "zarrs",
    "matplotlib",
    "imageio",
    "rerun",
}


MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))
}


def find_layer(module: str) -> int:
    """The layer that a module stands in, counted from the outermost."""
    (layer,) = (number for number, names in enumerate(LAYERS) if module.partition(".")[0] in names)
    return layer


def find_imports(module: str) -> set[str]:
    """Modules of the package that a module imports anywhere, also inside functions and for types only."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    inside = {name.removeprefix("trajstore.") for name in found if name.startswith("trajstore.")}
    packages = {name for name in inside if f"{name}.__init__" in MODULES}
    return (inside & set(MODULES)) | {f"{name}.__init__" for name in packages}


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards_only(module: str):
    package = module.partition(".")[0]
    climbs = {
        target
        for target in find_imports(module)
        if target.partition(".")[0] != package and find_layer(target) <= find_layer(module)
    } - ({"report", "__init__"} if module == "cli" else set())
    assert not climbs, f"{module} must not import {', '.join(sorted(climbs))}: not below it, see LAYERS"


@pytest.mark.parametrize("folder", sorted({module.partition(".")[0] for module in MODULES if "." in module}))
def test_modules_of_a_folder_do_not_import_each_other_in_circles(folder: str):
    remaining = {
        name: {target for target in find_imports(name) if target.startswith(f"{folder}.")} - {name}
        for name in MODULES
        if name.startswith(f"{folder}.")
    }
    while remaining:
        free = {name for name, targets in remaining.items() if not targets & set(remaining)}
        assert free, f"import each other: {', '.join(sorted(remaining))}"
        remaining = {name: targets for name, targets in remaining.items() if name not in free}


def test_nothing_below_the_package_is_named_like_a_public_function():
    import trajstore

    names = {module.partition(".")[0] for module in MODULES}
    assert not names & set(trajstore.__all__), "importing it would replace the function"


@pytest.mark.parametrize("package", [name for name in MODULES if name.endswith(".__init__")])
def test_a_folder_says_what_belongs_there_and_what_does_not(package: str):
    text = ast.get_docstring(ast.parse(MODULES[package].read_text(encoding="utf-8")))
    assert text
    assert re.search(r"\b(not|no|nothing)\b", text, re.IGNORECASE)


def loaded_after(program: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after a program."""
    result = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint('LOADED', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    return {name.partition(".")[0] for name in result.stdout.partition("LOADED ")[2].split()}


def test_importing_the_package_loads_nothing_heavy():
    loaded = loaded_after("import trajstore")
    assert "trajstore" in loaded
    assert not loaded & (HEAVY | {"numpy", "typer", "rich"})


def test_help_loads_nothing_heavy():
    program = """
sys.argv = ["trajstore", "--help"]
from trajstore.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code
"""
    loaded = loaded_after(program)
    assert "typer" in loaded
    assert not loaded & (HEAVY | {"numpy"})


def test_reading_a_spec_loads_no_zarr_and_no_numba():
    assert not loaded_after("import trajstore; trajstore.DatasetSpec()") & {
        "zarr",
        "xarray",
        "numba",
        "torch",
    }


def test_reading_samples_loads_only_what_it_needs(tmp_path: Path):
    import trajstore

    trajstore.build(tmp_path / "store.zarr", samples=8, frames=4, height=16, width=16)
    first_batch = f"""
import trajstore
reader = trajstore.open_reader({str(tmp_path / "store.zarr")!r})
assert reader.read(range(8)).any()
reader.column("future_position", range(8)), reader.written_rows(), reader.calibration()
"""
    # the spec of a store is a model of pydantic
    assert not loaded_after(first_batch) & (HEAVY - {"pydantic"})


@pytest.mark.torch
def test_reading_tensors_loads_only_what_it_needs(tmp_path: Path):
    import trajstore

    trajstore.build(tmp_path / "store.zarr", samples=8, frames=4, height=16, width=16)
    first_batch = f"""
from trajstore.torch import TrajectoryDataset
dataset = TrajectoryDataset({str(tmp_path / "store.zarr")!r}, columns=["class_label", "box"])
dataset.__getitems__(range(8)), dataset[3]
"""
    assert not loaded_after(first_batch) & (HEAVY - {"pydantic"} - loaded_after("import torch.utils.data"))


def test_every_public_name_is_there_and_listed():
    import trajstore

    assert set(dir(trajstore)) == set(trajstore.__all__)
    for name in trajstore.__all__:
        assert getattr(trajstore, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = trajstore.missing


def test_every_error_is_public():
    import trajstore
    from trajstore import errors

    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert classes
    assert classes <= set(trajstore.__all__)
    assert trajstore.SpecError is errors.SpecError


def test_the_package_runs_as_a_module_and_says_its_version():
    import trajstore

    done = subprocess.run(
        [sys.executable, "-m", "trajstore", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"trajstore {trajstore.__version__}\n"
