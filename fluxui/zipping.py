"""Many pictures as one zip, written while it is read: in memory is one picture at a time.

The pictures are not packed any smaller, which they can't be. With them go their records, so that
another fluxui can take them in.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fluxui import gallery
from fluxui.errors import NotFound
from fluxui.generation import Generation, Image
from fluxui.storage import Storage

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

RECORDS = "history.jsonl"


def zipped(pictures: Iterable[tuple[Generation, int]], storage: Storage) -> Iterator[bytes]:
    """The bytes of the zip. What was deleted meanwhile is left out. Raises StorageError."""
    sink = _Sink()
    records: dict[str, str] = {}
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for generation, index in pictures:
            with suppress(NotFound):
                image = gallery.image_of(generation, index)
                with storage.open(image.key) as stream:
                    archive.writestr(_entry(generation, image), stream.read())
                records[generation.id] = json.dumps(generation.record())
            yield sink.taken()
        lines = "".join(f"{record}\n" for record in records.values())
        archive.writestr(RECORDS, lines, zipfile.ZIP_DEFLATED)
    yield sink.taken()


def _entry(generation: Generation, image: Image) -> zipfile.ZipInfo:
    """`2026-11-22_15-58_seed-7_1b9d6bcd_1.png`: by time in a folder, and never twice."""
    when = generation.created_at
    suffix = PurePosixPath(image.key).suffix
    name = f"{when:%Y-%m-%d_%H-%M}_seed-{image.seed}_{generation.id[:8]}_{image.index}{suffix}"
    return zipfile.ZipInfo(name, when.timetuple()[:6])


class _Sink(io.RawIOBase):
    """What `zipfile` writes to, which is taken away as it comes; it can't go back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        part = bytes(data)
        self._parts.append(part)
        return len(part)

    def taken(self) -> bytes:
        content, self._parts = b"".join(self._parts), []
        return content
