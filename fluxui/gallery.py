"""A page of the history as cards: each picture with fresh URLs. Knows no HTML.

URLs are minted for one view and kept nowhere: a bucket's live an hour at most, and without a
bucket the picture is served under `api/images/`, relative to wherever the page is.
"""

from __future__ import annotations

from dataclasses import dataclass

from fluxui.errors import ImageNotFound
from fluxui.generation import Generation, Image, Status
from fluxui.history import History, Query
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
class GalleryPage:
    """`total` counts the pictures of the query; `cursor` is "" on the last page."""

    cards: list[Card]
    cursor: str
    total: int


def page(history: History, storage: Storage, query: Query, cursor: str = "") -> GalleryPage:
    """About 48 pictures, newest first: a generation's pictures are never split over two pages."""
    asked = Query(words=query.words, model_id=query.model_id, status=Status.completed)
    found = history.page(asked, cursor, PAGE_SIZE, images=True)
    return GalleryPage(
        cards=[
            card(generation, image, storage)
            for generation in found.generations
            for image in generation.images
        ],
        cursor=found.cursor,
        total=found.images,
    )


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
