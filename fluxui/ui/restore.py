"""A picture comes back to the page: dropped anywhere or chosen, its settings fill the form.

The field itself is not seen; the Gallery's button presses it, and so does a drop (page.js).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from fluxui.errors import FluxuiError
from fluxui.recall import Recalled
from fluxui.studio import Studio
from fluxui.ui import html
from fluxui.ui.acts import restored
from fluxui.ui.desk import Desk
from fluxui.ui.events import QUIET, Changes
from fluxui.ui.generate import Generate


class Restore:
    """Built beside the tabs, so that it is there whichever is open."""

    def __init__(self, studio: Studio, generate: Generate) -> None:
        self.studio, self.generate = studio, generate
        with gr.Column(elem_id="restore", min_width=0):
            self.file = gr.UploadButton(
                "Restore from a picture", file_types=["image"], elem_id="restore-file"
            )

    def wire(self) -> None:
        """Connect the components. Call once, when all tabs are built."""
        generate = self.generate
        inputs, outputs = [generate.desk, self.file], [*generate.outputs, self.file]
        self.file.upload(self.restore, inputs, outputs, **QUIET)

    def restore(self, desk: Desk, upload: Any) -> Changes:
        """Fill the form, and say what could not be restored; the copy that came is not kept."""
        path = Path(str(upload))
        content = path.read_bytes()
        path.unlink(missing_ok=True)
        changes = self.generate.frame.go_to("generate") | {self.file: None}
        try:
            recalled = self.studio.recall(content)
        except FluxuiError as error:
            desk.notice = html.error_notice(error)
            return changes | self.generate.show(desk)
        filled = self.generate.form.fill(desk, recalled.request)
        desk.show("")
        desk.notice = notice(recalled, path.name)
        return changes | filled | self.generate.show(desk)


def notice(recalled: Recalled, name: str) -> str:
    """What was restored from where."""
    written = "" if recalled.source == "fluxui" else f" It was written by {recalled.source}."
    return restored(f"Settings restored from {name[:80]}.{written}", recalled)
