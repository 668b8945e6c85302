from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from PIL import Image

from fluxui.errors import GridNotFound, LoraNotFound, QueueFull
from fluxui.generation import Status
from fluxui.grid import Grid, GridForm
from fluxui.grids import GridMoment
from fluxui.history import Query
from fluxui.settings import Settings
from fluxui.studio import Studio
from fluxui.visitor import Visitor
from tests.conftest import FakePipeline, make_studio, wait

GUEST = Visitor("guest")


def form(**values: Any) -> GridForm:
    known = {"loras": ["pixel-art"], "prompts": ["a boat"], "num_inference_steps": 2}
    return GridForm.parse({**known, "weights": [0, 0.4, 0.8, 1.2], **values})


def ended(studio: Studio, grid: Grid) -> Grid:
    for cell in grid.generations:
        wait(studio, cell.id)
    return studio.grids.get(grid.id)


def test_each_cell_is_a_generation_like_any_other(studio: Studio) -> None:
    asked = studio.grids.paint(form())
    strip = ended(studio, asked)
    assert [cell.status for cell in strip.generations] == [Status.completed] * 4
    assert {cell.painted for cell in strip.generations} == {"pixel art, a boat"}
    assert len({cell.images[0].seed for cell in strip.generations}) == 1
    assert len({cell.images[0].sha256 for cell in strip.generations}) == 4
    assert studio.pictures.gallery(Query(tag=strip.id)).total == 4


def test_it_is_found_again_after_a_restart(settings: Settings, pipeline: FakePipeline) -> None:
    studio = make_studio(settings, pipeline)
    strip = ended(studio, studio.grids.paint(form()))
    grid = ended(studio, studio.grids.paint(form(loras=["pixel-art", "ink-sketch"])))
    studio.close()
    studio = make_studio(settings, FakePipeline(settings))
    assert studio.grids.newest("strip", "pixel-art") == strip
    assert studio.grids.newest("strip", "ink-sketch") is None
    assert studio.grids.newest("grid") == grid
    studio.close()


def test_all_cells_are_queued_or_none(settings: Settings, pipeline: FakePipeline) -> None:
    studio = make_studio(settings.model_copy(update={"queue_size": 2}), pipeline)
    pipeline.step_seconds = 0.2
    with pytest.raises(QueueFull):
        studio.grids.paint(form())
    assert studio.jobs() == []
    assert studio.pictures.page().total == 0
    with pytest.raises(LoraNotFound):
        studio.grids.paint(form(loras=["nobody", "pixel-art"], weights=[]))
    studio.close()


def test_cancel_stops_what_is_not_painted_and_one_cell_is_tried_again(
    studio: Studio, pipeline: FakePipeline
) -> None:
    pipeline.step_seconds = 0.1
    strip = studio.grids.paint(form())
    wait(studio, strip.generations[0].id)
    studio.grids.cancel(strip.id)
    left = ended(studio, strip)
    assert left.generations[0].status is Status.completed
    assert left.generations[-1].status is Status.cancelled
    again = studio.retry(left.generations[-1].id)
    wait(studio, again.id)
    assert studio.grids.get(strip.id).cells[0][-1] == studio.get(again.id)
    for cell in studio.grids.get(strip.id).generations:
        studio.delete(cell.id)
    studio.delete(left.generations[-1].id)
    with pytest.raises(GridNotFound):
        studio.grids.get(strip.id)


def test_a_watcher_sees_the_cells_come_one_by_one(studio: Studio, pipeline: FakePipeline) -> None:
    pipeline.step_seconds = 0.05
    strip = studio.grids.paint(form())

    async def watch() -> list[GridMoment]:
        return [moment async for moment in studio.grids.watch(strip.id)]

    seen = asyncio.run(watch())
    left = [len(moment.grid.unfinished) for moment in seen]
    assert left == sorted(left, reverse=True)
    assert {4, 3, 2, 1, 0} <= set(left)
    assert seen[-1].cell is None
    assert all(moment.cell for moment in seen[:-1])


def test_a_grid_is_of_who_asked_for_it(studio: Studio) -> None:
    mine = studio.grids.paint(form())
    guests = studio.serving(lambda: GUEST)
    theirs = guests.grids.paint(form())
    for one, other in ((studio, theirs), (guests, mine)):
        with pytest.raises(GridNotFound):
            one.grids.get(other.id)
    newest = guests.grids.newest("strip", "pixel-art")
    assert newest
    assert newest.id == theirs.id


@pytest.mark.parametrize(
    ("values", "across"),
    [
        ({"prompts": ["a boat", "ein Boot, 雪" * 40], "weights": []}, "prompts"),
        ({"seeds": [7, 8], "weights": []}, "seeds"),
        ({}, "weights"),
    ],
)
def test_the_sheet_has_every_picture_in_its_place(
    studio: Studio, values: dict[str, Any], across: str
) -> None:
    grid = ended(studio, studio.grids.paint(form(loras=["pixel-art", "ink-sketch"], **values)))
    assert grid.across == across
    sheet = Image.open(io.BytesIO(studio.grids.sheet(grid.id))).convert("RGB")
    found = {colour for _, colour in sheet.getcolors(2**20) or ()}
    for cell in grid.generations:
        with studio.pictures.open(studio.pictures.image(cell.id, 1)) as stream:
            assert Image.open(stream).getpixel((0, 0)) in found
