"""Replaces one object, short by long by short, until it is killed."""

import itertools
import sys
from pathlib import Path

from fluxui.storage.local import LocalStorage

storage = LocalStorage(Path(sys.argv[1]))
storage.put("a/b", b"0" * 1_000, "text/plain")
print("ready", flush=True)
for number in itertools.count():
    size = 500_000 if number % 2 else 1_000
    storage.put("a/b", str(number % 10).encode() * size, "text/plain")
    print(number, flush=True)
