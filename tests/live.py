"""A whole fluxui on a free port, page and all, in this process; only the pipeline is fake."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from fluxui.server import App
from fluxui.settings import Settings
from tests.conftest import FakePipeline, make_studio


@contextmanager
def serving(settings: Settings, **changes: Any) -> Iterator[App]:
    """The app while it runs, under these settings with `changes`, on a port that was free."""
    settings = settings.model_copy(update={"port": free_port(), **changes})
    with ThreadPoolExecutor(1) as thread:  # this one may have a loop of its own, as Playwright's
        app = thread.submit(lambda: asyncio.run(_launched(settings))).result()
    try:
        yield app
    finally:
        app.close()


async def _launched(settings: Settings) -> App:
    """As in a notebook, inside a loop that runs: else Gradio makes loops and never closes them."""
    app = App(settings, make_studio(settings, FakePipeline(settings)))
    app.launch()
    return app


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
