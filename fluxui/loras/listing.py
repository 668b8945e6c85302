"""The listing of LoRAs, and what people wrote beside them, remembered between two looks.

A storage that lists quickly is asked each time; a slow one after some seconds at the earliest, and
behind the scenes, and not for a while once it was silent: what was listed last still stands. A
card is read again only when it was changed.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

from fluxui.errors import LoraNotFound, ObjectNotFound, StorageError
from fluxui.loras.files import (
    CARD,
    MODELS,
    PREVIEW,
    File,
    Listed,
    Shelf,
    beside,
    built_ins,
    files_among,
    read_card,
)
from fluxui.loras.known import Known

FRESH_SECONDS = 5.0
AWAY_SECONDS = 30.0
QUICK_SECONDS = 0.05
_log = logging.getLogger(__name__)


class Listing:
    """Which LoRAs there are. Safe to call from any thread.

    `problem` is why the storage could not be listed, "" when it could.
    """

    def __init__(self, shelf: Shelf, built_in: Path, known: Known) -> None:
        self._shelf = shelf
        self._built_in = built_in
        self._known = known
        self._lock = threading.RLock()
        self._files = {file.model_id: file for file in built_ins(built_in)}
        self._objects: dict[str, Listed] = {}
        self._cards: dict[str, tuple[Listed, dict[str, Any]]] = {}
        self._listed_at = float("-inf")
        self._away_until = float("-inf")
        self._quick = True
        self._refreshing: threading.Thread | None = None
        self.problem: StorageError | None = None

    def files(self) -> dict[str, File]:
        """Model id → file, as it is now or was a few seconds ago; while the storage is away, as
        it was."""
        if self._quick or self._listed_at == float("-inf"):
            self.refresh()
        elif self.age > FRESH_SECONDS:
            self._refresh_later()
        return self._files

    def find(self, model_id: str) -> File:
        """Raises LoraNotFound."""
        if self.age > FRESH_SECONDS or model_id not in self._files:
            self.refresh()
        if model_id not in self._files:
            raise LoraNotFound(model_id)
        return self._files[model_id]

    def forget(self) -> None:
        """Something was stored or deleted: look again before the next answer."""
        with self._lock:
            self._listed_at = float("-inf")

    def wrote(self, file: File, card: dict[str, Any]) -> None:
        """A card was stored. It may look like the former: a bucket counts whole seconds."""
        self.forget()
        self.refresh()
        if found := self.written(file):
            self._keep(found, card)

    @property
    def age(self) -> float:
        """Seconds since the storage was listed; infinite before."""
        return time.monotonic() - self._listed_at

    def refresh(self) -> None:
        """Look now, unless the storage was silent a moment ago."""
        with self._lock:
            if time.monotonic() >= self._away_until:
                self._list()

    def _refresh_later(self) -> None:
        with self._lock:
            if self._refreshing and self._refreshing.is_alive():
                return
            self._refreshing = threading.Thread(target=self.refresh, daemon=True)
            self._refreshing.start()

    def _list(self) -> None:
        start = time.monotonic()
        try:
            objects = sorted(self._shelf.list(MODELS), key=lambda found: found.key)
        except StorageError as error:
            _log.warning("LoRAs were not listed: %s", error)
            self.problem = error
            self._away_until = time.monotonic() + AWAY_SECONDS
            return
        files = {file.model_id: file for file in built_ins(self._built_in)}
        files.update({file.model_id: file for file in files_among(objects)})
        self._files = files
        self._objects = {found.key: found for found in objects}
        self._listed_at = time.monotonic()
        self._quick = self._listed_at - start < QUICK_SECONDS
        self.problem = None

    # What people wrote

    def card(self, file: File) -> dict[str, Any]:
        """What people wrote: beside the file, and over that what was changed here.

        Raises StorageUnavailable for a card that was never read.
        """
        own = Path(file.key).parent / CARD if file.built_in else None
        written = read_card(own.read_bytes()) if own and own.is_file() else {}
        return written | self._stored_card(beside(file, CARD))

    def written(self, file: File) -> Listed | None:
        """The card as it was listed, which is another one once it was changed."""
        return self._objects.get(beside(file, CARD))

    def preview(self, file: File) -> str:
        """When its picture was made; "" without one."""
        if file.built_in:
            own = Path(file.key).parent / PREVIEW
            return str(int(own.stat().st_mtime)) if own.is_file() else ""
        found = self._objects.get(beside(file, PREVIEW))
        return str(int(found.modified.timestamp())) if found else ""

    def is_read(self, file: File) -> bool:
        """Whether `card` answers at once."""
        found = self.written(file)
        return found is None or self._kept(found) is not None

    def _stored_card(self, key: str) -> dict[str, Any]:
        found = self._objects.get(key)
        if found is None:
            return {}
        card = self._kept(found)
        if card is None:
            card = read_card(self.read(key) or b"{}")
            self._keep(found, card)
        return card

    def _keep(self, found: Listed, card: dict[str, Any]) -> None:
        self._known.keep(_stamp(found), card)
        self._cards[found.key] = found, card

    def _kept(self, found: Listed) -> dict[str, Any] | None:
        kept = self._cards.get(found.key)
        if kept and kept[0] == found:
            return kept[1]
        card = self._known.get(_stamp(found))
        if isinstance(card, dict):
            self._cards[found.key] = found, card
            return card
        return None

    def read(self, key: str) -> bytes | None:
        """A small object; None where there is none. Raises StorageUnavailable."""
        if key not in self._objects:
            return None
        try:
            with self._shelf.open(key) as stream:
                return stream.read()
        except ObjectNotFound:
            return None  # deleted since it was listed


def _stamp(found: Listed) -> str:
    return f"card {found.key}\n{found.size}\n{found.modified.isoformat()}"
