"""One grid on the page: its cells while they are painted, stopped, tried again.

The strip of one LoRA and the grid of several are both shown by it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from fluxui.errors import FluxuiError, GridNotFound, Restarting
from fluxui.gallery import Card
from fluxui.generation import Generation
from fluxui.grid import Grid, GridForm
from fluxui.grids import GridMoment
from fluxui.studio import Studio
from fluxui.ui import html
from fluxui.ui.cells import CardOf
from fluxui.ui.desk import Desk, GridDesk
from fluxui.ui.events import FOLLOWING, Changes

Draw = Callable[[Desk, GridMoment, CardOf], str]


class Sheet:
    """`place` is where on the desk its grid is named, `draw` gives the cells as markup."""

    def __init__(
        self, studio: Studio, elem_id: str, place: Callable[[Desk], GridDesk], draw: Draw
    ) -> None:
        self.studio, self.place, self.draw = studio, place, draw
        self.html = gr.HTML(elem_id=elem_id, js_on_load=html.CLICKS, apply_default_css=False)

    def then_watch(self, event: Any, desk: gr.State) -> Any:
        """After `event`: follow what is shown, to its end."""
        return event.then(self.watch, desk, self.html, **FOLLOWING)

    def put(self, desk: Desk, grid: Grid | None) -> Changes:
        """Show this one, or none."""
        self.place(desk).id = grid.id if grid else ""
        return {self.html: self._drawn(desk, GridMoment(grid)) if grid else ""}

    def show(self, desk: Desk, notice: str = "") -> Changes:
        """As it stands now, below a notice."""
        try:
            return {self.html: notice + self._drawn(desk, GridMoment(self._grid(desk)))}
        except GridNotFound:
            return {self.html: notice}

    def paint(self, desk: Desk, form: Callable[[], GridForm]) -> Changes:
        """Ask for a grid; what is refused is said above the former one."""
        try:
            return self.put(desk, self.studio.grids.paint(form()))
        except FluxuiError as error:
            return self.show(desk, html.error_notice(error))

    def act(self, desk: Desk, data: dict[str, str]) -> Changes:
        """Cancel, or paint one cell again."""
        try:
            if data["act"] == "stop":
                return self.put(desk, self.studio.grids.cancel(self.place(desk).id))
            self.studio.retry(data["id"])
        except FluxuiError as error:
            return self.show(desk, html.error_notice(error))
        return self.show(desk)

    async def watch(self, desk: Desk) -> AsyncIterator[Changes]:
        """Follow it, until its end or until the page shows another one."""
        here = self.place(desk)
        here.watcher += 1
        mine = here.watcher, here.id
        if not here.id:
            yield {self.html: gr.skip()}
            return
        try:
            async for moment in self.studio.grids.watch(here.id):
                if (here.watcher, here.id) != mine:
                    return
                yield {self.html: self._drawn(desk, moment)}
        except GridNotFound:
            yield {self.html: ""}
        except Restarting as error:
            yield self.show(desk, html.error_notice(error))

    def _grid(self, desk: Desk) -> Grid:
        return self.studio.grids.get(self.place(desk).id)

    def _drawn(self, desk: Desk, moment: GridMoment) -> str:
        return self.draw(desk, moment, self._card)

    def _card(self, generation: Generation) -> Card:
        return self.studio.pictures.card(generation.id, 1)
