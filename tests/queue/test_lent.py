from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from fluxui.errors import LimitReached, QueueFull
from fluxui.queue import Cancelling, Closing, Progress, Report, Tail
from fluxui.queue import lent as module
from fluxui.queue.lent import LentQueue
from fluxui.queue.order import Ticket

ASKER: ContextVar[str] = ContextVar("asker", default="nobody")


class Painter:
    """Each generation waits for its own `release`, or for a cancel."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.release = threading.Event()
        self.askers: dict[str, str] = {}
        self.ended: dict[str, str] = {}

    def run(self, job_id: str, report: Report, cancelled: Callable[[], bool]) -> Tail:
        self.askers[job_id] = ASKER.get()
        report(Progress(images=1, steps=2, step=1, preview=b"x"))
        report(Progress(images=1, steps=2, step=2))
        self.begun.release()
        while not self.release.wait(0.01):
            if cancelled():
                return lambda: self.ended.setdefault(job_id, "cancelled")  # type: ignore[return-value]
        return lambda: self.ended.setdefault(job_id, "completed")  # type: ignore[return-value]

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.begun.acquire(timeout=10)


@pytest.fixture
def painter() -> Painter:
    return Painter()


def ticket(job_id: str, visitor: str = "") -> Ticket:
    return Ticket(job_id, visitor)


def nothing() -> None:
    pass


def ended(queue: LentQueue) -> None:
    for thread in list(queue._threads.values()):
        thread.join(10)


def test_everything_starts_at_once_where_it_was_asked_for(painter: Painter) -> None:
    queue = LentQueue(painter.run, size=8)
    for name in ("ann", "bob"):
        token = ASKER.set(name)
        queue.put(ticket(name), nothing)
        ASKER.reset(token)
    painter.wait_for(2)
    assert painter.askers == {"ann": "ann", "bob": "bob"}
    assert queue.jobs() == ["ann", "bob"]
    progress = queue.progress("ann")
    assert progress
    assert (progress.step, progress.preview) == (2, b"x")
    painter.release.set()
    ended(queue)
    assert painter.ended == {"ann": "completed", "bob": "completed"}
    assert queue.jobs() == []


def test_cancel_stops_one(painter: Painter) -> None:
    queue = LentQueue(painter.run, size=8)
    queue.put(ticket("a"), nothing)
    queue.put(ticket("b"), nothing)
    assert queue.cancel("a", nothing) is Cancelling.stopping
    assert queue.cancel("z", nothing) is Cancelling.absent
    queue._threads["a"].join(10)
    assert painter.ended == {"a": "cancelled"}
    painter.release.set()
    ended(queue)


def test_it_is_bounded(painter: Painter) -> None:
    queue = LentQueue(painter.run, size=2, size_each=1)
    kept: list[str] = []
    queue.put(ticket("a", "ann"), lambda: kept.append("a"))
    with pytest.raises(LimitReached):
        queue.put(ticket("b", "ann"), lambda: kept.append("b"))
    queue.put(ticket("c", "cem"), lambda: kept.append("c"))
    with pytest.raises(QueueFull):
        queue.put(ticket("d", "dan"), lambda: kept.append("d"))
    assert kept == ["a", "c"]
    painter.release.set()
    ended(queue)


def test_what_can_not_be_kept_does_not_begin(painter: Painter) -> None:
    queue = LentQueue(painter.run, size=2)

    def full() -> None:
        raise OSError

    with pytest.raises(OSError):
        queue.put(ticket("a"), full)
    assert queue.jobs() == []


def test_what_was_left_begins_with_the_page_for_nobody(painter: Painter) -> None:
    token = ASKER.set("whoever starts the page")
    queue = LentQueue(painter.run, size=2, resume=[ticket("a")])
    assert queue.jobs() == []
    queue.start()
    queue.start()
    ASKER.reset(token)
    painter.wait_for(1)
    assert painter.askers == {"a": "nobody"}
    painter.release.set()
    ended(queue)


def test_close_leaves_what_runs_to_the_next_process(painter: Painter, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 0)
    queue = LentQueue(painter.run, size=2)
    queue.put(ticket("a"), nothing)
    painter.wait_for(1)
    queue.close()
    assert painter.ended == {}
    assert issubclass(Closing, BaseException)
