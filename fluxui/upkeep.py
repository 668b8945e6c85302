"""What the owner of the machine does with the whole history: rebuild, verify, repair, move it.

One visitor's pictures are `Pictures`'; this is everybody's, and it asks nobody who they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from fluxui import exchange, verify
from fluxui.exchange import Imported
from fluxui.history import History, Meter
from fluxui.rebuild import Rebuild, Rebuilding
from fluxui.storage import Storage
from fluxui.verify import Findings


class Upkeep:
    """Of one studio. A damaged file or a repair leaves its copy in `folder`."""

    def __init__(self, storage: Storage, history: History, folder: Path) -> None:
        self._storage = storage
        self._history = history
        self._folder = folder
        self._rebuild = Rebuild(storage, history)

    @property
    def rebuilding(self) -> Rebuilding:
        """How far the last rebuild is."""
        return self._rebuild.progress

    def start_rebuild(self) -> None:
        """Look in the storage for what the history lacks, behind the page."""
        self._rebuild.start()

    def rebuild(self) -> Rebuilding:
        """The same, until it is done. Raises StorageError, HistoryError."""
        return self._rebuild.run()

    def verify(self) -> Findings:
        """Raises StorageError."""
        return verify.verify(self._storage, self._history)

    def repair(self, found: Findings) -> Path | None:
        """Where the records that went were written to. Raises StorageError, HistoryError."""
        return verify.repair(found, self._storage, self._history, self._folder)

    def export_lines(self) -> Iterator[str]:
        """Every record as a line of JSON, oldest first."""
        return exchange.export_lines(self._history)

    def import_lines(self, lines: Iterable[bytes]) -> Imported:
        """Raises StorageError, HistoryError."""
        return exchange.import_lines(lines, self._storage, self._history)

    def meter(self) -> Meter:
        """What is kept, by month, LoRA and visitor: counters, so that it costs nothing to ask."""
        return self._history.meter()

    def close(self) -> None:
        """End a rebuild; the next process goes on."""
        self._rebuild.close()
