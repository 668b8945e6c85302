"""A page of the history as cards: each picture with fresh URLs. Knows no HTML.

URLs are minted for one view and kept nowhere: a bucket's live an hour at most, and without a
bucket the picture is served under `api/images/`, relative to wherever the page is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fluxui.errors import ImageNotFound
from fluxui.generation import Generation, Image, Status
from fluxui.history import Catalogue, Page, Query
from fluxui.storage import Storage

PAGE_SIZE = 48


@dataclass(frozen=True)
class Card:
    """One picture, ready to be shown."""

    generation: Generation
    image: Image
    thumb_url: str
    url: str


@dataclass(frozen=True)
class Picture:
    """Where one file of a generation is: a URL, or else a key for `Pictures.open`."""

    url: str | None
    key: str
    content_type: str
    sha256: str = ""


@dataclass(frozen=True)
class GalleryPage:
    """`total` counts the pictures of the query; `cursor` is "" on the last page."""

    cards: list[Card]
    cursor: str
    total: int


def page(history: Catalogue, storage: Storage, query: Query, cursor: str = "") -> GalleryPage:
    """At most 48 pictures, as the query orders them; no generation is split over two pages."""
    asked = replace(query, status=Status.completed)
    found = history.page(asked, cursor, PAGE_SIZE)
    shown, last = _fill(found, query)
    return GalleryPage(
        cards=[card(one, image, storage) for one in shown for image in _asked(one, query)],
        cursor=last,
        total=found.images,
    )


def _asked(generation: Generation, query: Query) -> list[Image]:
    """Of one with favourites only those, where they are asked for."""
    return [image for image in generation.images if image.favourite or not query.favourite]


def _fill(found: Page, query: Query) -> tuple[list[Generation], str]:
    """The generations that fit on one page, and the cursor behind the last of them."""
    room = PAGE_SIZE
    for count, generation in enumerate(found.generations):
        room -= len(_asked(generation, query))
        if room < 0:
            return found.generations[:count], found.cursors[count - 1]
    return found.generations, found.cursor


def card(generation: Generation, image: Image, storage: Storage) -> Card:
    served = f"api/images/{generation.id}/{image.index}"
    return Card(
        generation=generation,
        image=image,
        thumb_url=storage.url(image.thumb_key) or f"{served}?thumb=1",
        url=storage.url(image.key) or served,
    )


def image_of(generation: Generation, index: int) -> Image:
    """The image that people call `index`, from 1. Raises ImageNotFound."""
    for image in generation.images:
        if image.index == index:
            return image
    raise ImageNotFound(f"Generation {generation.id} has no image {index}.")
