"""Imports point upwards only, and what must start fast loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "trajstore"

ORDER = [
    "errors",
    "text",
    "direct",
    "caching",
    "durable",
    "portable",
    "trajectories",
    "spec",
    "sampling",
    "kernels.compiler",
    "kernels.cameras",
    "kernels.raster",
    "scene",
    "layout",
    "shard",
    "locations",
    "executors.interface",
    "executors.threads",
    "executors",
    "objects",
    "folders",
    "buckets",
    "access",
    "attributes",
    "store",
    "tasks",
    "space",
    "executors.remote",
    "executors.local",
    "executors.cluster",
    "executors.choosing",
    "progress",
    "running",
    "summary",
    "dataset",
    "planning",
    "builder",
    "findings",
    "checks",
    "metadata",
    "verification",
    "extending",
    "repairing",
    "shuffling",
    "samples",
    "reading",
    "generating",
    "torch",
]
"""The core, each module below all that it may import. Every other module is an edge: it may import the core."""

OUTERMOST = {"cli", "__init__", "__main__"}
"""Translate for people and import what they like; nobody imports them."""

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


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def find_imports(name: str) -> set[str]:
    """Modules of the package that a module imports anywhere, also inside functions and for types only."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    inside = {target.removeprefix("trajstore.") for target in found if target.startswith("trajstore.")}
    return {target for target in inside if target in MODULES}


def test_the_order_names_modules_that_exist():
    assert set(ORDER) <= set(MODULES)
    assert len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_a_core_module_imports_only_what_stands_above_it(name: str):
    assert find_imports(name) <= set(ORDER[: ORDER.index(name)])


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nobody_imports_the_command_line(name: str):
    assert name in OUTERMOST or not find_imports(name) & OUTERMOST


def test_edges_do_not_import_each_other_in_circles():
    remaining = {name: find_imports(name) - set(ORDER) for name in set(MODULES) - set(ORDER) - OUTERMOST}
    while remaining:
        free = {name for name, targets in remaining.items() if not targets & set(remaining)}
        assert free, f"import each other: {', '.join(sorted(remaining))}"
        remaining = {name: targets for name, targets in remaining.items() if name not in free}


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("kernels")])
def test_kernels_know_nothing_of_the_package_but_kernels(name: str):
    assert all(target.startswith("kernels") for target in find_imports(name))


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


def test_every_public_name_is_there_and_listed():
    import trajstore

    assert set(dir(trajstore)) == set(trajstore.__all__)
    for name in trajstore.__all__:
        assert getattr(trajstore, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = trajstore.missing
