"""The site has what the code has, and the check of a built site finds what is wrong with it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated

import pytest
import typer
from pydantic import Field
from support.scripts import load_script
from test_layers import LAYERS

import trajstore
from trajstore import cli, errors, schemas
from trajstore.spec import DatasetSpec, VideoSection

ROOT = Path(__file__).parents[1]
HOOK = load_script("site_hook")


def read_page(name: str) -> str:
    """A page of the reference, with what is made from the code."""
    text: str = HOOK.expand((ROOT / "docs" / "reference" / f"{name}.md").read_text(encoding="utf-8"))
    return text


def test_every_option_is_on_the_page_of_commands():
    text = read_page("cli")
    for name, command in typer.main.get_command(cli.app).commands.items():  # type: ignore[attr-defined]
        (section,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        options = [option for parameter in command.params for option in parameter.opts if option[:2] == "--"]
        assert options
        assert [option for option in options if not re.search(rf"{option}\b", section)] == []


def test_a_new_command_is_on_the_page(monkeypatch: pytest.MonkeyPatch):
    app = typer.Typer()

    @app.command(epilog="\b\nExamples:\n  trajstore polish store.zarr --hard")
    def polish(
        store: Annotated[str, typer.Argument(metavar="STORE", help="The store.")],
        times: Annotated[int, typer.Option(help="How often.")] = 3,
        way: Annotated[str | None, typer.Option(metavar="a|b", help="How. [default: a]")] = None,
    ) -> None:
        """Polish a store."""

    app.command()(lambda: None)
    monkeypatch.setattr(cli, "app", app)
    text = HOOK.describe_command("polish", typer.main.get_command(app).commands["polish"])  # type: ignore[attr-defined]
    for part in (
        "## polish\n\nPolish a store.\n",
        "trajstore polish STORE [OPTIONS]\n",
        '| <code class="name">STORE</code> | required | The store. |',
        '| <code class="name">--times N</code> | 3 | How often. |',
        '| <code class="name">--way a&#124;b</code> | a | How. |',
        "\ntrajstore polish store.zarr --hard\n",
    ):
        assert part in text


def test_every_field_is_on_the_page_of_the_spec():
    text = read_page("spec")
    for (section, field), _ in DatasetSpec().walk():
        assert f"| `{field}`{{#{section}.{field}}} |" in text


class Wider(VideoSection):
    """The size of a sample, and more."""

    spin: float = Field(default=0.5, gt=0.0, lt=9.0)
    """How far it turns, degrees; or not."""


class Spec(DatasetSpec):
    """A spec with another field."""

    video: Wider = Wider()


def test_a_new_field_is_on_the_page(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(HOOK, "DatasetSpec", Spec)
    monkeypatch.setattr(
        HOOK, "make_schema", lambda _: Spec.model_json_schema(schema_generator=schemas._Described)
    )
    row = "| `spin`{#video.spin} | number | `0.5` | > 0, < 9 | degrees | How far it turns; or not. |"
    assert row in HOOK.make_spec()


def test_every_error_and_every_public_name_is_in_the_reference():
    names = [name for name in vars(errors) if name.endswith("Error")]
    text = read_page("errors")
    assert len(names) > 10
    for name in names:
        assert f"\n::: trajstore.errors.{name}\n" in text + "\n"
        assert f"[`{name}`][trajstore.errors.{name}]" in text
    shown = re.findall(r"^::: trajstore\.(\w+)$", read_page("api"), re.MULTILINE)
    public = {name for name in trajstore.__all__ if not name.startswith("_")}
    assert sorted(shown) == sorted(public - {*names})


def test_messages_that_the_page_of_errors_explains_are_those_of_the_code():
    code = " ".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "trajstore").rglob("*.py")))
    messages = re.findall(r"^\| `([^`]+)` \|", read_page("errors").partition("## Messages")[2], re.MULTILINE)
    assert messages
    assert [part for message in messages for part in message.split("…") if part.strip() not in code] == []


@pytest.mark.parametrize("name", ["README.md", "docs/how-to/worlds.md", "CONTRIBUTING.md"])
def test_links_lead_to_where_the_site_has_files(name: str):
    text = (ROOT / name).read_text(encoding="utf-8")
    outside = HOOK.find_outside(name, text)
    assert outside
    moved = HOOK.redirect(name, text)
    for path in outside:
        assert HOOK.place(path).startswith("repository/")
        assert Path(HOOK.place(path)).name in moved
        assert HOOK.show_file(path).removeprefix(HOOK.UNSEARCHED).startswith("#")


def test_a_broken_site_is_found_out(tmp_path: Path):
    check = load_script("check_site").check_site
    (tmp_path / "search").mkdir()
    found = {"docs": [{"location": ""}, {"location": "#top"}]}
    (tmp_path / "search" / "search_index.json").write_text(json.dumps(found), encoding="utf-8")
    good = '<h1 id="top">A</h1><a href="#top"></a><a href="https://zarr.dev"></a><img src="a.png">'
    (tmp_path / "index.html").write_text(good, encoding="utf-8")
    (tmp_path / "a.png").touch()
    assert check(tmp_path) == []
    bad = '<a href="../#no"></a><a href="no/"></a><img src="b.png"><script src="https://cdn.example/x.js"></script>'
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "index.html").write_text(bad, encoding="utf-8")
    assert check(tmp_path) == [
        "more/index.html: loads https://cdn.example/x.js",
        "more/index.html: ../#no leads to no anchor",
        "more/index.html: no/ leads nowhere",
        "more/index.html: b.png leads nowhere",
        "more/: the search does not find it",
    ]


def test_contributors_are_led_to_files_that_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:trajstore|tests|docs|examples)/[\w./]*)`", text)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []
    table = [
        re.findall(r"`([\w.]+?)(?:/|\.py)`", line.split("|")[1])
        for line in text.splitlines()
        if line[:3] == "| `"
    ]
    order = [layer for names in table for layer, row in enumerate(LAYERS) for name in names if name in row]
    assert order == sorted(order)
    assert {name for names in table for name in names} == {*sum(LAYERS, ())} - {
        "__init__",
        "__main__",
        "schemas",
    }


def test_badges_and_citation_say_what_the_project_says(tmp_path: Path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {project['version']}" in citation
    assert f"license: {project['license']}" in citation
    load_script("draw_badges").draw_badges(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    for drawn in tmp_path.iterdir():
        kept = ROOT / "docs" / "pictures" / drawn.name
        assert drawn.read_text(encoding="utf-8") == kept.read_text(encoding="utf-8"), (
            "docs/scripts/draw_badges.py"
        )
