"""What was made: one record for each generation, newest first, in one TinyDB.

It holds words, never bytes, and never learns where the storage is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from fluxui.generation import Generation, Status


@dataclass(frozen=True)
class Query:
    """All of it must match; what is "" or None matches everything.

    `words` are substrings of the prompt or of a LoRA's name; `lora` is the beginning of a LoRA's
    SHA-256, which outlives its names; `since` is included and `until` is not; `visitor` is None
    for everybody's. `oldest` turns the order around.
    """

    words: str = ""
    model_id: str = ""
    status: Status | None = None
    visitor: str | None = None
    lora: str = ""
    base_model: str = ""
    width: int | None = None
    height: int | None = None
    seed: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    favourite: bool = False
    tag: str = ""
    oldest: bool = False


@dataclass(frozen=True)
class Page:
    """`cursor` continues after the last generation; "" at the end. Totals are of the query.

    `cursors` holds one for each generation, to continue right after it. `images` counts those
    that match: of a query for favourites only the favourites.
    """

    generations: list[Generation] = field(default_factory=list)
    cursor: str = ""
    cursors: tuple[str, ...] = ()
    total: int = 0
    images: int = 0


@dataclass(frozen=True)
class Kept:
    """How many pictures are kept, and their bytes."""

    images: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Meter:
    """What is kept, by month (`2026-11`), by LoRA (its id) and by visitor ("" is the owner).

    A picture with two LoRAs counts for both.
    """

    total: Kept
    months: Mapping[str, Kept]
    loras: Mapping[str, Kept]
    visitors: Mapping[str, Kept]


@dataclass(frozen=True)
class Choices:
    """What the records that match differ in, the most frequent first: width and height, base
    models, and visitors ("" is the owner)."""

    sizes: tuple[tuple[int, int], ...]
    base_models: tuple[str, ...]
    visitors: tuple[str, ...]


class Records(Protocol):
    """One record at a time. Every call that changes it returns after the record is on disk.

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

    def remove(self, job_id: str) -> None:
        """Forget a generation. Raises GenerationNotFound."""


class Catalogue(Protocol):
    """All of them, to look for some and to count. It changes nothing."""

    def page(self, query: Query, cursor: str = "", limit: int = 48) -> Page:
        """Newest first."""

    def choices(self, query: Query) -> Choices:
        """What could be asked for besides."""

    def meter(self) -> Meter:
        """What is kept, from counters: it costs nothing to ask."""


class Gaps(Protocol):
    """What it lacks, and how that comes in from elsewhere. It changes no record that is there."""

    def knows(self, job_id: str) -> bool:
        """Whether it has a record of it."""

    def merge(self, generations: Iterable[Generation]) -> int:
        """Take in those that are not known, each where its time of admission puts it; how many.

        What was removed since the history was opened stays removed.
        """

    @property
    def incomplete(self) -> bool:
        """It may lack records that the storage has: it is new, was damaged, or is being rebuilt."""

    def mark(self, incomplete: bool) -> None:
        """Remember, beyond a restart, whether records may be lacking."""


class History(Records, Catalogue, Gaps, Protocol):
    """All three, over one file that one process writes. Who needs one part asks for that alone."""

    def close(self) -> None:
        """Compact and let go of the file."""
