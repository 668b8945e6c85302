"""Puts objects while the bucket is away, and prints each key that was accepted, until killed."""

import itertools
import sys
from pathlib import Path

from fluxui.errors import StorageUnavailable
from fluxui.storage.local import LocalStorage
from fluxui.storage.spool import SpooledStorage


class Away(LocalStorage):
    def put(self, key: str, data: bytes, content_type: str) -> None:
        raise StorageUnavailable("The bucket's server does not answer.")


folder = Path(sys.argv[1])
spooled = SpooledStorage(Away(folder / "never"), folder)
print("ready", flush=True)
for number in itertools.count():
    spooled.put(f"{sys.argv[2]}.{number}", b"x" * 20_000, "image/png")
    print(f"{sys.argv[2]}.{number}", flush=True)
