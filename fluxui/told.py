"""Which deliveries of the webhook are over, over a restart: a small file, one line for each.

A line is lost if the power fails just then: that letter is sent twice, which its receiver can
tell by its name. It knows nothing of letters and of generations.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from fluxui.generation import now
from fluxui.storage.files import place, sweep, write_draft

log = logging.getLogger(__name__)

DRAFTS = "drafts"
# When the file has as many lines it is written anew with the newest half.
MAX_LINES = 4000


class Told:
    """The names in `folder`. `since` is when it began: what was before that is nobody's business.

    Raises OSError.
    """

    def __init__(self, folder: Path) -> None:
        self._drafts = folder / DRAFTS
        self._path = folder / "told.txt"
        sweep(self._drafts)
        self.since, self._names = self._read()
        if not self._path.exists():
            self._write()

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        """It is over: taken, refused or given up. Raises OSError; then it is known until the end
        of the process."""
        self._names[name] = None
        if len(self._names) >= MAX_LINES:
            return self._write()
        with self._path.open("ab") as file:
            # What stood there may have been cut off in the middle of a line.
            file.write(f"\n{name}".encode())

    def _read(self) -> tuple[datetime, dict[str, None]]:
        if not self._path.exists():
            return now(), {}
        first, *names = self._path.read_text(encoding="utf-8").split()
        return datetime.fromisoformat(first), dict.fromkeys(names)

    def _write(self) -> None:
        self._names = dict.fromkeys(list(self._names)[-MAX_LINES // 2 :])
        lines = "\n".join([self.since.isoformat(), *self._names])
        place(write_draft(self._drafts, lines.encode()), self._path)


def forget(folder: Path) -> None:
    """Without a webhook: whoever sets one again later is told of what ends from then on."""
    (folder / "told.txt").unlink(missing_ok=True)
