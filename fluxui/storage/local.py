"""A folder on this machine. It knows no URLs: the server hands out the bytes itself."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

from fluxui.errors import ObjectNotFound
from fluxui.storage import StoredObject, check_key
from fluxui.storage.files import explain, place, sweep, write_draft

DRAFTS = ".drafts"


class LocalStorage:
    """Every key is a file below `folder`, which the first `put` makes."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.realpath(folder))
        self._drafts = self._folder / DRAFTS
        self._moving = threading.Lock()
        sweep(self._drafts)

    def put(self, key: str, data: bytes, content_type: str) -> None:
        path = self._path(key)
        try:
            draft = write_draft(self._drafts, data)
            # `delete` takes empty folders away: not while one is about to be used.
            with self._moving:
                place(draft, path)
        except OSError as error:
            raise explain(error) from error

    def open(self, key: str) -> BinaryIO:
        try:
            return self._path(key).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise ObjectNotFound(key) from None
        except OSError as error:
            raise explain(error) from error

    def url(self, key: str, seconds: int = 3600) -> str | None:
        check_key(key)
        return None

    def list(self, prefix: str) -> Iterator[StoredObject]:
        top, _, name = prefix.rpartition("/")
        folder = self._path(top) if top else self._folder
        try:
            for path in _walk(folder, name):
                if not path.is_file():  # deleted since
                    continue
                found = path.stat()
                modified = datetime.fromtimestamp(found.st_mtime, timezone.utc)
                key = path.relative_to(self._folder).as_posix()
                yield StoredObject(key, found.st_size, modified)
        except OSError as error:
            raise explain(error) from error

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            with self._moving:
                path.unlink(missing_ok=True)
                self._prune(path.parent)
        except NotADirectoryError:
            return  # nothing can be there
        except OSError as error:
            raise explain(error) from error

    def check(self) -> None:
        probe = f"probe-{uuid.uuid4().hex}"
        self.put(probe, b"fluxui", "text/plain")
        with self.open(probe) as stream:
            stream.read()
        self.delete(probe)

    def _path(self, key: str) -> Path:
        """The file of a key. Raises ObjectNotFound if it would lie outside of the folder."""
        check_key(key)
        path = Path(os.path.realpath(self._folder / key))
        if os.path.commonpath([path, self._folder]) != str(self._folder):
            raise ObjectNotFound(key)
        return path

    def _prune(self, folder: Path) -> None:
        while folder != self._folder and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _walk(folder: Path, begin: str = "") -> Iterator[Path]:
    """Every file below, in the order of its key: `a-b` comes before `a/b`."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        names = [
            f"{entry.name}/" if entry.is_dir() else entry.name
            for entry in entries
            if entry.name.startswith(begin) and not entry.name.startswith(".")
        ]
    for name in sorted(names):
        if name.endswith("/"):
            yield from _walk(folder / name)
        else:
            yield folder / name
