"""What the page's process records of generations that workers paint: it alone opens the history.

It knows no Redis: the queue calls it, and what the disk refuses is tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from pydantic import ValidationError

from fluxui.errors import GenerationNotFound
from fluxui.generation import Generation, Status
from fluxui.history import Records
from fluxui.waiting import MAX_ATTEMPTS, lost

log = logging.getLogger(__name__)


class HistoryLedger:
    """See `fluxui.queue.remote.Ledger`. `tell` hears of every generation that ended."""

    def __init__(self, history: Records, tell: Callable[[Generation], None]) -> None:
        self._history = history
        self._tell = tell

    def offer(self, job_id: str) -> str:
        found = self._open(job_id)
        if found is None:
            return ""
        return found.model_copy(update={"status": Status.queued}).model_dump_json()

    def keep(self, record: str) -> None:
        try:
            told = Generation.model_validate_json(record)
        except ValidationError:
            log.exception("A worker told something that is no record.")
            return
        if self._open(told.id):
            self._history.replace(told)
            if told.status.ended:
                self._tell(told)

    def back(self, job_id: str) -> None:
        found = self._open(job_id)
        if found and found.status is Status.running:
            self._history.replace(found.put_back())

    def lost(self, job_id: str) -> bool:
        found = self._open(job_id)
        if found is None:
            return False
        if found.status is Status.running and found.attempts >= MAX_ATTEMPTS:
            self._end(found.advance(Status.failed, error=lost()))
            return False
        if found.status is Status.running:
            self._history.replace(found.advance(Status.queued))
        return True

    def cancelled(self, job_id: str) -> None:
        if found := self._open(job_id):
            self._end(found.advance(Status.cancelled))

    def _open(self, job_id: str) -> Generation | None:
        """None if it has ended, or was deleted."""
        with suppress(GenerationNotFound):
            found = self._history.get(job_id)
            return None if found.status.ended else found
        return None

    def _end(self, ended: Generation) -> None:
        self._history.replace(ended)
        self._tell(ended)
