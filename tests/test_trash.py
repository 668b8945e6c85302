from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from fluxui import trash
from fluxui.errors import GenerationNotFound, StorageUnavailable
from fluxui.generation import Generation, Image, Status
from fluxui.history import Query
from fluxui.history.tiny import TinyHistory
from fluxui.request import GenerationRequest
from fluxui.storage import StoredObject, image_key, record_key, thumb_key
from fluxui.storage.local import LocalStorage

# What the two ask of a storage for one picture: three files, listed, copied and removed.
DELETE_CALLS = 11
UNDO_CALLS = 12


class Dying:
    """A folder that answers `calls` times and then no more, as if the process had died."""

    def __init__(self, storage: LocalStorage, calls: int) -> None:
        self._storage = storage
        self._calls = calls

    def _count(self) -> None:
        self._calls -= 1
        if self._calls < 0:
            raise StorageUnavailable("dead")

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self._count()
        self._storage.put(key, data, content_type)

    def open(self, key: str) -> BinaryIO:
        self._count()
        return self._storage.open(key)

    def url(self, key: str, seconds: int = 3600) -> str | None:
        return None

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self._count()
        return self._storage.list(prefix)

    def delete(self, key: str) -> None:
        self._count()
        self._storage.delete(key)

    def check(self) -> None:
        self._count()


@pytest.fixture
def history(tmp_path: Path) -> Iterator[TinyHistory]:
    history = TinyHistory(tmp_path / "history.json")
    yield history
    history.close()


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path)


def kept(storage: LocalStorage, history: TinyHistory) -> Generation:
    request = GenerationRequest(
        prompt="a house",
        num_images=1,
        num_inference_steps=2,
        guidance_scale=3.5,
        width=64,
        height=64,
        seed=1,
    )
    queued = Generation(request=request, base_model="tiny", painted="a house")
    image = Image(
        index=1,
        key=image_key(queued, 1),
        thumb_key=thumb_key(queued, 1),
        seed=1,
        width=64,
        height=64,
        bytes=3,
        sha256="",
    )
    done = queued.advance(Status.running).advance(Status.completed, images=(image,))
    storage.put(image.key, b"png", "image/png")
    storage.put(image.thumb_key, b"webp", "image/webp")
    storage.put(record_key(done), done.model_dump_json().encode(), "application/json")
    history.add(done)
    return done


def read(storage: LocalStorage, key: str) -> bytes:
    with storage.open(key) as stream:
        return stream.read()


@pytest.mark.parametrize("calls", range(DELETE_CALLS))
def test_dying_at_any_step_of_a_delete_loses_nothing(
    calls: int, storage: LocalStorage, history: TinyHistory
) -> None:
    done = kept(storage, history)
    with pytest.raises(StorageUnavailable):
        trash.discard(done, Dying(storage, calls), history)
    if history.page(Query()).total:
        assert read(storage, done.images[0].key) == b"png"
        trash.discard(done, storage, history)  # a second try goes through
    assert trash.restore(done.id, storage, history) == done
    assert read(storage, done.images[0].key) == b"png"
    assert read(storage, done.images[0].thumb_key) == b"webp"


def test_the_steps_above_are_all_of_them(storage: LocalStorage, history: TinyHistory) -> None:
    done = kept(storage, history)
    trash.discard(done, Dying(storage, DELETE_CALLS), history)
    assert [one.key for one in storage.list("generated/")] == []
    trash.restore(done.id, Dying(storage, UNDO_CALLS), history)
    assert [one.key for one in storage.list("trash/")] == []


@pytest.mark.parametrize("calls", range(UNDO_CALLS))
def test_dying_at_any_step_of_an_undo_loses_nothing(
    calls: int, storage: LocalStorage, history: TinyHistory
) -> None:
    done = kept(storage, history)
    trash.discard(done, storage, history)
    with pytest.raises(StorageUnavailable):
        trash.restore(done.id, Dying(storage, calls), history)
    if not history.page(Query()).total:
        trash.restore(done.id, storage, history)
    assert history.get(done.id) == done
    assert read(storage, done.images[0].key) == b"png"


def test_what_was_never_deleted_is_not_in_the_trash(
    storage: LocalStorage, history: TinyHistory
) -> None:
    with pytest.raises(GenerationNotFound):
        trash.restore("no-such-id", storage, history)
