from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fluxui.errors import HistoryReadOnly, LimitReached, QueueFull
from fluxui.queue import Cancelling, Phase, Progress, Report, Tail
from fluxui.queue.local import LocalQueue
from fluxui.queue.order import Ticket


class Painter:
    """A `run` that paints when told to, and remembers the order."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.tail_go = threading.Event()
        self.tail_go.set()
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.ended: list[str] = []

    def prepare(self) -> None:
        self.started.append("prepare")

    def run(self, job_id: str, report: Report, cancelled: Callable[[], bool]) -> Tail:
        self.started.append(job_id)
        report(Progress(phase=Phase.painting, image=1, images=1, step=1, steps=2))
        while not self.go.wait(0.005):
            if cancelled():
                self.stopped.append(job_id)
                break
        return lambda: self._tail(job_id)

    def _tail(self, job_id: str) -> None:
        self.tail_go.wait(10)
        self.ended.append(job_id)


@pytest.fixture
def painter() -> Painter:
    return Painter()


@pytest.fixture
def queue(painter: Painter) -> Iterator[LocalQueue]:
    queue = LocalQueue(painter.run, painter.prepare, size=3)
    yield queue
    painter.go.set()
    painter.tail_go.set()
    queue.close()


def kept() -> None:
    """Nothing to keep here."""


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_first_in_first_out_and_the_pipeline_is_prepared_once(
    queue: LocalQueue, painter: Painter
) -> None:
    painter.go.set()
    for name in "abc":
        queue.put(Ticket(name), kept)
    until(lambda: painter.ended == ["a", "b", "c"])
    assert painter.started == ["prepare", "a", "b", "c"]


def test_start_prepares_before_anything_is_asked_for(queue: LocalQueue, painter: Painter) -> None:
    queue.start()
    queue.start()
    until(lambda: painter.started == ["prepare"])


def test_full_means_nothing_was_kept(queue: LocalQueue, painter: Painter) -> None:
    queue.put(Ticket("running"), kept)
    until(lambda: "running" in painter.started)
    for name in "abc":
        queue.put(Ticket(name), kept)
    keeps: list[str] = []
    with pytest.raises(QueueFull) as caught:
        queue.put(Ticket("d"), lambda: keeps.append("d"))
    assert keeps == [] and caught.value.retry_after > 0
    assert queue.jobs() == ["running", "a", "b", "c"]


def test_what_could_not_be_kept_is_not_queued(queue: LocalQueue, painter: Painter) -> None:
    def refuse() -> None:
        raise HistoryReadOnly("The disk is full.")

    with pytest.raises(HistoryReadOnly):
        queue.put(Ticket("a"), refuse)
    assert queue.jobs() == [] and queue.progress("a") is None


def test_places_are_told_truly(queue: LocalQueue, painter: Painter) -> None:
    for name in "ab":
        queue.put(Ticket(name), kept)
    until(lambda: painter.started == ["prepare", "a"])
    queue.put(Ticket("c"), kept)
    running, second, third = (queue.progress(name) for name in "abc")
    assert running and running.phase is Phase.painting and running.fraction == 0.5
    assert second and (second.phase, second.ahead) == (Phase.waiting, 1)
    assert third and third.ahead == 2
    assert queue.progress("unknown") is None


def test_cancel_tells_what_it_met(queue: LocalQueue, painter: Painter) -> None:
    for name in "abc":
        queue.put(Ticket(name), kept)
    until(lambda: "a" in painter.started)
    assert queue.cancel("b", kept) is Cancelling.dequeued
    assert queue.cancel("a", kept) is Cancelling.stopping
    until(lambda: "c" in painter.started)
    assert painter.stopped == ["a"] and "b" not in painter.started
    assert queue.cancel("a", kept) in (Cancelling.absent, Cancelling.stopping)
    assert queue.cancel("unknown", kept) is Cancelling.absent


def test_a_cancel_that_could_not_be_kept_leaves_it_in_its_place(
    queue: LocalQueue, painter: Painter
) -> None:
    def refuse() -> None:
        raise HistoryReadOnly("The disk is full.")

    for name in "abc":
        queue.put(Ticket(name), kept)
    until(lambda: "a" in painter.started)
    with pytest.raises(HistoryReadOnly):
        queue.cancel("b", refuse)
    assert queue.jobs() == ["a", "b", "c"]


def test_the_next_one_paints_while_the_tail_of_the_last_still_runs(
    queue: LocalQueue, painter: Painter
) -> None:
    painter.tail_go.clear()
    painter.go.set()
    queue.put(Ticket("a"), kept)
    queue.put(Ticket("b"), kept)
    until(lambda: "b" in painter.started)
    assert painter.ended == [] and queue.progress("a") is not None
    painter.tail_go.set()
    until(lambda: painter.ended == ["a", "b"])
    until(lambda: queue.jobs() == [])


def test_the_last_preview_stays_until_there_is_a_newer_one() -> None:
    reports = [Progress(step=1, preview=b"one"), Progress(step=2), Progress(step=3, preview=b"3")]
    seen = []

    def run(job_id: str, report: Report, cancelled: Callable[[], bool]) -> Tail:
        for progress in reports:
            report(progress)
            shown = queue.progress(job_id)
            assert shown
            seen.append(shown.preview)
        return kept

    queue = LocalQueue(run, kept, size=1)
    queue.put(Ticket("a"), kept)
    until(lambda: len(seen) == 3)
    queue.close()
    assert seen == [b"one", b"one", b"3"]


def test_what_the_last_process_left_runs_first(painter: Painter) -> None:
    painter.go.set()
    queue = LocalQueue(painter.run, painter.prepare, size=1, resume=map(Ticket, ["old-1", "old-2"]))
    until(lambda: painter.ended == ["old-1", "old-2"])
    queue.close()


def test_visitors_take_turns_and_their_places_say_so(queue: LocalQueue, painter: Painter) -> None:
    queue.put(Ticket("a1", "a"), kept)
    until(lambda: "a1" in painter.started)
    for name in ("a2", "a3", "b1"):
        queue.put(Ticket(name, name[0]), kept)
    assert queue.jobs() == ["a1", "a2", "b1", "a3"]
    for name, ahead in (("a2", 1), ("b1", 2), ("a3", 3)):
        shown = queue.progress(name)
        assert shown and shown.ahead == ahead and not shown.paused
    assert queue.move_up("a3") and not queue.move_up("a1") and not queue.move_up("unknown")
    assert queue.jobs() == ["a1", "a3", "b1", "a2"]
    painter.go.set()
    until(lambda: len(painter.ended) == 4)
    assert painter.started[1:] == ["a1", "a3", "b1", "a2"]


def test_pause_holds_back_what_waits_and_lets_it_go_on(queue: LocalQueue, painter: Painter) -> None:
    painter.go.set()
    queue.pause("a", True)
    assert queue.paused("a") and not queue.paused("b")
    queue.put(Ticket("a1", "a"), kept)
    queue.put(Ticket("b1", "b"), kept)
    until(lambda: painter.ended == ["b1"])
    shown = queue.progress("a1")
    assert shown and shown.paused and shown.phase is Phase.waiting
    queue.pause("a", False)
    until(lambda: painter.ended == ["b1", "a1"])


def test_one_visitor_does_not_fill_the_queue_of_all(painter: Painter) -> None:
    queue = LocalQueue(painter.run, painter.prepare, size=4, size_each=1)
    queue.put(Ticket("b0", "b"), kept)
    until(lambda: "b0" in painter.started)
    queue.put(Ticket("b1", "b"), kept)
    keeps: list[str] = []
    with pytest.raises(LimitReached) as caught:
        queue.put(Ticket("b2", "b"), lambda: keeps.append("b2"))
    assert keeps == [] and (caught.value.status, caught.value.retry_after) == (429, 30)
    for name in ("1", "2", "3"):
        queue.put(Ticket(name), kept)  # the owner's, up to what there is in all
    with pytest.raises(QueueFull):
        queue.put(Ticket("c1", "c"), kept)
    painter.go.set()
    queue.close()


def test_what_nobody_asked_for_is_done_in_the_quiet_and_stops_for_whoever_comes(
    painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxui.queue.local.QUIET_SECONDS", 0.01)
    monkeypatch.setattr("fluxui.queue.local.LOOK_SECONDS", 0.01)
    begun, done = threading.Event(), threading.Event()

    def spare(wanted: Callable[[], bool]) -> Tail | None:
        begun.set()
        while not wanted():
            time.sleep(0.001)
        return done.set

    queue = LocalQueue(painter.run, painter.prepare, size=3, spare=spare)
    queue.start()
    assert begun.wait(10)
    assert painter.started == ["prepare"]
    painter.go.set()
    queue.put(Ticket("a"), keep=kept)
    assert done.wait(10)
    until = time.monotonic() + 10
    while "a" not in painter.ended and time.monotonic() < until:
        time.sleep(0.005)
    assert painter.started == ["prepare", "a"]
    queue.close()  # what goes on in the quiet ends with it
