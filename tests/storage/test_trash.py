"""kill -9 at every call of the storage, while a picture is deleted or brought back: it stands
somewhere whole, and once again after the start."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from fluxui.history import Query
from fluxui.history.tiny import TinyHistory
from fluxui.storage import Storage
from fluxui.trash import Trash
from tests.faults.killing import Nursery
from tests.faults.remover import storage_of
from tests.storage.servers import S3Server
from tests.test_trash import DELETE_CALLS, UNDO_CALLS, WHOLE, kept

PICTURE = {"image_1.png": b"png", "thumb_1.webp": b"webp"}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery("remover") as nursery:
        yield nursery


@pytest.fixture(params=["folder", "seaweedfs"])
def bucket(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a bucket; none for a folder."""
    if request.param == "folder":
        return {}
    server: S3Server = request.getfixturevalue(request.param)
    return {
        "s3_endpoint_url": server.endpoint,
        "s3_bucket_name": server.bucket,
        "s3_prefix": uuid.uuid4().hex,
        "aws_access_key_id": server.key,
        "aws_secret_access_key": server.secret,
    }


def standing(storage: Storage, place: str) -> dict[str, bytes]:
    found = {}
    for stored in storage.list(place):
        with storage.open(stored.key) as stream:
            found[stored.key.rpartition("/")[2]] = stream.read()
    return found


def settle(folder: Path, storage: Storage) -> str:
    """What the next process does at its start; where the picture stands then."""
    history = TinyHistory(folder / "history.json")
    there, other = ("generated/", "trash/")
    if not history.page(Query()).total:
        there, other = other, there
    assert PICTURE.items() <= standing(storage, there).items()  # nothing was lost by the kill
    Trash(storage, history).settle()
    history.close()
    assert sorted(standing(storage, there)) == WHOLE and not standing(storage, other)
    return there


@pytest.mark.parametrize("act", ["discard", "restore"])
def test_it_stands_once_after_any_kill(
    nursery: Nursery, bucket: dict[str, str], tmp_path: Path, act: str
) -> None:
    storage = storage_of(tmp_path, **bucket)
    history = TinyHistory(tmp_path / "history.json")
    done = kept(storage, history)
    history.close()
    (tmp_path / "deleted").write_text(done.id)
    start, end = ("generated/", "trash/") if act == "discard" else ("trash/", "generated/")
    # In a bucket only before each call: what the history does between two is the same.
    for moments in count(0, 2 if bucket else 1):
        if settle(tmp_path, storage) != start:  # the last one came through
            nursery.live(folder=str(tmp_path), act=_back(act), moments=999, **bucket)
        lines, code = nursery.live(folder=str(tmp_path), act=act, moments=moments, **bucket)
        if lines == ["done"]:
            break
        assert code == -signal.SIGKILL
        if moments % 3 == 0:  # the start itself dies too
            nursery.live(folder=str(tmp_path), act="settle", moments=moments % 8, **bucket)
    assert moments >= 2 * min(DELETE_CALLS, UNDO_CALLS)
    assert settle(tmp_path, storage) == end


def _back(act: str) -> str:
    return "restore" if act == "discard" else "discard"
