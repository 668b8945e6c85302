"""What every storage promises, over a folder, two S3 servers, and the spool before one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from fluxui.errors import ObjectNotFound
from fluxui.storage import Storage
from fluxui.storage.local import LocalStorage
from fluxui.storage.s3 import S3Storage
from fluxui.storage.spool import SpooledStorage
from tests.storage.servers import S3Server


@pytest.fixture(params=["local", "moto", "seaweedfs", "spooled"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "local":
        yield LocalStorage(tmp_path / "new" / "folder")
        return
    name = request.param if request.param != "spooled" else "seaweedfs"
    server: S3Server = request.getfixturevalue(name)
    # Its own prefix keeps the tests apart.
    bucket = S3Storage(server.settings(tmp_path, s3_prefix=f"tests/{os.urandom(4).hex()}"))
    if request.param != "spooled":
        yield bucket
        return
    spooled = SpooledStorage(bucket, tmp_path / "spool")
    yield spooled
    spooled.close()


def read(storage: Storage, key: str) -> bytes:
    with storage.open(key) as stream:
        return stream.read()


@pytest.mark.parametrize(
    "key",
    [
        "a.png",
        "generated/2026/11/22/7d4f/image_1.png",
        "models/Ünïcode 雪 & +%20 'x' #1?/a b.safetensors",
    ],
)
def test_what_was_put_is_there(storage: Storage, key: str) -> None:
    data = os.urandom(100_000)
    storage.put(key, data, "image/png")
    assert read(storage, key) == data
    (found,) = storage.list(key)
    assert (found.key, found.size) == (key, 100_000)
    assert abs(found.modified - datetime.now(timezone.utc)) < timedelta(minutes=1)


def test_put_replaces_whole(storage: Storage) -> None:
    storage.put("a/b", b"long" * 1000, "text/plain")
    storage.put("a/b", b"short", "text/plain")
    assert read(storage, "a/b") == b"short"
    storage.put("a/b", b"", "text/plain")
    assert read(storage, "a/b") == b""


def test_a_stream_is_read_in_pieces(storage: Storage) -> None:
    data = os.urandom(3_000_000)
    storage.put("large", data, "image/png")
    digest = hashlib.sha256()
    with storage.open("large") as stream:
        assert stream.read(10) == data[:10]
        while piece := stream.read(65536):
            digest.update(piece)
    assert digest.digest() == hashlib.sha256(data[10:]).digest()


def test_a_stream_can_seek(storage: Storage) -> None:
    data = os.urandom(700_000)
    storage.put("seek", data, "image/png")
    with storage.open("seek") as stream:
        assert stream.seek(500_000) == 500_000
        assert stream.read(100_000) == data[500_000:600_000]
        assert stream.seek(10) == 10
        assert stream.read(20) == data[10:30]
        assert stream.read() == data[30:]
        assert stream.read() == b""
    with storage.open("seek") as stream:
        assert stream.read() == data


def test_delete_twice_and_open_what_is_gone(storage: Storage) -> None:
    storage.put("a/b/c", b"x", "text/plain")
    storage.delete("a/b/c")
    storage.delete("a/b/c")
    storage.delete("never/was")
    with pytest.raises(ObjectNotFound):
        storage.open("a/b/c")
    assert list(storage.list("a/")) == []


def test_list_is_by_key_and_by_prefix(storage: Storage) -> None:
    keys = ["x/b/2", "x/b1", "x/a", "x/b/10", "x/é", "x/B", "y/a", "xy"]
    for key in keys:
        storage.put(key, b"1", "text/plain")
    ordered = ["x/B", "x/a", "x/b/10", "x/b/2", "x/b1", "x/é"]
    assert [found.key for found in storage.list("x/")] == ordered
    assert [found.key for found in storage.list("x/b")] == ["x/b/10", "x/b/2", "x/b1"]
    assert [found.key for found in storage.list("x")] == [*ordered, "xy"]
    assert [found.key for found in storage.list("nothing/here/")] == []
    in_bucket = not isinstance(storage, LocalStorage)
    said = {hashlib.md5(b"1").hexdigest() if in_bucket else ""}
    assert {found.md5 for found in storage.list("x/")} == said


ELSEWHERE = [
    "",
    "/etc/passwd",
    "..",
    "../up",
    "a/../../up",
    "a/./b",
    "a//b",
    "a/",
    "a\\..\\b",
    "nul\0",
    "new\nline",
    ".hidden",
    "a/.drafts/b",
    "lone\ud800",
    "x" * 201,
    "x/" * 600 + "x",
]


def test_a_key_that_leads_elsewhere_holds_nothing(storage: Storage) -> None:
    for key in ELSEWHERE:
        with pytest.raises(ObjectNotFound):
            storage.put(key, b"x", "text/plain")
        with pytest.raises(ObjectNotFound):
            storage.open(key)
        with pytest.raises(ObjectNotFound):
            storage.delete(key)
        with pytest.raises(ObjectNotFound):
            storage.url(key)


def test_threads_share_it(storage: Storage) -> None:
    def one(number: int) -> bytes:
        data = str(number).encode() * 1000
        storage.put(f"many/{number % 8}/{number}", data, "text/plain")
        storage.delete(f"many/{number % 8}/gone-{number}")
        return data

    with ThreadPoolExecutor(8) as pool:
        written = list(pool.map(one, range(64)))
    assert len(list(storage.list("many/"))) == 64
    assert all(read(storage, f"many/{n % 8}/{n}") == data for n, data in enumerate(written))


def test_a_check_leaves_nothing_behind(storage: Storage) -> None:
    storage.check()
    assert [found.key for found in storage.list("probe")] == []
