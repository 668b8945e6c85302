"""The house rules, read from the source itself: who imports whom, how long things are, who may.

docs/architecture.md tells people the same rules. Where one of them is too strict for a file that
is right, the table here gets a line with the reason; a rule is never bent silently.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fluxui"
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

# Top to bottom; a file imports from the lines above its own, and from its own folder. Names of
# one line never import each other. A folder stands for all its files.
LINES = (
    ("words", "__init__ errors"),
    ("words", "settings request visitor"),
    ("words", "generation"),
    ("words", "grid"),
    ("organs", "embedded"),
    ("organs", "pipeline loras storage history images parameters"),
    ("motion", "queue previews"),
    ("motion", "worker"),
    ("studio", "gallery trash estimate system quota post told outputs recall variation"),
    ("studio", "zipping"),
    ("studio", "watch waiting pictures collection webhook rebuild verify exchange"),
    ("studio", "upkeep grids ledger"),
    ("studio", "studio"),
    ("studio", "opening"),
    ("studio", "crew"),
    ("faces", "doctor space"),
    ("faces", "api ui"),
    ("house", "gate"),
    ("house", "server"),
    ("house", "commands"),
    ("house", "cli"),
    ("house", "__main__"),
)
LEVEL = {name: level for level, (_, names) in enumerate(LINES) for name in names.split()}

# Every import of an organ by its neighbour, and why it may be.
NEIGHBOURS: dict[tuple[str, str], str] = {}

WORDS = ("settings.py", "request.py", "generation.py", "grid.py")
PYDANTIC_ERRORS = ("history/tiny.py", "cli.py", "ledger.py")  # they say what it refused
MODELS = ("pipeline/", "loras/canonical.py", "loras/changes.py")
# Third party → where it may be imported, by the beginning of the path. What is missing here is
# not a dependency of ours.
THIRD_PARTY: dict[str, tuple[str, ...]] = {
    "torch": MODELS,
    "diffusers": MODELS,
    "transformers": MODELS,
    "torchao": ("pipeline/rounding.py",),
    "bitsandbytes": ("pipeline/rounding.py",),
    "huggingface_hub": ("pipeline/", "loras/", "doctor.py", "space.py"),
    "boto3": ("storage/s3.py",),
    "botocore": ("storage/s3.py",),
    "tinydb": ("history/",),
    "celery": ("queue/celery.py",),
    "kombu": ("queue/celery.py",),  # which raises the errors of celery
    "redis": ("queue/wire.py",),
    "PIL": ("images.py", "embedded.py", "pipeline/preview.py"),
    "fastapi": ("api/",),
    "spaces": ("pipeline/zero.py",),
    "starlette": (
        "ui/caller.py",
        "api/",
        "gate/",
        "server.py",
    ),
    "gradio": ("ui/", "server.py", "pipeline/zero.py"),  # `spaces` raises its errors
    "httpx2": ("doctor.py", "gate/oauth.py", "post.py", "space.py", "loras/hub.py"),
    "packaging": ("doctor.py", "space.py"),
    "pydantic": (*WORDS, *PYDANTIC_ERRORS, "storage/s3.py", "api/answers.py", "space.py"),
    "pydantic_settings": ("settings.py",),
    "platformdirs": ("settings.py",),
    "yaml": ("space.py",),
    "typing_extensions": ("api/answers.py",),
}
TYPES_ONLY = ("mypy_boto3_s3", "_typeshed")  # under TYPE_CHECKING: nothing is installed for them

# Protocols with more than six methods, and why.
WIDE_PROTOCOLS = {
    "Queue": "move_up and pause change an order that only it may lock; crew is known to it alone",
}
# Who writes to the environment, never reads it, and for whom.
WRITES_ENVIRONMENT = {
    "crew.py": "the workers that it starts, of which each sees one GPU",
    "pipeline/flux.py": "OpenMP, which reads it when torch is imported",
    "server.py": "Gradio, which reads it when it is imported",
}
MAX_METHODS = 6
MAX_FILE = 400
MAX_FUNCTION = 60
VAGUE = {"util", "utils", "helper", "helpers", "manager", "managers", "data", "misc", "common"}
HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "gradio",
    "boto3",
    "botocore",
    "celery",
    "redis",
)


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"))


def part(module: str) -> str:
    """The name in LINES that a file belongs to: its folder, else its own."""
    return module.split("/")[0].removesuffix(".py")


def imports(module: str) -> Iterator[tuple[str, int]]:
    """Dotted names of all that a file imports, wherever in it, with the line."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import"
            base = node.module or ""
            for alias in node.names:
                yield f"{base}.{alias.name}" if base == "fluxui" else base, node.lineno


def own_imports(module: str) -> Iterator[tuple[str, int]]:
    """The parts of fluxui that a file imports."""
    for name, line in imports(module):
        if name.split(".")[0] == "fluxui":
            second = name.split(".")[1] if "." in name else "__init__"
            yield second if second in LEVEL else "__init__", line


def functions(module: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_module_has_its_line() -> None:
    assert {part(module) for module in MODULES} == set(LEVEL)


@pytest.mark.parametrize("module", MODULES)
def test_imports_come_from_the_lines_above(module: str) -> None:
    own = part(module)
    for other, line in own_imports(module):
        allowed = other == own or LEVEL[other] < LEVEL[own] or (own, other) in NEIGHBOURS
        assert allowed, f"fluxui/{module}:{line} may not import fluxui.{other}"


def test_no_neighbour_is_excused_for_nothing() -> None:
    met = {(part(module), other) for module in MODULES for other, _ in own_imports(module)}
    assert set(NEIGHBOURS) <= met


@pytest.mark.parametrize("module", MODULES)
def test_third_party_stays_where_it_belongs(module: str) -> None:
    for name, line in imports(module):
        top = name.split(".")[0]
        if top in sys.stdlib_module_names or top in ("fluxui", *TYPES_ONLY):
            continue
        where = THIRD_PARTY.get(top, ())
        assert module.startswith(where), f"fluxui/{module}:{line} may not import {top}"


def test_third_party_is_in_the_requirements() -> None:
    names = ("requirements.txt", "requirements-gpu.txt", "requirements-celery.txt")
    files = [ROOT / name for name in names]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    named = {re.split(r"[<>=~\[;]", line)[0].strip() for line in lines if line[:1].isalpha()}
    known_as = {"PIL": "pillow", "botocore": "boto3", "starlette": "fastapi", "yaml": "pyyaml"} | {
        "kombu": "celery"
    }
    met = {name.split(".")[0] for module in MODULES for name, _ in imports(module)}
    assert set(THIRD_PARTY) <= met, "the table has a line that nobody needs"
    for top in set(THIRD_PARTY) - {"spaces"}:  # ZeroGPU has it, and nobody else needs it
        assert known_as.get(top, top).replace("_", "-") in named, f"{top} is not in requirements"


@pytest.mark.parametrize("module", MODULES)
def test_a_file_fits_its_reader(module: str) -> None:
    lines = (PACKAGE / module).read_text(encoding="utf-8").count("\n")
    assert lines <= MAX_FILE
    for function in functions(module):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        assert length <= MAX_FUNCTION, f"{function.name} has {length} lines"


def test_functions_are_short_as_a_rule() -> None:
    lengths = sorted(
        (function.end_lineno or function.lineno) - function.lineno + 1
        for module in MODULES
        for function in functions(module)
    )
    assert lengths[len(lengths) // 2] <= 10
    assert lengths[len(lengths) * 9 // 10] <= 30


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(tree(module))
    assert not VAGUE & set(re.split(r"[/_.]", module))


def test_seams_are_narrow() -> None:
    wide = set()
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases):
                methods = [one.name for one in node.body if isinstance(one, ast.FunctionDef)]
                assert len(methods) == len(set(methods)), f"{node.name} names a method twice"
                wide |= {node.name} if len(methods) > MAX_METHODS else set()
    assert wide == set(WIDE_PROTOCOLS)


@pytest.mark.parametrize("module", MODULES)
def test_only_the_worker_and_the_server_catch_everything(module: str) -> None:
    if module in ("worker.py", "server.py"):
        return
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "BaseException"
            assert not re.search(r"\b(Base)?Exception\b", caught), f"line {node.lineno}"


def test_only_the_settings_read_the_environment() -> None:
    """A library that takes a setting from there alone is written to, before it is imported."""
    readers, writers = set(), set()
    for module in MODULES:
        for node in ast.walk(tree(module)):
            names = [node.id] if isinstance(node, ast.Name) else []
            names += [node.attr] if isinstance(node, ast.Attribute) else []
            names += [node.name] if isinstance(node, ast.alias) else []
            readers |= {module for name in names if name in ("environ", "getenv")}
        source = ast.unparse(tree(module))
        writes = re.findall(r"os\.environ(?:\.setdefault\(|\[.+\] = )", source)
        if writes and len(writes) == source.count("environ"):
            writers.add(module)
    assert readers - writers <= {"settings.py"}
    assert writers == set(WRITES_ENVIRONMENT)


@pytest.mark.parametrize("module", ["fluxui", "fluxui.studio"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
