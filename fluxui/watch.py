"""How a generation stands now, and a stream of that until it has ended.

It looks; it changes nothing. What it tells is the record, the queue's progress and what the
estimate makes of both. It knows no HTTP, no Gradio and no visitor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from heapq import heapreplace

from fluxui.errors import GenerationNotFound, Restarting
from fluxui.estimate import Pace, pace
from fluxui.generation import Generation
from fluxui.history import History
from fluxui.queue import Phase, Progress, Queue

# Gives the record of an id, or raises GenerationNotFound.
Get = Callable[[str], Generation]
TELL_SECONDS = 0.25
LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Moment:
    """What a watcher sees now; `seconds_left` is None as long as nothing was measured, and for
    what is held back."""

    generation: Generation
    progress: Progress | None
    seconds_left: float | None

    @property
    def waits(self) -> bool:
        return self.progress is not None and self.progress.phase is Phase.waiting

    @property
    def paused(self) -> bool:
        return self.progress is not None and self.progress.paused


class Watch:
    """The eyes of one studio. Any number of watchers may look at once."""

    def __init__(self, base_model: str, history: History, queue: Queue) -> None:
        self._base_model = base_model
        self._history = history
        self._queue = queue
        self._leaving = False
        self._watchers = 0

    def leave(self) -> int:
        """End every stream, now and from now on; how many there are."""
        self._leaving = True
        return self._watchers

    def pace(self) -> Pace:
        return pace(self._base_model, self._history)

    def jobs(self) -> list[Generation]:
        """Those that run, then those that wait, in order."""
        found = []
        for job_id in self._queue.jobs():
            with suppress(GenerationNotFound):  # deleted since
                found.append(self._history.get(job_id))
        return found

    def queue(self) -> list[Moment]:
        """The same, each with its progress and the time until its end."""
        return self._queue_now(self.pace())

    def seconds_left(self) -> float | None:
        """Until all is done but what is held back. None if that is not known."""
        going = [one.seconds_left for one in self.queue() if not one.paused]
        known = [left for left in going if left is not None]
        return max(known, default=0.0) if len(known) == len(going) else None

    def _queue_now(self, known: Pace) -> list[Moment]:
        """Whoever has its turn goes to the first that is free, of all who paint."""
        moments, free = [], [0.0] * max(len(self._queue.crew()), 1)
        for generation in self.jobs():
            progress = self._queue.progress(generation.id)
            if progress is None:  # it ended meanwhile
                continue
            left = _alone(generation, progress, known)
            if left is not None:
                left = free[0] + left
                heapreplace(free, left)
            moments.append(Moment(generation, progress, left))
        return moments

    def moment(self, job_id: str, get: Get) -> Moment:
        """Raises GenerationNotFound."""
        return self._moment(job_id, get, self.pace())

    async def moments(self, job_id: str, get: Get) -> AsyncIterator[Moment]:
        """What changes, at most four times a second, and the end at once.

        Raises GenerationNotFound, and Restarting where this process ends before the generation.
        """
        self._watchers += 1
        try:
            known = await asyncio.to_thread(self.pace)
            while True:
                seen = self._queue.progress(job_id)
                moment = await asyncio.to_thread(self._moment, job_id, get, known)
                yield moment
                if moment.generation.status.ended:
                    return
                await self._news(job_id, seen)
                if self._leaving:
                    raise Restarting(f"Generation {job_id} is kept, and goes on when it is back.")
        finally:
            self._watchers -= 1

    def _moment(self, job_id: str, get: Get, known: Pace) -> Moment:
        # Progress first: the record is in its last state before the progress goes.
        progress = self._queue.progress(job_id)
        generation = get(job_id)
        left = self._left(generation, progress, known) if progress else None
        return Moment(generation, progress, left)

    async def _news(self, job_id: str, seen: Progress | None) -> None:
        """Wait until there is something new to tell. Looks into memory only."""
        told = time.monotonic()
        while (progress := self._queue.progress(job_id)) is not None and not self._leaving:
            if progress != seen and time.monotonic() - told >= TELL_SECONDS:
                return
            await asyncio.sleep(LOOK_SECONDS)
        if seen is None and not self._leaving:  # not in this queue: nothing says when to look again
            await asyncio.sleep(TELL_SECONDS)

    def _left(self, generation: Generation, progress: Progress, known: Pace) -> float | None:
        if progress.phase is not Phase.waiting or progress.paused:
            return _alone(generation, progress, known)
        moments = self._queue_now(known)
        return next((one.seconds_left for one in moments if one.generation == generation), None)


def _alone(generation: Generation, progress: Progress, known: Pace) -> float | None:
    """Seconds for this one once it has its turn, which what is held back never has."""
    if progress.paused:
        return None
    if progress.phase is Phase.saving:
        return 0.0
    seconds = known.seconds(generation.request)
    return None if seconds is None else seconds * (1 - progress.fraction)
