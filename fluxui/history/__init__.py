"""What was made: one record for each generation, newest first, in one TinyDB.

It holds words, never bytes, and never learns where the storage is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from fluxui.generation import Generation, Status


@dataclass(frozen=True)
class Query:
    """All of it must match. `words` are substrings of the prompt or of a LoRA's name; `visitor`
    is None for everybody's."""

    words: str = ""
    model_id: str = ""
    status: Status | None = None
    visitor: str | None = None


@dataclass(frozen=True)
class Page:
    """`cursor` continues after the last generation; "" at the end. Totals are of the query.

    `cursors` holds one for each generation, to continue right after it.
    """

    generations: list[Generation] = field(default_factory=list)
    cursor: str = ""
    cursors: tuple[str, ...] = ()
    total: int = 0
    images: int = 0


class History(Protocol):
    """One writer process. Every call that changes it returns after the record is on disk.

    It raises StorageFull as long as the disk is full, HistoryReadOnly while it takes nothing.
    """

    def add(self, generation: Generation) -> None:
        """Keep a new generation."""

    def replace(self, generation: Generation) -> None:
        """Keep the next state of a generation. Raises GenerationNotFound."""

    def get(self, job_id: str) -> Generation:
        """Raises GenerationNotFound."""

    def find(self, idempotency_key: str) -> Generation | None:
        """The generation that was made under this key, which is never empty."""

    def unfinished(self) -> list[Generation]:
        """What is queued or running, in order of admission."""

    def page(self, query: Query, cursor: str = "", limit: int = 48) -> Page:
        """Newest first."""

    def remove(self, job_id: str) -> None:
        """Forget a generation. Raises GenerationNotFound."""

    def close(self) -> None:
        """Compact and let go of the file."""
