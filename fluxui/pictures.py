"""The kept pictures, as one visitor sees them: found, looked at, deleted, brought back.

It paints nothing and knows no queue. What belongs to somebody else is not there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import BinaryIO

from fluxui import gallery
from fluxui.errors import GenerationNotFound
from fluxui.gallery import Card, GalleryPage, Picture
from fluxui.generation import Generation
from fluxui.history import History, Page, Query
from fluxui.storage import Storage
from fluxui.trash import Trash
from fluxui.visitor import Visitor, Who


def theirs(history: History, visitor: Visitor, job_id: str) -> Generation:
    """A generation, if it is this visitor's. Raises GenerationNotFound."""
    return _owned(history.get(job_id), visitor)


def _owned(generation: Generation, visitor: Visitor) -> Generation:
    if not visitor.owns(generation.visitor):
        raise GenerationNotFound(generation.id)
    return generation


class Pictures:
    """At each call for the visitor that `who` then gives."""

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
        kind = "image/webp" if thumb else "image/png"
        return Picture(self._storage.url(key), key, kind, "" if thumb else image.sha256)

    def open(self, picture: Picture) -> BinaryIO:
        """Raises ObjectNotFound, StorageUnavailable."""
        return self._storage.open(picture.key)

    def discard(self, generation: Generation) -> None:
        """Move the pictures and the record of an ended generation to the trash."""
        self._trash.discard(generation)

    def restore(self, job_id: str) -> Generation:
        """Bring a deleted generation back out of the trash. Raises GenerationNotFound."""
        _owned(self._trash.find(job_id), self._who())
        return self._trash.restore(job_id)
