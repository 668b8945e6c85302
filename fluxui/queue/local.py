"""The queue in this process: one thread paints, a second one does the tails.

It knows ids and a function, not what a generation is. What was queued is not kept here: the
history is, and hands the unfinished ids to the next process.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from fluxui.errors import QueueFull
from fluxui.queue import Cancelling, Closing, Progress, Run, Tail

# Tails hold the pixels of their pictures: more than this many would fill the memory.
MAX_TAILS = 4
GRACE_SECONDS = 3
LAST_STEP_SECONDS = 20


class LocalQueue:
    """`prepare` runs once, first of all, in the painting thread; `resume` waits already."""

    def __init__(
        self, run: Run, prepare: Callable[[], None], size: int, resume: Iterable[str] = ()
    ) -> None:
        self._run = run
        self._prepare = prepare
        self._size = size
        self._waiting: deque[str] = deque(resume)
        self._active: dict[str, Progress] = {}
        self._cancelled: set[str] = set()
        self._closing = False
        self._deadline = float("inf")
        self._changed = threading.Condition()
        self._tails = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fluxui-tail")
        self._tail_slots = threading.Semaphore(MAX_TAILS)
        self._thread = threading.Thread(target=self._work, name="fluxui-pipeline", daemon=True)
        if self._waiting:
            self.start()

    def start(self) -> None:
        with self._changed:
            if not self._thread.ident:
                self._thread.start()

    def put(self, job_id: str, keep: Callable[[], None]) -> None:
        with self._changed:
            if len(self._waiting) >= self._size:
                raise QueueFull(self._size, retry_after=30)
            keep()
            self._waiting.append(job_id)
            self._changed.notify_all()
        self.start()

    def cancel(self, job_id: str, keep: Callable[[], None]) -> Cancelling:
        with self._changed:
            if job_id in self._waiting:
                keep()
                self._waiting.remove(job_id)
                return Cancelling.dequeued
            if job_id in self._active:
                self._cancelled.add(job_id)
                return Cancelling.stopping
            return Cancelling.absent

    def progress(self, job_id: str) -> Progress | None:
        with self._changed:
            if job_id in self._waiting:
                return Progress(ahead=len(self._active) + self._waiting.index(job_id))
            return self._active.get(job_id)

    def jobs(self) -> list[str]:
        with self._changed:
            return [*self._active, *self._waiting]

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
                tail = self._run(job_id, self._report(job_id), self._stops(job_id))
                self._tail_slots.acquire()
                self._tails.submit(self._finish, job_id, tail)

    def _next(self) -> str:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            if self._closing:
                return ""
            job_id = self._waiting.popleft()
            self._active[job_id] = Progress()
            return job_id

    def _finish(self, job_id: str, tail: Tail) -> None:
        try:
            tail()
        finally:
            self._tail_slots.release()
            with self._changed:
                self._active.pop(job_id, None)
                self._cancelled.discard(job_id)

    def _report(self, job_id: str) -> Callable[[Progress], None]:
        def report(progress: Progress) -> None:
            with self._changed:
                last = self._active[job_id].preview
                self._active[job_id] = replace(progress, preview=progress.preview or last)

        return report

    def _stops(self, job_id: str) -> Callable[[], bool]:
        def stops() -> bool:
            if time.monotonic() > self._deadline:
                raise Closing
            return job_id in self._cancelled

        return stops
