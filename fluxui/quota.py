"""How much one visitor may ask for within an hour, and all of them together.

The owner of the machine may ask for anything. It counts what was accepted, in memory: whoever
deletes a picture has still made it. After a restart it counts again what the history still has,
once the first visitor asks: to look there takes longer than a start should.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from fluxui.errors import LimitReached
from fluxui.generation import Generation, now
from fluxui.history import Catalogue, Query
from fluxui.request import GenerationRequest
from fluxui.settings import Settings
from fluxui.visitor import Visitor

HOUR = 3600.0


@dataclass(frozen=True)
class Amount:
    """What a request costs. Work is in millions of pixels times steps."""

    images: int = 0
    work: float = 0.0

    @classmethod
    def of(cls, request: GenerationRequest) -> Amount:
        pixels = request.width * request.height
        work = pixels * request.num_inference_steps * request.num_images / 1e6
        return cls(request.num_images, work)

    def within(self, limit: Amount) -> bool:
        return self.images <= limit.images and self.work <= limit.work

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.images + other.images, self.work + other.work)


@dataclass
class _Hour:
    """What was spent within the last hour, oldest first."""

    spent: deque[tuple[float, Amount]] = field(default_factory=deque)

    def forget(self, now: float) -> None:
        while self.spent and self.spent[0][0] <= now - HOUR:
            self.spent.popleft()

    def wait(self, asked: Amount, limit: Amount, now: float) -> float:
        """Seconds until `asked` fits; an hour if it never does."""
        total = asked
        for when, amount in reversed(self.spent):
            total += amount
            if not total.within(limit):
                return when + HOUR - now
        return 0.0 if asked.within(limit) else HOUR


class Quota:
    """The limits of `settings`. `earlier` gives what was accepted lately by other processes,
    newest first; `clock` gives seconds, and never runs back."""

    def __init__(
        self,
        settings: Settings,
        earlier: Callable[[], Iterable[Generation]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._each = Amount(
            settings.visitor_images_per_hour, settings.visitor_megapixel_steps_per_hour
        )
        self._all = Amount(settings.total_images_per_hour, settings.total_megapixel_steps_per_hour)
        self._earlier: Callable[[], Iterable[Generation]] | None = earlier
        self._clock = clock
        self._total = _Hour()
        self._visitors: dict[str, _Hour] = {}
        self._lock = threading.Lock()

    @contextmanager
    def spending(self, visitor: Visitor, request: GenerationRequest) -> Iterator[None]:
        """Counts it if what is done meanwhile succeeds. Raises LimitReached before that."""
        if visitor.owner:
            yield
            return
        with self._lock:
            self._recall()
            moment, asked = self._clock(), Amount.of(request)
            self._forget(moment)
            own = self._visitors.get(visitor.id) or _Hour()
            _refuse("you have", own.wait(asked, self._each, moment))
            _refuse("all visitors together have", self._total.wait(asked, self._all, moment))
            yield
            self._visitors[visitor.id] = own
            for hour in (own, self._total):
                hour.spent.append((moment, asked))

    def _recall(self) -> None:
        """Once. A record from the future, of a clock that was wrong, counts as one of now."""
        earlier, self._earlier = self._earlier, None
        here, there = self._clock(), now()
        for generation in reversed(list(earlier()) if earlier else []):
            if generation.visitor:
                ago = max((there - generation.created_at).total_seconds(), 0.0)
                own = self._visitors.setdefault(generation.visitor, _Hour())
                for hour in (own, self._total):
                    hour.spent.append((here - ago, Amount.of(generation.request)))

    def _forget(self, now: float) -> None:
        self._total.forget(now)
        for hour in self._visitors.values():
            hour.forget(now)
        self._visitors = {name: hour for name, hour in self._visitors.items() if hour.spent}


def accepted_lately(history: Catalogue) -> Iterator[Generation]:
    """What was asked for within the last hour, newest first. A page without any is the end."""
    since = now() - timedelta(seconds=HOUR)
    page = history.page(Query())
    while found := [one for one in page.generations if one.created_at > since]:
        yield from found
        if not page.cursor:
            return
        page = history.page(Query(), page.cursor)


def _refuse(whose: str, wait: float) -> None:
    if wait > 0:
        minutes = math.ceil(wait / 60)
        raise LimitReached(
            f"That is more than {whose} left for this hour. Try again in {minutes} min.",
            retry_after=math.ceil(wait),
        )
