"""What the site adds to the pages: tables made from the code, and the files of the repository that pages link to.

MkDocs calls the functions named ``on_...`` (``hooks`` in mkdocs.yml). Nothing that is made here is committed.
"""

from __future__ import annotations

import ast
import inspect
import json
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from pydantic import BaseModel, BeforeValidator

from trajstore import cli
from trajstore.errors import TrajstoreError
from trajstore.schemas import make_schema
from trajstore.spec import DatasetSpec

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]

ADDED = "repository/"
"""The site's folder for files of the repository that are not in docs/."""

IN_NAVIGATION = ("CONTRIBUTING.md", "CHANGELOG.md")
"""Files outside of docs/ that mkdocs.yml names."""

UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"
"""At the top of a page that the search leaves out: sources would hide what explains them."""

PICTURES = {".gif", ".png", ".svg"}
LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json", ".yml": "yaml", ".cff": "yaml"}
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#\s])")
MARK = re.compile(r"^<!-- made from the code: (\w+) -->$", re.MULTILINE)
UNIT = re.compile(r"\b(px|degrees|world units|levels)\b")


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the files of the repository that pages of the site link to, and those that these link to."""
    from mkdocs.structure.files import File

    waiting = [*IN_NAVIGATION]
    for page in files.documentation_pages():
        waiting += find_outside(f"docs/{page.src_uri}", page.content_string)
    while waiting:
        path = waiting.pop()
        uri = place(path)
        if files.get_file_from_path(uri) is not None:
            continue
        if Path(path).suffix in PICTURES:
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
        else:
            text = show_file(path)
            files.append(File.generated(config, uri, content=redirect(path, text)))
            waiting += find_outside(path, text)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in what is made from the code; links to files of the repository lead to where the site has them."""
    uri = page.file.src_uri
    return expand(markdown if uri.startswith(ADDED) else redirect(f"docs/{uri}", markdown))


def find_outside(path: str, text: str) -> list[str]:
    """Files of the repository outside of the site that a page links to."""
    found = (resolve(path, link) for link in LINK.findall(text))
    return [target for target in found if target is not None and is_outside(target)]


def resolve(path: str, link: str) -> str | None:
    """The file of the repository that a link of a page leads to, if there is one."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    return None if target.startswith("..") or not (ROOT / target).exists() else target


def is_outside(path: str) -> bool:
    """Whether the site has a file only if it is added."""
    return not path.startswith("docs/") or path.startswith("docs/scripts/")


def place(path: str) -> str:
    """Where the site has a file or folder of the repository."""
    if not is_outside(path):
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        return f"{ADDED}{path}/{'README' if (ROOT / path / 'README.md').exists() else 'index'}.md"
    return ADDED + path + ("" if Path(path).suffix in {".md", *PICTURES} else ".md")


def redirect(path: str, text: str) -> str:
    """A page whose links to files of the repository lead to where the site has them."""
    here = posixpath.dirname(place(path))

    def replace(found: re.Match[str]) -> str:
        target = resolve(path, found[1])
        if target is None or not (is_outside(target) or is_outside(path)):
            return found[1]
        return posixpath.relpath(place(target), here)

    return LINK.sub(replace, text)


def show_file(path: str) -> str:
    """A page that shows a file or folder of the repository."""
    file = ROOT / path
    if file.is_dir():
        if (file / "README.md").exists():
            return (file / "README.md").read_text(encoding="utf-8")
        names = sorted(child.name for child in file.iterdir() if not child.name.startswith(("_", ".")))
        return UNSEARCHED + "\n".join([f"# {path}\n", *(f"- [{name}]({file.name}/{name})" for name in names)])
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        return text
    if file.suffix == ".ipynb":
        return UNSEARCHED + "\n\n".join(show_cell(cell) for cell in json.loads(text)["cells"])
    return f"{UNSEARCHED}# {path}\n\n" + fence(text, LANGUAGES.get(file.suffix, "text"))


def show_cell(cell: dict[str, Any]) -> str:
    """A cell of a notebook."""
    text = "".join(cell["source"])
    return text if cell["cell_type"] == "markdown" else fence(text, "python")


def fence(text: str, language: str) -> str:
    """A block of code."""
    return f"````{language}\n{text.rstrip()}\n````\n"


def expand(markdown: str) -> str:
    """A page with what is made from the code in place of the comments that ask for it."""
    return MARK.sub(lambda found: MAKERS[found[1]](), markdown)


def make_commands() -> str:
    """All commands: how they are used, arguments and options, examples."""
    commands: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    return "\n\n".join(describe_command(name, command) for name, command in sorted(commands.items()))


def describe_command(name: str, command: Any) -> str:
    """A command."""
    parameters = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [name_argument(p) for p in parameters if p.param_type_name == "argument"]
    examples = re.findall(r"^  (trajstore .*)$", command.epilog or "", re.MULTILINE)
    rows = [describe_parameter(parameter) for parameter in parameters]
    return "\n\n".join(
        [
            f"## {name}",
            inspect.cleandoc(command.help),
            fence(" ".join(["trajstore", name, *arguments, "[OPTIONS]"]), "text"),
            make_table(("argument or option", "default", "meaning"), rows),
            fence("\n".join(examples), "sh"),
        ]
    )


def name_argument(argument: Any) -> str:
    """An argument as usage lines have it."""
    text = argument.metavar + ("…" if argument.nargs == -1 else "")
    return text if argument.required else f"[{text}]"


def describe_parameter(parameter: Any) -> tuple[str, str, str]:
    """Names, default and meaning of an argument or option."""
    help_text, _, default = parameter.help.partition(" [default: ")
    if not default and parameter.default not in (None, False) and not callable(parameter.default):
        default = str(parameter.default)
    if parameter.param_type_name == "argument":
        names = code(name_argument(parameter))
    else:
        value = "" if parameter.is_flag else " " + (parameter.metavar or "N")
        names = ", ".join(code(option + (value if len(option) > 2 else "")) for option in parameter.opts)
        if parameter.secondary_opts:
            names = ", ".join([names, *map(code, parameter.secondary_opts)])
            default = parameter.opts[0] if parameter.default else parameter.secondary_opts[0]
    default = default.removesuffix("]") or ("required" if parameter.required else "")
    return names, default.replace("|", "&#124;").replace(",", ", "), help_text.replace("|", "&#124;")


def make_spec() -> str:
    """All sections and fields of a spec."""
    schema = make_schema("spec")["$defs"]
    parts = []
    for section, field in DatasetSpec.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        described = schema[model.__name__]
        rows = [
            describe_field(section, name, model, described["properties"][name]) for name in model.model_fields
        ]
        columns = ("field", "type", "default", "range", "unit", "meaning")
        parts += [f"## {section}", described["description"], make_table(columns, rows)]
    return "\n\n".join(parts)


def describe_field(
    section: str, name: str, model: type[BaseModel], schema: dict[str, Any]
) -> tuple[str, ...]:
    """A field of a spec."""
    default = schema.get("default")
    text = " ".join(schema["description"].split())
    schema = next((option for option in schema.get("anyOf", []) if option["type"] != "null"), schema)
    kind = name_type(schema)
    if any(isinstance(mark, BeforeValidator) for mark in model.model_fields[name].metadata):
        kind = f"{schema['prefixItems'][0]['type']} or {kind}"  # one number stands for both
    unit = UNIT.search(text)
    text = re.sub(rf", {UNIT.pattern}(?=[.,;:])", "", text)  # it has a column
    return (
        f"`{name}`{{#{section}.{name}}}",
        kind,
        "" if default is None else f"`{json.dumps(default)}`",
        ", ".join(name_limits(schema)),
        unit[0] if unit else "",
        text.replace("|", "&#124;"),
    )


def name_type(schema: dict[str, Any]) -> str:
    """The type of a field as TOML has it."""
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "prefixItems" in schema:
        return f"[{', '.join(item['type'] for item in schema['prefixItems'])}]"
    if schema.get("type") == "array":
        kind = name_type(schema["items"])
        return f"list of {kind if '`' in kind else kind + 's'}"
    return str(schema.get("type", "table"))


def name_limits(schema: dict[str, Any]) -> Iterator[str]:
    """What the schema says of a field's values."""
    if "minimum" in schema and "maximum" in schema:
        yield f"{format_limit(schema['minimum'])} to {format_limit(schema['maximum'])}"
        return
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    for limit, sign in signs.items():
        if limit in schema:
            yield f"{sign} {format_limit(schema[limit])}"
    if schema.get("type") == "array" and "prefixItems" not in schema and "minItems" in schema:
        yield f"at least {schema['minItems']}"


def format_limit(value: float) -> str:
    """A limit, with a power where there are many digits."""
    powers = {10**12: "10¹²", 2**63 - 1: "2⁶³ − 1"}
    return powers.get(int(value), f"{value:,.6g}" if value % 1 else f"{value:,.0f}").replace("-", "−")


def make_errors() -> str:
    """The tree of errors, with their exit codes."""
    rows = []
    for error, depth in walk_errors(TrajstoreError):
        given = inspect.signature(error.__init__).parameters.get("exit_code")
        exit_code = error.exit_code if given is None else given.default
        summary = (inspect.getdoc(error) or "").partition("\n")[0]
        link = f"[`{error.__name__}`][{error.__module__}.{error.__name__}]"
        name = f'<span style="margin-left: {depth}em">{link}</span>'
        rows.append((name, str(exit_code), summary))
    return make_table(("error", "exit code", "what has happened"), rows)


def make_classes() -> str:
    """The classes of errors, one by one."""
    return "\n\n".join(f"::: {error.__module__}.{error.__name__}" for error, _ in walk_errors(TrajstoreError))


def walk_errors(error: type[TrajstoreError], depth: int = 0) -> Iterator[tuple[type[TrajstoreError], int]]:
    """An error and all that derive from it, with how far."""
    yield error, depth
    for child in error.__subclasses__():
        if child.__module__ == TrajstoreError.__module__:
            yield from walk_errors(child, depth + 1)


def make_torch() -> str:
    """What `trajstore.torch` offers; read from its source, because PyTorch need not be installed."""
    source = (ROOT / "trajstore" / "torch" / "__init__.py").read_text(encoding="utf-8")
    (names,) = re.findall(r"^__all__ = (\[.*?\])$", source, re.MULTILINE | re.DOTALL)
    return "\n\n".join(f"::: trajstore.torch.{name}" for name in ast.literal_eval(names))


def make_table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table."""
    lines = (names, ("---",) * len(names), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: str) -> str:
    """Code in a cell of a table; site.css keeps it on one line."""
    return f'<code class="name">{text.replace("|", "&#124;")}</code>'


MAKERS: dict[str, Callable[[], str]] = {
    "classes": make_classes,
    "commands": make_commands,
    "errors": make_errors,
    "spec": make_spec,
    "torch": make_torch,
}
"""What pages can ask for."""
