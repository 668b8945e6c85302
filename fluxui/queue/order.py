"""Whose turn it is: fair between visitors, first in first out within one, few LoRA swaps.

Plain sums over what waits: it knows no threads, no clock and no generation, and is told what
time it is. The order it gives is the one that will be painted, unless something else comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field, replace

# How long one may wait in all because others with the same LoRAs were taken first.
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Ticket:
    """What the order must know of one generation: whose it is, what it merges into the model,
    and how long it will take, None if nothing was measured yet."""

    job_id: str
    visitor: str = ""
    loras: tuple[str, ...] = ()
    seconds: float | None = None


@dataclass
class _Lane:
    """What one visitor waits for. `ahead_of_turn` says that the next turn was used already."""

    tickets: deque[Ticket] = field(default_factory=deque)
    paused: bool = False
    ahead_of_turn: bool = False


@dataclass
class _Leap:
    """One was taken before its turn: who was passed over, since when, what it should cost."""

    passed: list[str]
    since: float
    seconds: float


class Order:
    """Everything that waits. `take` gives the next one, `ids` the order of all.

    Visitors take turns. One may be taken before its turn if it needs the LoRAs that are merged
    already, once per turn, and only if nobody who is passed over loses more than
    PATIENCE_SECONDS by it, all times together. Where nothing was measured nobody is passed over.
    """

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._turns: deque[str] = deque()  # visitors with something to take, the next one first
        self._visitors: dict[str, str] = {}  # of each ticket
        self._lost: dict[str, float] = {}
        self._merged: tuple[str, ...] = ()
        self._leap: _Leap | None = None

    def __len__(self) -> int:
        return len(self._visitors)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._visitors

    @property
    def ready(self) -> bool:
        """Whether there is something to take."""
        return bool(self._turns)

    def waiting(self, visitor: str) -> int:
        """How many of this visitor wait."""
        return len(self._lanes[visitor].tickets) if visitor in self._lanes else 0

    def paused(self, job_id: str) -> bool:
        """Whether this one is held back by its visitor. Raises KeyError."""
        return self._lanes[self._visitors[job_id]].paused

    def add(self, ticket: Ticket) -> None:
        lane = self._lanes.setdefault(ticket.visitor, _Lane())
        lane.tickets.append(ticket)
        self._visitors[ticket.job_id] = ticket.visitor
        if len(lane.tickets) == 1 and not lane.paused:
            self._turns.append(ticket.visitor)

    def remove(self, job_id: str) -> Ticket:
        """Those behind it in the own lane move up. Raises KeyError."""
        ticket = self._ticket(job_id)
        self._lanes[ticket.visitor].tickets.remove(ticket)
        self._forget(job_id)
        self._tidy(ticket.visitor)
        return ticket

    def move_up(self, job_id: str) -> None:
        """To the front of the own lane; nobody else's turn changes. Raises KeyError."""
        ticket = self._ticket(job_id)
        lane = self._lanes[ticket.visitor]
        lane.tickets.remove(ticket)
        lane.tickets.appendleft(ticket)

    def pause(self, visitor: str, paused: bool) -> None:
        """Hold this visitor's lane back, or let it go on as if it came now."""
        lane = self._lanes.setdefault(visitor, _Lane())
        if lane.paused == paused:
            return
        lane.paused = paused
        if lane.tickets and not paused:
            self._turns.append(visitor)
        self._tidy(visitor)

    def held(self) -> list[str]:
        """The visitors whose lane is held back."""
        return [visitor for visitor, lane in self._lanes.items() if lane.paused]

    def go_on(self) -> None:
        """End every pause."""
        for visitor in self.held():
            self.pause(visitor, False)

    def take(self, now: float) -> Ticket | None:
        """The next one at `now`, in seconds of any clock that never runs back. None if nothing
        waits, or only what is paused."""
        self._land(now)
        self._skip_used_turns()
        if not self._turns:
            return None
        place = self._same_loras()
        visitor = self._turns[place]
        lane = self._lanes[visitor]
        if place:
            self._leap_over(place, now)
            lane.ahead_of_turn = True
        else:
            self._turns.rotate(-1)
        ticket = lane.tickets.popleft()
        self._merged = ticket.loras
        self._forget(ticket.job_id)
        self._tidy(visitor)
        return ticket

    def ids(self, now: float) -> list[str]:
        """All that wait, in the order in which they will be taken; what is paused comes last."""
        plan = self._copy()
        taken = list(plan._rest(now))
        held = (ticket.job_id for lane in plan._lanes.values() for ticket in lane.tickets)
        return [*taken, *held]

    def _copy(self) -> Order:
        plan = copy(self)
        plan._turns = self._turns.copy()
        plan._visitors = self._visitors.copy()
        plan._lost = self._lost.copy()
        plan._lanes = {
            visitor: replace(lane, tickets=lane.tickets.copy())
            for visitor, lane in self._lanes.items()
        }
        return plan

    def _rest(self, now: float) -> Iterator[str]:
        while ticket := self.take(now):
            yield ticket.job_id
            now += ticket.seconds or 0.0

    def _skip_used_turns(self) -> None:
        while self._turns and self._lanes[self._turns[0]].ahead_of_turn:
            self._lanes[self._turns[0]].ahead_of_turn = False
            self._turns.rotate(-1)

    def _same_loras(self) -> int:
        """The place of the first one that needs no other LoRAs than are merged, if those before
        it can wait for it; else 0."""
        longest = 0.0
        for place, visitor in enumerate(self._turns):
            lane = self._lanes[visitor]
            if lane.ahead_of_turn:
                continue
            head = lane.tickets[0]
            if head.loras == self._merged:
                fits = head.seconds is not None and longest + head.seconds <= PATIENCE_SECONDS
                return place if fits else 0
            longest = max(longest, self._lost.get(head.job_id, 0.0))
        return 0

    def _leap_over(self, place: int, now: float) -> None:
        seconds = self._lanes[self._turns[place]].tickets[0].seconds or 0.0
        before = [self._lanes[self._turns[one]] for one in range(place)]
        passed = [lane.tickets[0].job_id for lane in before if not lane.ahead_of_turn]
        self._leap = _Leap(passed, now, seconds)
        for job_id in passed:
            self._lost[job_id] = self._lost.get(job_id, 0.0) + seconds

    def _land(self, now: float) -> None:
        """The one that was taken before its turn is done: add what it cost beyond expectation."""
        leap, self._leap = self._leap, None
        for job_id in leap.passed if leap else ():
            if leap and job_id in self._lost:
                self._lost[job_id] += max(now - leap.since - leap.seconds, 0.0)

    def _ticket(self, job_id: str) -> Ticket:
        lane = self._lanes[self._visitors[job_id]]
        return next(ticket for ticket in lane.tickets if ticket.job_id == job_id)

    def _forget(self, job_id: str) -> None:
        del self._visitors[job_id]
        self._lost.pop(job_id, None)

    def _tidy(self, visitor: str) -> None:
        """Out of the turns with who has nothing to take; away with a lane that says nothing."""
        lane = self._lanes[visitor]
        if (lane.paused or not lane.tickets) and visitor in self._turns:
            self._turns.remove(visitor)
            lane.ahead_of_turn = False
        if not lane.tickets and not lane.paused:
            del self._lanes[visitor]
