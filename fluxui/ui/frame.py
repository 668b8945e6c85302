"""What stands around the tabs and is shared by them: head, tab bar, toast, the page's own state."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from fluxui.ui.desk import Desk
from fluxui.ui.events import Changes
from fluxui.ui.html import esc


@dataclass(frozen=True)
class Frame:
    """Components that a handler of any tab may change. The browser keeps `job`, and in `kept`
    what is typed into the form."""

    desk: gr.State
    job: gr.BrowserState
    kept: gr.BrowserState
    head: gr.HTML
    toast: gr.HTML
    tabs: gr.Tabs

    def go_to(self, tab: str) -> Changes:
        """Open a tab by its id."""
        return {self.tabs: gr.Tabs(selected=tab)}

    def say(self, desk: Desk, words: str) -> Changes:
        """A few words that need no answer and go by themselves.

        Gradio's own toasts reach only listeners that wait in its queue; ours do not.
        """
        desk.toasts += 1
        turn = desk.toasts % 2  # the same words twice are shown twice
        return {self.toast: f'<p class="fx-toast fx-toast-{turn}" role="status">{esc(words)}</p>'}
