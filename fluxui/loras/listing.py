"""The listing of LoRAs, and what people wrote beside them, remembered between two looks.

A bucket is asked again after a few seconds at the earliest, and left alone for a while once it
was silent: what was listed last still stands. A card is read again only when it was changed.
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
    File,
    Listed,
    Shelf,
    beside,
    built_ins,
    files_among,
    read_card,
)

FRESH_SECONDS = 5.0
AWAY_SECONDS = 30.0
_log = logging.getLogger(__name__)


class Listing:
    """Which LoRAs there are. Safe to call from any thread."""

    def __init__(self, shelf: Shelf, built_in: Path) -> None:
        self._shelf = shelf
        self._built_in = built_in
        self._lock = threading.RLock()
        self._files = {file.model_id: file for file in built_ins(built_in)}
        self._objects: dict[str, Listed] = {}
        self._cards: dict[str, tuple[Listed, dict[str, Any]]] = {}
        self._listed_at = float("-inf")
        self._away_until = float("-inf")

    def files(self) -> dict[str, File]:
        """Model id → file, as it is now; while the storage is away, as it was."""
        with self._lock:
            self._refresh()
            return dict(self._files)

    def find(self, model_id: str) -> File:
        """Raises LoraNotFound."""
        with self._lock:
            stale = time.monotonic() - self._listed_at > FRESH_SECONDS
            if stale or model_id not in self._files:
                self._refresh()
            if model_id not in self._files:
                raise LoraNotFound(model_id)
            return self._files[model_id]

    def forget(self) -> None:
        """Something was stored or deleted: look again before the next answer."""
        with self._lock:
            self._listed_at = float("-inf")
            self._cards.clear()

    def _refresh(self) -> None:
        if time.monotonic() < self._away_until:
            return
        try:
            objects = sorted(self._shelf.list(MODELS), key=lambda found: found.key)
        except StorageError as error:
            _log.warning("LoRAs were not listed: %s", error)
            self._away_until = time.monotonic() + AWAY_SECONDS
            return
        files = {file.model_id: file for file in built_ins(self._built_in)}
        files.update({file.model_id: file for file in files_among(objects)})
        self._files = files
        self._objects = {found.key: found for found in objects}
        self._listed_at = time.monotonic()

    def card(self, file: File) -> dict[str, Any]:
        """What people wrote: beside the file, and over that what was changed here.

        Raises StorageUnavailable for a card that was never read.
        """
        own = Path(file.key).parent / CARD if file.built_in else None
        written = read_card(own.read_bytes()) if own and own.is_file() else {}
        return written | self._stored_card(beside(file, CARD))

    def _stored_card(self, key: str) -> dict[str, Any]:
        with self._lock:
            found = self._objects.get(key)
            if found is None:
                return {}
            if key not in self._cards or self._cards[key][0] != found:
                self._cards[key] = found, read_card(self.read(key) or b"{}")
            return self._cards[key][1]

    def read(self, key: str) -> bytes | None:
        """A small object; None where there is none. Raises StorageUnavailable."""
        if key not in self._objects:
            return None
        try:
            with self._shelf.open(key) as stream:
                return stream.read()
        except ObjectNotFound:
            return None  # deleted since it was listed
