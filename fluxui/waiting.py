"""From records to what waits: a ticket for the queue, the work that the last process left, and
whose queue was held back."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator
from pathlib import Path

from fluxui.errors import WorkerLost
from fluxui.estimate import Pace, pace
from fluxui.generation import Failure, Generation, Status
from fluxui.history import History
from fluxui.queue.order import Ticket
from fluxui.storage.files import explain, place, sweep, write_draft

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 2


def ticket(generation: Generation, known: Pace) -> Ticket:
    """What the queue must know of it. Another weight is another merge."""
    loras = tuple(f"{ref.model_id}:{ref.weight}" for ref in generation.request.loras)
    seconds = known.seconds(generation.request)
    return Ticket(generation.id, generation.visitor, loras, seconds)


def left_over(base_model: str, history: History) -> list[Ticket]:
    """What to queue again, in order. What ran twice already ends here."""
    return list(_left_over(history, pace(base_model, history)))


def _left_over(history: History, known: Pace) -> Iterator[Ticket]:
    for generation in history.unfinished():
        if generation.status is Status.running and generation.attempts >= MAX_ATTEMPTS:
            history.replace(generation.advance(Status.failed, error=lost()))
            continue
        if generation.status is Status.running:
            history.replace(generation.advance(Status.queued))
        yield ticket(generation, known)


def left_elsewhere(base_model: str, history: History) -> tuple[list[Ticket], list[Ticket]]:
    """Where others paint: what ran, and may do so still, and what waits, in order."""
    known, unfinished = pace(base_model, history), history.unfinished()
    ran = [ticket(one, known) for one in unfinished if one.status is Status.running]
    return ran, [ticket(one, known) for one in unfinished if one.status is Status.queued]


def lost() -> Failure:
    """Why what ran MAX_ATTEMPTS times without an end is not run again."""
    error = WorkerLost("The machine stopped while painting, twice.")
    return Failure(**error.as_dict())


class Pauses:
    """Whose queue is held back, in a small file that is there whole or not at all."""

    def __init__(self, data_dir: Path) -> None:
        self._drafts = data_dir / "queue" / "drafts"
        self._path = data_dir / "queue" / "paused.json"
        sweep(self._drafts)

    def read(self) -> list[str]:
        """The visitors' marks, "" for the owner. None of them if somebody spoiled the file."""
        if not self._path.exists():
            return []
        try:
            return [str(visitor) for visitor in json.loads(self._path.read_bytes())]
        except (ValueError, TypeError):
            log.warning("Which queues were paused can't be read: all go on.")
            return []

    def keep(self, visitors: Collection[str]) -> None:
        """Raises StorageFull, StorageUnavailable; then what was kept is kept."""
        try:
            place(write_draft(self._drafts, json.dumps(list(visitors)).encode()), self._path)
        except OSError as error:
            raise explain(error) from error
