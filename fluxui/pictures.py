"""The kept pictures, as one visitor sees them: found, looked at, deleted, brought back.

It paints nothing and knows no queue. What belongs to somebody else is not there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO

from fluxui import gallery, images, zipping
from fluxui.errors import GenerationNotFound, ImageNotFound, InvalidRequest
from fluxui.gallery import Card, GalleryPage, Picture
from fluxui.generation import Generation, Status
from fluxui.history import Choices, History, Page, Query, Records
from fluxui.storage import Storage, content_type, record_key
from fluxui.trash import Trash
from fluxui.visitor import Visitor, Who

MAX_TAGS, MAX_TAG = 20, 40  # of one generation; characters


def theirs(history: Records, visitor: Visitor, job_id: str) -> Generation:
    """A generation, if it is this visitor's. Raises GenerationNotFound."""
    return _owned(history.get(job_id), visitor)


def _owned(generation: Generation, visitor: Visitor) -> Generation:
    if not visitor.owns(generation.visitor):
        raise GenerationNotFound(generation.id)
    return generation


@dataclass(frozen=True)
class Difference:
    """`pixels` of `of` differ, by `largest` of 255 at most; `lossy` says that both were compared
    as JPEG, since one of them is."""

    pixels: int
    largest: int
    of: int
    lossy: bool = False


class Pictures:
    """At each call for the visitor that `who` then gives."""

    _changing = threading.Lock()

    def __init__(self, storage: Storage, history: History, trash: Trash, who: Who) -> None:
        self._storage = storage
        self._history = history
        self._trash = trash
        self._who = who

    def get(self, job_id: str) -> Generation:
        """Raises GenerationNotFound."""
        return theirs(self._history, self._who(), job_id)

    def page(self, query: Query = Query(), cursor: str = "", limit: int = 48) -> Page:  # noqa: B008
        """The history, newest first."""
        return self._history.page(self._scoped(query), cursor, limit)

    def gallery(self, query: Query = Query(), cursor: str = "") -> GalleryPage:  # noqa: B008
        """The pictures, newest first."""
        return gallery.page(self._history, self._storage, self._scoped(query), cursor)

    def choices(self) -> Choices:
        """What the pictures that there are differ in, the most frequent first."""
        return self._history.choices(self._scoped(Query(status=Status.completed)))

    def _scoped(self, query: Query) -> Query:
        visitor = self._who()
        return query if visitor.owner else replace(query, visitor=visitor.id)

    def card(self, job_id: str, index: int) -> Card:
        """Raises GenerationNotFound, ImageNotFound."""
        generation = self.get(job_id)
        return gallery.card(generation, gallery.image_of(generation, index), self._storage)

    def image(self, job_id: str, index: int, thumb: bool = False) -> Picture:
        """Raises GenerationNotFound, ImageNotFound."""
        image = gallery.image_of(self.get(job_id), index)
        key = image.thumb_key if thumb else image.key
        checked = "" if thumb else image.sha256
        return Picture(self._storage.url(key), key, content_type(key), checked)

    def open(self, picture: Picture) -> BinaryIO:
        """Raises ObjectNotFound, StorageUnavailable."""
        return self._storage.open(picture.key)

    def favourite(self, job_id: str, index: int, on: bool = True) -> Generation:
        """Put the star on one picture, or take it off. Raises NotFound, StorageError."""
        with self._changing:
            generation = self.get(job_id)
            stars = {image.index for image in generation.images if image.favourite}
            return self._star(generation, stars | {index} if on else stars - {index})

    def set_favourites(self, job_id: str, indexes: Iterable[int]) -> Generation:
        """Stars on these pictures of a generation, and on no other. Raises NotFound."""
        with self._changing:
            return self._star(self.get(job_id), set(indexes))

    def _star(self, generation: Generation, stars: set[int]) -> Generation:
        for index in stars:
            gallery.image_of(generation, index)
        marked = tuple(
            image.model_copy(update={"favourite": image.index in stars})
            for image in generation.images
        )
        return self._keep(generation.model_copy(update={"images": marked}))

    def tag(self, job_id: str, tags: Iterable[str]) -> Generation:
        """Put these words to a generation in place of others. Raises InvalidRequest, NotFound."""
        tidy = _tidy(tags)
        with self._changing:
            generation = self.get(job_id)
            if not generation.images:
                raise ImageNotFound(f"Generation {job_id[:64]} has no pictures to put a tag to.")
            return self._keep(generation.model_copy(update={"tags": tidy}))

    def _keep(self, generation: Generation) -> Generation:
        """In the history, then beside the pictures, from where it can be rebuilt."""
        self._history.replace(generation)
        self._storage.put(record_key(generation), generation.record_file(), "application/json")
        return generation

    def each(self, query: Query) -> Iterator[tuple[Generation, int]]:
        """Every picture that matches, a page at a time: what came or went meanwhile is no harm."""
        cursor = ""
        while True:
            page = self.gallery(query, cursor)
            yield from ((card.generation, card.image.index) for card in page.cards)
            cursor = page.cursor
            if not cursor:
                return

    def zip(self, pictures: Iterable[tuple[str, int]]) -> Iterator[bytes]:
        """These as a zip, while it is read; what is not there is left out."""
        return zipping.zipped(self._found(pictures), self._storage)

    def zip_all(self, query: Query) -> Iterator[bytes]:
        """The same of every picture that matches."""
        return zipping.zipped(self.each(query), self._storage)

    def _found(self, pictures: Iterable[tuple[str, int]]) -> Iterator[tuple[Generation, int]]:
        for job_id, index in pictures:
            with suppress(GenerationNotFound):
                yield self.get(job_id), index

    def difference(self, one: tuple[str, int], other: tuple[str, int]) -> Difference:
        """Of two pictures of the same size, pixel by pixel. Raises NotFound, StorageError."""
        first, second = self._bytes(*one), self._bytes(*other)
        lossy = images.lossy(first) or images.lossy(second)
        return Difference(*images.difference(first, second), lossy)

    def _bytes(self, job_id: str, index: int) -> bytes:
        with self.open(self.image(job_id, index)) as stream:
            return stream.read()

    def discard(self, generation: Generation) -> None:
        """Move the pictures and the record of an ended generation to the trash."""
        self._trash.discard(generation)

    def restore(self, job_id: str) -> Generation:
        """Bring a deleted generation back out of the trash. Raises GenerationNotFound."""
        _owned(self._trash.find(job_id), self._who())
        return self._trash.restore(job_id)


def _tidy(tags: Iterable[str]) -> tuple[str, ...]:
    """Without doubles and needless spaces. Raises InvalidRequest."""
    found: dict[str, str] = {}
    for tag in (" ".join(tag.split()) for tag in tags):
        if tag:
            found.setdefault(tag.casefold(), tag)
    if len(found) > MAX_TAGS or any(len(tag) > MAX_TAG for tag in found):
        raise InvalidRequest(f"At most {MAX_TAGS} tags, of {MAX_TAG} characters each.")
    return tuple(found.values())
