"""Grids, as one visitor sees them: asked for, found again, followed, stopped, on one sheet.

It finds the cells of a grid by their tag, and only those that this visitor asked for. It paints
nothing itself: each cell is submitted like any other generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from fluxui import images
from fluxui.collection import Collection
from fluxui.errors import (
    FluxuiError,
    GenerationNotFound,
    GridNotFound,
    IllegalTransition,
    LoraNotFound,
)
from fluxui.generation import Generation, Status
from fluxui.grid import MAX_CELLS, Grid, GridForm, Kind, grid_of, is_id, new_id
from fluxui.history import Query
from fluxui.pictures import Pictures
from fluxui.request import GenerationForm
from fluxui.visitor import Who
from fluxui.watch import Moment

# As many records of one grid are looked at: each cell may have been tried again.
MAX_TRIES = 4 * MAX_CELLS
# Somebody may have put the word to pictures of their own, too.
LOOK = 8


class Jobs(Protocol):
    """What a grid asks of the studio, for each of its cells."""

    def submit(
        self, form: GenerationForm, idempotency_key: str = "", tags: tuple[str, ...] = ()
    ) -> Generation:
        """Accept a request."""

    def cancel(self, job_id: str) -> Generation:
        """Stop this one."""

    def delete(self, job_id: str) -> None:
        """Stop it, and move it to the trash."""

    def estimate(self, form: GenerationForm) -> float | None:
        """Seconds that it will take."""

    def watch(self, job_id: str) -> AsyncIterator[Moment]:
        """How it goes on, until its end."""


@dataclass(frozen=True)
class GridMoment:
    """A grid, and the one of its cells that is painted now or comes next; None at the end."""

    grid: Grid
    cell: Moment | None = None


class Grids:
    """At each call for the visitor that `who` then gives."""

    def __init__(self, jobs: Jobs, pictures: Pictures, collection: Collection, who: Who) -> None:
        self._jobs = jobs
        self._pictures = pictures
        self._collection = collection
        self._who = who

    def paint(self, form: GridForm) -> Grid:
        """Queue all cells, or none. Raises LoraNotFound, and what `Studio.submit` raises."""
        grid_id = new_id(form.kind)
        kept: list[Generation] = []
        try:
            for cell in form.cells(self._default_weight):
                kept += [self._jobs.submit(cell, tags=(form.kind, grid_id))]
        except FluxuiError:
            for one in reversed(kept):
                with suppress(IllegalTransition):  # it stops after its step
                    self._jobs.delete(one.id)
            raise
        return grid_of(grid_id, kept)

    def estimate(self, form: GridForm) -> tuple[int, float | None]:
        """How many cells it has, and seconds for all of them, None if nothing was measured."""
        cells = form.cells(self._default_weight)
        each = self._jobs.estimate(cells[0])
        return len(cells), None if each is None else each * len(cells)

    def _default_weight(self, model_id: str) -> float:
        for lora in self._collection.all():
            if lora.model_id == model_id:
                return lora.default_weight
        raise LoraNotFound(model_id)

    def get(self, grid_id: str) -> Grid:
        """As it stands now. Raises GridNotFound."""
        query = Query(tag=grid_id, visitor=self._who().id, oldest=True)
        found = self._pictures.page(query, limit=MAX_TRIES).generations if is_id(grid_id) else []
        cells = [one for one in found if one.request.loras]
        if not cells:
            raise GridNotFound(grid_id)
        return grid_of(grid_id, cells)

    def newest(self, kind: Kind, model_id: str = "") -> Grid | None:
        """The last one of a kind, of a LoRA."""
        query = Query(tag=kind, model_id=model_id, visitor=self._who().id)
        found = self._pictures.page(query, limit=LOOK).generations
        ids = (tag for one in found for tag in one.tags if is_id(tag) and tag.startswith(kind))
        grid_id = next(ids, None)
        return self.get(grid_id) if grid_id else None

    def cancel(self, grid_id: str) -> Grid:
        """Stop what is not painted yet, the last cell first. Raises GridNotFound."""
        for cell in reversed(self.get(grid_id).unfinished):
            with suppress(IllegalTransition, GenerationNotFound):  # it ended meanwhile
                self._jobs.cancel(cell.id)
        return self.get(grid_id)

    async def watch(self, grid_id: str) -> AsyncIterator[GridMoment]:
        """How it goes on, until all cells have ended. Raises GridNotFound, Restarting."""
        while (grid := await asyncio.to_thread(self.get, grid_id)).unfinished:
            going = grid.unfinished
            cell = next((one for one in going if one.status is Status.running), going[0])
            with suppress(GenerationNotFound):  # deleted: the others go on
                async for moment in self._jobs.watch(cell.id):
                    yield GridMoment(await asyncio.to_thread(self.get, grid_id), moment)
        yield GridMoment(grid)

    def sheet(self, grid_id: str) -> bytes:
        """All of it as one PNG with labels. Raises GridNotFound, StorageError."""
        grid = self.get(grid_id)
        rows = [row_words(grid, row) for row in range(len(grid.rows))]
        columns = [column_words(grid, column) for column in grid.columns]
        size = grid.request.width, grid.request.height
        sheet = images.ContactSheet(_title(grid), rows, columns, size)
        for row, cells in enumerate(grid.cells):
            for column, cell in enumerate(cells):
                if cell and cell.images:
                    with self._pictures.open(self._pictures.image(cell.id, 1)) as stream:
                        sheet.paste(row, column, stream.read())
        return sheet.png()


def _title(grid: Grid) -> list[str]:
    request = grid.request
    facts = [
        f"{request.num_inference_steps} steps, guidance {request.guidance_scale:g}",
        f"{request.width} x {request.height}, {grid.generations[0].base_model}",
    ]
    if grid.across != "seeds":
        facts.insert(0, f"seed {request.seed}")
    line = ", ".join(facts)
    return [line] if grid.across == "prompts" else [request.prompt, line]


def row_words(grid: Grid, row: int) -> str:
    """The LoRA's name; where the weight is not across, with its weight."""
    name = grid.name(grid.rows[row])
    weights = {cell.request.loras[0].weight for cell in grid.cells[row] if cell}
    return name if grid.across == "weights" else f"{name} {min(weights):g}"


def column_words(grid: Grid, column: str) -> str:
    """What stands above a column, or below its pictures."""
    if grid.across == "weights":
        return f"{column} without" if column == "0" else column
    return f"seed {column}" if grid.across == "seeds" else column
