"""From records to what waits: a ticket for the queue, and the work that the last process left."""

from __future__ import annotations

from collections.abc import Iterator

from fluxui.errors import WorkerLost
from fluxui.estimate import Pace, pace
from fluxui.generation import Failure, Generation, Status
from fluxui.history import History
from fluxui.queue.order import Ticket

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
            history.replace(generation.advance(Status.failed, error=_lost()))
            continue
        if generation.status is Status.running:
            history.replace(generation.advance(Status.queued))
        yield ticket(generation, known)


def _lost() -> Failure:
    error = WorkerLost("The machine stopped while painting, twice.")
    return Failure(**error.as_dict())
