"""Rebuilding and verifying a history of 10,000: python -m benchmarks.rebuild [--json FILE]

The bucket is a SeaweedFS on this machine, so its work is in the times too. A record, a picture
and a thumbnail lie there for each generation; pictures are small, since neither reads them. A
bucket that says no MD5, and a folder, have to be read record by record when they are verified.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from benchmarks.history import generation
from benchmarks.timing import arguments, milliseconds, tell
from fluxui.generation import Generation
from fluxui.history import Query
from fluxui.history.tiny import TinyHistory
from fluxui.outputs import list_kept
from fluxui.rebuild import Rebuild
from fluxui.storage import Storage, StoredObject, folder_of, image_key, record_key, thumb_key
from fluxui.storage.local import LocalStorage
from fluxui.storage.s3 import S3Storage
from fluxui.verify import verify
from tests.storage.servers import seaweedfs

OUTPUTS = 10_000
WRITERS = 16
TARGET = 60.0  # seconds


class Silent(S3Storage):
    """As a bucket that encrypts: its ETags are no MD5."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return (replace(found, md5="") for found in super().list(prefix))


def fill(storage: Storage, made: Generation) -> Generation:
    """As the worker leaves it; the folder of the record is its own."""
    keys = {"key": image_key(made, 1), "thumb_key": thumb_key(made, 1)}
    made = made.model_copy(update={"images": (made.images[0].model_copy(update=keys),)})
    assert made.images[0].key.startswith(folder_of(made))
    storage.put(image_key(made, 1), b"picture", "image/png")
    storage.put(thumb_key(made, 1), b"thumbnail", "image/webp")
    storage.put(record_key(made), made.record_file(), "application/json")
    return made


def main() -> None:
    given = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder, seaweedfs(Path(folder)) as server:
        storage = S3Storage(server.settings(Path(folder)))
        with ThreadPoolExecutor(WRITERS) as pool:
            numbers = range(OUTPUTS)
            made = list(pool.map(lambda number: fill(storage, generation(number)), numbers))
        history = TinyHistory(Path(folder) / "history.json")
        listing = milliseconds(lambda: list_kept(storage))
        before = time.process_time()
        whole = milliseconds(Rebuild(storage, history).run)
        work = (time.process_time() - before) * 1000
        again = milliseconds(Rebuild(storage, history).run)
        page = history.page(Query(), limit=1)
        assert page.total == OUTPUTS and history.get(made[0].id) == made[0]
        findings = verify(storage, history)
        assert findings.fine and findings.records == OUTPUTS
        verified = milliseconds(lambda: verify(storage, history))
        silent = Silent(server.settings(Path(folder)))
        unsaid = milliseconds(lambda: verify(silent, history))
        local = LocalStorage(Path(folder) / "local")
        for one in made:
            fill(local, one)
        on_disk = milliseconds(lambda: verify(local, history))
        history.close()
    times = {
        "listing alone": listing,
        "rebuild, into an empty history": whole,
        "of that, this process at work": work,
        "rebuild, nothing lacking": again,
        "verify, by the MD5 of the listing": verified,
        "verify, the bucket says no MD5": unsaid,
        "verify, a folder": on_disk,
    }
    rows = {
        name: {"median": found, "p25": found, "p75": found, "count": 1}
        for name, found in times.items()
    }
    peak = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
    tell(rows, given.json, outputs=f"{OUTPUTS:,}", target=f"{TARGET:.0f} s", peak_memory=peak)


if __name__ == "__main__":
    main()
