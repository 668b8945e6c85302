"""Deleted generations: moved aside with their record, brought back, and gone for good some day;
deleted LoRAs, which the library moves here, go with them.

The order of the steps is the point. Copies stand in the trash before the record goes, and the
originals go last: dying in between leaves a picture twice, never a picture lost, and never a
record that points at nothing. What was left twice is tidied up in the background.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta

from fluxui.errors import GenerationNotFound, HistoryError, StorageError
from fluxui.generation import Generation, now
from fluxui.history import Records
from fluxui.storage import (
    MODELS,
    TRASH,
    Storage,
    StoredObject,
    content_type,
    day_of,
    folder_in,
    folder_of,
    job_of,
    record_key,
    trash_key,
)

log = logging.getLogger(__name__)

RECORD, LORA = "record.json", ".safetensors"
# Seconds: the page comes first, then once a day, and sooner where the storage did not answer.
FIRST_LOOK, DAY, HOUR = 5.0, 86_400.0, 3600.0
CLOSE_SECONDS = 5.0


class Trash:
    """What lies under `trash/`. Threads may share it: nobody else touches a generation that one
    of its calls has in hand."""

    def __init__(self, storage: Storage, history: Records) -> None:
        self._storage = storage
        self._history = history
        self._held: set[str] = set()
        self._changed = threading.Condition()

    def discard(self, generation: Generation) -> None:
        """Move the files and the record of an ended generation here. Raises GenerationNotFound."""
        with self._holding(generation.id):
            self._history.get(generation.id)
            keys = self._keys(folder_of(generation))
            for key in keys:
                self._copy(key, trash_key(key))
            record = trash_key(record_key(generation))
            self._storage.put(record, generation.record_file(), content_type(record))
            self._history.remove(generation.id)
            self._delete(keys)

    def restore(self, job_id: str) -> Generation:
        """Bring it back. Raises GenerationNotFound if it is not here, or not whole."""
        with self._holding(job_id):
            generation = self.find(job_id)
            folder = folder_of(generation)
            trashed = self._keys(trash_key(folder))
            if not self._is_kept(folder):  # else it is back, and only the rest is to be removed
                self._bring_back(generation, trashed)
            self._delete(trashed)
            return generation

    def _bring_back(self, generation: Generation, trashed: list[str]) -> None:
        needed = {trash_key(one.key) for one in generation.images}
        if not needed <= set(trashed):  # a rule of the bucket took a part
            raise GenerationNotFound(generation.id)
        for key in trashed:
            self._copy(key, key.removeprefix(TRASH))
        self._history.add(generation)

    def find(self, job_id: str) -> Generation:
        """The record of a deleted generation. Raises GenerationNotFound."""
        for stored in self._storage.list(TRASH):
            if stored.key.endswith(f"/{job_id}/{RECORD}"):
                return self._read(stored.key)
        raise GenerationNotFound(job_id)

    def settle(self) -> None:
        """Finish what an earlier process left half done: what stands twice stands once again.

        It asks for each day that the trash knows, not for each generation. Raises StorageError.
        """
        trashed = self._folders(TRASH)
        for day in sorted(set(map(day_of, trashed))):
            for folder in trashed.keys() & self._folders(day).keys():
                self._settle(folder)

    def _settle(self, folder: str) -> None:
        with self._holding(job_of(folder)):
            here = {key.removeprefix(TRASH) for key in self._keys(trash_key(folder))}
            there = set(self._keys(folder))
            if self._is_kept(folder):
                # A delete that did not come to its record, or a restore that came past it.
                if here <= there:
                    self._delete(map(trash_key, sorted(here)))
            elif folder + RECORD in here and there <= here:
                self._delete(sorted(there))

    def purge(self, before: datetime) -> None:
        """Delete for good what was deleted before. Raises StorageError.

        The youngest date known counts, that of the record's own end included: a clock that was
        wrong for a while takes nothing away early.
        """
        for folder, stored in self._folders(TRASH).items():
            if _youngest(stored) < before and not self._is_kept(folder):
                self._purge(folder, before)
        self._purge_loras(before)

    def _purge_loras(self, before: datetime) -> None:
        """A LoRA lies there with its card and its preview, all in one folder."""
        folders: dict[str, list[StoredObject]] = {}
        for stored in self._storage.list(trash_key(MODELS)):
            folders.setdefault(stored.key.rpartition("/")[0], []).append(stored)
        for found in folders.values():
            if _youngest(found) < before:
                # The file goes first: what is left of the words brings nothing back.
                self._delete(sorted((one.key for one in found), key=_is_words))

    def _purge(self, folder: str, before: datetime) -> None:
        with self._holding(job_of(folder)):
            stored = list(self._storage.list(trash_key(folder)))
            record = trash_key(folder) + RECORD
            keys = [one.key for one in stored if one.key != record]
            if len(keys) < len(stored):
                with suppress(ValueError):  # somebody edited it
                    ended = self._read(record).completed_at
                    if ended and ended >= before:
                        return
            if stored and _youngest(stored) < before:
                # The record goes first: what is not whole can't be restored.
                self._delete([record, *keys])

    def _is_kept(self, folder: str) -> bool:
        with suppress(GenerationNotFound):
            self._history.get(job_of(folder))
            return True
        return False

    def _folders(self, prefix: str) -> dict[str, list[StoredObject]]:
        """What lies under a prefix, by the folder that its generation has outside of the trash."""
        found: dict[str, list[StoredObject]] = {}
        for stored in self._storage.list(prefix):
            if folder := folder_in(stored.key.removeprefix(TRASH)):
                found.setdefault(folder, []).append(stored)
        return found

    def _keys(self, folder: str) -> list[str]:
        return [stored.key for stored in self._storage.list(folder)]

    def _read(self, key: str) -> Generation:
        with self._storage.open(key) as stream:
            return Generation.model_validate_json(stream.read())

    def _copy(self, source: str, target: str) -> None:
        with self._storage.open(source) as stream:
            self._storage.put(target, stream.read(), content_type(source))

    def _delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._storage.delete(key)

    @contextmanager
    def _holding(self, job_id: str) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: job_id not in self._held)
            self._held.add(job_id)
        try:
            yield
        finally:
            with self._changed:
                self._held.remove(job_id)
                self._changed.notify_all()


def _is_words(key: str) -> bool:
    return not key.endswith(LORA)


def _youngest(stored: list[StoredObject]) -> datetime:
    return max(one.modified for one in stored)


class Sweeper:
    """A thread that tidies the trash soon after the start and then daily; what lies there longer
    than `days` goes for good, with 0 nothing ever does."""

    def __init__(self, trash: Trash, days: int) -> None:
        self._trash = trash
        self._days = days
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="fluxui-trash", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """What it had begun is begun again by the next process."""
        self._closing.set()
        self._thread.join(CLOSE_SECONDS)

    def _work(self) -> None:
        pause = FIRST_LOOK
        while not self._closing.wait(pause):
            pause = DAY if self._sweep() else HOUR

    def _sweep(self) -> bool:
        try:
            self._trash.settle()
            if self._days:
                self._trash.purge(now() - timedelta(days=self._days))
        except (StorageError, HistoryError) as error:
            log.warning("The trash is tidied up later: %s", error.message)
            return False
        return True
