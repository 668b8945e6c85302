"""One page of the gallery, out of 50,000 pictures: python -m benchmarks.gallery [--json FILE]

The history is real, and so are the HTTP server and the signing of a bucket's URLs. No pipeline is
loaded, no browser takes part, and no bucket is contacted: signing needs none.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import uvicorn

from benchmarks.history import fill, resident
from benchmarks.timing import Row, arguments, milliseconds, summary, tell
from fluxui import gallery
from fluxui.api import build_api
from fluxui.gate import Gate
from fluxui.history import History, Query
from fluxui.opening import open_studio
from fluxui.settings import Settings
from fluxui.storage.local import LocalStorage
from fluxui.storage.s3 import S3Storage
from fluxui.studio import Studio

RECORDS = 50_000
ZIPPED, PICTURE = 200, 1_500_000  # pictures, bytes
ZIP_TARGET = 40.0  # MB
TIMES = 50
TARGET = 100.0  # milliseconds, at the server
BUCKET = Settings(
    s3_bucket_name="pictures",
    s3_region="us-east-1",
    aws_access_key_id="not-a-key",
    aws_secret_access_key="not-a-secret",
)


def main() -> None:
    given = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "history.json", RECORDS)
        studio = open_studio(Settings(data_dir=Path(folder), base_model="tiny"))
        with served(studio) as client:
            calls = pages(studio) | requests(client) | signed(studio._history)
            rows = {name: measured(call, studio._history) for name, call in calls.items()}
        studio.close()
        grown = zip_growth(Path(folder) / "zip")
    worst = max(row["median"] for row in rows.values())
    tell(
        rows,
        given.json,
        records=f"{RECORDS:,}",
        target=f"{TARGET:.0f}",
        worst=f"{worst:.1f}",
        zip=grown,
    )


def zip_growth(folder: Path) -> str:
    """A zip of 200 pictures over HTTP; what the memory of server and client grows by meanwhile."""
    fill(folder / "history.json", ZIPPED)
    studio = open_studio(Settings(data_dir=folder, base_model="tiny"))
    storage = LocalStorage(folder)
    for number, (one, index) in enumerate(studio.pictures.each(Query())):
        storage.put(one.images[index - 1].key, random.Random(number).randbytes(PICTURE), "")
    with served(studio) as client:
        client.get("/api/images.zip?q=nothing").raise_for_status()
        before, most, length = resident(), 0.0, 0
        with client.stream("GET", "/api/images.zip") as answer:
            for part in answer.iter_raw():
                length += len(part)
                most = max(most, resident())
    studio.close()
    grown, missed = most - before, "" if most - before <= ZIP_TARGET else ": missed"
    return f"{length / 1e6:.0f} MB, memory grew by {grown:.0f} MB, target {ZIP_TARGET:.0f}{missed}"


def measured(call: Callable[[], object], history: History) -> Row:
    """Each time with nothing remembered: any change makes the history search anew."""
    call()  # the first one imports
    times = []
    for _ in range(TIMES):
        history.replace(history.page(Query(), limit=1).generations[0])
        times.append(milliseconds(call))
    return summary(times)


def pages(studio: Studio) -> dict[str, Callable[[], object]]:
    """The page as the gallery tab asks for it."""
    middle = studio.pictures.page(cursor=str(RECORDS // 2)).cursor
    assert len(studio.pictures.gallery().cards) == gallery.PAGE_SIZE
    return {
        "Studio.gallery, newest": lambda: studio.pictures.gallery(),
        "Studio.gallery, in the middle": lambda: studio.pictures.gallery(cursor=middle),
        "Studio.gallery, one LoRA": lambda: studio.pictures.gallery(Query(model_id="style-7")),
        "Studio.gallery, two words": lambda: studio.pictures.gallery(Query(words="lantern 77")),
    }


def requests(client: httpx2.Client) -> dict[str, Callable[[], object]]:
    """The same page over HTTP, with all that a script gets to know."""

    def get(address: str) -> object:
        answer = client.get(address).raise_for_status().json()
        assert len(answer["generations"]) == gallery.PAGE_SIZE
        return answer

    return {
        "GET /api/generate/": lambda: get("/api/generate/"),
        "GET /api/generate/?q=lantern": lambda: get("/api/generate/?q=lantern"),
        "GET /api/generate/?model_id=style-7": lambda: get("/api/generate/?model_id=style-7"),
    }


@contextmanager
def served(studio: Studio) -> Iterator[httpx2.Client]:
    server = uvicorn.Server(
        uvicorn.Config(Gate(build_api(studio), None, None), port=0, log_level="warning")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        yield client
    server.should_exit = True
    thread.join()


def signed(history: History) -> dict[str, Callable[[], object]]:
    storage = S3Storage(BUCKET)
    return {"a bucket's page, every URL signed": lambda: gallery.page(history, storage, Query())}


if __name__ == "__main__":
    main()
