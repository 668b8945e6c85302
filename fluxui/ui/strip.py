"""The weight strip on a LoRA's page: one prompt, one seed, several weights side by side."""

from __future__ import annotations

from typing import Any

import gradio as gr

from fluxui.errors import FluxuiError, InvalidRequest
from fluxui.grid import GridForm
from fluxui.grids import GridMoment
from fluxui.history import Query
from fluxui.loras.library import Lora
from fluxui.previews import PROMPT
from fluxui.request import MAX_PROMPT, MAX_WEIGHT
from fluxui.studio import Studio
from fluxui.ui import cells, html
from fluxui.ui.cells import CardOf
from fluxui.ui.desk import Desk
from fluxui.ui.events import QUIET, Changes
from fluxui.ui.sheet import Sheet

WEIGHTS = "0, 0.4, 0.8, 1.2"
MIN_WEIGHTS, MAX_WEIGHTS = 2, 8


class Strip:
    """Built inside the detail's column."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        with gr.Column(elem_id="l-strip-panel", min_width=0) as self.column:
            with gr.Row(elem_id="l-strip-form", equal_height=False):
                self.prompt = gr.Textbox(
                    label="Weight strip: one prompt, one seed, several weights",
                    interactive=True,
                    max_length=MAX_PROMPT,
                    scale=4,
                    min_width=220,
                    elem_id="l-sprompt",
                )
                self.weights = gr.Textbox(
                    WEIGHTS,
                    label="Weights",
                    interactive=True,
                    max_length=100,
                    max_lines=1,
                    scale=2,
                    min_width=170,
                    elem_id="l-weights",
                )
                self.go = gr.Button("Paint strip", scale=0, min_width=230, elem_id="l-paint")
            self.sheet = Sheet(studio, "l-strip", lambda desk: desk.strip, self._draw)

    def wire(self, desk: gr.State) -> Any:
        """The event after which there is a strip to follow."""
        self.weights.change(
            self.price, [desk, self.weights], self.go, trigger_mode="always_last", **QUIET
        )
        return gr.on(
            [self.go.click, self.prompt.submit, self.weights.submit],
            self.paint,
            [desk, self.prompt, self.weights],
            self.sheet.html,
            **QUIET,
        )

    @property
    def outputs(self) -> list[Any]:
        """All that `open` changes."""
        return [self.column, self.prompt, self.weights, self.go, self.sheet.html]

    def open(self, desk: Desk, lora: Lora) -> Changes:
        """Another LoRA is shown: its last strip, and the words for the next one."""
        grid = self.studio.grids.newest("strip", lora.model_id) if lora.fit.fits else None
        weights = ", ".join(grid.columns) if grid else WEIGHTS
        return {
            self.column: gr.update(visible=lora.fit.fits),
            self.prompt: grid.request.prompt if grid else self._last_prompt(lora),
            self.weights: weights,
            self.go: self.price(desk, weights),
            **self.sheet.put(desk, grid),
        }

    def _last_prompt(self, lora: Lora) -> str:
        made = self.studio.pictures.page(Query(model_id=lora.model_id), limit=1).generations
        return made[0].request.prompt if made else PROMPT

    def paint(self, desk: Desk, prompt: str, weights: str) -> Changes:
        """Paint strip was pressed."""
        if not (prompt or "").strip():
            words = html.notice("Write a prompt first.", "A few words are enough.")
            return self.sheet.show(desk, words)
        return self.sheet.paint(desk, lambda: self._form(desk, prompt, read_weights(weights)))

    def price(self, desk: Desk, weights: str) -> str:
        """What the button says: with the time, once that is known."""
        try:
            form = self._form(desk, "picture", read_weights(weights))
            _, seconds = self.studio.grids.estimate(form)
        except FluxuiError:
            return "Paint strip"  # what is wrong is said when it is pressed
        return f"Paint strip · about {html.duration(seconds)}" if seconds else "Paint strip"

    def _form(self, desk: Desk, prompt: str, weights: list[str]) -> GridForm:
        return GridForm.parse({"loras": [desk.lora], "prompts": [prompt], "weights": weights})

    def _draw(self, desk: Desk, moment: GridMoment, card: CardOf) -> str:
        known = {lora.model_id: lora for lora in self.studio.collection.all()}
        lora = known.get(moment.grid.rows[0])
        default = lora.default_weight if lora else -1.0
        return cells.strip(moment, card, default, self.studio.owned())


def read_weights(text: str) -> list[str]:
    """`0, 0.4, 0.8` as its numbers, still as text. Raises InvalidRequest."""
    found = list(dict.fromkeys(text.replace(",", " ").replace(";", " ").split()))
    if not (MIN_WEIGHTS <= len(found) <= MAX_WEIGHTS and all(map(_is_weight, found))):
        raise InvalidRequest(
            f"Weights are {MIN_WEIGHTS} to {MAX_WEIGHTS} numbers from 0 to {MAX_WEIGHT:g}, "
            "with commas between."
        )
    return found


def _is_weight(word: str) -> bool:
    try:
        return 0 <= float(word) <= MAX_WEIGHT
    except ValueError:
        return False
