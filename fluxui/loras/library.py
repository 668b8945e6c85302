"""The LoRAs that there are: those that came with fluxui, and those that lie in the storage.

A `.safetensors` below `models/` is a LoRA, whoever put it there; `model.json` beside it holds what
people wrote about it. Ids are looked up among what was listed, and never become part of a path.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from fluxui.errors import (
    Conflict,
    InvalidRequest,
    LoraMisfit,
    LoraNotFound,
    NotFound,
    ObjectNotFound,
    StorageError,
)
from fluxui.loras.copies import LIMIT_BYTES, Copies, OnProgress, Source
from fluxui.loras.families import is_kin
from fluxui.loras.files import (
    CARD,
    MODELS,
    PREVIEW,
    TRASH,
    File,
    Shelf,
    beside,
)
from fluxui.loras.header import SUFFIX, opened, tensors_sha256
from fluxui.loras.known import Known
from fluxui.loras.listing import Listing
from fluxui.loras.lora import Lora, lora_of, new_id
from fluxui.loras.pictures import Pictures
from fluxui.loras.reading import Base, Fetching, Reader, Report
from fluxui.request import MAX_WEIGHT

__all__ = ["BUILT_IN", "PATIENCE", "Library", "Lora"]

BUILT_IN = Path(__file__).parent.parent / "assets" / "loras"
MAX_BYTES = 8 * 2**30
HASHED_BYTES = 4 * 10**9
# Seconds that a listing waits for files which were never looked at.
PATIENCE = 1.0


class Library:
    """Safe to call from any thread. `cache` is a folder for what comes out of a bucket, of which
    `limit` bytes are kept; beside it lies what was found out about the files."""

    def __init__(
        self,
        shelf: Shelf,
        cache: Path,
        base: Base,
        built_in: Path = BUILT_IN,
        limit: int = LIMIT_BYTES,
    ) -> None:
        self._shelf = shelf
        known = Known(cache / "loras.jsonl")
        self.copies = Copies(cache / "loras", limit)
        self.listing = Listing(shelf, built_in, known)
        self.reader = Reader(shelf, known, self.copies, base)
        self.pictures = Pictures(shelf, self.listing, self.reader, known, base)
        self._lock = threading.Lock()
        self._reserved: set[str] = set()
        self._closing = threading.Event()
        self._watching: threading.Thread | None = None
        self._made: dict[str, tuple[object, Lora]] = {}
        # How many files were not looked at yet when it was listed last.
        self.left = 0

    def watch(self, seconds: float) -> None:
        """Look every so often for what was dropped into the storage, from now until `close`."""
        self._watching = threading.Thread(
            target=self._watch, args=(seconds,), name="fluxui-watch", daemon=True
        )
        self._watching.start()

    def _watch(self, seconds: float) -> None:
        while True:
            self.listing.refresh()
            self.list()
            if self._closing.wait(seconds):
                return

    def close(self) -> None:
        self._closing.set()
        if self._watching:
            self._watching.join(PATIENCE)
        self.reader.close()

    # What there is

    def list(self, patience: float | None = PATIENCE) -> list[Lora]:
        """Every LoRA, by name, those that do not fit included; while the bucket is away, those
        that were listed last. What could not be looked at within `patience` seconds is not `seen`.
        """
        files = self.listing.files()
        new = [file for file in files.values() if not self._is_known(file)]
        if self.left and patience is not None:
            patience = 0.0  # somebody waited for them before
        self.left = self.reader.look_at(((one, self._card_of(one)) for one in new), patience)
        loras = [lora for file in files.values() if (lora := self._listed(file))]
        return sorted(loras, key=lambda lora: (lora.name.lower(), lora.model_id))

    def _is_known(self, file: File) -> bool:
        return self.reader.found(file) is not None and self.listing.is_read(file)

    def _card_of(self, file: File) -> Any:
        return lambda: self.listing.card(file)

    def _listed(self, file: File) -> Lora | None:
        """None for what is not to be shown: it went meanwhile, or came with us and fits nothing."""
        if self._is_known(file):
            lora = self._lora(file)
            return lora if lora.fit.fits or not lora.built_in else None
        if not self.left:
            # One that has to be looked at again and again, as it is still arriving; else it went.
            with suppress(NotFound, StorageError):
                return self._lora(file)
            return None
        return lora_of(file, None, {})

    def find(self, model_id: str) -> Lora:
        """One LoRA as its header tells; its hash is "" until it was used. Raises LoraNotFound,
        StorageUnavailable."""
        return self._lora(self.listing.find(model_id))

    def get(self, model_id: str) -> Lora:
        """One LoRA, with its hash if the file is on this machine. Downloads nothing.

        Raises LoraNotFound, StorageUnavailable.
        """
        file = self.listing.find(model_id)
        lora = self._lora(file)
        if lora.sha256 or not lora.fit.fits:
            return lora
        return replace(lora, sha256=self.reader.sha256_here(file))

    def by_hash(self, sha256: str) -> Lora | None:
        """The LoRA whose tensors have this hash, under whatever name it goes now; None if there is
        none among those that were used here, or lie on this machine, of which at most 4 GB are
        read for it. Downloads nothing."""
        files = self.listing.files().values()
        unread = [file for file in files if not self.reader.known_sha256(file)]
        for file in files:
            if self.reader.known_sha256(file) == sha256:
                return self._lora(file)
        room = HASHED_BYTES
        for file in unread:
            if file.size <= room and self.reader.here(file):
                room -= file.size
                if self.reader.sha256_here(file) == sha256:
                    return self._lora(file)
        return None

    def path(self, model_id: str) -> Path:
        """A local file with its tensors, also of one that was deleted while it was asked for.

        Raises LoraNotFound, StorageUnavailable.
        """
        try:
            return self.reader.path(self.listing.find(model_id))
        except (LoraNotFound, ObjectNotFound):
            if file := self._trashed(model_id):
                return self.reader.path(file)
            raise

    def fetch(self, model_id: str) -> Fetching:
        """Begin to bring it here, if it is not, behind the scenes and once for all who ask; also
        one that was deleted meanwhile. Raises LoraNotFound, StorageUnavailable."""
        file = self.listing.files().get(model_id) or self._trashed(model_id)
        return self.reader.fetch_later(
            file or self.listing.find(model_id), partial(self._trashed, model_id)
        )

    def is_here(self, model_id: str) -> bool:
        """Whether it can be used without a download. Raises LoraNotFound."""
        return self.reader.here(self.listing.find(model_id)) is not None

    def preview(self, model_id: str) -> bytes | None:
        """A WebP picture; None if it has none. Raises LoraNotFound."""
        return self.pictures.read(self.listing.find(model_id))

    # Imports

    def source(self, key: str) -> Source:
        """A file of the bucket that lies anywhere but in the library.

        Raises ObjectNotFound, InvalidRequest, StorageError.
        """
        key = key.strip().lstrip("/")
        if not key.endswith(SUFFIX):
            raise InvalidRequest("The key should end in .safetensors.")
        found = None
        with suppress(ObjectNotFound):  # a key that can't be
            found = next((one for one in self._shelf.list(key) if one.key == key), None)
        if found is None:
            raise ObjectNotFound(key)
        for file in self.listing.files().values():
            if file.key == key:
                raise InvalidRequest(f"{key} is in the library already, as {file.model_id}.")
        return self.reader.source(File("", key, found.size, found.modified))

    def import_from(
        self,
        source: Source,
        on_progress: OnProgress,
        model_id: str = "",
        name: str = "",
        trigger_words: tuple[str, ...] = (),
    ) -> Lora:
        """Fetch a file and keep it in the storage; nothing is fetched that can't be used.

        Raises what `import_file` raises, and what the source does.
        """
        self._check_usable(self.reader.check(source), source.size)
        path = self.reader.fetch(source, on_progress)
        stem = PurePosixPath(source.name).stem
        return self._take_in(path, stem, model_id, name, trigger_words, source.origin)

    def import_file(
        self, source: Path, model_id: str = "", name: str = "", trigger_words: tuple[str, ...] = ()
    ) -> Lora:
        """Keep a copy of a file in the storage.

        Raises LoraUnreadable for a damaged one, LoraMisfit for another family of models,
        InvalidRequest for an id that is taken or none.
        """
        return self._take_in(source, source.stem, model_id, name, trigger_words, {})

    def _take_in(
        self,
        path: Path,
        stem: str,
        wanted: str,
        name: str,
        words: tuple[str, ...],
        origin: Mapping[str, str],
    ) -> Lora:
        self._check_usable(self.reader.look_into(path), path.stat().st_size)
        model_id = self._reserve(wanted, stem)
        try:
            key = f"{MODELS}{model_id}/{PurePosixPath(model_id).name}{SUFFIX}"
            with opened(path) as (stream, _):
                self._shelf.put(key, stream.read(), "application/octet-stream")
            self.listing.forget()
            self.reader.keep_sha256(self.listing.find(model_id), tensors_sha256(path))
            card: dict[str, object] = {"origin": dict(origin)} if origin else {}
            card |= {"name": name} if name else {}
            card |= {"trigger_words": list(words)} if words else {}
            return self._write(model_id, card)
        finally:
            self._reserved.discard(model_id)

    def _check_usable(self, report: Report, size: int) -> None:
        if size > MAX_BYTES:
            raise LoraMisfit(f"A file of {size / 1e9:.0f} GB is no LoRA.")
        if not report.fit.fits and not is_kin(report.fit.base_family):
            raise LoraMisfit(report.fit.verdict)

    def _reserve(self, wanted: str, stem: str) -> str:
        """An id that nobody else gets while its file is stored."""
        with self._lock:
            taken = self.listing.files().keys() | self._reserved
            model_id = new_id(wanted, stem, taken)
            self._reserved.add(model_id)
            return model_id

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
        """Change what people wrote about it, never the weights. Raises LoraNotFound."""
        if default_weight is not None and not 0 <= default_weight <= MAX_WEIGHT:
            raise InvalidRequest(f"default_weight should be between 0 and {MAX_WEIGHT:g}.")
        changed = {
            "name": name,
            "trigger_words": trigger_words,
            "default_weight": default_weight,
            "notes": notes,
            "favourite": favourite,
        }
        return self._write(
            model_id, {field: value for field, value in changed.items() if value is not None}
        )

    def _write(self, model_id: str, changed: Mapping[str, object]) -> Lora:
        file = self.listing.find(model_id)
        card = {**self.listing.card(file), **changed}
        text = json.dumps(card, indent=1, ensure_ascii=False)
        self._shelf.put(beside(file, CARD), text.encode(), "application/json")
        self.listing.wrote(file, json.loads(text))
        self._made.pop(model_id, None)
        return self.get(model_id)

    def delete(self, model_id: str) -> None:
        """Move the file, its card and its preview to the trash. Raises LoraNotFound,
        InvalidRequest."""
        file = self.listing.find(model_id)
        if file.built_in:
            raise InvalidRequest(f"{model_id} came with fluxui and can't be deleted.")
        keys = [key for key in self._keys(file) if self._copied(key, f"{TRASH}{key}")]
        if trashed := self._trashed(model_id):
            self._still(file, trashed)
        for key in keys:
            self._shelf.delete(key)
        self.listing.forget()

    def restore(self, model_id: str) -> Lora:
        """Bring it back out of the trash. Raises LoraNotFound, Conflict where the name is taken."""
        if model_id in self.listing.files():
            raise Conflict(f"There is a LoRA {model_id!r} already.", "Rename or delete it first.")
        file = self._trashed(model_id)
        if file is None:
            raise LoraNotFound(model_id)
        own = replace(file, key=file.key.removeprefix(TRASH))
        keys = [key for key in self._keys(own) if self._copied(f"{TRASH}{key}", key)]
        for key in keys:
            self._shelf.delete(f"{TRASH}{key}")
        self.listing.forget()
        self._still(file, self.listing.find(model_id))
        return self.get(model_id)

    def _still(self, former: File, now: File) -> None:
        """The same tensors under another key: what was found out is not to be found out again."""
        if sha256 := self.reader.known_sha256(former):
            self.reader.keep_sha256(now, sha256)

    def _trashed(self, model_id: str) -> File | None:
        """The file of a LoRA that was deleted under this id."""
        own = f"{TRASH}{MODELS}{model_id}"
        with suppress(StorageError):
            for one in self._shelf.list(f"{TRASH}{MODELS}"):
                folder, _, name = one.key.rpartition("/")
                if one.key == own + SUFFIX or (folder == own and name.endswith(SUFFIX)):
                    return File(model_id, one.key, one.size, one.modified)
        return None

    def _keys(self, file: File) -> tuple[str, ...]:
        return file.key, beside(file, CARD), beside(file, PREVIEW)

    def _copied(self, key: str, target: str) -> bool:
        """False if there was nothing to copy."""
        try:
            with self._shelf.open(key) as stream:
                self._shelf.put(target, stream.read(), _kind(key))
        except ObjectNotFound:
            return False
        return True

    # What is known of one

    def _lora(self, file: File) -> Lora:
        """Made once, and again when something about it is another."""
        known, preview = self.reader.known_sha256(file), self.listing.preview(file)
        seen = file, self.listing.written(file), known, preview
        kept = self._made.get(file.model_id)
        if kept and kept[0] == seen:
            return kept[1]
        lora = lora_of(file, self.reader.report(file), self.listing.card(file), known, preview)
        if self._is_known(file):
            self._made[file.model_id] = seen, lora
        return lora


def _kind(key: str) -> str:
    kinds = {".json": "application/json", ".webp": "image/webp"}
    return kinds.get(PurePosixPath(key).suffix, "application/octet-stream")
