"""SIGTERM in every state of a whole fluxui: exit 0, nothing lost, and no attempt counted."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from fluxui.generation import Generation, Status
from fluxui.history.tiny import TinyHistory
from tests.faults.killing import Nursery
from tests.live import free_port

SOON = 20  # seconds, of a machine that is busy; the grace here is a tenth of one

STATES: dict[str, tuple[dict[str, float], Callable[[dict[str, Any]], bool]]] = {
    "loading": ({"load_seconds": 60}, lambda told: told["status"] == "queued"),
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


@pytest.mark.filterwarnings("ignore:The copy keyword is deprecated")  # in Gradio's statistics
def test_whoever_waits_is_told_and_gets_the_picture_from_the_next_process(
    nursery: Nursery, tmp_path: Path
) -> None:
    """`gradio_client` and a reader of the events, while it paints: not cancelled, not lost."""
    port, how = free_port(), {"folder": str(tmp_path), "grace_seconds": 0.1}
    pid = nursery.begin(port=port, step_seconds=0.1, **how)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        until(lambda: answers(http))
        client = Client(f"http://127.0.0.1:{port}", verbose=False, download_files=tmp_path / "got")
        job = client.submit(
            prompt="a boat", num_inference_steps=40, seed=7, api_name="/generate_image"
        )
        until(lambda: any(one["progress"] for one in newest(http)))
        (one,) = newest(http)
        events: list[str] = []

        def read() -> None:
            events.append(http.get(f"/api/generate/{one['id']}/events").text)

        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.5)
        os.kill(pid, signal.SIGTERM)
        with pytest.raises(AppError) as told:
            job.result(timeout=30)
        reader.join(30)
    _, code = nursery.end()
    assert code == 0
    assert str(told.value) == (
        f"fluxui is being stopped. Generation {one['id']} is kept, and goes on when it is back. "
        "Ask again once fluxui is up."
    )
    assert "event: restarting" in events[0] and "event: end" not in events[0]
    (kept,) = left(tmp_path, one["id"])
    assert (kept.status, kept.attempts) == (Status.queued, 0)
    pid = nursery.begin(port=port, **how)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        until(lambda: answers(http))
        until(lambda: newest(http)[0]["status"] == "completed")
        again = client.predict(job_id=one["id"], api_name="/get_generation")
        assert (again["status"], again["attempts"]) == ("completed", 1)
        client.close()
        os.kill(pid, signal.SIGTERM)
    nursery.end()


def newest(http: httpx.Client) -> list[dict[str, Any]]:
    generations: list[dict[str, Any]] = http.get("/api/generate/").json()["generations"]
    return generations


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
