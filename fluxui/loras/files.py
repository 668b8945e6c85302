"""Which files are LoRAs: the layout below `models/`, what came with fluxui, and `model.json`.

It lists and names; it opens no tensors. An id is a name in a listing, never a path.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Protocol

from fluxui.loras.header import MAX_HEADER, SUFFIX
from fluxui.request import DEFAULT_WEIGHT, MAX_WEIGHT

MODELS = "models/"
TRASH = "trash/"
CARD = "model.json"
PREVIEW = "preview.webp"


class Listed(Protocol):
    """One entry of a storage's listing."""

    @property
    def key(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def modified(self) -> datetime: ...


class Shelf(Protocol):
    """What is needed of a storage."""

    def put(self, key: str, data: bytes, content_type: str) -> None: ...
    def open(self, key: str) -> BinaryIO: ...
    def list(self, prefix: str) -> Iterator[Listed]: ...
    def delete(self, key: str) -> None: ...


@dataclass(frozen=True)
class File:
    """Where one LoRA lies. `stamp` changes when the file does."""

    model_id: str
    key: str
    size: int
    modified: datetime
    built_in: bool = False

    @cached_property
    def stamp(self) -> str:
        told = f"{self.key}\n{self.size}\n{self.modified.isoformat()}"
        return hashlib.sha256(told.encode()).hexdigest()[:32]


def built_ins(folder: Path) -> Iterator[File]:
    """`<folder>/<model_id>/*.safetensors`; none where the folder is missing."""
    for path in sorted(folder.glob(f"*/*{SUFFIX}")):
        found = path.stat()
        modified = datetime.fromtimestamp(found.st_mtime, timezone.utc)
        yield File(path.parent.name, str(path), found.st_size, modified, built_in=True)


def files_among(objects: Sequence[Listed]) -> Iterator[File]:
    """Ids by folder; where a folder holds several files, by folder and file."""
    loras = [found for found in objects if found.key.endswith(SUFFIX)]
    folders = [PurePosixPath(found.key).parent for found in loras]
    taken: set[str] = set()
    for found, folder in zip(loras, folders, strict=True):
        path = PurePosixPath(found.key.removeprefix(MODELS))
        alone = folders.count(folder) == 1 and len(path.parts) > 1
        model_id = str(path.parent) if alone else str(path.with_suffix(""))
        if model_id in taken:
            model_id = str(path.with_suffix(""))
        taken.add(model_id)
        yield File(model_id, found.key, found.size, found.modified)


class Head(io.BytesIO):
    """The first bytes of a file, which hold its header and none of its values."""

    def seekable(self) -> bool:
        return False


def read_head(stream: BinaryIO, first: bytes = b"") -> Head:
    """As much of a file as `header.inspect` needs without its values; `first` was read before."""
    start = first + stream.read(max(8 - len(first), 0))
    length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else 0
    # What is no header is told by its first bytes.
    wanted = 8 + (length if length <= MAX_HEADER else 120)
    return Head(start + stream.read(max(wanted - len(start), 0)))


def beside(file: File, name: str) -> str:
    """The key of its card or its preview."""
    return f"{MODELS}{file.model_id}/{name}"


def read_card(text: bytes) -> dict[str, Any]:
    """`model.json`, which people edit by hand: what is not as it should be is left out."""
    try:
        written = json.loads(text)
    except ValueError:
        return {}
    card = written if isinstance(written, dict) else {}
    words = card.get("trigger_words")
    if words is not None and not (
        isinstance(words, (list, tuple)) and all(isinstance(word, str) for word in words)
    ):
        del card["trigger_words"]
    weight = card.get("default_weight", DEFAULT_WEIGHT)
    if not isinstance(weight, (int, float)) or not 0 <= weight <= MAX_WEIGHT:
        del card["default_weight"]
    return card
