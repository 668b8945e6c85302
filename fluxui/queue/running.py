"""What a queue gives to the one that runs: where to report to, and whether to stop.

It knows no threads and no order; the queue keeps what is written here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from fluxui.queue import Closing, Progress


def reporter(
    active: dict[str, Progress], lock: AbstractContextManager[Any], job_id: str
) -> Callable[[Progress], None]:
    """Writes into `active`, under the lock; a preview stays until the next one."""

    def report(progress: Progress) -> None:
        with lock:
            last = active[job_id].preview
            active[job_id] = replace(progress, preview=progress.preview or last)

    return report


def stopper(cancelled: set[str], deadline: Callable[[], float], job_id: str) -> Callable[[], bool]:
    """True once it was cancelled. Raises Closing after the deadline, in monotonic seconds."""

    def stops() -> bool:
        if time.monotonic() > deadline():
            raise Closing
        return job_id in cancelled

    return stops
