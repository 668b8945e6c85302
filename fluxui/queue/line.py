"""Everybody's place: who may still come, whose turn it is, who holds back, how far each is.

What all queues have that let anybody wait. It starts nothing and paints nothing: a queue takes
from it under its lock, and keeps in `_active` how far that is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable

from fluxui.errors import LimitReached, QueueFull
from fluxui.queue import Cancelling, Hand, Progress
from fluxui.queue.order import Order, Ticket

# Whoever comes may hold back a queue, even an empty one: that is kept, so it is bounded.
MAX_HELD = 1000


def forget(visitors: Collection[str]) -> None:
    """What becomes of the pauses where nothing outlives the process."""


class Line:
    """`resume` waits already. `size` may wait in all, `size_each` of one visitor; the owner's, who
    has no mark, fill it all. The visitors in `paused` hold theirs back; `keep_paused` is told of
    all who do, before it is so, and what it raises leaves all as it was.
    """

    def __init__(
        self,
        size: int,
        resume: Iterable[Ticket] = (),
        size_each: int | None = None,
        paused: Iterable[str] = (),
        keep_paused: Callable[[Collection[str]], None] = forget,
    ) -> None:
        self._size = size
        self._size_each = size if size_each is None else size_each
        self._order = Order()
        self._keep_paused = keep_paused
        self._places: dict[str, int] | None = None  # of what waits; None after a change
        self._active: dict[str, Progress] = {}
        self._cancelled: set[str] = set()
        self._obstacle = ""
        self._changed = threading.Condition()
        for visitor in paused:
            self._order.pause(visitor, True)
        for ticket in resume:
            self._order.add(ticket)

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
                paused = self._order.paused(job_id)
                return Progress(ahead=ahead, paused=paused, obstacle=self._obstacle)
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

    def crew(self) -> list[Hand]:
        return []

    def _go_on(self) -> None:
        if self._order.held():
            self._keep_paused(())
            self._order.go_on()
            self._news()

    def _news(self) -> None:
        self._places = None
        self._changed.notify_all()

    def _waiting(self) -> dict[str, int]:
        """The place of each that waits, from 0, in order."""
        if self._places is None:
            ids = self._order.ids(time.monotonic())
            self._places = {job_id: place for place, job_id in enumerate(ids)}
        return self._places
