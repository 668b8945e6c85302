"""The history made whole again from what the storage holds, while everything else goes on.

It adds what is lacking and touches nothing that is there; what is in the trash stays there. The
newest days come first, so that the gallery fills from its first page on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from fluxui.errors import HistoryError, ObjectNotFound, StorageError
from fluxui.generation import Generation
from fluxui.history import Gaps
from fluxui.outputs import Flaw, Output, list_kept, read
from fluxui.storage import Storage

# A bucket's answers take longer than its bytes: so many are asked for at once.
READERS = 16
# The first merge comes soon, and each one costs as much as the history is large: they double.
FIRST_BATCH = 512
RETRY_SECONDS = 30.0
CLOSE_SECONDS = 5.0

Read = tuple["Generation | None", "Flaw | None"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rebuilding:
    """How far it is: `read` of `lacking` outputs, of which `added` are in the history by now.

    It has `ended` once it came to its end. `waits` says why it can't go on just now; `flaws` are
    the ids of what was not as it should be.
    """

    running: bool = False
    ended: bool = False
    lacking: int = 0
    read: int = 0
    added: int = 0
    waits: str = ""
    flaws: dict[Flaw, list[str]] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """One for each kind of flaw."""
        return [flaw.said(job_ids) for flaw, job_ids in self.flaws.items()]


class Rebuild:
    """One at a time. `start` it behind the page, or `run` it and wait."""

    def __init__(self, storage: Storage, history: Gaps) -> None:
        self._storage = storage
        self._history = history
        self._running = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._flaws: dict[Flaw, list[str]] = {}
        self.progress = Rebuilding()

    def start(self) -> None:
        """In a thread of its own; one that runs already goes on instead."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._patiently, name="fluxui-rebuild")
            self._thread.daemon = True
            self._thread.start()

    def run(self) -> Rebuilding:
        """After one that runs already. Raises StorageError, HistoryError."""
        with self._running:
            self._flaws, self.progress = {}, Rebuilding(running=True)
            try:
                self._run()
            finally:
                self.progress = replace(self.progress, running=False)
        return self.progress

    def close(self) -> None:
        """End it; the next process goes on."""
        self._closing.set()
        if self._thread:
            self._thread.join(CLOSE_SECONDS)

    def _patiently(self) -> None:
        """Until the storage has answered, or the process ends."""
        while not self._closing.is_set() and not self._succeeds():
            self._closing.wait(RETRY_SECONDS)

    def _succeeds(self) -> bool:
        try:
            self.run()
        except (StorageError, HistoryError) as error:
            log.warning("The history is not rebuilt yet: %s", error.message)
            self.progress = replace(self.progress, running=True, waits=error.message)
            return False
        return True

    def _run(self) -> None:
        there = list_kept(self._storage)
        lacking = [output for output in there if not self._history.knows(output.job_id)]
        self.progress = replace(self.progress, lacking=len(lacking))
        if lacking:
            log.info("%d generations of the storage are not in the history.", len(lacking))
            self._history.mark(True)
        with ThreadPoolExecutor(READERS, thread_name_prefix="fluxui-read") as pool:
            for batch in _batches(lacking):
                found = list(self._counted(zip(batch, pool.map(self._read, batch), strict=True)))
                if self._closing.is_set():
                    return
                added = self.progress.added + self._history.merge(found)
                self.progress = replace(self.progress, added=added, flaws=dict(self._flaws))
        self._history.mark(False)
        self.progress = replace(self.progress, ended=True)
        for sentence in self.progress.sentences():
            log.warning("%s", sentence)
        if lacking:
            log.info("%d generations were added to the history.", self.progress.added)

    def _counted(self, found: Iterable[tuple[Output, Read]]) -> Iterator[Generation]:
        for output, (generation, flaw) in found:
            if flaw:
                self._flaws.setdefault(flaw, []).append(output.job_id)
            self.progress = replace(self.progress, read=self.progress.read + 1)
            if generation:
                yield generation

    def _read(self, output: Output) -> Read:
        if self._closing.is_set():
            return None, None
        try:
            return read(self._storage, output)
        except ObjectNotFound:
            return None, None  # deleted since it was listed


def _batches(outputs: list[Output]) -> Iterator[list[Output]]:
    size, begin = FIRST_BATCH, 0
    while begin < len(outputs):
        yield outputs[begin : begin + size]
        begin += size
        size *= 2
