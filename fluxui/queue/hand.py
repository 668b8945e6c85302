"""One worker's end of the queue: it takes an offer, has it painted, and tells the page how it goes.

Painting never waits for Redis: a thread of its own tells progress and signs of life, and asks what
was cancelled. It knows no Celery, and of a generation the bytes of its record.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from fluxui.errors import RedisUnavailable
from fluxui.queue import Closing, Progress, Run, Tail
from fluxui.queue.running import reporter, stopper
from fluxui.queue.wire import BEAT_SECONDS, Beat, Kind, News, Report, Terms, Wire, job_of

log = logging.getLogger(__name__)

# As in the queue of one process: tails hold the pixels of their pictures.
MAX_TAILS = 4
GRACE_SECONDS = 3
LOOK_SECONDS = 0.1


@dataclass
class _Job:
    """What is held: the offer, its record, and whether it paints still."""

    token: str
    record: str
    since: float = field(default_factory=time.monotonic)
    painting: bool = True


class Hand:
    """`refused` is told why this worker is of no use to the page any more; `longest` is how many
    seconds a painting may take before the process ends itself."""

    def __init__(self, wire: Wire, name: str, device: str, terms: Terms, longest: float) -> None:
        self.refused = ""
        self._wire, self._name, self._device, self._terms = wire, name, device, terms
        self._longest = longest
        self._jobs: dict[str, _Job] = {}
        self._active: dict[str, Progress] = {}
        self._told: dict[str, Progress] = {}
        self._cancelled: set[str] = set()
        self._deadline = float("inf")
        self._closing = False
        self._changed = threading.Condition()
        self._tails = ThreadPoolExecutor(max_workers=1, thread_name_prefix="fluxui-tail")
        self._tail_slots = threading.Semaphore(MAX_TAILS)
        self._thread = threading.Thread(target=self._tell, name="fluxui-tell", daemon=True)
        self._thread.start()

    def record(self, job_id: str) -> str:
        """What was offered. Raises KeyError."""
        return self._jobs[job_id].record

    def tell(self, job_id: str, kind: Kind, record: str) -> None:
        """What became of it, to be kept by the page. Raises RedisUnavailable."""
        self._wire.tell(News(kind, self._jobs[job_id].token, record))

    def paint(self, run: Run, token: str) -> None:
        """One message: it comes back when the pipeline is free again and Redis answers, since a
        receipt that can't be given would be the last one. A stale message does nothing."""
        self._paint(run, token)
        while not self._answers() and time.monotonic() < self._deadline:
            time.sleep(LOOK_SECONDS)

    def _answers(self) -> bool:
        try:
            self._wire.check()
        except RedisUnavailable:
            return False
        return True

    def _paint(self, run: Run, token: str) -> None:
        record = self._take(token)
        if record is None or self._holds(token):
            return
        job_id = job_of(token)
        with self._changed:
            self._jobs[job_id] = _Job(token, record)
            self._active[job_id] = Progress()
            self._changed.notify_all()
        try:
            tail = run(
                job_id,
                reporter(self._active, self._changed, job_id),
                stopper(self._cancelled, lambda: self._deadline, job_id),
            )
        except Closing:
            self._give_back(job_id)
            return
        self._jobs[job_id].painting = False
        self._tail_slots.acquire()
        self._tails.submit(self._finish, job_id, tail)

    def stop(self) -> None:
        """Give back what does not end soon."""
        self._deadline = time.monotonic() + GRACE_SECONDS

    def close(self) -> None:
        """Finish the tails, and say goodbye."""
        self._tails.shutdown(wait=True)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(BEAT_SECONDS)
        try:
            self._wire.say([Beat(self._name, self._device, leaves=True)])
        except RedisUnavailable as error:
            log.warning("%s The page finds out by itself that this worker left.", error.message)

    def _take(self, token: str) -> str | None:
        try:
            return self._wire.take(token)
        except RedisUnavailable as error:
            log.warning("%s The page offers again what nobody took.", error.message)
            return None

    def _holds(self, token: str) -> bool:
        """Whether it is here already: the page had given it up, and now knows better."""
        with self._changed:
            held = self._jobs.get(job_of(token))
            if held:
                held.token = token
            return held is not None

    def _give_back(self, job_id: str) -> None:
        token = self._jobs[job_id].token
        self._forget(job_id)  # first, so that no sign of life takes it again
        try:
            self._wire.tell(News("back", token, ""))
        except RedisUnavailable as error:
            log.warning("%s The page finds out by itself what this worker left.", error.message)

    def _finish(self, job_id: str, tail: Tail) -> None:
        try:
            tail()
        except Closing:
            self._give_back(job_id)
        finally:
            self._tail_slots.release()
            self._forget(job_id)

    def _forget(self, job_id: str) -> None:
        with self._changed:
            for known in (self._jobs, self._active, self._told):
                known.pop(job_id, None)
            self._cancelled.discard(job_id)
            self._changed.notify_all()

    # The thread that tells

    def _tell(self) -> None:
        beaten, silent = 0.0, False
        while not self._closing:
            now = time.monotonic()
            due = now - beaten >= BEAT_SECONDS
            try:
                if due:
                    self._look_at_page()
                self._say(due)
                beaten, silent = now if due else beaten, False
            except RedisUnavailable as error:
                if not silent:
                    log.warning("%s This worker goes on with what it has.", error.message)
                silent = True
                time.sleep(BEAT_SECONDS / 2)
            self._check_longest(now)
            with self._changed:
                self._changed.wait_for(self._has_news, LOOK_SECONDS if self._jobs else BEAT_SECONDS)

    def _has_news(self) -> bool:
        return self._closing or self._active != self._told

    def _say(self, beat: bool) -> None:
        """What is new, and with `beat` a sign of life; then ask who was cancelled."""
        with self._changed:
            tokens = {job_id: job.token for job_id, job in self._jobs.items()}
            fresh = {
                job_id: progress
                for job_id, progress in self._active.items()
                if self._told.get(job_id) != progress
            }
        words: list[Beat | Report] = [Report(tokens[one], fresh[one]) for one in fresh]
        if beat:
            words.insert(0, Beat(self._name, self._device, tuple(tokens.values())))
        if words:
            self._wire.say(words)
        cancelled = self._wire.cancelled(tokens.values())
        with self._changed:
            self._told |= {one: told for one, told in fresh.items() if one in self._jobs}
            self._cancelled |= {one for one in map(job_of, cancelled) if one in self._jobs}

    def _look_at_page(self) -> None:
        told = self._wire.page()
        refused = told[1].refuse(self._terms) if told else ""
        if refused and not self.refused:
            self.refused = refused
            # Celery stops on SIGTERM, with all that belongs to it.
            os.kill(os.getpid(), 15)

    def _check_longest(self, now: float) -> None:
        with self._changed:
            late = [
                job_id
                for job_id, job in self._jobs.items()
                if job.painting and now - job.since > self._longest
            ]
        if late:
            log.error("%s takes too long: this worker ends itself.", late[0])
            os._exit(1)
