"""Whose quota a picture is on: ZeroGPU looks for the caller where Gradio's events have it.

A call of our own REST routes is no event, so this middleware puts it there.
"""

from __future__ import annotations

import gradio as gr
from gradio.context import LocalContext
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send


class Caller:
    """In front of the routes, for those under `/api/`."""

    def __init__(self, app: ASGIApp, page: gr.Blocks) -> None:
        self._app = app
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "/api/" in scope["path"]:
            LocalContext.request.set(gr.Request(Request(scope)))
            LocalContext.blocks.set(self._page)
        await self._app(scope, receive, send)
