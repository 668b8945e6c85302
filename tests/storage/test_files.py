"""A folder under what a disk can do to it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fluxui.errors import ObjectNotFound, StorageFull, StorageUnavailable
from fluxui.storage import Storage
from fluxui.storage.local import DRAFTS, LocalStorage
from tests.disk import file_limit


def read(storage: Storage, key: str) -> bytes:
    with storage.open(key) as stream:
        return stream.read()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_full_disk_keeps_the_old_object_and_no_rest(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("a/b", b"old", "text/plain")
    with file_limit(1000), pytest.raises(StorageFull):
        storage.put("a/b", b"x" * 5000, "text/plain")
    assert read(storage, "a/b") == b"old"
    assert files(tmp_path) == ["a/b"]


def test_delete_takes_empty_folders_along(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("2026/11/22/a/1.png", b"x", "image/png")
    storage.put("2026/11/23/b/1.png", b"x", "image/png")
    storage.delete("2026/11/22/a/1.png")
    assert files(tmp_path) == ["2026/11/23/b/1.png"]
    assert not (tmp_path / "2026/11/22").exists()


def test_no_key_leaves_by_a_link(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("x")
    storage = LocalStorage(tmp_path / "store")
    storage.put("a", b"x", "text/plain")
    (tmp_path / "store" / "out").symlink_to(secret)
    for call in (storage.open, storage.delete):
        with pytest.raises(ObjectNotFound):
            call("out/file")
    with pytest.raises(ObjectNotFound):
        storage.put("out/file", b"changed", "text/plain")
    assert (secret / "file").read_text() == "x"


def test_a_folder_is_no_object(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("a/b", b"x", "text/plain")
    with pytest.raises(ObjectNotFound):
        storage.open("a")
    with pytest.raises(ObjectNotFound):
        storage.open("a/b/c")
    storage.delete("a/b/c")
    assert read(storage, "a/b") == b"x"


def test_a_folder_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    storage = LocalStorage(tmp_path / "taken" / "store")
    with pytest.raises(StorageUnavailable) as caught:
        storage.check()
    assert "--data-dir" in caught.value.hint and str(tmp_path) not in caught.value.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission_is_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageUnavailable, match="Permission denied"):
        LocalStorage(tmp_path).check()


def test_what_a_dead_process_left_is_swept_later(tmp_path: Path) -> None:
    drafts = tmp_path / DRAFTS
    drafts.mkdir()
    (drafts / "old").write_text("x")
    (drafts / "new").write_text("x")
    os.utime(drafts / "old", (time.time() - 7200,) * 2)
    storage = LocalStorage(tmp_path)
    assert files(drafts) == ["new"]
    assert list(storage.list("")) == []
