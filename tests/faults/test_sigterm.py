"""SIGTERM in every state of a whole fluxui: exit 0, nothing lost, and no attempt counted."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from fluxui.generation import Generation, Status
from fluxui.history.tiny import TinyHistory
from tests.faults.killing import Nursery
from tests.live import free_port

SOON = 6  # seconds; the grace here is a tenth of one

STATES: dict[str, tuple[dict[str, float], Callable[[dict[str, Any]], bool]]] = {
    "loading": ({"load_seconds": 9}, lambda told: told["status"] == "queued"),
    "painting": ({"step_seconds": 0.1}, lambda told: told["progress"] > 0),
    "saving": ({"store_seconds": 0.3}, lambda told: _phase(told) == "saving"),
    "completed": ({}, lambda told: told["status"] == "completed"),
}


def _phase(told: dict[str, Any]) -> str:
    return str(told["stage"]["phase"]) if told["stage"] else ""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery("server") as nursery:
        yield nursery


@pytest.mark.parametrize("state", STATES)
def test_a_restart_is_no_failed_attempt(nursery: Nursery, tmp_path: Path, state: str) -> None:
    how, reached = STATES[state]
    port = free_port()
    pid = nursery.begin(folder=str(tmp_path), port=port, grace_seconds=0.1, **how)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        until(lambda: answers(http))
        body = {"prompt": "a boat", "num_inference_steps": 10}
        first, second = (http.post("/api/generate/image", json=body).json() for _ in range(2))
        until(lambda: reached(http.get(f"/api/generate/{first['id']}").json()))
        begin = time.monotonic()
        os.kill(pid, signal.SIGTERM)
    _, code = nursery.end()
    assert (code, time.monotonic() - begin < SOON) == (0, True)
    for one in left(tmp_path, first["id"], second["id"]):
        expected = {Status.queued: 0, Status.completed: 1}
        assert one.attempts == expected[one.status]


@pytest.mark.parametrize("later", [0, 0.4])
def test_before_the_page_is_up(nursery: Nursery, tmp_path: Path, later: float) -> None:
    pid = nursery.begin(folder=str(tmp_path), port=free_port())
    until((tmp_path / "history.json").exists)
    time.sleep(later)
    os.kill(pid, signal.SIGTERM)
    _, code = nursery.end()
    assert code == 0
    TinyHistory(tmp_path / "history.json").close()


def answers(http: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return http.get("/api/health").status_code == 200
    return False


def left(folder: Path, *ids: str) -> list[Generation]:
    history = TinyHistory(folder / "history.json")
    found = [history.get(job_id) for job_id in ids]
    history.close()
    return found


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
