"""Nothing is lost while the bucket is away, and everything arrives once it is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxui.errors import ObjectNotFound, StorageFull, StorageUnavailable
from fluxui.storage import Storage
from fluxui.storage.local import LocalStorage
from fluxui.storage.s3 import S3Storage
from fluxui.storage.spool import SpooledStorage
from tests.storage.servers import FaultyLine, S3Server


class Primary(LocalStorage):
    """A folder that can be away, and tells in which order it was filled."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.away = False
        self.tried = 0
        self.order: list[str] = []
        self.gate = threading.Event()
        self.gate.set()

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self.tried += 1
        self.gate.wait(10)
        self.answer()
        super().put(key, data, content_type)
        self.order.append(key)

    def delete(self, key: str) -> None:
        self.answer()
        super().delete(key)

    def url(self, key: str, seconds: int = 3600) -> str | None:
        return f"https://bucket/{key}"

    def answer(self) -> None:
        if self.away:
            raise StorageUnavailable("The bucket's server does not answer.")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxui.storage.spool.FIRST_PAUSE", 0.02)
    monkeypatch.setattr("fluxui.storage.spool.LONGEST_PAUSE", 0.05)


@pytest.fixture
def primary(tmp_path: Path) -> Primary:
    return Primary(tmp_path / "bucket")


@pytest.fixture
def spooled(primary: Primary, tmp_path: Path) -> Iterator[SpooledStorage]:
    made = SpooledStorage(primary, tmp_path / "spool", limit_bytes=10_000)
    yield made
    made.close()


def read(storage: Storage, key: str) -> bytes:
    with storage.open(key) as stream:
        return stream.read()


def until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not met():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_while_the_bucket_answers_nothing_waits(spooled: SpooledStorage, tmp_path: Path) -> None:
    spooled.put("a", b"x", "text/plain")
    assert (spooled.waiting, spooled.waiting_bytes) == (0, 0)
    assert spooled.url("a") == "https://bucket/a"
    assert not list((tmp_path / "spool").glob("*.spooled"))


def test_what_waits_is_served_from_here_and_arrives_in_order(
    primary: Primary, spooled: SpooledStorage
) -> None:
    spooled.put("before", b"0", "text/plain")
    primary.away = True
    for number in range(5):
        spooled.put(f"a/{9 - number}", bytes([number]) * 100, "image/png")
    assert (spooled.waiting, spooled.waiting_bytes) == (5, 500)
    assert spooled.url("a/7") is None
    with spooled.open("a/7") as stream:
        assert stream.read() == b"\x02" * 100
    assert [(found.key, found.size) for found in spooled.list("a/")][:2] == [
        ("a/5", 100),
        ("a/6", 100),
    ]
    primary.away = False
    until(lambda: spooled.waiting == 0)
    assert primary.order == ["before", "a/9", "a/8", "a/7", "a/6", "a/5"]
    assert spooled.url("a/7") == "https://bucket/a/7"
    with spooled.open("a/7") as stream:
        assert stream.read() == b"\x02" * 100
    assert len(list(spooled.list("a/"))) == 5


def test_a_restart_goes_on_where_it_was(primary: Primary, tmp_path: Path) -> None:
    primary.away = True
    first = SpooledStorage(primary, tmp_path / "spool")
    first.put("a", b"1", "text/plain")
    first.put("b", b"2", "text/plain")
    first.close()
    second = SpooledStorage(primary, tmp_path / "spool")
    assert (second.waiting, second.waiting_bytes) == (2, 2)
    assert read(second, "a") == b"1"
    second.put("c", b"3", "text/plain")
    primary.away = False
    until(lambda: second.waiting == 0)
    second.close()
    assert primary.order == ["a", "b", "c"]


def test_the_newest_of_a_key_wins(primary: Primary, spooled: SpooledStorage) -> None:
    primary.away = True
    spooled.put("a", b"old", "text/plain")
    spooled.put("b", b"x", "text/plain")
    spooled.put("a", b"newer", "text/plain")
    assert (spooled.waiting, spooled.waiting_bytes) == (2, 6)
    primary.away = False
    until(lambda: spooled.waiting == 0)
    assert primary.order == ["b", "a"] and read(primary, "a") == b"newer"


def test_replaced_or_deleted_while_it_is_sent(primary: Primary, spooled: SpooledStorage) -> None:
    primary.away = True
    spooled.put("a", b"old", "text/plain")
    primary.gate.clear()
    tried = primary.tried
    until(lambda: primary.tried > tried)  # the thread stands in `put`
    primary.away = False
    spooled.put("a", b"newer", "text/plain")
    spooled.put("b", b"x", "text/plain")
    spooled.delete("b")
    primary.gate.set()
    until(lambda: spooled.waiting == 0)
    assert read(primary, "a") == b"newer"
    with pytest.raises(ObjectNotFound):
        spooled.open("b")


def test_deleted_while_it_is_sent_it_is_gone_in_the_end(
    primary: Primary, spooled: SpooledStorage, tmp_path: Path
) -> None:
    primary.away = True
    spooled.put("a", b"x", "text/plain")
    primary.gate.clear()
    tried = primary.tried
    until(lambda: primary.tried > tried)
    primary.away = False
    spooled.delete("a")
    primary.gate.set()
    until(lambda: primary.order == ["a"] and not list(primary.list("")))
    assert not list((tmp_path / "spool").glob("*.spooled"))


def test_a_delete_that_fails_keeps_it(primary: Primary, spooled: SpooledStorage) -> None:
    primary.away = True
    spooled.put("a", b"x", "text/plain")
    with pytest.raises(StorageUnavailable):
        spooled.delete("a")
    assert read(spooled, "a") == b"x" and spooled.waiting == 1


def test_a_full_spool_refuses_and_loses_nothing(primary: Primary, spooled: SpooledStorage) -> None:
    primary.away = True
    spooled.put("a", b"x" * 9000, "text/plain")
    with pytest.raises(StorageFull):
        spooled.put("b", b"x" * 1001, "text/plain")
    spooled.put("a", b"y" * 10_000, "text/plain")  # in place of the old one there is room
    assert spooled.waiting_bytes == 10_000
    primary.away = False
    until(lambda: spooled.waiting == 0)
    spooled.put("b", b"x" * 1001, "text/plain")
    assert read(primary, "b") == b"x" * 1001


def test_while_others_wait_nobody_waits_for_the_bucket(
    primary: Primary, spooled: SpooledStorage
) -> None:
    primary.away = True
    spooled.put("a", b"x", "text/plain")
    primary.gate.clear()  # from now on the bucket hangs
    begin = time.monotonic()
    spooled.put("b", b"x", "text/plain")
    assert time.monotonic() - begin < 1
    primary.gate.set()


@pytest.mark.parametrize("mode", ["503 SlowDown", "hang", "reset", "400 ExpiredToken"])
def test_a_real_outage_and_its_end(line: FaultyLine, tmp_path: Path, mode: str) -> None:
    storage = S3Storage(line.server.settings(tmp_path, s3_prefix=f"outage/{mode[:4].strip()}"))
    spooled = SpooledStorage(storage, tmp_path / "spool")
    spooled.put("before", b"0", "text/plain")
    line.mode = mode
    line.cut()
    spooled.put("picture", b"pixels", "image/png")
    assert spooled.waiting == 1 and read(spooled, "picture") == b"pixels"
    line.mode = "pass"
    line.cut()
    until(lambda: spooled.waiting == 0)
    assert sorted(found.key for found in spooled.list("")) == ["before", "picture"]
    spooled.close()


def test_a_server_that_is_down_at_the_start(
    seaweedfs: S3Server, line: FaultyLine, tmp_path: Path
) -> None:
    line.close()
    away = SpooledStorage(
        S3Storage(line.server.settings(tmp_path, s3_prefix="late")), tmp_path / "spool"
    )
    away.put("a", b"x", "text/plain")
    assert away.waiting == 1
    away.close()
    back = SpooledStorage(
        S3Storage(seaweedfs.settings(tmp_path, s3_prefix="late")), tmp_path / "spool"
    )
    until(lambda: back.waiting == 0)
    assert [found.key for found in back.list("")] == ["a"]
    back.close()
