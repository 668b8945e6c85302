"""Strips and grids as markup: one box for each cell, whatever became of it."""

from __future__ import annotations

import re
from typing import Any

from fluxui.errors import OutOfMemory
from fluxui.gallery import Card
from fluxui.generation import Failure, Generation, LoraUse, Status
from fluxui.grid import grid_of
from fluxui.grids import GridMoment
from fluxui.queue import Phase, Progress
from fluxui.request import LoraRef
from fluxui.ui import cells
from fluxui.watch import Moment
from tests.ui.conftest import NASTY, make_card, make_generation


def cell(weight: float, model_id: str = "dot-art", **values: Any) -> Generation:
    """A completed one, unless `values` say otherwise."""
    made = make_generation(values.pop("prompt", "a boat"), id=f"{model_id}-{weight}", **values)
    loras = (LoraRef(model_id=model_id, weight=weight),)
    use = LoraUse(model_id=model_id, name=f"The {model_id}", weight=weight, sha256="0")
    request = made.request.model_copy(update={"loras": loras})
    return made.model_copy(update={"request": request, "loras": (use,)})


def card(generation: Generation) -> Card:
    return make_card(generation)


def strip(*made: Generation, default: float = 0.8, may_choose: bool = True, **now: Any) -> str:
    moment = GridMoment(grid_of("strip-00000000", made), **now)
    return cells.strip(moment, card, default, may_choose)


def test_a_strip_outlines_the_default_and_lets_another_take_its_place() -> None:
    markup = strip(cell(0), cell(0.4), cell(0.8))
    without, offered, default = re.findall(r"<figure.*?</figure>", markup)
    assert "without" in without
    assert "Use this weight" not in without
    assert 'data-act="weight" data-weight="0.4"' in offered
    assert "fx-default" in default
    assert "default" in default
    assert markup.count("fx-default") == 1
    assert 'href="api/grids/strip-00000000/sheet"' in markup
    assert 'data-grid="done"' in markup
    assert "Use this weight" not in strip(cell(0), cell(0.4), may_choose=False)


def test_a_cell_says_why_it_has_no_picture_yet() -> None:
    queued = cell(0.4, status=Status.queued, images=0)
    running = cell(0.8, status=Status.running, images=0)
    progress = Progress(Phase.painting, image=1, images=1, step=3, steps=12, preview=b"jpeg")
    markup = strip(cell(0), running, queued, cell=Moment(running, progress, 2.0))
    assert "painting… 25%" in markup
    assert "data:image/jpeg" in markup
    assert "waiting" in markup
    assert "1 of 3 painted" in markup
    assert 'data-act="stop"' in markup
    assert 'data-grid="painting"' in markup
    fetching = Progress(Phase.fetching, obstacle="Ink: 1.0 of 350.0 MB are here.")
    markup = strip(running, queued, cell=Moment(running, fetching, None))
    assert "fetching Ink: 1.0 of 350.0 MB" in markup
    error = Failure(**OutOfMemory("Out of memory at step 3.").as_dict())
    failed = cell(0.4, status=Status.failed, images=0, error=error)
    markup = strip(failed, cell(0.8, status=Status.cancelled, images=0))
    assert "Out of memory at step 3." in markup
    assert markup.count('data-act="again"') == 2
    assert "Contact sheet" not in markup


def test_a_grid_has_a_row_for_each_lora_and_a_gap_where_one_was_deleted() -> None:
    made = [cell(0.4), cell(0.8), cell(0.8, "ink")]
    markup = cells.table(GridMoment(grid_of("grid-00000000", made)), card)
    assert re.findall(r"<h4.*?>(.*?)</h4>", markup) == ["The dot-art", "The ink"]
    assert markup.count("<figure") == 4
    assert markup.count("deleted") == 1
    assert "Use this weight" not in markup


def test_no_word_of_a_prompt_or_a_name_is_markup() -> None:
    made = [cell(0.8, NASTY, prompt=NASTY), cell(0.8, NASTY, prompt=f"other {NASTY}")]
    for markup in (
        cells.table(GridMoment(grid_of("grid-00000000", made)), card),
        strip(cell(0.4, NASTY, prompt=NASTY), cell(0.8, NASTY, prompt=NASTY)),
    ):
        assert "<img src=x" not in markup
