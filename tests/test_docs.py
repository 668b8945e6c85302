"""What README and docs/ say is so: files, flags, settings, calls, errors, and the examples."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import AliasChoices

from fluxui import errors
from fluxui.api import build_api
from fluxui.cli import _parser
from fluxui.errors import FluxuiError
from fluxui.settings import Settings
from fluxui.studio import Studio
from tests.live import serving

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "CHANGELOG.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
# Flags of other programs that the pages mention.
FOREIGN_FLAGS = {"--json", "--help", "--bucket", "--lifecycle-configuration", "--gpus"}
# Kept by the gate for a login of its own, and by Studio for a form that no JSON can make.
VARIABLE = re.compile(r"\b(?:FLUXUI|S3|AWS|HF|GRADIO)_[A-Z0-9_]+\b")


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of every table row below a heading."""
    part = re.split(rf"^#+ {re.escape(heading)}$", text(page), flags=re.MULTILINE)[1]
    part = re.split(r"^## ", part, flags=re.MULTILINE)[0]
    lines = [line for line in part.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def names_of(field: str) -> list[str]:
    """The environment variables of a setting."""
    alias = Settings.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [str(alias) if alias else f"FLUXUI_{field.upper()}"]


def commands(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every command that does something, with its flags."""
    deeper = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not deeper:
        yield name, {flag for action in parser._actions for flag in action.option_strings}
    for action in deeper:
        for word, below in action.choices.items():
            yield from commands(below, f"{name} {word}".strip())


FLAGS = {flag for _, flags in commands(_parser()) for flag in flags}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text(page)):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_flags_and_variables_exist(page: str) -> None:
    known = {name for field in Settings.model_fields for name in names_of(field)}
    assert set(VARIABLE.findall(text(page))) <= known
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text(page))) <= FLAGS | FOREIGN_FLAGS


def test_readme_is_short() -> None:
    assert text("README.md").count("\n") <= 150


def test_ci_runs_the_commands_of_the_readme() -> None:
    """Letter for letter, so that what people paste is what was tested."""
    install, test = re.search(r"## Test it\n```sh\n(.+)\n(.+)\n```", text("README.md")).groups()  # type: ignore[union-attr]
    script = text(".ci/run")
    assert f"requirements() {{ {install}; }}" in script
    assert f"tests() {{ {test}; }}" in script


def test_configuration_lists_every_setting_with_its_default() -> None:
    told: dict[str, list[str]] = {}
    for heading in re.findall(r"^## (.+)$", text("docs/configuration.md"), re.MULTILINE):
        for cells in rows("docs/configuration.md", heading):
            names = re.findall(r"`(\w+)`", cells[0])
            told[", ".join(names)] = [cells[1].strip("`"), cells[2].strip("`")]
    assert set(told) == {", ".join(names_of(field)) for field in Settings.model_fields}
    for field, info in Settings.model_fields.items():
        flag, default = told[", ".join(names_of(field))]
        assert flag == "" or flag in FLAGS
        if field != "data_dir":
            assert default == ("" if info.default in (None, "") else str(info.default)), field


def test_api_lists_every_call(studio: Studio) -> None:
    calls = {
        f"{method.upper()} {path}"
        for path, methods in build_api(studio).openapi()["paths"].items()
        for method in methods
    }
    assert {
        cells[0].strip("`") for cells in rows("docs/api.md", "REST") if "/api/" in cells[0]
    } == calls


def test_every_call_in_the_readme_exists(studio: Studio) -> None:
    known = set(build_api(studio).openapi()["paths"])
    for path in re.findall(r"\$URL(/api/[\w/$]*)", text("README.md")):
        assert path.replace("$ID", "{job_id}") in known


def test_api_lists_every_error() -> None:
    """With its status. What only ever stands in a record is named below the table."""
    section = text("docs/api.md").split("### Errors")[1].split("## ")[0]
    told = {
        code: int(status)
        for status, codes in re.findall(r"^\| (\d+) \| (.+?) \|", section, re.MULTILINE)
        for code in re.findall(r"`(\w+)`", codes)
    }
    ours = {one.code: one.status for one in leaves(FluxuiError)}
    recorded = set(re.findall(r"`(\w+)`", section.rsplit("There the code", 1)[1]))
    at_the_start = {"configuration_error", "port_taken", "cancelled"}
    at_the_start |= {"space_error", "space_refused", "space_failed"}
    assert set(ours) - recorded - at_the_start <= set(told)
    for code, status in told.items():
        assert ours.get(code, status) == status, code
    assert recorded <= set(ours)


def leaves(kind: type[FluxuiError]) -> Iterator[type[FluxuiError]]:
    assert vars(errors).get(kind.__name__) is kind
    if kind is not FluxuiError:
        yield kind
    for below in kind.__subclasses__():
        yield from leaves(below)


def test_api_lists_every_command() -> None:
    told = " ".join(cells[0] for cells in rows("docs/api.md", "Command line"))
    for name, flags in commands(_parser()):
        assert re.search(rf"`{name}\b", told), name
        said = " ".join(
            cells[1] for cells in rows("docs/api.md", "Command line") if f"`{name}" in cells[0]
        )
        own = {flag for flag in flags if flag.startswith("--")} - {"--help", "--base-model"}
        assert own - {"--data-dir"} <= set(re.findall(r"--[a-z-]+", said)), name


def test_architecture_shows_every_file() -> None:
    """And no file that is not there. What is inside the assets is data, shown by its folder."""
    shown = set(tree(blocks("docs/architecture.md", "")[0]))
    there = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "fluxui").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and "assets" not in path.parts
    }
    assets = {f"fluxui/assets/{path.name}/" for path in (ROOT / "fluxui/assets").glob("*/")}
    assert shown == there | assets | {"app.py"}


def tree(drawing: str) -> Iterator[str]:
    """The paths of an indented drawing; a folder only if nothing is drawn inside it."""
    above: list[str] = []
    lines = drawing.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split(r" {3,}", line.strip())[0].split("  ")
        above = [*above[:depth], names[0].rstrip("/")]
        deeper = len(following) - len(following.lstrip()) > 2 * depth
        if not (names[0].endswith("/") and deeper):
            yield from ("/".join([*above[:-1], name]) for name in names)


def test_examples_can_be_read() -> None:
    for page in PAGES:
        for block in blocks(page, "python"):
            compile(block, page, "exec")
        for block in blocks(page, "sh"):
            subprocess.run(["bash", "-n", "-c", block], check=True, capture_output=True)


def test_the_python_example_runs(settings: Settings, capsys: Any) -> None:
    [example] = blocks("README.md", "python")
    with serving(settings) as app:
        code = example.replace("http://127.0.0.1:7860", app.url)
        capsys.readouterr()
        exec(compile(code, "README.md", "exec"), {})
        assert ".png" in capsys.readouterr().out


def test_the_shell_example_runs(settings: Settings) -> None:
    [example] = [block for block in blocks("README.md", "sh") if "curl" in block]
    ask, (look, models) = example.split("\n\n")[0], example.splitlines()[-2:]
    with serving(settings) as app:
        url = f"URL={app.url}\n"
        asked = json.loads(shell(ask.replace("URL=http://127.0.0.1:7860\n", url)))
        assert asked["status"] == "queued"
        looked = json.loads(shell(f"{url}ID={asked['id']}\n{look}"))
        assert looked["id"] == asked["id"]
        assert looked["parameters"]["num_images"] == 2
        assert [model["model_id"] for model in json.loads(shell(url + models))].count(
            "pixel-art"
        ) == 1


def shell(script: str) -> str:
    done = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True)
    return done.stdout
