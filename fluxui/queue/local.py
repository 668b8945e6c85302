"""The queue in this process: one thread paints, a second one does the tails.

It knows tickets and a function, not what a generation is; whose turn it is says the order. What
was queued is not kept here: the history is, and hands the unfinished ones to the next process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from fluxui.errors import LimitReached, QueueFull
from fluxui.queue import Cancelling, Closing, Progress, Run, Spare, Tail
from fluxui.queue.order import Order, Ticket
from fluxui.queue.running import reporter, stopper

# Tails hold the pixels of their pictures: more than this many would fill the memory.
MAX_TAILS = 4
# Whoever comes may hold back a queue, even an empty one: that is kept, so it is bounded.
MAX_HELD = 1000
# How quiet it is before work is done that nobody asked for, and until the next look for some.
QUIET_SECONDS, LOOK_SECONDS = 10.0, 60.0
GRACE_SECONDS = 3
LAST_STEP_SECONDS = 20


def _forget(visitors: Collection[str]) -> None:
    """What becomes of the pauses where nothing outlives the process."""


class LocalQueue:
    """`prepare` runs once, first of all, in the painting thread; `resume` waits already.

    `size` may wait in all, `size_each` of one visitor; the owner's, who has no mark, fill it all.
    The visitors in `paused` hold theirs back; `keep_paused` is told of all who do, before it is
    so, and what it raises leaves all as it was. `spare` is what to do while nobody wants anything.
    """

    def __init__(
        self,
        run: Run,
        prepare: Callable[[], None],
        size: int,
        resume: Iterable[Ticket] = (),
        size_each: int | None = None,
        paused: Iterable[str] = (),
        keep_paused: Callable[[Collection[str]], None] = _forget,
        spare: Spare | None = None,
    ) -> None:
        self._run = run
        self._prepare = prepare
        self._size = size
        self._size_each = size if size_each is None else size_each
        self._spare = spare
        self._order = Order()
        self._keep_paused = keep_paused
        self._places: dict[str, int] | None = None  # of what waits; None after a change
        self._active: dict[str, Progress] = {}
        self._cancelled: set[str] = set()
        self._closing = False
        self._deadline = float("inf")
        self._changed = threading.Condition()
        self._tails = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fluxui-tail")
        self._tail_slots = threading.Semaphore(MAX_TAILS)
        self._thread = threading.Thread(target=self._work, name="fluxui-pipeline", daemon=True)
        for visitor in paused:
            self._order.pause(visitor, True)
        for ticket in resume:
            self._order.add(ticket)
        if len(self._order):
            self.start()

    def start(self) -> None:
        with self._changed:
            if not self._thread.ident:
                self._thread.start()

    def put(self, ticket: Ticket, keep: Callable[[], None]) -> None:
        with self._changed:
            if len(self._order) >= self._size:
                # Nobody keeps the others out with what is held back.
                self._go_on()
                raise QueueFull(self._size, retry_after=30)
            if ticket.visitor and self._order.waiting(ticket.visitor) >= self._size_each:
                raise LimitReached(f"{self._size_each} of yours wait already.", retry_after=30)
            keep()
            self._order.add(ticket)
            self._news()
        self.start()

    def cancel(self, job_id: str, keep: Callable[[], None]) -> Cancelling:
        with self._changed:
            if job_id in self._order:
                keep()
                self._order.remove(job_id)
                self._news()
                return Cancelling.dequeued
            if job_id in self._active:
                self._cancelled.add(job_id)
                return Cancelling.stopping
            return Cancelling.absent

    def progress(self, job_id: str) -> Progress | None:
        with self._changed:
            if job_id in self._order:
                ahead = len(self._active) + self._waiting()[job_id]
                return Progress(ahead=ahead, paused=self._order.paused(job_id))
            return self._active.get(job_id)

    def jobs(self) -> list[str]:
        with self._changed:
            return [*self._active, *self._waiting()]

    def move_up(self, job_id: str) -> bool:
        with self._changed:
            if job_id not in self._order:
                return False
            self._order.move_up(job_id)
            self._news()
            return True

    def pause(self, visitor: str, paused: bool) -> None:
        with self._changed:
            held = self._order.held()
            if paused is (visitor in held):
                return
            if paused and len(held) >= MAX_HELD:
                raise LimitReached("Too many hold back their queue.", retry_after=60)
            others = [one for one in held if one != visitor]
            self._keep_paused([*others, visitor] if paused else others)
            self._order.pause(visitor, paused)
            self._news()

    def paused(self, visitor: str) -> bool:
        with self._changed:
            return visitor in self._order.held()

    def _go_on(self) -> None:
        if self._order.held():
            self._keep_paused(())
            self._order.go_on()
            self._news()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._deadline = time.monotonic() + GRACE_SECONDS
            self._changed.notify_all()
        if self._thread.ident:
            self._thread.join(timeout=LAST_STEP_SECONDS + GRACE_SECONDS)
        self._tails.shutdown(wait=True)

    def _work(self) -> None:
        self._prepare()
        with suppress(Closing):
            while job_id := self._next():
                tail = self._run(
                    job_id,
                    reporter(self._active, self._changed, job_id),
                    stopper(self._cancelled, lambda: self._deadline, job_id),
                )
                self._tail_slots.acquire()
                self._tails.submit(self._finish, job_id, tail)

    def _next(self) -> str:
        rest = QUIET_SECONDS
        while True:
            with self._changed:
                if self._closing:
                    return ""
                if ticket := self._order.take(time.monotonic()):
                    self._places = None
                    self._active[ticket.job_id] = Progress()
                    return ticket.job_id
                news = self._changed.wait(rest if self._spare else None)
            rest = QUIET_SECONDS
            if self._spare and not news:
                if tail := self._spare(self._wanted):
                    self._tails.submit(tail)
                else:
                    rest = LOOK_SECONDS

    def _wanted(self) -> bool:
        with self._changed:
            return self._closing or self._order.ready

    def _news(self) -> None:
        self._places = None
        self._changed.notify_all()

    def _waiting(self) -> dict[str, int]:
        """The place of each that waits, from 0, in order."""
        if self._places is None:
            ids = self._order.ids(time.monotonic())
            self._places = {job_id: place for place, job_id in enumerate(ids)}
        return self._places

    def _finish(self, job_id: str, tail: Tail) -> None:
        try:
            tail()
        finally:
            self._tail_slots.release()
            with self._changed:
                self._active.pop(job_id, None)
                self._cancelled.discard(job_id)
