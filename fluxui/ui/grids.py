"""The panel on the LoRAs tab that compares several: LoRAs down, weights or the like across."""

from __future__ import annotations

from typing import Any

import gradio as gr

from fluxui.errors import FluxuiError
from fluxui.grid import Across, Grid, GridForm
from fluxui.previews import PROMPT
from fluxui.request import MAX_PROMPT
from fluxui.studio import Studio
from fluxui.ui import cells, html
from fluxui.ui.desk import Desk
from fluxui.ui.events import QUIET, Changes
from fluxui.ui.form import choice_words
from fluxui.ui.sheet import Sheet

ACROSS: list[tuple[str, Across]] = [
    ("Weights", "weights"),
    ("Prompts", "prompts"),
    ("Seeds", "seeds"),
]
NAMES: dict[Across, str] = {across: name for name, across in ACROSS}
# What stands in the field first; prompts have a field of their own.
VALUES = {"weights": "0.4, 0.8, 1.2", "seeds": "1, 2, 3", "prompts": ""}
PROMPTS = {True: "Prompts, one a line", False: "Prompt"}


class GridPanel:
    """Built inside the list's column; closed at first."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        with gr.Column(
            elem_id="l-grid-panel", elem_classes="fx-panel fx-card-panel", visible=False
        ) as self.column:
            self.loras = gr.Dropdown(
                label="LoRAs to compare",
                choices=[],
                value=[],
                multiselect=True,
                filterable=True,
                interactive=True,
                elem_id="l-grid-loras",
            )
            self.prompts = gr.Textbox(
                PROMPT,
                label=PROMPTS[False],
                lines=1,
                max_lines=8,
                max_length=MAX_PROMPT * 8,
                interactive=True,
                elem_id="l-grid-prompts",
            )
            self._build_columns()
            self.sheet = Sheet(
                studio,
                "l-grid",
                lambda desk: desk.grid,
                lambda desk, moment, card: cells.table(moment, card),
            )

    def _build_columns(self) -> None:
        with gr.Row(elem_id="l-grid-form", equal_height=False):
            self.across = gr.Radio(
                ACROSS,
                value="weights",
                label="Side by side",
                interactive=True,
                scale=0,
                min_width=280,
                elem_id="l-across",
                elem_classes="fx-seg",
            )
            self.values = gr.Textbox(
                VALUES["weights"],
                label="Weights",
                interactive=True,
                max_length=400,
                max_lines=1,
                scale=1,
                min_width=180,
                elem_id="l-grid-values",
            )
            self.go = gr.Button("Paint grid", scale=0, min_width=290, elem_id="l-grid-paint")

    @property
    def fields(self) -> list[Any]:
        return [self.loras, self.prompts, self.across, self.values]

    @property
    def outputs(self) -> list[Any]:
        """All that `toggle` changes."""
        return [self.column, *self.fields, self.sheet.html]

    def wire(self, desk: gr.State) -> None:
        chosen = [self.prompts, self.values]
        self.across.input(self.choose, self.across, chosen, **QUIET)
        changing = [self.loras.change, self.prompts.change, self.across.change, self.values.change]
        gr.on(changing, self.price, self.fields, self.go, trigger_mode="always_last", **QUIET)
        asked = self.go.click(self.paint, [desk, *self.fields], self.sheet.html, **QUIET)
        followed = self.sheet.then_watch(asked, desk)
        followed.then(self.price, self.fields, self.go, **QUIET)

    def toggle(self, desk: Desk) -> Changes:
        """Open it with the newest grid, or close it."""
        desk.comparing = not desk.comparing
        if not desk.comparing:
            return {self.column: gr.update(visible=False)}
        grid = self.studio.grids.newest("grid")
        changes: Changes = {
            self.column: gr.update(visible=True),
            self.loras: gr.update(choices=self._choices()),
        }
        if grid is None:
            return changes
        if grid.id != desk.grid.id:
            changes |= self._fill(grid)
        return changes | self.sheet.put(desk, grid)

    def _choices(self) -> list[tuple[str, str]]:
        fitting = [lora for lora in self.studio.collection.all() if lora.fit.fits]
        return [(choice_words(lora), lora.model_id) for lora in fitting]

    def _fill(self, grid: Grid) -> Changes:
        """Make the form say what this grid was asked for, as far as its LoRAs are here."""
        changes = self.choose(grid.across)
        if grid.across == "prompts":
            changes[self.prompts]["value"] = "\n".join(grid.columns)
        else:
            changes[self.prompts]["value"] = grid.request.prompt
            changes[self.values]["value"] = ", ".join(grid.columns)
        choices = self._choices()
        here = [model_id for _, model_id in choices if model_id in grid.rows]
        chosen = gr.update(choices=choices, value=here)
        return changes | {self.across: grid.across, self.loras: chosen}

    def choose(self, across: Across) -> Changes:
        """What stands side by side changed: its own field."""
        return {
            self.prompts: gr.update(
                label=PROMPTS[across == "prompts"], lines=3 if across == "prompts" else 1
            ),
            self.values: gr.update(
                label=NAMES[across], value=VALUES[across], visible=across != "prompts"
            ),
        }

    def paint(
        self, desk: Desk, loras: list[str], prompts: str, across: Across, values: str
    ) -> Changes:
        """Paint grid was pressed."""
        if not loras:
            words = html.notice("Choose the LoRAs first.", "One or more, from the list.")
            return self.sheet.show(desk, words)
        if not (prompts or "").strip():
            words = html.notice("Write a prompt first.", "A few words are enough.")
            return self.sheet.show(desk, words)
        return self.sheet.paint(desk, lambda: _form(loras, prompts, across, values))

    def price(self, loras: list[str], prompts: str, across: Across, values: str) -> str:
        """What the button says: how many pictures, and how long they take if that is known."""
        try:
            form = _form(loras, prompts or "picture", across, values)
            count, seconds = self.studio.grids.estimate(form)
        except FluxuiError:
            return "Paint grid"  # what is wrong is said when it is pressed
        time = f" · about {html.duration(seconds)}" if seconds else ""
        return f"Paint grid · {html.counted(count, 'picture')}{time}"


def _form(loras: list[str], prompts: str, across: Across, values: str) -> GridForm:
    """Raises InvalidRequest."""
    lines = [line for line in prompts.splitlines() if line.strip()]
    told: dict[str, Any] = {"loras": loras}
    told["prompts"] = lines if across == "prompts" else [" ".join(lines)]
    if across != "prompts":
        told[across] = values.replace(",", " ").replace(";", " ").split()
    return GridForm.parse(told)
