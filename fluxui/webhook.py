"""Tells another server of every generation that has ended, off every thread that works.

At least once: what was not taken is sent again, after a restart too, for a day. What is to be
told then is read from the history, and what was told from a file of its own. It knows no door.
"""

from __future__ import annotations

import heapq
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from fluxui.errors import ConfigurationError, Forbidden
from fluxui.generation import Generation, now
from fluxui.history import Catalogue, Query
from fluxui.post import Post, target_of
from fluxui.settings import Settings
from fluxui.told import Told, forget

log = logging.getLogger(__name__)

FOLDER = "webhook"
# Seconds before the second, third … try; then it is given up, after more than half a day.
BACKOFF = (2.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 7200.0, 14_400.0, 28_800.0)
MAX_WAITING = 1000
# What ended longer ago is not told any more by the next process.
LONGEST = timedelta(days=1)

Tell = Callable[[Generation], None]


def nobody(ended: Generation) -> None:
    """Who is told where nobody asked to be."""


def choose_webhook(settings: Settings) -> Webhook | None:
    """None if nobody asked to be told. Raises ConfigurationError."""
    folder = settings.data_dir / FOLDER
    if not settings.webhook_url:
        forget(folder)
        return None
    if settings.webhook_secret is None:
        raise ConfigurationError(
            "FLUXUI_WEBHOOK_URL needs FLUXUI_WEBHOOK_SECRET.", "Any long random text will do."
        )
    target = target_of(settings.webhook_url)
    if target is None:
        raise ConfigurationError("FLUXUI_WEBHOOK_URL is no address of a server.", "https://…")
    return Webhook(Post(target, settings.webhook_secret.get_secret_value()), folder)


@dataclass(order=True)
class _Letter:
    """One message, and when to try it next, in seconds of the clock that never runs back."""

    due: float
    number: int
    job_id: str = field(compare=False)
    name: str = field(compare=False)
    body: bytes = field(compare=False)
    tries: int = field(compare=False, default=0)


class Webhook:
    """One thread that delivers, the next due letter first. It starts with the first letter."""

    def __init__(self, post: Post, folder: Path) -> None:
        self._post = post
        self._told = Told(folder)
        self._letters: list[_Letter] = []
        self._count = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="fluxui-webhook", daemon=True)

    def tell(self, generation: Generation) -> None:
        """Of its end. Never waits, and never raises."""
        with self._changed:
            if len(self._letters) >= MAX_WAITING:
                log.warning("The webhook was not told of %s: too many wait.", generation.id)
                return
            self._count += 1
            name = name_of(generation)
            body = _body(name, generation)
            letter = _Letter(time.monotonic(), self._count, generation.id, name, body)
            heapq.heappush(self._letters, letter)
            self._changed.notify()
            if not self._thread.ident:
                self._thread.start()

    def catch_up(self, history: Catalogue) -> None:
        """Tell what the last process did not come to, oldest first: its last day, of the newest
        that were asked for."""
        untold = list(self._untold(history))
        for generation in sorted(untold, key=lambda one: one.completed_at or one.created_at):
            self.tell(generation)

    def _untold(self, history: Catalogue) -> Iterator[Generation]:
        earliest = max(self._told.since, now() - LONGEST)
        for generation in history.page(Query(), limit=MAX_WAITING).generations:
            ended = generation.completed_at
            if ended and ended >= earliest and name_of(generation) not in self._told:
                yield generation

    def _work(self) -> None:
        while True:
            letter = self._next()
            if self._deliver(letter):
                self._cross_off(letter)
                continue
            if letter.tries >= len(BACKOFF):
                log.warning("The webhook could not be told of %s.", letter.job_id)
                self._cross_off(letter)
                continue
            letter.due = time.monotonic() + BACKOFF[letter.tries]
            letter.tries += 1
            with self._changed:
                heapq.heappush(self._letters, letter)

    def _next(self) -> _Letter:
        with self._changed:
            while True:
                wait = self._letters[0].due - time.monotonic() if self._letters else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._letters)
                self._changed.wait(wait)

    def _cross_off(self, letter: _Letter) -> None:
        try:
            self._told.add(letter.name)
        except OSError as error:
            log.warning("After a restart the webhook is told of %s again: %s", letter.job_id, error)

    def _deliver(self, letter: _Letter) -> bool:
        """Whether there is nothing more to do about it."""
        try:
            status = self._post.send(letter.name, letter.body)
        except Forbidden as error:
            log.warning("The webhook was not told of %s: %s", letter.job_id, error)
            return True
        except (OSError, UnicodeError) as error:
            log.info("The webhook did not answer (%s).", type(error).__name__)
            return False
        if 400 <= status < 500 and status not in (408, 429):
            log.warning("The webhook refused %s with %d.", letter.job_id, status)
            return True
        return status < 300


def name_of(ended: Generation) -> str:
    """The id of its delivery: the same at every try, and after a restart."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{ended.id}/{ended.status.value}"))


def _body(name: str, generation: Generation) -> bytes:
    record = generation.record()
    del record["idempotency_key"], record["visitor"]
    told = {"delivery": name, "event": generation.status.value, "generation": record}
    return json.dumps(told).encode()
