from __future__ import annotations

from typing import Any

import pytest

from fluxui.errors import InvalidRequest
from fluxui.generation import Generation
from fluxui.grid import MAX_CELLS, Grid, GridForm, grid_of, is_id, new_id
from fluxui.pipeline.base_models import CATALOGUE

LIMITS = CATALOGUE["tiny"].limits


def form(**values: Any) -> GridForm:
    return GridForm.parse({"loras": ["ink", "dots"], "prompts": ["a boat"], **values})


def asked(form: GridForm) -> Grid:
    """The grid that is read back from what its cells ask for."""
    requests = [one.admit(LIMITS) for one in form.cells({"ink": 0.7, "dots": 1.0}.__getitem__)]
    made = [Generation(request=one, base_model="tiny", painted=one.prompt) for one in requests]
    return grid_of("grid-00000000", made)


def test_a_strip_is_one_lora_at_several_weights_and_one_seed() -> None:
    strip = form(loras=["ink"], weights=[0, 0.4, 1.2, 0.4])
    assert strip.kind == "strip"
    grid = asked(strip)
    assert (grid.across, grid.rows, grid.columns) == ("weights", ("ink",), ("0", "0.4", "1.2"))
    assert len({cell.request.seed for cell in grid.generations}) == 1
    assert [cell.request.loras[0].weight for cell in grid.generations] == [0, 0.4, 1.2]


@pytest.mark.parametrize(
    ("values", "across", "columns"),
    [
        ({"weights": [0.5, 1]}, "weights", ("0.5", "1")),
        ({"prompts": ["a boat", "a tree"]}, "prompts", ("a boat", "a tree")),
        ({"seeds": [7, 2**64 - 1]}, "seeds", ("7", str(2**64 - 1))),
    ],
)
def test_rows_and_columns_are_read_back_from_the_requests(
    values: dict[str, Any], across: str, columns: tuple[str, ...]
) -> None:
    assert form(**values).kind == "grid"
    grid = asked(form(**values))
    assert (grid.across, grid.rows, grid.columns) == (across, ("ink", "dots"), columns)
    row, column = 1, 1
    cell = grid.cells[row][column]
    assert cell
    assert cell.request.loras[0].model_id == "dots"
    if across != "weights":
        assert [one.request.loras[0].weight for one in grid.generations] == [0.7, 0.7, 1.0, 1.0]


def test_what_was_deleted_leaves_a_gap_and_a_second_try_takes_its_place() -> None:
    first, second, third, fourth = asked(form(seeds=[1, 2])).generations
    again = fourth.model_copy(update={"id": "again"})
    grid = grid_of("grid-00000000", [first, second, fourth, again])
    assert grid.cells == ((first, second), (None, again))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"weights": [0, 1], "seeds": [1, 2]}, "Only one of"),
        ({"loras": ["ink"]}, "2 to 64 pictures, this one 1"),
        ({"seeds": list(range(33))}, f"2 to {MAX_CELLS} pictures, this one 66"),
    ],
)
def test_what_is_no_grid_is_said(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        asked(form(**values))


@pytest.mark.parametrize("values", [{"loras": []}, {"weights": [-1]}, {"seeds": ["x"]}, {"x": 1}])
def test_a_field_that_is_wrong_is_named(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(values))):
        form(**values)


def test_an_id_is_told_from_a_word_that_somebody_wrote() -> None:
    assert is_id(new_id("strip"))
    assert not any(map(is_id, ("strip", "grid-xyz", "my-strip-00000000", "strip-000000001")))
