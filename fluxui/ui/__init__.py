"""The page: four tabs over one Studio. `build_ui` makes it, `LAUNCH` is what `launch` needs.

Nothing here paints, stores or decides: handlers ask Studio, and show what it says.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from fluxui.studio import Studio
from fluxui.ui.desk import Desk
from fluxui.ui.endpoints import build_endpoints
from fluxui.ui.events import QUIET, Changes, visiting
from fluxui.ui.frame import Frame
from fluxui.ui.gallery import Gallery
from fluxui.ui.generate import Generate
from fluxui.ui.loras import Loras
from fluxui.ui.restore import Restore
from fluxui.ui.system import System, head
from fluxui.ui.theme import LAUNCH

HEAD_SECONDS = 5
TABS = ("generate", "gallery", "loras", "system")
# What clients were handed stays in Gradio's cache this long.
CACHE_SECONDS = 3600
# Shown in the empty field; a Dropdown has no argument for it.
PLACEHOLDER = (
    "() => {const i = document.querySelector('#lora-add input');"
    "if (i) i.placeholder = 'None · type to search';}"
)

__all__ = ["LAUNCH", "build_ui"]


def build_ui(studio: Studio) -> gr.Blocks:
    """The page and the Gradio endpoints. It is not launched, and paints nothing."""
    studio = studio.serving(visiting)
    with gr.Blocks(
        title="fluxui",
        fill_width=True,
        analytics_enabled=False,
        delete_cache=(CACHE_SECONDS, CACHE_SECONDS),
    ) as page:
        Page(studio, page)
        build_endpoints(studio)
    return page


class Page:
    """The frame around the tabs: head, tab bar, what is read when one is opened."""

    def __init__(self, studio: Studio, blocks: gr.Blocks) -> None:
        self.studio = studio
        desk = gr.State(Desk())
        # Fixed names, so that a page finds its job again after the server was restarted.
        job = gr.BrowserState("", storage_key="fluxui-job", secret="fluxui")  # noqa: S106
        kept = gr.BrowserState(None, storage_key="fluxui-form", secret="fluxui")  # noqa: S106
        head = gr.HTML(elem_id="head", apply_default_css=False)
        toast = gr.HTML(elem_id="toast", apply_default_css=False)
        with gr.Tabs(elem_id="tabs") as tabs:
            self.frame = Frame(desk, job, kept, head, toast, tabs)
            with gr.Tab("Generate", id="generate", elem_id="tab-generate") as self.generate_tab:
                self.generate = Generate(studio, self.frame)
            with gr.Tab("Gallery", id="gallery", elem_id="tab-gallery") as self.gallery_tab:
                self.gallery = Gallery(studio, desk, self.generate)
            with gr.Tab("LoRAs", id="loras", elem_id="tab-loras") as self.loras_tab:
                self.loras = Loras(studio, desk, self.generate)
            with gr.Tab("System", id="system", elem_id="tab-system") as self.system_tab:
                self.system = System(studio, self.frame)
        self.restore = Restore(studio, self.generate)
        self._wire(blocks)

    def _wire(self, blocks: gr.Blocks) -> None:
        for part in (self.generate, self.gallery, self.loras, self.system, self.restore):
            part.wire()
        timer = gr.Timer(HEAD_SECONDS)
        told = [self.generate.eta, self.frame.head]
        timer.tick(self.generate.settle, self.generate.form.inputs, told, **QUIET)
        self._refresh(self.generate_tab, self.generate.refresh, self.generate.outputs)
        self._refresh(self.gallery_tab, self.gallery.refresh, self.gallery.outputs)
        opened = self._refresh(self.loras_tab, self.loras.refresh, self.loras.outputs)
        self.loras.then_watch(opened)
        self.system_tab.select(self.system.refresh, None, self.system.outputs, **QUIET)
        self.frame.tabs.select(self.system.wake, None, self.system.timer, **QUIET)
        self.frame.tabs.select(self.loras.wake, None, self.loras.timer, **QUIET)
        outputs = [*self.generate.outputs, self.frame.head]
        left = [self.frame.desk, self.frame.job, self.frame.kept]
        loaded = blocks.load(self.boot, left, outputs, **QUIET)
        blocks.load(None, None, None, js=PLACEHOLDER, **QUIET)
        self.generate.then_watch(loaded)

    def _refresh(self, tab: gr.Tab, refresh: Any, outputs: list[Any]) -> Any:
        """What a tab shows is read again whenever it is opened."""
        return tab.select(refresh, self.frame.desk, outputs, **QUIET)

    def boot(self, desk: Desk, job_id: str, kept: Any, request: gr.Request) -> Changes:
        """The page was loaded; `?job=` and `?tab=` say what to show."""
        changes = self.generate.boot(desk, job_id, kept, request)
        changes |= {self.frame.head: head(self.studio)}
        tab = request.query_params.get("tab", "")
        return changes | (self.frame.go_to(tab) if tab in TABS else {})
