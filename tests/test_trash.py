from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from fluxui.errors import GenerationNotFound, StorageUnavailable
from fluxui.generation import Generation, Image, Status, now
from fluxui.history import Query
from fluxui.history.tiny import TinyHistory
from fluxui.request import GenerationRequest
from fluxui.storage import StoredObject, image_key, record_key, thumb_key
from fluxui.storage.local import LocalStorage
from fluxui.trash import Sweeper, Trash

# What the two ask of a storage for one picture: three files, listed, copied and removed.
DELETE_CALLS = 11
UNDO_CALLS = 12


class Dying:
    """A folder that answers `calls` times and then no more, as if the process had died."""

    def __init__(self, storage: LocalStorage, calls: int) -> None:
        self._storage = storage
        self.calls = calls

    def _count(self) -> None:
        self.calls -= 1
        if self.calls < 0:
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


def kept(storage: LocalStorage, history: TinyHistory, days: int = 0) -> Generation:
    """A picture that was painted so many days ago."""
    request = GenerationRequest(
        prompt="a house",
        num_images=1,
        num_inference_steps=2,
        guidance_scale=3.5,
        width=64,
        height=64,
        seed=1,
    )
    then = now() - timedelta(days=days)
    queued = Generation(request=request, base_model="tiny", painted="a house", created_at=then)
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
    done = done.model_copy(update={"completed_at": then})
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
        Trash(Dying(storage, calls), history).discard(done)
    if history.page(Query()).total:
        assert read(storage, done.images[0].key) == b"png"
        Trash(storage, history).discard(done)  # a second try goes through
    assert Trash(storage, history).restore(done.id) == done
    assert read(storage, done.images[0].key) == b"png"
    assert read(storage, done.images[0].thumb_key) == b"webp"


def test_the_steps_above_are_all_of_them(storage: LocalStorage, history: TinyHistory) -> None:
    done = kept(storage, history)
    Trash(Dying(storage, DELETE_CALLS), history).discard(done)
    assert [one.key for one in storage.list("generated/")] == []
    Trash(Dying(storage, UNDO_CALLS), history).restore(done.id)
    assert [one.key for one in storage.list("trash/")] == []


@pytest.mark.parametrize("calls", range(UNDO_CALLS))
def test_dying_at_any_step_of_an_undo_loses_nothing(
    calls: int, storage: LocalStorage, history: TinyHistory
) -> None:
    done = kept(storage, history)
    Trash(storage, history).discard(done)
    with pytest.raises(StorageUnavailable):
        Trash(Dying(storage, calls), history).restore(done.id)
    if not history.page(Query()).total:
        Trash(storage, history).restore(done.id)
    assert history.get(done.id) == done
    assert read(storage, done.images[0].key) == b"png"


def test_what_was_never_deleted_is_not_in_the_trash(
    storage: LocalStorage, history: TinyHistory
) -> None:
    with pytest.raises(GenerationNotFound):
        Trash(storage, history).restore("no-such-id")


def standing(storage: LocalStorage) -> dict[str, list[str]]:
    """The names of what is in the gallery's folders, and of what is in the trash."""
    return {
        place: [one.key.rpartition("/")[2] for one in storage.list(place)]
        for place in ("generated/", "trash/")
    }


WHOLE = ["image_1.png", "record.json", "thumb_1.webp"]


@pytest.mark.parametrize("restoring", [False, True])
@pytest.mark.parametrize("calls", range(UNDO_CALLS))
def test_what_was_left_half_done_stands_once_after_the_start(
    calls: int, restoring: bool, storage: LocalStorage, history: TinyHistory
) -> None:
    done = kept(storage, history)
    dying = Trash(Dying(storage, calls), history)
    with suppress(StorageUnavailable):
        if restoring:
            Trash(storage, history).discard(done)
            dying.restore(done.id)
        else:
            dying.discard(done)
    Trash(storage, history).settle()
    there = "generated/" if history.page(Query()).total else "trash/"
    assert standing(storage) == {"generated/": [], "trash/": []} | {there: WHOLE}


@pytest.mark.parametrize("calls", range(7))
def test_tidying_up_may_be_cut_off_too(
    calls: int, storage: LocalStorage, history: TinyHistory
) -> None:
    done = kept(storage, history)
    with pytest.raises(StorageUnavailable):
        Trash(Dying(storage, DELETE_CALLS - 3), history).discard(done)  # none is removed yet
    with suppress(StorageUnavailable):
        Trash(Dying(storage, calls), history).settle()
    Trash(storage, history).settle()
    assert standing(storage) == {"generated/": [], "trash/": WHOLE}


def test_only_what_stands_twice_is_tidied_up(storage: LocalStorage, history: TinyHistory) -> None:
    done, other = kept(storage, history), kept(storage, history)
    Trash(storage, history).discard(other)
    storage.put("trash/notes.txt", b"mine", "text/plain")
    history.remove(done.id)  # a history that was lost: its pictures are nowhere else
    before = list(storage.list(""))
    Trash(storage, history).settle()
    assert list(storage.list("")) == before


def test_nothing_is_tidied_up_that_somebody_has_in_hand(
    storage: LocalStorage, history: TinyHistory
) -> None:
    """A restore is between its copies and its record while the trash is tidied up."""
    done = kept(storage, history)
    trash = Trash(storage, history)
    trash.discard(done)
    tidying = threading.Thread(target=trash.settle)
    add = history.add

    def slow_add(generation: Generation) -> None:
        tidying.start()
        time.sleep(0.1)
        assert tidying.is_alive()
        add(generation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "add", slow_add)
        trash.restore(done.id)
    tidying.join(10)
    assert standing(storage) == {"generated/": WHOLE, "trash/": []}


def test_a_second_delete_is_told_that_it_is_gone(
    storage: LocalStorage, history: TinyHistory
) -> None:
    done = kept(storage, history)
    Trash(storage, history).discard(done)
    with pytest.raises(GenerationNotFound):
        Trash(storage, history).discard(done)
    assert standing(storage) == {"generated/": [], "trash/": WHOLE}


def age(folder: Path, days: float) -> None:
    """As if what lies in the trash had been put there so many days ago."""
    then = time.time() - days * 86400
    for path in folder.glob("trash/**/*.*"):
        os.utime(path, (then, then))


def test_what_lay_there_too_long_goes_for_good(
    storage: LocalStorage, history: TinyHistory, tmp_path: Path
) -> None:
    trash = Trash(storage, history)
    old, kept_one = kept(storage, history, days=60), kept(storage, history)
    trash.discard(old)
    age(tmp_path, 31)
    young = kept(storage, history, days=60)
    trash.discard(young)
    trash.purge(now() - timedelta(days=30))
    assert trash.find(young.id) == young and history.get(kept_one.id) == kept_one
    with pytest.raises(GenerationNotFound):
        trash.restore(old.id)
    assert standing(storage) == {"generated/": WHOLE, "trash/": WHOLE}


def test_a_deleted_lora_goes_with_them(
    storage: LocalStorage, history: TinyHistory, tmp_path: Path
) -> None:
    names = ("a.safetensors", "model.json", "preview.webp")
    keys = [f"trash/models/{folder}/{name}" for folder in ("old", "me/young") for name in names]
    for key in keys:
        storage.put(key, b"x", "text/plain")
    age(tmp_path, 31)
    os.utime(tmp_path / keys[-1])
    Trash(storage, history).purge(now() - timedelta(days=30))
    assert sorted(one.key for one in storage.list("trash/")) == sorted(keys[3:])


def test_a_clock_that_was_wrong_takes_nothing_away_early(
    storage: LocalStorage, history: TinyHistory, tmp_path: Path
) -> None:
    """It was behind when the picture was deleted, or it is behind now."""
    done = kept(storage, history)
    trash = Trash(storage, history)
    trash.discard(done)
    trash.purge(now() - timedelta(days=400))
    age(tmp_path, 400)
    trash.purge(now() - timedelta(days=30))
    assert trash.restore(done.id) == done


@pytest.mark.parametrize("calls", range(2, 7))
def test_dying_while_it_goes_leaves_nothing_that_can_be_restored(
    calls: int, storage: LocalStorage, history: TinyHistory, tmp_path: Path
) -> None:
    old = kept(storage, history, days=60)
    Trash(storage, history).discard(old)
    age(tmp_path, 31)
    before = now() - timedelta(days=30)
    with suppress(StorageUnavailable):
        Trash(Dying(storage, calls), history).purge(before)
    with suppress(GenerationNotFound):
        assert Trash(storage, history).find(old.id) == old
        assert standing(storage)["trash/"] == WHOLE
    Trash(storage, history).purge(before)
    assert standing(storage) == {"generated/": [], "trash/": []}


@pytest.mark.parametrize(("days", "left"), [(30, []), (0, WHOLE)])
def test_it_is_swept_at_the_start_and_daily(
    days: int,
    left: list[str],
    storage: LocalStorage,
    history: TinyHistory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fluxui.trash.FIRST_LOOK", 0.01)
    monkeypatch.setattr("fluxui.trash.DAY", 0.01)
    trash = Trash(storage, history)
    half = kept(storage, history)
    with pytest.raises(StorageUnavailable):
        Trash(Dying(storage, DELETE_CALLS - 1), history).discard(half)
    sweeper = Sweeper(trash, days)
    until(lambda: standing(storage) == {"generated/": [], "trash/": WHOLE})
    trash.restore(half.id)
    old = kept(storage, history, days=60)
    trash.discard(old)
    age(tmp_path, 31)
    until(lambda: standing(storage)["trash/"] == left)
    time.sleep(0.05)
    sweeper.close()
    assert standing(storage) == {"generated/": WHOLE, "trash/": left}


def test_a_bucket_that_is_away_is_asked_again(
    storage: LocalStorage, history: TinyHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxui.trash.FIRST_LOOK", 0.01)
    monkeypatch.setattr("fluxui.trash.HOUR", 0.01)
    done = kept(storage, history)
    with pytest.raises(StorageUnavailable):
        Trash(Dying(storage, DELETE_CALLS - 1), history).discard(done)
    broken = Dying(storage, 0)
    sweeper = Sweeper(Trash(broken, history), 30)
    until(lambda: broken.calls < -1)
    broken.calls = 100
    until(lambda: standing(storage) == {"generated/": [], "trash/": WHOLE})
    sweeper.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
