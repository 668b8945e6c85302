"""The queue of the page's process where others paint: it keeps the order, workers do the work.

As many generations are offered as there are workers free, so that turns, moving up, holding back
and cancelling are those of any queue. What was offered and not taken comes back into the line, and
so does what a worker had that is silent. Nothing is forgotten with Redis: it says only who is at
what.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from fluxui.errors import HistoryReadOnly, RedisUnavailable, StorageFull
from fluxui.queue import NOBODY, Cancelling, Hand, Phase, Progress
from fluxui.queue.line import Line, forget
from fluxui.queue.order import Ticket
from fluxui.queue.running import reporter
from fluxui.queue.wire import (
    BEAT_SECONDS,
    SILENCE_SECONDS,
    Beat,
    News,
    Report,
    Terms,
    Wire,
    job_of,
    new_token,
)

TICK_SECONDS = 1.0
# After that long nobody who is free can have overlooked an offer.
UNTAKEN_SECONDS = 10.0
# This process itself was held up for so long that silence proves nothing.
ASLEEP_SECONDS = 5.0
CLOSE_SECONDS = 10.0
# Tokens of which an old word may still come in.
MAX_GIVEN_BACK = 1000


class Ledger(Protocol):
    """What is recorded of work that is done elsewhere. All raise StorageFull, HistoryReadOnly."""

    def offer(self, job_id: str) -> str:
        """Its record for a worker; "" if it has gone or ended."""

    def keep(self, record: str) -> None:
        """The next state, as a worker tells it; one that ended before stays as it is."""

    def back(self, job_id: str) -> None:
        """A worker gave it back: that was no attempt."""

    def lost(self, job_id: str) -> bool:
        """Its worker is gone. Whether it is to be painted once more."""

    def cancelled(self, job_id: str) -> None:
        """Nobody wants it any more, and nobody paints it."""


class Sender(Protocol):
    """The way of a token to a worker that is free."""

    def send(self, token: str) -> None:
        """Raises RedisUnavailable."""

    def close(self) -> None: ...


@dataclass
class _Offer:
    """One generation that is out. `since` is its last sign of life, in monotonic seconds."""

    ticket: Ticket
    token: str
    since: float
    taken: bool = False
    painted: bool = False


class RemoteQueue(Line):
    """See `fluxui.queue.Queue`. `left` are those that ran when the last process ended: a worker
    may be at them still."""

    def __init__(
        self,
        wire: Wire,
        post: Sender,
        ledger: Ledger,
        role: tuple[str, Terms],
        size: int,
        resume: Iterable[Ticket] = (),
        left: Iterable[Ticket] = (),
        size_each: int | None = None,
        paused: Iterable[str] = (),
        keep_paused: Callable[[Collection[str]], None] = forget,
    ) -> None:
        super().__init__(size, resume, size_each, paused, keep_paused)
        self._wire, self._post, self._ledger = wire, post, ledger
        self._owner, self._terms = role
        self._hands: dict[str, tuple[Beat, float]] = {}
        now = time.monotonic()
        self._offers = {one.job_id: _Offer(one, "", now, taken=True) for one in left}
        self._active |= {job_id: Progress() for job_id in self._offers}
        # Who is at something of the last process says so before anything is offered again.
        busy = bool(self._offers or len(self._order))
        self._open_at = now + BEAT_SECONDS + TICK_SECONDS if busy else now
        self._cared = now
        self._stuck = ""
        self._given_back: deque[str] = deque(maxlen=MAX_GIVEN_BACK)
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._listen, name="fluxui-listen", daemon=True),
            threading.Thread(target=self._hand_out, name="fluxui-offer", daemon=True),
        ]
        if busy:
            self.start()

    def start(self) -> None:
        with self._changed:
            for thread in self._threads:
                if not thread.ident:
                    thread.start()

    def put(self, ticket: Ticket, keep: Callable[[], None]) -> None:
        super().put(ticket, keep)
        self.start()

    def cancel(self, job_id: str, keep: Callable[[], None]) -> Cancelling:
        with suppress(RedisUnavailable):
            self._call_back(job_id)
        outcome = super().cancel(job_id, keep)
        offer = self._offers.get(job_id)
        if offer and offer.token and outcome is Cancelling.stopping:
            with suppress(RedisUnavailable):  # it is said again
                self._wire.cancel(offer.token)
        return outcome

    def progress(self, job_id: str) -> Progress | None:
        with self._changed:
            found = super().progress(job_id)
            if found and not found.obstacle and self._stuck:
                return replace(found, obstacle=self._stuck)
            return found

    def crew(self) -> list[Hand]:
        with self._changed:
            beats = [beat for beat, _ in self._hands.values()]
        return sorted((Hand(one.name, one.device, len(one.tokens)) for one in beats), key=_name)

    def close(self) -> None:
        """What workers are at goes on without us."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident:
                thread.join(CLOSE_SECONDS)
        with suppress(RedisUnavailable):
            self._wire.leave_page(self._owner)
        self._wire.close()
        self._post.close()

    # Offers

    def _hand_out(self) -> None:
        while offer := self._next():
            if not self._try(partial(self._send, offer)):
                self._return(offer)

    def _send(self, offer: _Offer) -> None:
        job_id = offer.ticket.job_id
        if job_id in self._cancelled:  # it came back, and nobody wants it
            self._ledger.cancelled(job_id)
        if record := self._ledger.offer(job_id):
            self._wire.offer(offer.token, record)
            self._post.send(offer.token)
        else:
            self._drop(job_id)

    def _next(self) -> _Offer | None:
        """The next one, once there is somebody for it; None at the end."""
        with self._changed:
            while not self._closing.is_set():
                now = time.monotonic()
                ticket = self._order.take(now) if self._is_open(now) else None
                if ticket:
                    self._places = None
                    offer = _Offer(ticket, new_token(ticket.job_id), now)
                    self._offers[ticket.job_id] = offer
                    self._active[ticket.job_id] = Progress()
                    return offer
                self._changed.wait(TICK_SECONDS)
            return None

    def _is_open(self, now: float) -> bool:
        out = sum(not one.painted for one in self._offers.values())
        return now >= self._open_at and not self._stuck and out < len(self._hands)

    def _call_back(self, job_id: str) -> None:
        """Into the line again, if nobody has taken it yet."""
        offer = self._offers.get(job_id)
        if offer and not offer.taken and self._wire.withdraw(offer.token):
            self._return(offer)

    def _return(self, offer: _Offer) -> None:
        """To the front of its lane."""
        job_id = offer.ticket.job_id
        with self._changed:
            if self._offers.get(job_id) is offer:
                del self._offers[job_id], self._active[job_id]
                self._order.add(offer.ticket)
                self._order.move_up(job_id)
                self._news()

    def _drop(self, job_id: str) -> None:
        with self._changed:
            if job_id in self._order:
                self._order.remove(job_id)
            self._offers.pop(job_id, None)
            self._active.pop(job_id, None)
            self._cancelled.discard(job_id)
            self._news()

    # What workers say

    def _listen(self) -> None:
        while not self._closing.is_set():
            self._try(self._hear_and_care)

    def _try(self, act: Callable[[], None]) -> bool:
        """False if something is in the way; then some time has passed."""
        try:
            act()
        except (RedisUnavailable, StorageFull, HistoryReadOnly) as error:
            with self._changed:
                self._stuck = self._obstacle = error.message
            self._closing.wait(TICK_SECONDS)
            return False
        return True

    def _hear_and_care(self) -> None:
        self._hear()
        if time.monotonic() - self._cared > TICK_SECONDS:
            self._read_news()
            self._care()
            self._go_ahead()

    def _hear(self) -> None:
        word = self._wire.hear(TICK_SECONDS)
        if word is None:
            self._read_news()
            return
        with self._changed:
            if isinstance(word, Report):
                self._hear_report(word)
            else:
                self._hear_beat(word)

    def _hear_report(self, report: Report) -> None:
        if self._is_sign(report.token):
            job_id = job_of(report.token)
            reporter(self._active, self._changed, job_id)(report.progress)
            if report.progress.phase is Phase.saving:
                self._offers[job_id].painted = True
                self._changed.notify_all()

    def _hear_beat(self, beat: Beat) -> None:
        for token in beat.tokens:
            self._is_sign(token)
        if beat.leaves:
            self._hands.pop(beat.name, None)
        else:
            self._hands[beat.name] = beat, time.monotonic()
            self._changed.notify_all()

    def _is_sign(self, token: str) -> bool:
        """Whether this is what is out for its generation; the last process may have offered it."""
        job_id = job_of(token)
        offer = self._offers.get(job_id)
        if token in self._given_back:
            return False
        if offer is None and job_id in self._order:
            offer = _Offer(self._order.remove(job_id), token, 0.0)
            self._offers[job_id] = offer
            self._active[job_id] = Progress()
            self._news()
        if offer is None or offer.token not in ("", token):
            return False
        offer.token, offer.taken, offer.since = token, True, time.monotonic()
        return True

    def _read_news(self) -> None:
        while news := self._wire.first_news():
            self._record(news)
            self._wire.drop_first_news()

    def _record(self, news: News) -> None:
        job_id = job_of(news.token)
        with self._changed:
            current = self._is_sign(news.token)
            offer = self._offers.get(job_id)
        if offer and not current:  # it was given up for lost, and is out again
            if news.kind != "completed":
                return
            self._wire.cancel(offer.token)
        if news.kind == "back":
            self._ledger.back(job_id)
            self._given_back.append(news.token)
            if offer:
                self._return(offer)
            return
        self._ledger.keep(news.record)
        if news.kind != "began":
            self._drop(job_id)

    # Once a second

    def _care(self) -> None:
        now = time.monotonic()
        if now - self._cared > ASLEEP_SECONDS:
            self._trust(now)
        self._cared = now
        told = self._wire.page()
        if told and told[0] != self._owner:
            raise RedisUnavailable("Another fluxui page took over this Redis.")
        self._wire.stay_page(self._owner, self._terms)
        with self._changed:
            silent = [one for one, (_, at) in self._hands.items() if now - at > SILENCE_SECONDS]
            for name in silent:
                del self._hands[name]
            offers = list(self._offers.values())
        for offer in offers:
            self._look_after(offer, now)

    def _look_after(self, offer: _Offer, now: float) -> None:
        job_id = offer.ticket.job_id
        if job_id in self._cancelled and offer.token:
            self._wire.cancel(offer.token)
        if offer.taken and now - offer.since > SILENCE_SECONDS:
            if self._ledger.lost(job_id):
                self._return(offer)
            else:
                self._drop(job_id)
        elif not offer.taken and now - offer.since > UNTAKEN_SECONDS:
            self._call_back(job_id)
            with self._changed:
                if self._offers.get(job_id) is offer:  # taken just now, or Redis lost it
                    offer.taken, offer.since = True, now

    def _trust(self, now: float) -> None:
        """Silence counts from now on."""
        with self._changed:
            self._hands = {name: (beat, now) for name, (beat, _) in self._hands.items()}
            for offer in self._offers.values():
                offer.since = now

    def _go_ahead(self) -> None:
        with self._changed:
            if self._stuck:
                self._stuck = ""
                self._trust(time.monotonic())
            self._obstacle = "" if self._hands else NOBODY
            self._changed.notify_all()


def _name(hand: Hand) -> str:
    return hand.name
