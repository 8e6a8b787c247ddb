"""Every block of the README and of the pages in docs/ is executed, in order; every link leads somewhere."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import typer
from support.scripts import load_script
from support.swift_server import SwiftServer

from trajstore import cli
from trajstore.spec import DatasetSpec

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

EXPAND = load_script("site_hook").expand
"""Puts into a page what the site makes from the code."""

SMALLER = {
    "--samples 12000": "--samples 56",
    "--samples 30000": "--samples 56",
    "samples = 2000": "samples = 24",
    "own.zarr --samples 400": "own.zarr --samples 48",
    "folder --rows 0:100": "folder --rows 0:8",
    "range(5)": "range(1)",
    "train_classifier.py": "train_classifier.py --epochs 0",
    "_speed.py": "_speed.py --help",
    "profile_sample.py": "profile_sample.py --rows 4 --rounds 1",
}
"""What is replaced so that it takes seconds, not minutes; all else runs as it is written."""

NAMES: dict[Path, dict[str, object]] = {}
"""What the blocks of Python of a page have defined: a reader goes on in the same session."""

SAMPLES = 48
"""How many samples a new store has where the command names neither samples nor a spec."""

BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<note>[^\n]*) -->\n *)?```(?P<language>\S*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
"""A block of code, also within a list or a tab."""

NOTES = {"": [], "needs torch": [pytest.mark.torch], "needs a bucket": [], "a recipe": []}
"""What a comment before a block may say. A recipe is for a cluster, and only checked to be well-formed."""

SETUP = "python3 -m venv "


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    note: str
    language: str
    text: str

    @property
    def name(self) -> str:
        """Page, line and language."""
        return f"{self.page.relative_to(ROOT).with_suffix('')}-{self.line}-{self.language}"


def find_blocks(page: Path) -> list[Block]:
    """All blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, found.start("language")) + 1,
            found["note"] or "",
            found["language"],
            textwrap.dedent(found["text"]),
        )
        for found in BLOCK.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in find_blocks(page)]


def make_smaller(text: str) -> str:
    """Replace what takes long."""
    for long, short in SMALLER.items():
        text = text.replace(long, short)
    return text


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """A working folder for each page, where what a page names of the repository is at hand."""
    made = {page: tmp_path_factory.mktemp(page.stem) for page in PAGES}
    for folder in made.values():
        for name in ("tests", "examples"):
            (folder / name).symlink_to(ROOT / name)
    return made


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=block.name, marks=NOTES[block.note])
        for block in BLOCKS
        if not block.text.startswith(SETUP) and block.note != "a recipe"
    ],
)
def test_a_block_runs(
    block: Block, folders: dict[Path, Path], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    folder, text = folders[block.page], make_smaller(block.text)
    monkeypatch.chdir(folder)
    if block.note == "needs a bucket":
        for name, value in request.getfixturevalue("bucket_of_the_pages").items():
            monkeypatch.setenv(name, value)
    if block.language == "sh":
        for line in text.splitlines():
            run_line(line, monkeypatch)
    elif block.language == "python":
        exec(compile(text, block.name, "exec"), NAMES.setdefault(block.page, {"__name__": "__main__"}))
    elif block.language == "toml":  # the spec.toml of the blocks that follow
        Path("spec.toml").write_text(text, encoding="utf-8")
        DatasetSpec.from_file("spec.toml")
    else:  # a listing of what the blocks before it have made
        assert block.language == "text"
        root, *lines = text.splitlines()
        names = [line.split()[1] for line in lines]
        assert names
        assert [name for name in names if not Path(root, name).exists()] == []


@pytest.fixture(scope="module")
def bucket_of_the_pages(swift: SwiftServer) -> dict[str, str]:
    """A bucket of the name that the pages use; gives the environment in which it is found."""
    swift.create_bucket("my-bucket")
    return swift.environment()


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.note == "a recipe"], ids=lambda b: b.name
)
def test_a_recipe_is_well_formed(block: Block):
    if block.language == "python":
        compile(block.text, block.name, "exec")
    elif block.language == "json":
        json.loads(block.text)
    elif block.language == "toml":
        tomllib.loads(block.text)
    else:
        assert block.language == "sh"
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
        for line in block.text.replace("\\\n", " ").splitlines():
            if "trajstore build" in line:
                check_options(shlex.split(line.partition("trajstore build")[2], comments=True))


def check_options(words: list[str]) -> None:
    """Raise unless the options of a build exist."""
    build = typer.main.get_command(cli.app).commands["build"]  # type: ignore[attr-defined]
    known = {name for parameter in build.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def run_line(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command of the shell; in this process, because starting Python takes longer than most of them."""
    words = shlex.split(line, comments=True)
    assert not set("".join(words)) & set("|&;<>$`*"), "only a shell can run this"
    program, *arguments = words
    assert program in ("trajstore", "python")
    if arguments[0] == "build" and not {"--samples", "--spec"} & {*words} and not Path(arguments[1]).exists():
        words += ["--samples", str(SAMPLES)]
    monkeypatch.setattr(sys, "argv", words if program == "trajstore" else arguments)
    monkeypatch.syspath_prepend(Path(arguments[0]).parent)  # as Python does for a script
    with pytest.raises(SystemExit) as ended:
        run_program(program, arguments[0])
    assert not ended.value.code


def run_program(program: str, script: str) -> None:
    """Run trajstore or a script of Python with the arguments in ``sys.argv``, and exit."""
    if program == "trajstore":
        cli.main()
    runpy.run_path(script, run_name="__main__")
    sys.exit()


def test_the_tutorial_shows_what_info_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/tutorial/first-dataset.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"(?:^    .*\n)+", page, re.MULTILINE)
    run_line("trajstore build store.zarr", monkeypatch)
    capsys.readouterr()
    run_line("trajstore info store.zarr", monkeypatch)
    printed = capsys.readouterr().out
    number = r"[0-9a-f]{16}|\d[\d.,:T+-]*( [kMG]?B)?"
    assert re.sub(number, "#", textwrap.dedent(shown)) == re.sub(number, "#", printed)


def test_each_replacement_is_used_and_no_block_escapes():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [long for long in SMALLER if long not in text] == []
    assert {block.note for block in BLOCKS} == NOTES.keys()
    assert len(re.findall(r"^ *(?:```|~~~)", text, re.MULTILINE)) == 2 * len(BLOCKS)


def test_set_up_commands_are_those_that_ci_runs():
    """`.ci/run` takes them out of the README by these patterns."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    patterns = re.findall(r"grep -m1 -E '([^']+)' README\.md", script)
    setup = [block.text for block in BLOCKS if block.text.startswith(SETUP)]
    assert [text.count("\n") for text in setup] == [1] * len(setup)
    assert len(patterns) == len(set(setup)) == 2
    for pattern in patterns:
        assert len({text for text in setup if re.match(pattern, text)}) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path):
    wrong = []
    for link in find_links(page.read_text(encoding="utf-8")):
        address, _, anchor = link.partition("#")
        target = page.parent / address if address else page
        if not target.exists() or (anchor and anchor not in find_anchors(target)):
            wrong.append(link)
    assert wrong == []


def find_links(text: str) -> list[str]:
    """Links of a page that lead to files of the repository or to a heading."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


@cache
def find_anchors(page: Path) -> set[str]:
    """What links to a page may name after a #."""
    text = re.sub(
        r"^```.*?^```$", "", EXPAND(page.read_text(encoding="utf-8")), flags=re.MULTILINE | re.DOTALL
    )
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    named = re.findall(r"\{#([\w.-]+)\}|^::: ([\w.]+)$", text, re.MULTILINE)
    return {make_anchor(heading) for heading in headings} | {
        name for names in named for name in names if name
    }


def make_anchor(heading: str) -> str:
    """The anchor that MkDocs gives to a heading."""
    plain = unicodedata.normalize("NFKD", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading))
    kept = re.sub(r"[^\w\s-]", "", plain.encode("ascii", "ignore").decode()).strip().lower()
    return re.sub(r"[\s-]+", "-", kept)
