"""One page of the gallery, out of 50,000 pictures: python -m benchmarks.gallery [--json FILE]

The history is real, and so are the HTTP server and the signing of a bucket's URLs. No pipeline is
loaded, and no bucket is contacted: signing needs none.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import uvicorn
from playwright.sync_api import Page, sync_playwright

from benchmarks.history import fill, resident
from benchmarks.overhead import free_port
from benchmarks.timing import Row, arguments, milliseconds, summary, tell
from fluxui import gallery
from fluxui.api import build_api
from fluxui.gate import Gate
from fluxui.history import History, Query
from fluxui.history.tiny import TinyHistory
from fluxui.images import thumbnail
from fluxui.opening import open_studio
from fluxui.server import App
from fluxui.settings import Settings
from fluxui.storage.local import LocalStorage
from fluxui.storage.s3 import S3Storage
from fluxui.studio import Studio

RECORDS = 50_000
ZIPPED, PICTURE = 200, 1_500_000  # pictures, bytes
ZIP_TARGET = 40.0  # MB
SHOWN, BROWSED, PAGES = 1200, 5, 20
COLD = 600.0  # milliseconds
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
        browsed = in_chromium(Path(folder) / "browser")
    worst = max(row["median"] for row in rows.values())
    cold = next(iter(browsed.values()))["median"]
    tell(
        rows | browsed,
        given.json,
        records=f"{RECORDS:,}",
        target=f"{TARGET:.0f}",
        worst=f"{worst:.1f}",
        zip=grown,
        cold=f"{cold:.0f} ms, target {COLD:.0f}{'' if cold <= COLD else ': missed'}",
    )


def in_chromium(folder: Path) -> dict[str, Row]:
    """The Gallery tab in a browser that has never seen the page, to its last thumbnail; then 20
    pages. What Gradio's cache grows by meanwhile has to be nothing."""
    fill(folder / "history.json", SHOWN)
    storage, thumb = LocalStorage(folder), thumbnail(bytes(range(256)) * 768, 256, 256)
    settings = Settings(data_dir=folder, base_model="tiny", port=free_port())
    app = App(settings, open_studio(settings))
    for one, index in app.studio.pictures.each(Query()):
        storage.put(one.images[index - 1].thumb_key, thumb, "image/webp")
    app.launch()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--disable-dev-shm-usage"],
            )
            cold = [first_grid(browser.new_page(), app.url) for _ in range(BROWSED)]
            before = size_of(app.temp)
            turned = turned_pages(browser.new_page(), app.url)
            browser.close()
        assert size_of(app.temp) == before, "Gradio's cache has grown"
    finally:
        app.close()
    return {
        "Chromium, cold: click to the last of 48 thumbnails": summary(cold),
        "Chromium: click to the last of the next page": summary(turned),
    }


def first_grid(page: Page, url: str) -> float:
    page.set_viewport_size({"width": 1440, "height": 2400})  # every thumbnail is in sight
    page.goto(url)
    page.locator("#head .fx-pills").wait_for()
    return to_last(page, lambda: page.get_by_role("tab", name="Gallery").click(), "1 of")


def turned_pages(page: Page, url: str) -> list[float]:
    first_grid(page, url)
    older = page.locator("#g-bar [data-act=older]")
    return [to_last(page, older.click, f"{number} of") for number in range(2, PAGES + 2)]


def to_last(page: Page, act: Callable[[], object], shown: str) -> float:
    """Milliseconds from an act until the bar says so and every thumbnail is decoded."""
    begin = time.perf_counter()
    act()
    page.wait_for_function(
        """shown => document.querySelector('#g-bar').innerText.includes(shown)
            && document.querySelectorAll('#g-grid img').length === 48
            && [...document.querySelectorAll('#g-grid img')]
                .every(image => image.complete && image.naturalWidth)
        """,
        arg=shown,
        polling=10,
    )
    page.locator("#g-grid img").last.evaluate("image => image.decode()")
    return (time.perf_counter() - begin) * 1000


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


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


def measured(call: Callable[[], object], history: TinyHistory) -> Row:
    """Each time with nothing remembered."""
    call()  # the first one imports
    times = []
    for _ in range(TIMES):
        history._index._answers.clear()
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
