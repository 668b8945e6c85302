"""Deleted generations: moved aside with their record, and brought back.

The order of the steps is the point. Copies stand in the trash before the record goes, and the
originals go last: dying in between leaves a picture twice, never a picture lost, and never a
record that points at nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from fluxui.errors import GenerationNotFound
from fluxui.generation import Generation
from fluxui.history import History
from fluxui.storage import TRASH, Storage, folder_of, record_key, trash_key

CONTENT_TYPES = {".png": "image/png", ".webp": "image/webp", ".json": "application/json"}


def discard(generation: Generation, storage: Storage, history: History) -> None:
    """Move the files and the record of an ended generation to the trash."""
    keys = [stored.key for stored in storage.list(folder_of(generation))]
    for key in keys:
        _copy(storage, key, trash_key(key))
    record = json.dumps(generation.record(), indent=1).encode()
    storage.put(trash_key(record_key(generation)), record, CONTENT_TYPES[".json"])
    history.remove(generation.id)
    for key in keys:
        storage.delete(key)


def restore(job_id: str, storage: Storage, history: History) -> Generation:
    """Bring it back. Raises GenerationNotFound if the trash does not hold it."""
    generation = find(job_id, storage)
    trashed = [stored.key for stored in storage.list(trash_key(folder_of(generation)))]
    for key in trashed:
        _copy(storage, key, key.removeprefix(TRASH))
    history.add(generation)
    for key in trashed:
        storage.delete(key)
    return generation


def find(job_id: str, storage: Storage) -> Generation:
    """The record of a deleted generation. Raises GenerationNotFound."""
    name = f"/{job_id}/record.json"
    for stored in storage.list(TRASH):
        if stored.key.endswith(name):
            with storage.open(stored.key) as stream:
                return Generation.model_validate_json(stream.read())
    raise GenerationNotFound(job_id)


def _copy(storage: Storage, source: str, target: str) -> None:
    with storage.open(source) as stream:
        storage.put(target, stream.read(), CONTENT_TYPES[Path(source).suffix])
