from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from support.faults import (
    Result,
    assert_flags_are_true,
    assert_same_bytes,
    flip_bit,
    run,
    small_disk,
    start,
    tree,
    wait_until,
)
from support.stores import open_store
from support.worlds import EVERYTHING

import trajstore
from trajstore import cli
from trajstore.commands.build import build
from trajstore.commands.info import info
from trajstore.spec import DatasetSpec
from trajstore.storage.location import Location


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Run a command line in this process, with an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["trajstore", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return Result(int(ended.value.code or 0), printed.out, printed.err)

    return call


def assert_fails_in_one_line(done: Result, code: int, *texts: str) -> None:
    assert (done.code, done.out) == (code, ""), done
    (line,) = done.err.splitlines()
    assert line.startswith("trajstore: ")
    for text in texts:
        assert text in line


# ---------------------------------------------------------------------------------------------- bad input

USAGE = [
    ([], ["build"], "Missing argument 'STORE'", "trajstore build --help"),
    ([], ["info"], "Missing argument 'STORE'", "trajstore info --help"),
    (["-o", "a.png"], ["preview"], "Missing argument", "trajstore preview --help"),
    ([], ["preview", "a"], "Missing option '--output'", "trajstore preview --help"),
    (["-o", "a.png", "one"], ["preview", "a"], "ROW", "trajstore preview --help"),
    ([], ["view"], "Missing argument", "trajstore view --help"),
    (["1.5"], ["view", "a"], "ROW", "trajstore view --help"),
    (["--samples", "x"], ["build", "a"], "--samples", "trajstore build --help"),
    (["--samples"], ["build", "a"], "--samples", "--help"),
    (["--colour", "red"], ["build", "a"], "--colour", "trajstore build --help"),
    (["b"], ["build", "a"], "b", "trajstore build --help"),
    ([], ["bild", "a"], "No such command 'bild'", "trajstore --help"),
    ([], ["--colour"], "--colour", "trajstore --help"),
]


@pytest.mark.parametrize(("options", "start_", "found", "see"), USAGE)
def test_wrong_usage_is_one_line(
    command: Any, tmp_path: Path, options: list[str], start_: list[str], found: str, see: str
) -> None:
    assert_fails_in_one_line(
        command(*start_, *options), 2, found, f"(see: {see}" if see.startswith("trajstore") else see
    )
    assert tree(tmp_path) == {".": None}


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (["--samples", "0"], ["dataset.samples: found 0"]),
        (["--samples", "-5"], ["dataset.samples: found -5"]),
        (["--seed", "-1"], ["dataset.seed: found -1"]),
        (["--seed", str(2**63)], ["dataset.seed"]),
        (["--cameras", "0"], ["video.cameras: found 0"]),
        (["--frames", "0"], ["video.frames: found 0"]),
        (["--height", "0"], ["video.height: found 0"]),
        (["--width", "-1"], ["video.width: found -1"]),
        (["--horizon", "0"], ["video.horizon: found 0"]),
        (["--samples-per-shard", "0"], ["storage.samples_per_shard: found 0"]),
        (["--classes", "Linear,Zigzag"], ["dataset.classes", "'Zigzag'", "Helical"]),
        (["--classes", ""], ["dataset.classes"]),
        (["--workers", "0"], ["workers: found 0, expected at least 1"]),
        (["--part", "4/3"], ["part: found '4/3', expected i/n"]),
        (["--part", "0/3"], ["part: found '0/3'"]),
        (["--frames", "0", "--width", "0"], ["video.frames: found 0", "video.width: found 0"]),
        (["--samples", str(10**12)], ["dataset.samples: found 1,000,000,000,000", "at most 4,194,304"]),
        (["--samples", str(10**12), "--dry-run"], ["dataset.samples: found 1,000,000,000,000"]),
        (
            ["--height", "16384", "--width", "16384", "--dry-run"],
            ["found 16384 × 16384", "at most 16,777,216"],
        ),
        (["--spec", "missing.toml"], ["missing.toml", "No such file"]),
        (["--spec", "."], ["spec file .", "directory"]),
    ],
)
def test_invalid_options_are_refused(
    command: Any, tmp_path: Path, options: list[str], texts: list[str]
) -> None:
    assert_fails_in_one_line(command("build", "a.zarr", *options), 2, *texts)
    assert tree(tmp_path) == {".": None}


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("spec.toml", b"[dataset\nsamples = 5", ["spec file spec.toml: not valid TOML"]),
        ("spec.toml", b"\xff\xfe", ["not valid TOML"]),
        ("spec.json", b"{", ["spec file spec.json: not valid JSON"]),
        ("spec.json", b"[1]", ["found list, expected sections such as [video]"]),
        ("spec.toml", b"[video]\ncolour = 3", ["video.colour: unknown field"]),
        ("spec.toml", b"[film]\nframes = 3", ["film: unknown field"]),
        ("spec.toml", b"frames = 3", ["frames: unknown field"]),
        ("spec.toml", b"[video]\nframes = 3.0", ["video.frames: found 3.0"]),
        ("spec.toml", b"[video]\nframes = true", ["video.frames: found True"]),
        ("spec.toml", b"[video]\nframes = '3'", ["video.frames: found '3'"]),
        (
            "spec.toml",
            b"[splits]\ntrain = 0.8",
            ["splits.train + splits.val + splits.test", "= 1.1, expected 1"],
        ),
        ("spec.toml", b"[scene]\nradius = [0.3, 0.1]", ["scene.radius: found (0.3, 0.1)"]),
        ("spec.toml", b"[render]\nambient = nan", ["render.ambient"]),
    ],
)
def test_invalid_spec_files_are_refused(
    command: Any, tmp_path: Path, name: str, content: bytes, texts: list[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert_fails_in_one_line(command("build", "a.zarr", "--spec", name), 2, *texts)
    assert tree(tmp_path) == {".": None, name: content}


def test_paths_that_are_no_stores_are_refused(command: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    before = tree(tmp_path)
    assert_fails_in_one_line(command("build", "file"), 1, "file: found a file, expected")
    assert_fails_in_one_line(
        command("build", "photos"), 1, "photos: found a folder with other files (cat.jpg)"
    )
    assert_fails_in_one_line(
        command("build", "no/such/folder"), 1, "no/such does not exist", "mkdir -p no/such"
    )
    assert_fails_in_one_line(command("build", "x" * 300), 1, "too long")
    for path in ("file", "photos", "nothing"):
        assert_fails_in_one_line(command("info", path), 1, f"{path}: found", "expected a trajstore store")
    assert tree(tmp_path) == before


def test_stores_of_others_are_refused(command: Any, tmp_path: Path, tiny_copy: Path) -> None:
    root = json.loads((tiny_copy / "zarr.json").read_text())
    root["attributes"]["trajstore"]["format_version"] = 2
    (tiny_copy / "zarr.json").write_text(json.dumps(root))
    before = tree(tiny_copy)
    for name in ("build", "info"):
        assert_fails_in_one_line(command(name, str(tiny_copy)), 1, "found store format 2, expected 1")
    assert tree(tiny_copy) == before


def test_a_store_of_another_spec_is_refused_naming_each_field(command: Any, tiny_copy: Path) -> None:
    before = tree(tiny_copy)
    done = command("build", str(tiny_copy), "--frames", "5", "--seed", "3")
    assert_fails_in_one_line(done, 2, "video.frames: 4 stored, 5 given", "dataset.seed: 0 stored, 3 given")
    assert tree(tiny_copy) == before


def test_a_read_only_folder_is_refused(command: Any, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        disk.change("ro")
        assert_fails_in_one_line(command("build", "disk/a.zarr"), 1, "no permission to write in disk")
        assert tree(disk.folder) == {".": None}


def test_no_space_is_refused(command: Any, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        assert_fails_in_one_line(
            command("build", "disk/a.zarr"), 3, "needs about 3", "1.05 MB free", "are missing", "--force"
        )
        dry = command("build", "disk/a.zarr", "--dry-run")
        assert (dry.code, dry.err.count("\n")) == (3, 1)
        assert "would write 10,000 of 10,000 samples" in dry.out
        assert tree(disk.folder) == {".": None}


def test_damage_is_one_line(command: Any, tiny_copy: Path) -> None:
    flip_bit(tiny_copy / "class_label" / "c.0", 12)
    assert_fails_in_one_line(command("info", str(tiny_copy)), 1, "column class_label in class_label/c.0")


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["trajstore", "info", str(tmp_path / "a"), "--debug"])
    with pytest.raises(cli.TrajstoreError):
        cli.main()


# ---------------------------------------------------------------------------------------------- good input


def test_options_become_arguments_of_the_library(
    command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_store: Path
) -> None:
    (tmp_path / "spec.toml").write_text("[dataset]\nsamples = 9\n[video]\nframes = 3\n")
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def record(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return real(tiny_store)

    real = build
    monkeypatch.setattr(trajstore, "build", record)
    done = command(
        "build", "a.zarr", "--spec", "spec.toml", "--frames", "7", "--seed", "5", "--classes", "Linear, Helical",
        "--samples-per-shard", "3", "--workers", "2", "--part", "1/2", "--force", "--quiet",
    )  # fmt: skip
    assert done.code == 0
    (((path, spec), options),) = calls
    assert (path, spec.dataset.samples, spec.video.frames) == (Location("a.zarr"), 9, 3)
    assert options.pop("should_stop")() == 0
    options.pop("progress")
    assert options == {
        "workers": 2,
        "part": "1/2",
        "force": True,
        "frames": 7,
        "seed": 5,
        "classes": ["Linear", "Helical"],
        "samples_per_shard": 3,
        "executor": "threads",
        "scheduler": None,
    }
    command("build", "a.zarr")
    ((path, spec), options) = calls[1]
    assert (path, spec, options["workers"], options["part"], options["force"]) == (
        Location("a.zarr"), None, None, None, False,
    )  # fmt: skip
    assert set(options) == {"workers", "executor", "scheduler", "part", "force", "progress", "should_stop"}


def test_help_and_version(command: Any) -> None:
    for arguments in ([], ["--help"], ["-h"]):
        done = command(*arguments)
        assert (done.code, done.err) == (0, "")
        assert "build" in done.out
        for name in ("info", "preview", "view"):
            assert name in done.out
    assert "--samples-per-shard" in command("build", "--help").out
    done = command("--version")
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"trajstore \d+\.\d+\.\d+\n", done.out)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['trajstore', '--help']\n"
        "from trajstore.cli import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    heavy = {'zarr', 'xarray', 'numba', 'torch', 'numpy', 'pydantic', 'rich'} & set(sys.modules)\n"
        "    print('heavy:', sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "heavy: []\n")


def call_shell(*command: str, **environment: str) -> str:
    """What a command prints in a shell's environment; the first ``trajstore`` found is the one under test."""
    program = f"exec {shlex.quote(sys.executable)} -c 'from trajstore.cli import main; main()' \"$@\"\n"
    path = Path(environment["HOME"], "bin", "trajstore")
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{program}")
    path.chmod(0o755)
    names = {
        "PATH": f"{path.parent}{os.pathsep}{os.environ['PATH']}",
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    done = subprocess.run(
        command, env=os.environ | names | environment, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


COMPLETE_IN_BASH = """
eval "$(trajstore --show-completion bash)"
COMP_WORDS=(trajstore "$@") COMP_CWORD=$#
_trajstore_completion trajstore
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    def complete(*words: str) -> list[str]:
        return call_shell("bash", "-c", COMPLETE_IN_BASH, "bash", *words, HOME=str(tmp_path)).split()

    assert complete("ve") == ["verify"]
    assert complete("build", "--sa") == ["--samples", "--samples-per-shard"]


def test_zsh_completes_commands_with_their_help(tmp_path: Path) -> None:
    words = {"_TRAJSTORE_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "trajstore ve"}
    assert '"verify":"Check everything' in call_shell("trajstore", HOME=str(tmp_path), **words)


@pytest.mark.parametrize(("shell", "start_file"), [("bash", ".bashrc"), ("zsh", ".zshrc")])
def test_completion_can_be_installed(tmp_path: Path, shell: str, start_file: str) -> None:
    assert "installed" in call_shell("trajstore", "--install-completion", shell, HOME=str(tmp_path))
    assert (tmp_path / start_file).exists()
    scripts = [path.read_text() for path in tmp_path.rglob("*") if path.is_file() and "bin" not in path.parts]
    assert any("_trajstore_completion" in script for script in scripts)


def test_the_default_spec_is_printed_to_start_from(command: Any) -> None:
    done = command("spec")
    assert (done.code, done.err) == (0, "")
    assert done.out == DatasetSpec().to_toml(comments=True)
    assert DatasetSpec.from_mapping(tomllib.loads(done.out)) == DatasetSpec()


def test_the_spec_of_a_store_or_a_file_is_written_once(
    command: Any, tmp_path: Path, tiny_store: Path, tiny_spec: DatasetSpec
) -> None:
    written = command("spec", str(tiny_store), "-o", "a.toml")
    assert (written.code, written.err) == (0, "")
    assert "trajstore build store.zarr --spec a.toml" in written.out
    assert DatasetSpec.from_file("a.toml") == tiny_spec
    assert command("spec", "a.toml").out == (tmp_path / "a.toml").read_text(encoding="utf-8")
    before = tree(tmp_path)
    assert_fails_in_one_line(command("spec", "-o", "a.toml"), 1, "output a.toml: found a file")
    assert_fails_in_one_line(
        command("spec", "b.zarr"), 1, "b.zarr: found nothing, expected a trajstore store"
    )
    assert_fails_in_one_line(command("spec", "b.yaml"), 2, "b.yaml: found YAML, expected TOML or JSON")
    assert tree(tmp_path) == before


def test_options_of_build_are_fields_with_the_defaults_of_the_spec(command: Any) -> None:
    shown = " ".join(command("build", "--help").out.split())
    default = {path[-1]: value for path, value in DatasetSpec().walk()}
    options = {name for name in signature(cli.build).parameters if name in default}
    assert options == {
        "samples", "seed", "classes", "cameras", "frames", "height", "width", "horizon", "samples_per_shard"
    }  # fmt: skip
    for name in options - {"samples_per_shard"}:
        value = ",".join(default[name]) if name == "classes" else default[name]
        option = shown.partition(f"--{name.replace('_', '-')} ")[2]
        assert re.match(rf"[^]]*\[default: {value}\]", option), name


def test_a_dry_run_writes_nothing(command: Any, tmp_path: Path, tiny_options: list[str]) -> None:
    done = command("build", "a.zarr", *tiny_options, "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert "would write 44 of 44 samples" in done.out
    assert re.search(r"about \d+ KB in \d+ files", done.out)
    assert tree(tmp_path) == {".": None}


def test_a_dry_run_of_an_extension_changes_nothing(command: Any, tiny_copy: Path) -> None:
    before = (tiny_copy / "zarr.json").read_bytes()
    done = command("extend", str(tiny_copy), "--samples", "100", "--dry-run")
    assert "would write 60 of 100 samples" in done.out  # the last shard had four, and is made again
    assert "  free  " in done.out
    assert (tiny_copy / "zarr.json").read_bytes() == before
    assert command("extend", str(tiny_copy), "--samples", "9", "--dry-run").code == 2


def test_a_dry_run_of_a_finished_store_changes_nothing(command: Any, tiny_copy: Path) -> None:
    before = tree(tiny_copy)
    assert "would write 0 of 44 samples" in command("build", str(tiny_copy), "--dry-run").out
    assert tree(tiny_copy) == before


def test_build_ends_with_a_summary_and_what_to_do_next(
    command: Any, tmp_path: Path, tiny_store: Path, tiny_options: list[str]
) -> None:
    done = command("build", "my store.zarr", *tiny_options, "--quiet")
    assert (done.code, done.err) == (0, "")
    assert_same_bytes(tmp_path / "my store.zarr", tiny_store)
    lines = done.out.splitlines()
    assert lines[0] == "my store.zarr: complete, 44 samples"
    assert "classes  Linear 11, Circular 11, Helical 11, Parabolic 11" in done.out
    for text in ("train ", "raw", "× smaller", "samples/s"):
        assert text in done.out
    suggested = [line.split("next: ")[-1].strip() for line in lines[-2:]]
    assert suggested[0] == "trajstore info 'my store.zarr'"
    ran = subprocess.run(
        suggested[1].replace("python", sys.executable, 1),
        shell=True, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "future_position" in ran.stdout, ran.stderr
    again = command("build", "my store.zarr", "-q")
    assert "nothing was missing" in again.out


def test_a_part_says_what_is_left(command: Any, tiny_options: list[str]) -> None:
    done = command("build", "a.zarr", *tiny_options, "--part", "2/2", "--quiet")
    assert "a.zarr: unfinished, 20 of 44 samples, part 2/2 done" in done.out
    assert "trajstore build a.zarr" in done.out


def test_info_shows_any_store(
    command: Any, tmp_path: Path, tiny_store: Path, tiny_options: list[str]
) -> None:
    done = command("info", str(tiny_store))
    assert (done.code, done.err) == (0, "")
    assert f"{tiny_store}: complete, 44 samples" in done.out
    assert "2 cameras × 4 frames × 3 channels × 16 × 16" in done.out
    assert not re.search(r"^  (bodies|world) ", done.out, re.MULTILINE)
    build("half.zarr", open_store(tiny_store).spec, part="1/2")
    half = command("info", "half.zarr")
    assert half.code == 0
    assert "unfinished, 24 of 44 samples" in half.out
    assert "continue with: trajstore build half.zarr" in half.out


def test_info_says_what_a_spec_asks_for_beside_the_defaults(command: Any, world_store: Path) -> None:
    lines = {line[2:11].strip(): line[11:] for line in command("info", str(world_store)).out.splitlines()}
    changes = tomllib.loads(f"found = {{ {lines['bodies']}, {lines['world']} }}")["found"]
    found = {(section, name): value for section, fields in changes.items() for name, value in fields.items()}
    assert found.items() <= dict(open_store(world_store).spec.walk()).items()
    assert {name for _, name in found} == {*EVERYTHING} - {"classes"}


@pytest.mark.parametrize(
    ("name", "output", "texts"), [("preview", "a.gif", []), ("view", "a.rrd", ["next: rerun a.rrd"])]
)
def test_preview_and_view_say_what_they_show(
    command: Any, tmp_path: Path, tiny_store: Path, name: str, output: str, texts: list[str]
) -> None:
    names = [open_store(tiny_store).spec.dataset.classes[label] for label in _labels(tiny_store)[[5, 43]]]
    done = command(name, str(tiny_store), "5", "43", "-o", output)
    assert (done.code, done.err) == (0, "")
    first, *others = done.out.splitlines()
    assert re.fullmatch(rf"{output}: \d[\d.]* KB, rows 5 {names[0]}, 43 {names[1]}", first)
    assert others == texts
    assert list(tree(tmp_path)) == [".", output]


def _labels(store: Path) -> Any:
    """The class labels of a store."""
    from trajstore.reading.store import open_reader

    return open_reader(store).column("class_label")


@pytest.mark.parametrize("name", ["preview", "view"])
def test_options_of_preview_and_view_become_arguments(
    command: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    report = {"preview": trajstore.PreviewReport, "view": trajstore.ViewReport}[name]

    def record(*args: Any, **kwargs: Any) -> Any:
        calls.append((args, kwargs))
        return report(Path("a.x"), (3,), ("Linear",), 1000)

    monkeypatch.setattr(trajstore, name, record)
    done = command(name, "s.toml", "3", "7", "--output", "a.x")
    assert done.out.startswith("a.x: 1.00 KB, row 3 Linear\n")
    bucket = ["s3://bucket/s.zarr", "--storage-option", "region=x"]
    shown = ["--show", "flow", "--show", "normals"]
    drawn = {"preview": ["--scale", "3", "--zoom", "2", "--no-overlay"], "view": ["--web"]}[name]
    command(name, *bucket, "-o", "a.x", "--class", "Helical", "--split", "val", *shown, *drawn)
    style: dict[str, tuple[Any, Any]] = {
        "preview": (
            {"scale": None, "zoom": 1.0, "overlay": True},
            {"scale": 3.0, "zoom": 2.0, "overlay": False},
        ),
        "view": ({"web": False}, {"web": True}),
    }
    plain, styled = style[name]
    rows, choice = calls
    assert rows == (
        (Location("s.toml"), [3, 7]),
        {
            "output": Path("a.x"),
            "show": ["video"],
            "class_name": None,
            "split": None,
            **plain,
        },
    )
    (source, none), options = choice
    assert source == Location("s3://bucket/s.zarr", (("region", "x"),))
    assert not none
    assert options == {
        "output": Path("a.x"),
        "show": ["flow", "normals"],
        "class_name": "Helical",
        "split": "val",
        **styled,
    }


@pytest.mark.parametrize("name", ["preview", "view"])
@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["44"], 2, "row 44 is out of range, expected 0 … 43"),
        (["--class", "Zigzag"], 2, "expected one of Linear, Circular, Helical, Parabolic"),
        (["--split", "dev"], 2, "expected one of train, val, test"),
        (
            ["--show", "depth"],
            2,
            "show: found 'depth', expected one of video, segmentation, depth_map, flow,",
        ),
        (["-o", "a.doc"], 2, "found the ending '.doc', expected one of ."),
        (["-o", "no/a.OUT"], 1, "make it with: mkdir -p no"),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    command: Any, tmp_path: Path, tiny_store: Path, name: str, options: list[str], code: int, text: str
) -> None:
    ending = {"preview": "png", "view": "rrd"}[name]
    given = [option.replace("OUT", ending) for option in options]
    output = [] if "-o" in given else ["-o", f"a.{ending}"]
    assert_fails_in_one_line(command(name, str(tiny_store), *given, *output), code, text)
    assert_fails_in_one_line(command(name, "nothing", "-o", f"a.{ending}"), 1, "nothing: found nothing")
    assert tree(tmp_path) == {".": None}


def test_info_prints_json_for_machines(command: Any, tiny_store: Path) -> None:
    done = command("info", str(tiny_store), "--json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found == json.loads(json.dumps(info(tiny_store).to_json()))
    assert (found["samples"], found["is_complete"], found["written"]) == (
        44,
        True,
        {"labels": 44, "video": 44},
    )
    assert found["classes"] == {"Linear": 11, "Circular": 11, "Helical": 11, "Parabolic": 11}
    assert found["raw_bytes"] == 44 * 2 * 4 * 3 * 16 * 16
    assert found["spec"]["video"]["frames"] == 4


def test_info_writes_nothing(command: Any, tiny_copy: Path) -> None:
    before = tree(tiny_copy)
    command("info", str(tiny_copy))
    assert tree(tiny_copy) == before


def test_a_reader_that_goes_away_is_no_traceback(tiny_store: Path) -> None:
    code = "from trajstore.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "info", str(tiny_store)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1


# ---------------------------------------------------------------------------------------------- signals

LONG = ["--samples", "600", "--frames", "4", "--height", "16", "--width", "16", "--cameras", "1"]
LONG += ["--samples-per-shard", "2"]


@pytest.fixture(scope="module")
def long_reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished store of a build of 300 shards, which takes long enough to be interrupted."""
    path = tmp_path_factory.mktemp("long") / "a.zarr"
    build(path, samples=600, frames=4, height=16, width=16, cameras=1, samples_per_shard=2)
    return path


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_stop_a_build_cleanly(tmp_path: Path, long_reference: Path, number: int, code: int) -> None:
    path = tmp_path / "a.zarr"
    building = start("build", path, *LONG, "--workers", 2)
    wait_until(lambda: len(list(path.glob("video_written/c.*"))) > 5)
    building.send(number)
    done = building.wait()
    assert (done.code, done.out) == (code, ""), done
    last = done.err.splitlines()[-1]
    written = info(path).written["video"]
    assert 0 < written < 600
    assert last.startswith(f"trajstore: {path}: interrupted; {written:,} of 600 samples are written")
    assert last.endswith(f"continue with: trajstore build {path}")
    assert not list(path.rglob("*.partial"))
    assert_flags_are_true(path, long_reference)


def test_the_second_signal_ends_a_build_at_once(tmp_path: Path, long_reference: Path) -> None:
    """Here one that stands still, because the shard in flight cannot be finished."""
    path = tmp_path / "a.zarr"
    building = start("build", path, *LONG, stall="video/c.4.*")
    wait_until(lambda: "stalled" in building.err)
    building.send(signal.SIGINT)
    wait_until(lambda: "stopping" in building.err)
    assert building.runs_for(0.3)
    building.send(signal.SIGTERM)
    assert building.wait(20).code == 143
    assert_flags_are_true(path, long_reference)
    assert run("build", path, "--part", "1/100", "-q").code == 0
    assert_flags_are_true(path, long_reference)


def test_a_dry_run_says_what_noise_does_to_the_size(command: Any, tmp_path: Path):
    spec = tmp_path / "spec.toml"
    spec.write_text("[dataset]\nsamples = 100\n[video]\nframes = 4\n[sensor]\nnoise = 2.0\n")
    done = command("build", "noisy.zarr", "--spec", str(spec), "--dry-run")
    assert done.code == 0
    assert "noise does not compress: without sensor.noise about" in done.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["info"],
        ["build"],
        ["repair"],
        ["extend", "--samples=9"],
        ["card"],
        ["verify"],
        ["view", "-o", "a.rrd"],
    ],
)
def test_no_command_prints_the_secrets_of_a_url(command: Any, arguments: list[str]) -> None:
    url = "s3://user:hidden@bucket/a.zarr?sig=hidden"
    options = ["--storage-option=max_retries=0", "--storage-option=endpoint=http://127.0.0.1:9"]
    done = command(arguments[0], url, *arguments[1:], *options)
    assert done.code != 0
    assert "hidden" not in done.out + done.err
    assert "s3://…@bucket/a.zarr" in done.err


@pytest.mark.parametrize("name", ["two  spaces", "new\nline", "it's\t$HOME"])
def test_printed_commands_can_be_pasted_whatever_a_path_holds(
    command: Any, tmp_path: Path, name: str
) -> None:
    refused = command("build", f"{name}/a.zarr")
    assert_fails_in_one_line(refused, 1, "make it first: mkdir -p ")
    subprocess.run(["bash", "-c", refused.err.partition("first: ")[2]], check=True)
    assert (tmp_path / name).is_dir()


def test_a_huge_value_is_not_echoed_whole(command: Any) -> None:
    refused = command("info", f"ftp://{'x' * 100_000}")
    assert_fails_in_one_line(refused, 2, "location: found ftp://xxx", "file:///path")
    assert len(refused.err) < 5000


BUCKET = ["info", "s3://bucket/a.zarr", "--storage-option"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["build", "a.zarr", "--part", f"1/{'9' * 5000}"], "part: found"),
        (["build", "a.zarr", "--part", f"{'9' * 5000}/1"], "part: found"),
        (["build", "a.zarr", "--workers", str(10**20)], "workers: found 1000"),
        (["verify", "a.zarr", "--workers", str(10**20)], "workers: found 1000"),
        ([*BUCKET, "max_retries=inf"], "max_retries=inf, expected a number from 0 to"),
        ([*BUCKET, "max_retries=-1"], "max_retries=-1, expected a number from 0 to"),
        ([*BUCKET, "max_retries=nan"], "max_retries=nan, expected a number from 0 to"),
        ([*BUCKET, "retry_timeout=1e300"], "retry_timeout=1e300, expected a number from 0 to"),
        (["info", "file:///tmp/%00x"], r"location: found '/tmp/\x00x', expected"),
        (["build", "file:///tmp/%00x"], "location: found"),
    ],
)
def test_absurd_arguments_are_refused_in_one_line(command: Any, arguments: list[str], found: str) -> None:
    assert_fails_in_one_line(command(*arguments), 2, found)
