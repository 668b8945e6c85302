"""What was once found out about a file, kept in the cache folder: no start reads it again.

A key names a file as it was (its stamp), so nothing here gets wrong; the whole file may be deleted
at any time. It knows no LoRAs, only keys and values that JSON can say.
"""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

MAX_ENTRIES = 50_000

_log = logging.getLogger(__name__)


class Known:
    """Key → value, one line each in the file at `path`. Safe to call from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._values: dict[str, Any] = {}
        lines = self._read()
        for line in lines[-MAX_ENTRIES:]:
            self._take(line)
        if len(lines) > 2 * len(self._values) + 100:
            self._rewrite()

    def get(self, key: str) -> Any:
        """None for what is not known."""
        return self._values.get(key)

    def keep(self, key: str, value: Any) -> None:
        """A disk that takes nothing costs the next start some reading, and no more."""
        with self._lock:
            self._values[key] = value
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([key, value]) + "\n")
            except OSError as error:
                _log.warning("%s was not written: %s", self._path.name, error)

    def _read(self) -> list[str]:
        try:
            return self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []

    def _take(self, line: str) -> None:
        try:
            key, value = json.loads(line)
        except (ValueError, TypeError):
            return  # torn by the end of a process
        self._values[str(key)] = value

    def _rewrite(self) -> None:
        draft = self._path.with_suffix(".draft")
        lines = (json.dumps([key, value]) + "\n" for key, value in self._values.items())
        try:
            draft.write_text("".join(lines), encoding="utf-8")
            draft.replace(self._path)
        except OSError as error:
            _log.warning("%s was not written: %s", self._path.name, error)
