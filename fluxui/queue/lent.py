"""The queue where every generation gets a GPU of its own, as on ZeroGPU: nothing waits here.

Who waits for a GPU waits at Hugging Face, by the visitor's own quota, whose token would expire in
a queue of ours. So everything starts at once, in the context in which it was asked for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextvars import Context, copy_context

from fluxui.errors import LimitReached, QueueFull
from fluxui.queue import Cancelling, Closing, Hand, Progress, Run
from fluxui.queue.order import Ticket
from fluxui.queue.running import reporter, stopper

GRACE_SECONDS = 3
LAST_STEP_SECONDS = 20


class LentQueue:
    """See `fluxui.queue.Queue`. At most `size` at once, and `size_each` of one visitor; what the
    last process left is taken up without a visitor."""

    def __init__(
        self, run: Run, size: int, resume: Iterable[Ticket] = (), size_each: int | None = None
    ) -> None:
        self._run = run
        self._size = size
        self._size_each = size if size_each is None else size_each
        self._active: dict[str, Progress] = {}
        self._visitors: dict[str, str] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._cancelled: set[str] = set()
        self._deadline = float("inf")
        self._lock = threading.Lock()
        self._left = list(resume)

    def start(self) -> None:
        """The model is in its place; what was left begins now that there is a page."""
        with self._lock:
            left, self._left = self._left, []
            for ticket in left:
                self._begin(ticket, Context())

    def put(self, ticket: Ticket, keep: Callable[[], None]) -> None:
        with self._lock:
            if len(self._active) >= self._size:
                raise QueueFull(self._size, retry_after=30)
            mine = list(self._visitors.values()).count(ticket.visitor)
            if ticket.visitor and mine >= self._size_each:
                raise LimitReached(f"{self._size_each} of yours run already.", retry_after=30)
            keep()
            self._begin(ticket, copy_context())

    def cancel(self, job_id: str, keep: Callable[[], None]) -> Cancelling:
        with self._lock:
            if job_id not in self._active:
                return Cancelling.absent
            self._cancelled.add(job_id)
            return Cancelling.stopping

    def progress(self, job_id: str) -> Progress | None:
        with self._lock:
            return self._active.get(job_id)

    def jobs(self) -> list[str]:
        with self._lock:
            return list(self._active)

    def move_up(self, job_id: str) -> bool:
        return False  # none waits here

    def pause(self, visitor: str, paused: bool) -> None:
        """Nothing waits here that could be held back."""

    def paused(self, visitor: str) -> bool:
        return False

    def crew(self) -> list[Hand]:
        return []

    def close(self) -> None:
        with self._lock:
            self._deadline = time.monotonic() + GRACE_SECONDS
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(timeout=LAST_STEP_SECONDS + GRACE_SECONDS)

    def _begin(self, ticket: Ticket, context: Context) -> None:
        job_id = ticket.job_id
        self._active[job_id] = Progress()
        self._visitors[job_id] = ticket.visitor
        thread = threading.Thread(
            target=context.run, args=(self._work, job_id), name="fluxui-lent", daemon=True
        )
        self._threads[job_id] = thread
        thread.start()

    def _work(self, job_id: str) -> None:
        try:
            self._run(
                job_id,
                reporter(self._active, self._lock, job_id),
                stopper(self._cancelled, lambda: self._deadline, job_id),
            )()
        except Closing:
            pass  # the next process takes it up
        finally:
            with self._lock:
                for known in (self._active, self._visitors, self._threads):
                    known.pop(job_id, None)
                self._cancelled.discard(job_id)
