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

from fluxui.queue import Closing, Progress, Run, Spare, Tail
from fluxui.queue.line import Line, forget
from fluxui.queue.order import Ticket
from fluxui.queue.running import reporter, stopper

# Tails hold the pixels of their pictures: more than this many would fill the memory.
MAX_TAILS = 4
# How quiet it is before work is done that nobody asked for, and until the next look for some.
QUIET_SECONDS, LOOK_SECONDS = 10.0, 60.0
GRACE_SECONDS = 3
LAST_STEP_SECONDS = 20


class LocalQueue(Line):
    """`prepare` runs once, first of all, in the painting thread; `spare` is what to do while
    nobody wants anything. The rest is as in `Line`."""

    def __init__(
        self,
        run: Run,
        prepare: Callable[[], None],
        size: int,
        resume: Iterable[Ticket] = (),
        size_each: int | None = None,
        paused: Iterable[str] = (),
        keep_paused: Callable[[Collection[str]], None] = forget,
        spare: Spare | None = None,
    ) -> None:
        super().__init__(size, resume, size_each, paused, keep_paused)
        self._run = run
        self._prepare = prepare
        self._spare = spare
        self._closing = False
        self._deadline = float("inf")
        self._tails = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fluxui-tail")
        self._tail_slots = threading.Semaphore(MAX_TAILS)
        self._thread = threading.Thread(target=self._work, name="fluxui-pipeline", daemon=True)
        if len(self._order):
            self.start()

    def start(self) -> None:
        with self._changed:
            if not self._thread.ident:
                self._thread.start()

    def put(self, ticket: Ticket, keep: Callable[[], None]) -> None:
        super().put(ticket, keep)
        self.start()

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

    def _finish(self, job_id: str, tail: Tail) -> None:
        try:
            tail()
        finally:
            self._tail_slots.release()
            with self._changed:
                self._active.pop(job_id, None)
                self._cancelled.discard(job_id)
