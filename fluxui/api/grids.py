"""`/api/grids/`: LoRAs × weights, prompts or seeds, each cell a generation like any other."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response

from fluxui.api.answers import GenerationAnswer, GridAnswer
from fluxui.api.routes import adder, urls_of
from fluxui.grid import Grid, GridForm
from fluxui.studio import Studio
from fluxui.watch import Moment


class Grids:
    """`/api/grids/`: asked for, looked at, stopped, drawn on one sheet."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def add_to(self, api: FastAPI) -> None:
        one = "/api/grids/{grid_id}"
        add = adder(api, "generate")
        add("POST", "/api/grids/", self.paint_grid, status_code=202)
        add("GET", one, self.get_grid)
        add("POST", f"{one}/cancel", self.cancel_grid)
        png: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}
        add("GET", f"{one}/sheet", self.get_sheet, response_class=Response, responses=png)

    def paint_grid(self, form: GridForm, request: Request, response: Response) -> GridAnswer:
        """Queue all cells of a grid, or none: LoRAs down, and across several weights, prompts or
        seeds. One LoRA at several weights is a strip."""
        grid = self._studio.grids.paint(form)
        response.headers["Location"] = urls_of(self._studio, request).grid(grid.id)
        return self._answer(grid, request)

    def get_grid(self, grid_id: str, request: Request) -> GridAnswer:
        """Its cells as they stand, row by row."""
        return self._answer(self._studio.grids.get(grid_id), request)

    def cancel_grid(self, grid_id: str, request: Request) -> GridAnswer:
        """Stop what is not painted yet. What is stays."""
        return self._answer(self._studio.grids.cancel(grid_id), request)

    def get_sheet(self, grid_id: str) -> Response:
        """All pictures of a grid as one PNG with labels."""
        png = self._studio.grids.sheet(grid_id)
        headers = {
            "Content-Disposition": f'attachment; filename="{grid_id}.png"',
            "Cache-Control": "no-store",
        }
        return Response(png, media_type="image/png", headers=headers)

    def _answer(self, grid: Grid, request: Request) -> GridAnswer:
        urls = urls_of(self._studio, request)
        cells = [
            [
                GenerationAnswer.of(Moment(cell, self._studio.progress(cell.id), None), urls)
                if cell
                else None
                for cell in row
            ]
            for row in grid.cells
        ]
        return GridAnswer(
            id=grid.id,
            across=grid.across,
            rows=grid.rows,
            columns=grid.columns,
            cells=cells,
            sheet=f"{urls.grid(grid.id)}/sheet",
        )
