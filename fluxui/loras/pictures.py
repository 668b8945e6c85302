"""The picture beside each LoRA: read, kept, and which of them lack one.

It paints nothing: somebody else does, when nobody wants anything else.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from fluxui.errors import LoraNotFound
from fluxui.loras.files import PREVIEW, File, Shelf, beside
from fluxui.loras.known import Known
from fluxui.loras.listing import Listing
from fluxui.loras.reading import Base, Reader


class Pictures:
    """Safe to call from any thread."""

    def __init__(
        self, shelf: Shelf, listing: Listing, reader: Reader, known: Known, base: Base
    ) -> None:
        self._shelf = shelf
        self._listing = listing
        self._reader = reader
        self._known = known
        self._base = base
        self._made: set[str] = set()  # what a bucket that is away lists only when it is back

    def read(self, file: File) -> bytes | None:
        """A WebP picture; None if it has none. Raises StorageError."""
        if file.built_in:
            picture = Path(file.key).parent / PREVIEW
            return picture.read_bytes() if picture.is_file() else None
        return self._listing.read(beside(file, PREVIEW))

    def lacking(self) -> str | None:
        """One that fits, is on this machine, has no picture, and did not fail to get one before.

        It looks at what is known already, and fetches nothing.
        """
        for file in self._listing.files().values():
            if file.built_in or self._listing.preview(file) or not self._listing.is_read(file):
                continue
            report = self._reader.found(file)
            if report and report.fit.fits and self._reader.here(file) and not self._failed(file):
                return file.model_id
        return None

    def failed(self, model_id: str) -> bool:
        """Whether a file with the same tensors gave no picture before. Raises LoraNotFound."""
        return self._failed(self._listing.find(model_id))

    def fail(self, model_id: str) -> None:
        """Not again, for these tensors and this base model; nothing if it was deleted."""
        with suppress(LoraNotFound):
            self._known.keep(self._trial(self._listing.find(model_id)), True)

    def put(self, model_id: str, webp: bytes) -> None:
        """Keep its picture beside it. Raises LoraNotFound, StorageError."""
        file = self._listing.find(model_id)
        self._shelf.put(beside(file, PREVIEW), webp, "image/webp")
        self._made.add(file.stamp)
        self._listing.forget()

    def _failed(self, file: File) -> bool:
        return file.stamp in self._made or bool(self._known.get(self._trial(file)))

    def _trial(self, file: File) -> str:
        return f"picture {self._base.name} {self._reader.known_sha256(file) or file.stamp}"
