"""A line that breaks under the events: whoever comes back misses nothing, and nobody is leaked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from fluxui.server import App
from fluxui.settings import Settings
from fluxui.watch import Watch
from tests.conftest import FakePipeline
from tests.live import serving
from tests.storage.servers import FaultyLine, S3Server

STEPS = 12
Event = dict[str, Any]


@pytest.fixture
def live(settings: Settings) -> Iterator[App]:
    with serving(settings) as app:
        yield app


@pytest.fixture
def line(live: App) -> Iterator[FaultyLine]:
    line = FaultyLine(S3Server(live.url))
    yield line
    line.close()


class Watcher:
    """What a browser's EventSource does: it comes back with the id of the last event, until it
    has seen the end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.events: list[Event] = []
        self.connections = 0

    def follow(self) -> None:
        while not self.events or self.events[-1]["event"] != "end":
            with suppress(httpx.TransportError):  # cut off in the middle
                self._read()
            time.sleep(0.02)

    def _read(self) -> None:
        last = {"Last-Event-ID": self.events[-1]["id"]} if self.events else {}
        self.connections += 1
        with httpx.stream("GET", self._url, headers=last, timeout=20) as answer:
            assert answer.status_code == 200
            event: Event = {}
            for row in answer.iter_lines():
                name, _, value = row.partition(": ")
                if row:
                    event[name] = value
                elif event:
                    self.events.append(event)
                    event = {}


def test_a_watcher_whose_line_is_cut_again_and_again(live: App, line: FaultyLine) -> None:
    pipeline: FakePipeline = live.studio._pipeline  # type: ignore[assignment]
    pipeline.step_seconds = 0.2
    job_id = httpx.post(f"{live.url}/api/generate/image", json=body()).json()["id"]
    watcher = Watcher(f"{line.server.endpoint}/api/generate/{job_id}/events")
    thread = threading.Thread(target=watcher.follow)
    thread.start()
    for mode in ("pass", "reset", "pass", "pass"):
        time.sleep(0.4)
        line.mode = mode
        line.cut()
    thread.join(30)
    assert watcher.connections > 3
    ids = [int(event["id"]) for event in watcher.events]
    assert ids == list(range(1, len(ids) + 1))
    told = [json.loads(event["data"]) for event in watcher.events]
    steps = [one["stage"]["step"] for one in told if one["stage"]]
    assert steps == sorted(steps)
    assert told[-1]["status"] == "completed" and told[-1]["output_paths"]


def test_nobody_watches_for_a_line_that_is_gone(
    live: App, line: FaultyLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []
    look = Watch._moment

    def counted(*arguments: Any) -> Any:
        looks.append(time.monotonic())
        return look(*arguments)

    monkeypatch.setattr(Watch, "_moment", counted)
    pipeline: FakePipeline = live.studio._pipeline  # type: ignore[assignment]
    pipeline.step_seconds = 0.1
    first = httpx.post(f"{live.url}/api/generate/image", json=body(40)).json()["id"]
    for _ in range(5):
        url = f"{line.server.endpoint}/api/generate/{first}/events"
        with httpx.stream("GET", url, timeout=20) as answer:
            next(answer.iter_lines())
    line.cut()
    time.sleep(0.7)
    looks.clear()
    time.sleep(0.7)
    assert looks == []
    httpx.post(f"{live.url}/api/generate/{first}/cancel")


def body(steps: int = STEPS) -> dict[str, Any]:
    return {"prompt": "a boat", "num_inference_steps": steps}
