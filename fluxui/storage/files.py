"""Files that are there whole or not at all, whatever dies meanwhile. It knows no keys."""

from __future__ import annotations

import errno
import os
import time
import uuid
from pathlib import Path

from fluxui.errors import StorageError, StorageFull, StorageUnavailable

STALE_SECONDS = 3600
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_draft(drafts: Path, data: bytes) -> Path:
    """A new file in `drafts`, synced, to be moved to its place. Raises OSError, leaving none."""
    make_folder(drafts)
    draft = drafts / uuid.uuid4().hex
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    return draft


def place(draft: Path, path: Path) -> None:
    """Move it to its place, where it also is after a power cut. Raises OSError."""
    try:
        make_folder(path.parent)
        draft.replace(path)
    except OSError:
        draft.unlink()
        raise
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """`mkdir -p` that lasts: each new name is synced in the folder that holds it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sweep(drafts: Path) -> None:
    """Remove what a process left that died while it wrote."""
    if not drafts.is_dir():
        return
    oldest = time.time() - STALE_SECONDS
    for draft in drafts.iterdir():
        if draft.stat().st_mtime < oldest:
            draft.unlink(missing_ok=True)


def explain(error: OSError) -> StorageError:
    """The disk's refusal as a sentence, without the path: strangers may read it."""
    if error.errno in _NO_ROOM:
        return StorageFull("The disk is full.")
    return StorageUnavailable(
        f"The data folder can't be used: {error.strerror}.",
        "Check who owns the data folder, or choose another one with --data-dir.",
    )
