"""The panel on the LoRAs tab that brings one in: from the Hub, from this device, from the bucket.

It checks whether a file fits from its first bytes, before anything else of it is fetched.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import gradio as gr

from fluxui.errors import FluxuiError
from fluxui.loras.hub import Address
from fluxui.studio import Studio
from fluxui.ui import html
from fluxui.ui.desk import Desk
from fluxui.ui.events import QUIET, Changes
from fluxui.ui.lora_cards import checked, fetching

HUB, UPLOAD, BUCKET = "From the Hub", "Upload a file", "From the bucket"
# Source → the label and the placeholder of the field that says which.
FIELDS = {
    HUB: ("Repository", "owner/name, or a link to a file"),
    BUCKET: ("Key in the bucket", "runs/my-style.safetensors"),
}
LOOK_SECONDS = 0.4


class ImportPanel:
    """Built inside the list's column; closed at first."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        with gr.Column(
            elem_id="l-import-panel", elem_classes="fx-panel fx-card-panel", visible=False
        ) as self.column:
            self.source = gr.Radio(
                [HUB, UPLOAD, BUCKET],
                value=HUB,
                label="Where it is",
                show_label=False,
                container=False,
                interactive=True,
                elem_classes="fx-seg",
                elem_id="l-source",
            )
            self._build_fields()
            self.upload = gr.UploadButton(
                "Choose a .safetensors file",
                file_types=[".safetensors"],
                visible=False,
                elem_id="l-upload",
            )
            self.result = gr.HTML(
                elem_id="l-check-result", js_on_load=html.CLICKS, apply_default_css=False
            )

    def _build_fields(self) -> None:
        label, placeholder = FIELDS[HUB]
        with gr.Row(elem_id="l-fields", equal_height=False) as self.fields:
            self.where = gr.Textbox(
                label=label,
                placeholder=placeholder,
                max_length=900,
                interactive=True,
                scale=3,
                min_width=220,
                elem_id="l-repo",
            )
            self.filename = gr.Textbox(
                label="File",
                placeholder="where there are several",
                max_length=500,
                interactive=True,
                scale=2,
                min_width=180,
                elem_id="l-file",
            )
            self.check = gr.Button("Check fit", scale=0, min_width=110, elem_id="l-check")

    def wire(self, desk: gr.State) -> None:
        fields = [self.fields, self.where, self.filename, self.upload, self.result]
        self.source.input(self.choose, self.source, fields, **QUIET)
        gr.on(
            [self.check.click, self.where.submit, self.filename.submit],
            self.look_at,
            [desk, self.source, self.where, self.filename],
            self.result,
            **QUIET,
        )

    def toggle(self, desk: Desk) -> Changes:
        desk.importing = not desk.importing
        return {self.column: gr.update(visible=desk.importing)}

    def closed(self, desk: Desk) -> Changes:
        desk.importing, desk.source = False, None
        return {self.column: gr.update(visible=False), self.result: ""}

    def choose(self, source: str) -> Changes:
        """Another place was chosen: its own fields."""
        label, placeholder = FIELDS.get(source, FIELDS[HUB])
        return {
            self.fields: gr.update(visible=source != UPLOAD),
            self.where: gr.update(label=label, placeholder=placeholder, value=""),
            self.filename: gr.update(visible=source == HUB, value=""),
            self.upload: gr.update(visible=source == UPLOAD),
            self.result: "",
        }

    def look_at(self, desk: Desk, source: str, where: str, filename: str) -> str:
        """Read the header, and say whether it fits."""
        desk.source = None
        try:
            wanted: Address | str = where
            if source == HUB:
                told = Address.parse(where)
                wanted = Address(told.repo_id, filename.strip() or told.filename, told.revision)
            found = self.studio.collection.find(wanted)
            report = self.studio.collection.check(found)
        except FluxuiError as error:
            return html.error_notice(error)
        desk.source = found
        return checked(found, report, self.studio.base_model.name)

    def fetch(self, desk: Desk) -> Iterator[str]:
        """Import what was checked; how far it is, as markup. Raises what `collection.fetch` does.

        The visitor of this page is also that of the thread, which outlives a closed page.
        """
        source, here = desk.source, [0]
        if source is None:
            return
        pool = ThreadPoolExecutor(1, thread_name_prefix="fluxui-import")
        fetch = copy_context().run
        job = pool.submit(
            fetch,
            self.studio.collection.fetch,
            source,
            lambda done, total: here.__setitem__(0, done),
        )
        pool.shutdown(wait=False)
        while not job.done():
            yield fetching(source.name, here[0], source.size)
            time.sleep(LOOK_SECONDS)
        desk.lora = job.result().model_id
