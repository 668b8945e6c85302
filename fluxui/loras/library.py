"""The LoRAs that there are: those that came with fluxui, and those that lie in the storage.

A `.safetensors` below `models/` is a LoRA, whoever put it there; `model.json` beside it holds what
people wrote about it. Ids are looked up among what was listed, and never become part of a path.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from fluxui.errors import (
    InvalidRequest,
    LoraMisfit,
    LoraUnreadable,
    ObjectNotFound,
    StorageError,
)
from fluxui.loras.families import is_kin
from fluxui.loras.files import (
    CARD,
    MODELS,
    PREVIEW,
    File,
    Shelf,
    beside,
)
from fluxui.loras.header import SUFFIX, Fit, Header, inspect, opened, tensors_sha256
from fluxui.loras.listing import Listing
from fluxui.loras.metadata import training, trigger_words
from fluxui.request import DEFAULT_WEIGHT, MAX_WEIGHT

BUILT_IN = Path(__file__).parent.parent / "assets" / "loras"
_CHUNK = 1 << 20
_SEGMENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


class Base(Protocol):
    """What is needed of a base model."""

    @property
    def name(self) -> str: ...
    def targets(self) -> dict[str, tuple[int, int]]: ...


@dataclass(frozen=True)
class Lora:
    """One LoRA. `file` is its key in the storage, or its path for one that came with fluxui.

    `size` in bytes. `sha256` is that of its tensors, "" in a listing before it was read once.
    """

    model_id: str
    name: str
    trigger_words: tuple[str, ...]
    default_weight: float
    notes: str
    built_in: bool
    file: str
    size: int
    sha256: str
    added: datetime
    fit: Fit
    training: Mapping[str, str] = field(default_factory=dict)


class Library:
    """Safe to call from any thread. `cache` is a folder for what comes out of a bucket."""

    def __init__(self, shelf: Shelf, cache: Path, base: Base, built_in: Path = BUILT_IN) -> None:
        self._shelf = shelf
        self._cache = cache / "loras"
        self._base = base
        self._targets = base.targets()
        self._listing = Listing(shelf, built_in)
        self._lock = threading.RLock()
        self._read: dict[str, tuple[Fit, Header]] = {}
        self._hashes: dict[str, str] = {}
        self._remote = False  # whether the storage gives streams without a file, as a bucket

    def list(self) -> list[Lora]:
        """Every LoRA, by name, those that do not fit included; while the bucket is away, those
        that were listed last."""
        loras = [lora for file in self._listing.files().values() if (lora := self._seen(file))]
        shown = [lora for lora in loras if lora.fit.fits or not lora.built_in]
        return sorted(shown, key=lambda lora: (lora.name.lower(), lora.model_id))

    def get(self, model_id: str) -> Lora:
        """One LoRA with its hash, which may mean to download it.

        Raises LoraNotFound, StorageUnavailable.
        """
        file = self._listing.find(model_id)
        lora = self._lora(file)
        return lora if lora.sha256 or not lora.fit.fits else replace(lora, sha256=self._hash(file))

    def by_hash(self, sha256: str) -> Lora | None:
        """The LoRA whose tensors have this hash, under whatever name it goes now; None if there is
        none among those that are on this machine, or were used on it. Downloads nothing."""
        for file in self._listing.files().values():
            if self._known_hash(file) == sha256:
                return self._lora(file)
        return None

    def _known_hash(self, file: File) -> str:
        """Of a file that is on this machine, or was; "" for any other, and for a damaged one."""
        if file.stamp not in self._hashes:
            with suppress(LoraUnreadable, ObjectNotFound, StorageError):
                return self._hash(file) if self._here(file) else ""
        return self._hashes.get(file.stamp, "")

    def path(self, model_id: str) -> Path:
        """A local file with its tensors. Raises LoraNotFound, StorageUnavailable."""
        return self._local(self._listing.find(model_id))

    def preview(self, model_id: str) -> bytes | None:
        """A WebP picture; None if it has none. Raises LoraNotFound."""
        file = self._listing.find(model_id)
        if file.built_in:
            picture = Path(file.key).parent / PREVIEW
            return picture.read_bytes() if picture.is_file() else None
        return self._listing.read(beside(file, PREVIEW))

    def import_file(
        self, source: Path, model_id: str = "", name: str = "", trigger_words: tuple[str, ...] = ()
    ) -> Lora:
        """Keep a copy of a file in the storage.

        Raises LoraUnreadable for a damaged one, LoraMisfit for another family of models,
        InvalidRequest for an id that is taken or none.
        """
        with opened(source) as (stream, size):
            fit, _ = inspect(stream, size, self._targets, self._base.name)
            stream.seek(0)
            if not fit.fits and not is_kin(fit.base_family):
                raise LoraMisfit(fit.verdict)
            chosen = self._new_id(model_id, source)
            key = f"{MODELS}{chosen}/{PurePosixPath(chosen).name}{SUFFIX}"
            self._shelf.put(key, stream.read(), "application/octet-stream")
        self._listing.forget()
        words = trigger_words or None
        return self.update(chosen, name=name or None, trigger_words=words)

    def update(
        self,
        model_id: str,
        *,
        name: str | None = None,
        trigger_words: tuple[str, ...] | None = None,
        default_weight: float | None = None,
        notes: str | None = None,
    ) -> Lora:
        """Change what people wrote about it, never the weights. Raises LoraNotFound."""
        if default_weight is not None and not 0 <= default_weight <= MAX_WEIGHT:
            raise InvalidRequest(f"default_weight should be between 0 and {MAX_WEIGHT:g}.")
        file = self._listing.find(model_id)
        changed = {
            "name": name,
            "trigger_words": trigger_words,
            "default_weight": default_weight,
            "notes": notes,
        }
        card = self._listing.card(file) | {
            field: value for field, value in changed.items() if value is not None
        }
        text = json.dumps(card, indent=1, ensure_ascii=False)
        self._shelf.put(beside(file, CARD), text.encode(), "application/json")
        self._listing.forget()
        return self.get(model_id)

    def delete(self, model_id: str) -> None:
        """Remove the file, its card and its preview. Raises LoraNotFound, InvalidRequest."""
        file = self._listing.find(model_id)
        if file.built_in:
            raise InvalidRequest(f"{model_id} came with fluxui and can't be deleted.")
        for key in (file.key, beside(file, CARD), beside(file, PREVIEW)):
            self._shelf.delete(key)
        self._listing.forget()

    def _new_id(self, wanted: str, source: Path) -> str:
        taken = self._listing.files()
        if not wanted:
            slug = re.sub(r"[^a-z0-9._-]+", "-", source.stem.lower()).strip("-._")[:72] or "lora"
            names = (slug, *(f"{slug}-{count}" for count in range(2, 1000)))
            return next(name for name in names if name not in taken)
        if not all(_SEGMENT.fullmatch(part) for part in wanted.split("/")):
            raise InvalidRequest(
                "model_id should be made of a-z, 0-9, dots, dashes and underscores."
            )
        if wanted in taken:
            raise InvalidRequest(f"There is a LoRA {wanted!r} already.")
        return wanted

    # What is known of one

    def _seen(self, file: File) -> Lora | None:
        """None for a file that went since it was listed, or that was never read and can't be."""
        try:
            return self._lora(file)
        except (ObjectNotFound, StorageError):
            return None

    def _lora(self, file: File) -> Lora:
        fit, header = self._inspected(file)
        card = self._listing.card(file)
        words = card.get("trigger_words")
        return Lora(
            model_id=file.model_id,
            name=str(card.get("name") or file.model_id),
            trigger_words=trigger_words(header.metadata) if words is None else tuple(words),
            default_weight=float(card.get("default_weight", DEFAULT_WEIGHT)),
            notes=str(card.get("notes", "")),
            built_in=file.built_in,
            file=file.key,
            size=file.size,
            sha256=self._hashes.get(file.stamp, ""),
            added=file.modified,
            fit=fit,
            training=training(header.metadata),
        )

    def _inspected(self, file: File) -> tuple[Fit, Header]:
        with self._lock:
            if file.stamp not in self._read:
                with self._opened(file) as stream:
                    self._read[file.stamp] = self._report(stream, file.size)
            return self._read[file.stamp]

    def _report(self, stream: BinaryIO, size: int) -> tuple[Fit, Header]:
        try:
            return inspect(stream, size, self._targets, self._base.name)
        except LoraUnreadable as error:
            fit = Fit("unreadable", 0, None, "unknown", 0, 0, fits=False, verdict=error.message)
            return fit, Header({}, {}, 0)

    # Its bytes

    @contextmanager
    def _opened(self, file: File) -> Iterator[BinaryIO]:
        if file.built_in:
            with Path(file.key).open("rb") as stream:
                yield stream
        else:
            with self._shelf.open(file.key) as stream:
                self._remote = not isinstance(getattr(stream, "name", None), str)
                yield stream

    def _hash(self, file: File) -> str:
        if file.stamp not in self._hashes:
            self._hashes[file.stamp] = tensors_sha256(self._local(file))
        return self._hashes[file.stamp]

    def _here(self, file: File) -> Path | None:
        """Where it lies on this machine, if it does."""
        if file.built_in:
            return Path(file.key)
        copy = self._copy(file)
        return copy if copy.is_file() else self._own(file)

    def _copy(self, file: File) -> Path:
        return self._cache / f"{file.stamp}{SUFFIX}"

    def _own(self, file: File) -> Path | None:
        """Its path in a storage that is a folder of this machine."""
        if self._remote:
            return None
        with self._opened(file) as stream:
            return None if self._remote else Path(stream.name)

    def _local(self, file: File) -> Path:
        if here := self._here(file):
            return here
        with self._opened(file) as stream:
            return self._downloaded(stream, self._copy(file))

    def _downloaded(self, stream: BinaryIO, copy: Path) -> Path:
        """Whole, or not there."""
        self._cache.mkdir(parents=True, exist_ok=True)
        draft = self._cache / f"{uuid.uuid4().hex}.part"
        with draft.open("wb") as file:
            while chunk := stream.read(_CHUNK):
                file.write(chunk)
        return draft.replace(copy)
