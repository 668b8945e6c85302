"""Where the bytes are kept: the seam between fluxui and a folder or a bucket, and every key.

Nothing outside this folder builds a key. The storage knows nothing of generations beyond
their id and day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from fluxui.errors import ObjectNotFound
from fluxui.generation import Generation
from fluxui.settings import OutputFormat

GENERATED = "generated/"
MODELS = "models/"
TRASH = "trash/"

_FOLDER = re.compile(rf"{GENERATED}\d{{4}}/\d\d/\d\d/[^/]+")

MAX_KEY = 900
MAX_NAME = 200


@dataclass(frozen=True)
class StoredObject:
    """One entry of a listing; `size` in bytes. `md5` is that of the bytes, where the storage says
    it with the listing, as most buckets do; "" elsewhere."""

    key: str
    size: int
    modified: datetime
    md5: str = ""


class Storage(Protocol):
    """A flat map from key to bytes. Errors are StorageError's leaves and ObjectNotFound."""

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store, or replace, all of it or nothing."""

    def open(self, key: str) -> BinaryIO:
        """A stream that can seek, to be closed by the caller; what is not read hardly travels."""

    def url(self, key: str, seconds: int = 3600) -> str | None:
        """A URL that a browser opens without us, valid at most an hour; None if there is none."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Everything under `prefix`, by key; SeaweedFS alone puts `a/b` before `a-b`."""

    def delete(self, key: str) -> None:
        """Remove; a key that holds nothing is no error."""

    def check(self) -> None:
        """Write, read and remove a probe. Raises StorageError with the way out."""


def check_key(key: str) -> None:
    """Refuse what a folder and a bucket would read differently, or would leave by.

    Raises ObjectNotFound: such a key holds nothing, in any storage.
    """
    names = key.split("/")
    if (
        len(key.encode(errors="replace")) > MAX_KEY
        or not key.isprintable()
        or "\\" in key
        or any(not name or name[0] == "." or len(name.encode()) > MAX_NAME for name in names)
    ):
        raise ObjectNotFound(key[:MAX_NAME])


SUFFIXES: dict[OutputFormat, str] = {"png": ".png", "webp": ".webp", "jpeg": ".jpg"}
PICTURE_SUFFIXES = frozenset(SUFFIXES.values())
_CONTENT_TYPES = {
    ".png": "image/png",
    ".webp": "image/webp",
    ".jpg": "image/jpeg",
    ".json": "application/json",
}


def content_type(key: str) -> str:
    """What is said of an object wherever it is handed out, by its suffix."""
    return _CONTENT_TYPES.get(PurePosixPath(key).suffix, "application/octet-stream")


def folder_of(generation: Generation) -> str:
    """`generated/2026/11/22/<job_id>/`, by the day of admission in UTC."""
    return f"{GENERATED}{generation.created_at:%Y/%m/%d}/{generation.id}/"


def image_key(generation: Generation, index: int, output_format: OutputFormat = "png") -> str:
    return f"{folder_of(generation)}image_{index}{SUFFIXES[output_format]}"


def thumb_key(generation: Generation, index: int) -> str:
    return f"{folder_of(generation)}thumb_{index}.webp"


def record_key(generation: Generation) -> str:
    return f"{folder_of(generation)}record.json"


def folder_in(key: str) -> str:
    """The folder of the generation that a key belongs to; "" if it belongs to none."""
    folder, _, _ = key.rpartition("/")
    return f"{folder}/" if _FOLDER.fullmatch(folder) else ""


def day_of(folder: str) -> str:
    """`generated/2026/11/22/`: the prefix of all generations of the same day."""
    return folder[: folder.rindex("/", 0, -1) + 1]


def job_of(folder: str) -> str:
    """The id of the generation that a folder belongs to."""
    return folder.split("/")[-2]


def trash_key(key: str) -> str:
    return f"{TRASH}{key}"


def model_key(model_id: str, name: str) -> str:
    """A file of a LoRA: its safetensors, `model.json` or `preview.webp`."""
    return f"{MODELS}{model_id}/{name}"
