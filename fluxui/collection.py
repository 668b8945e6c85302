"""The LoRAs, as one visitor sees them: found, imported, changed, deleted, brought back.

It adds to the library what only the history knows: how often each was used, and when. It paints
nothing and knows no queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from fluxui.errors import Forbidden
from fluxui.generation import Status, now
from fluxui.history import Catalogue, Kept, Query
from fluxui.loras.copies import OnProgress, Source, unheard
from fluxui.loras.hub import Address, Hub
from fluxui.loras.library import PATIENCE, Library, Lora
from fluxui.loras.reading import Report
from fluxui.visitor import Who

PAGE = 24
# The last so many generations decide what was used last.
RECENT = 300
NEW = timedelta(days=7)

Sort = Literal["used", "name", "added"]


@dataclass(frozen=True)
class Shelved:
    """A LoRA on a page. `uses` counts pictures; `here` needs no download; `new` was never used."""

    lora: Lora
    uses: int
    here: bool
    new: bool


@dataclass(frozen=True)
class LoraPage:
    """`total` of those that match, of which the first shown is number `start`, from 0.

    `left` were not looked at yet. `looked` is how many seconds ago the storage was listed, None if
    it never was; `problem` is why it could not be.
    """

    shown: tuple[Shelved, ...]
    total: int
    start: int
    left: int
    looked: float | None
    problem: str


class Collection:
    """At each call for the visitor that `who` then gives."""

    def __init__(self, library: Library, history: Catalogue, hub: Hub, who: Who) -> None:
        self._library = library
        self._history = history
        self._hub = hub
        self._who = who

    def all(self, patience: float | None = PATIENCE) -> list[Lora]:
        """Every LoRA there is, by name, those that do not fit included.

        What could not be looked at within `patience` seconds is not `seen`; None waits for all.
        """
        return self._library.list(patience)

    def get(self, model_id: str) -> Lora:
        """Raises LoraNotFound."""
        return self._library.get(model_id)

    def preview(self, model_id: str) -> bytes | None:
        """A WebP picture; None if it has none. Raises LoraNotFound."""
        return self._library.preview(model_id)

    def page(
        self, words: str = "", sort: Sort = "used", favourites: bool = False, start: int = 0
    ) -> LoraPage:
        """Those that match all of `words` in name, id or trigger words; unread ones come in time.

        A `start` beyond the end shows the last page.
        """
        found = [one for one in self._library.list() if _matches(one, words, favourites)]
        self._sort(found, sort)
        start = max(0, min(start, (len(found) - 1) // PAGE * PAGE))
        shown = tuple(map(self._shelved, found[start : start + PAGE]))
        listing = self._library.listing
        looked = listing.age if listing.age != float("inf") else None
        problem = f"{listing.problem.message} {listing.problem.hint}" if listing.problem else ""
        return LoraPage(shown, len(found), start, self._library.left, looked, problem)

    def _sort(self, found: list[Lora], sort: Sort) -> None:
        """In place, from the order of names."""
        if sort == "added":
            found.sort(key=lambda lora: lora.added, reverse=True)
        elif sort == "used":
            recent = self._recent()
            found.sort(key=lambda lora: recent.get(lora.model_id, RECENT))

    def _recent(self) -> dict[str, int]:
        """Model id → how many generations ago it was used last."""
        page = self._history.page(Query(status=Status.completed), limit=RECENT)
        order: dict[str, int] = {}
        for ago, generation in enumerate(page.generations):
            for lora in generation.loras:
                order.setdefault(lora.model_id, ago)
        return order

    def _shelved(self, lora: Lora) -> Shelved:
        uses = self.uses(lora.model_id)
        new = not uses and not lora.built_in and now() - lora.added < NEW
        return Shelved(lora, uses, self._library.is_here(lora.model_id), new)

    def uses(self, model_id: str) -> int:
        """How many pictures were painted with it."""
        return self._history.meter().loras.get(model_id, Kept()).images

    # Imports

    def find(self, wanted: Address | str) -> Source:
        """Where on the Hub it lies, or under which key of the bucket; nothing of it is fetched.

        Raises Forbidden, InvalidRequest, HubError's leaves, ObjectNotFound, StorageError.
        """
        self._owners_only()
        if isinstance(wanted, Address):
            return self._hub.find(wanted)
        return self._library.source(wanted)

    def check(self, source: Source) -> Report:
        """Whether it fits, from its first bytes. Raises LoraUnreadable, and what `find` raises."""
        self._owners_only()
        return self._library.reader.check(source)

    def fetch(
        self,
        source: Source,
        on_progress: OnProgress = unheard,
        model_id: str = "",
        name: str = "",
        trigger_words: tuple[str, ...] = (),
    ) -> Lora:
        """Import it. Raises LoraUnreadable, LoraMisfit, InvalidRequest, and what `find` raises."""
        self._owners_only()
        return self._library.import_from(source, on_progress, model_id, name, trigger_words)

    def add(
        self, file: Path, model_id: str = "", name: str = "", trigger_words: tuple[str, ...] = ()
    ) -> Lora:
        """Import a file of this machine.

        Raises LoraUnreadable, LoraMisfit, InvalidRequest for a name that is taken.
        """
        return self._library.import_file(file, model_id, name, trigger_words)

    # Changes

    def update(
        self,
        model_id: str,
        *,
        name: str | None = None,
        trigger_words: tuple[str, ...] | None = None,
        default_weight: float | None = None,
        notes: str | None = None,
        favourite: bool | None = None,
    ) -> Lora:
        """Change what people wrote about it, never the weights. Raises LoraNotFound, Forbidden."""
        self._owners_only()
        return self._library.update(
            model_id,
            name=name,
            trigger_words=trigger_words,
            default_weight=default_weight,
            notes=notes,
            favourite=favourite,
        )

    def delete(self, model_id: str) -> int:
        """Move it to the trash; how many pictures were painted with it. They stay, and what waits
        for it is painted. Raises LoraNotFound, InvalidRequest, Forbidden."""
        self._owners_only()
        self._library.delete(model_id)
        return self.uses(model_id)

    def restore(self, model_id: str) -> Lora:
        """Bring it back out of the trash. Raises LoraNotFound, Conflict, Forbidden."""
        self._owners_only()
        return self._library.restore(model_id)

    def _owners_only(self) -> None:
        if not self._who().owner:
            raise Forbidden("Only the owner of this fluxui changes LoRAs.", "Everybody uses them.")


def _matches(lora: Lora, words: str, favourites: bool) -> bool:
    if favourites and not lora.favourite:
        return False
    if not words:
        return True
    said = " ".join((lora.name, lora.model_id, *lora.trigger_words)).lower()
    return all(word in said for word in words.lower().split())
