"""The Colab notebook: valid, runnable Python, private unless asked, with nothing left in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from fluxui.pipeline.base_models import CATALOGUE
from fluxui.settings import Settings

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "fluxui_colab.ipynb"


@pytest.fixture(scope="module")
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def cells(notebook: Any) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def parameters(cells: list[str]) -> dict[str, Any]:
    """The fields of the forms, with what they hold before anybody touches them."""
    found = re.findall(r"^(\w+) = (.+?) +# ?@param", "\n".join(cells), re.MULTILINE)
    return {name: ast.literal_eval(value) for name, value in found}


def test_it_is_valid(notebook: Any) -> None:
    nbformat.validate(notebook)


def test_nothing_was_left_in_it(notebook: Any) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


def test_each_cell_is_plain_python(cells: list[str]) -> None:
    for number, source in enumerate(cells, 1):
        compile(source, f"cell {number}", "exec")


def test_it_asks_for_what_matters_and_shares_nothing_by_itself(cells: list[str]) -> None:
    fields = parameters(cells)
    assert fields["SHARE"] is False
    assert fields["STORAGE"] == "This machine"
    assert fields["BASE_MODEL"] == "auto"
    assert {"REPOSITORY", "S3_BUCKET_NAME", "S3_REGION", "S3_ENDPOINT_URL"} <= set(fields)


def test_it_offers_every_base_model(cells: list[str]) -> None:
    offered = re.search(r"^BASE_MODEL = .*# ?@param (\[.*?\])", "\n".join(cells), re.MULTILINE)
    assert offered
    assert set(ast.literal_eval(offered[1])) == {"auto", *CATALOGUE}


def test_its_settings_are_settings(cells: list[str]) -> None:
    """Whatever a cell puts into `settings` is a field that `main` accepts."""
    keys = set()
    for node in ast.walk(ast.parse("\n".join(cells))):
        if isinstance(node, ast.Dict):
            keys |= {ast.literal_eval(key) for key in node.keys if key}
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "settings":
            keys.add(ast.literal_eval(node.slice))
    assert {"base_model", "share", "data_dir", "hf_token", "s3_bucket_name"} <= keys
    assert keys <= set(Settings.model_fields)


def test_no_secret_is_printed_or_written_down(cells: list[str]) -> None:
    for node in ast.walk(ast.parse("\n".join(cells))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
            assert not names & {"token", "settings", "userdata"}
    assert not re.search(r"hf_[A-Za-z0-9]{10,}|AKIA", "\n".join(cells))


def test_it_starts_the_same_thing_as_everywhere(cells: list[str]) -> None:
    assert "from app import main" in cells[4]
    assert "main(block=False, **settings)" in cells[4]
