"""What the queue keeps, and how soon it answers: python -m benchmarks.queue [--json FILE]

A whole fluxui over a pipeline that only pretends to paint, in a process of its own: killed 200
times, asked for a thousand generations, cancelled, restarted with 10,000 records, and watched by
fifty at once. What is measured is therefore all but the painting.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gradio_client import Client as GradioClient
from gradio_client.client import Job
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.history import fill
from benchmarks.overhead import free_port
from benchmarks.timing import Row, arguments, milliseconds, summary, tell
from tests.faults.house import CHECKPOINTS
from tests.faults.killing import Nursery, Promises, moment

KILLS = 200
ADMITTED = 1000
CANCELS = 10
CANCEL_STEP = 0.25  # seconds
RECORDS = 10_000
STARTS = 5
WATCHERS, TABS = 50, 10  # the tabs are some of the watchers
WATCHED_STEPS, WATCHED_STEP = 40, 0.25

TARGETS = {
    "admit, 95 of 100": 50.0,
    "memory for 1,000 (MB)": 50.0,
    "cancel, the slowest, over one step": 200.0,
    "restart, the slowest": 2000.0,
    "a click's call beside 50 watchers, the slowest": 200.0,
}
# From the press of the seed's "New" to the new seed in its field, in milliseconds.
CLICK = """() => new Promise(done => {
  const field = document.querySelector('#seed textarea, #seed input');
  const old = field.value, began = performance.now();
  const look = () => field.value !== old ? done(performance.now() - began) : setTimeout(look, 2);
  document.querySelector('#dice').click();
  look();
})"""


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=KILLS)
    parts = {one.__name__: one for one in (admit, cancel, restart, watch)}
    parser.add_argument("--only", choices=[*parts, "kill"], action="append", help="not all parts")
    given = parser.parse_args()
    chosen = given.only or [*parts, "kill"]
    rows: dict[str, Row] = {}
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as temp:
        folder = Path(temp)
        for name, part in parts.items():
            if name in chosen:
                found, told = part(folder / name)
                rows |= found
                facts |= told | {f"load during {name}": round(os.getloadavg()[0], 1)}
        if "kill" in chosen:
            facts |= kill(folder / "kill", given.kills)
    tell(rows, given.json, **facts)


# Killed


def kill(folder: Path, kills: int) -> dict[str, Any]:
    """Half at a named checkpoint, half at any moment. It ends at the first broken promise."""
    house = folder / "house"
    house.mkdir(parents=True)
    promises = Promises(house)
    with Nursery("house") as nursery:
        for life in range(kills):
            checkpoint = random.choice(CHECKPOINTS) if life % 2 else ""
            how = {"checkpoint": checkpoint, "count": random.randint(1, 6)}
            after = None if checkpoint else moment()
            lines, end = nursery.live(after, folder=str(house), life=life, **how)
            assert end == -signal.SIGKILL, (checkpoint, end)
            promises.hear(lines)
        assert nursery.live(folder=str(house), life=kills, last=True) == ([], 0)
        ends = promises.ended()
        equal = promises.compare(nursery, folder / "calm")
    return {
        "kills": promises.kills,
        "accepted": len(promises.accepted),
        "deleted": len(promises.deleted),
        "lost, doubled or stuck": 0,
        "ended": dict(ends),
        "pictures equal to the byte": f"{equal} of {2 * ends['completed']}",
    }


# Asked


@contextmanager
def server(folder: Path, **how: Any) -> Iterator[tuple[Client, int]]:
    """A fluxui on a port of its own, once it answers, and its process id."""
    folder.mkdir(exist_ok=True)
    temp = folder / "temp"
    temp.mkdir(exist_ok=True)
    with Nursery("server", TMPDIR=str(temp)) as nursery:
        port = free_port()
        pid = nursery.begin(folder=str(folder / "house"), port=port, **how)
        client = Client(port)
        client.wait_until_up()
        yield client, pid
        os.kill(pid, signal.SIGTERM)
        nursery.end()


class Client:
    """One connection that is kept, as a script's or a browser's is."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def wait_until_up(self) -> None:
        while self._connection.sock is None:
            with suppress(ConnectionError):
                self._connection.connect()
            time.sleep(0.01)
        self.ask("GET", "/api/health")

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        told = json.dumps(body) if body else None
        try:
            got = self._send(method, path, told)
        except http.client.RemoteDisconnected:  # it was idle for too long, as browsers know
            got = self._send(method, path, told)
        data = got.read()
        is_json = got.headers.get_content_type() == "application/json"
        return got.status, json.loads(data) if is_json else data

    def _send(self, method: str, path: str, told: str | None) -> http.client.HTTPResponse:
        self._connection.request(method, path, told, {"Content-Type": "application/json"})
        return self._connection.getresponse()

    def submit(self, **values: Any) -> str:
        status, told = self.ask("POST", "/api/generate/image", {"prompt": "a red boat", **values})
        assert status == 202, told
        return str(told["id"])

    def newest(self) -> str:
        _, page = self.ask("GET", "/api/generate/?limit=1")
        return str(page["generations"][0]["id"]) if page["generations"] else ""

    def get(self, job_id: str) -> Any:
        return self.ask("GET", f"/api/generate/{job_id}")[1]


def admit(folder: Path) -> tuple[dict[str, Row], dict[str, Any]]:
    with server(folder, step_seconds=60, queue_size=ADMITTED, grace_seconds=0) as (client, pid):
        first = client.submit()
        while client.get(first)["status"] != "running":
            time.sleep(0.05)
        before = memory(pid)
        ids: list[str] = []
        times = [milliseconds(lambda: ids.append(client.submit())) for _ in range(ADMITTED)]
        grown = memory(pid) - before
        status, refused = client.ask("POST", "/api/generate/image", {"prompt": "one too many"})
        listed, cursor = [], ""
        while len(listed) < ADMITTED + 1:
            _, page = client.ask("GET", f"/api/generate/?limit=200&cursor={cursor}")
            listed += [one["id"] for one in page["generations"]]
            cursor = page["cursor"]
        places = [client.get(job_id)["stage"]["ahead"] for job_id in ids[:: ADMITTED // 20]]
    kept = listed == [*reversed(ids), first] and places == [*range(1, ADMITTED, ADMITTED // 20)]
    return {"admit one of 1,000": summary(times)}, {
        "admit, 95 of 100 under": limited(
            "admit, 95 of 100", statistics.quantiles(times, n=20)[-1]
        ),
        "admit, memory grown (MB)": limited("memory for 1,000 (MB)", grown),
        "admit, order kept": kept,
        "admit, one more": f"{status} {refused['code']}",
    }


def cancel(folder: Path) -> tuple[dict[str, Row], dict[str, Any]]:
    """From the call to the answer, and to the moment when a look at the record shows it."""
    rows: dict[str, Row] = {}
    facts: dict[str, Any] = {}
    with server(folder, step_seconds=CANCEL_STEP, grace_seconds=0) as (client, _):
        for door, stopping in (("REST", by_rest), ("job.cancel()", by_job)):
            with stopping(client) as stop:
                times = [one_cancel(client, *stop) for _ in range(CANCELS)]
            answered, seen, following = zip(*times, strict=True)
            rows[f"cancel by {door}, answered"] = summary(answered)
            rows[f"cancel by {door}, seen in the record"] = summary(seen)
            rows[f"cancel by {door}, the next one runs after that"] = summary(following)
            over = max(0, max(seen) - CANCEL_STEP * 1000)
            name = "cancel, the slowest, over one step"
            facts[f"{name}, {door}"] = limited(name, over)
    return rows, facts


Begin = Callable[[], str]
Stop = Callable[[], None]


@contextmanager
def by_rest(client: Client) -> Iterator[tuple[Begin, Stop]]:
    ids: list[str] = []

    def begin() -> str:
        ids.append(client.submit(num_inference_steps=40))
        return ids[-1]

    def stop() -> None:
        status, told = client.ask("POST", f"/api/generate/{ids[-1]}/cancel")
        assert (status, told["outcome"]) == (200, "stopped")

    yield begin, stop


@contextmanager
def by_job(client: Client) -> Iterator[tuple[Begin, Stop]]:
    """`gradio_client`, which waits for its picture and then does not want it."""
    gradio = GradioClient(f"http://127.0.0.1:{client.port}", verbose=False)
    jobs: list[Job] = []

    def begin() -> str:
        known = client.newest()
        jobs.append(
            gradio.submit(prompt="a boat", num_inference_steps=40, api_name="/generate_image")
        )
        while (job_id := client.newest()) == known:
            time.sleep(0.01)
        return job_id

    yield begin, lambda: jobs[-1].cancel() and None
    gradio.close()


def one_cancel(client: Client, begin: Begin, stop: Stop) -> tuple[float, float, float]:
    """Milliseconds until the answer, until it is seen, and from there until the next one runs."""
    first = begin()
    second = client.submit(num_inference_steps=40)
    while not client.get(first)["progress"]:
        time.sleep(0.02)
    time.sleep(random.uniform(0, CANCEL_STEP))
    asked = time.perf_counter()
    stop()
    answered = time.perf_counter()
    while client.get(first)["status"] != "cancelled":
        time.sleep(0.005)
    seen = time.perf_counter()
    while client.get(second)["status"] != "running":
        time.sleep(0.005)
    following = time.perf_counter()
    client.ask("POST", f"/api/generate/{second}/cancel")
    return (answered - asked) * 1000, (seen - asked) * 1000, (following - seen) * 1000


def restart(folder: Path) -> tuple[dict[str, Row], dict[str, Any]]:
    """From the fork, with all imports done, to the first answer of the API and of the page."""
    house = folder / "house"
    house.mkdir(parents=True)
    fill(house / "history.json", RECORDS)
    ready = []
    with Nursery("server") as nursery:
        for _ in range(STARTS):
            client = Client(free_port())
            pid = nursery.begin(folder=str(house), port=client.port)
            begin = time.perf_counter()
            client.wait_until_up()
            assert client.ask("GET", "/")[0] == 200
            ready.append((time.perf_counter() - begin) * 1000)
            assert client.ask("GET", "/api/generate/?limit=1")[1]["total"] == RECORDS
            os.kill(pid, signal.SIGTERM)
            nursery.end()
    name = "restart, the slowest"
    rows = {"restart with 10,000 records, to the page": summary(ready)}
    return rows, {name: limited(name, max(ready))}


def watch(folder: Path) -> tuple[dict[str, Row], dict[str, Any]]:
    """Fifty at once: some are tabs of a real Chromium, each of a browser profile of its own. They
    are all there before the first step, since the queue is held back until then."""
    with server(folder, step_seconds=WATCHED_STEP) as (client, _), browser() as chromium:
        client.ask("POST", "/api/queue/pause")
        job_id = client.submit(num_inference_steps=WATCHED_STEPS)
        url = f"http://127.0.0.1:{client.port}/"
        tabs = [open_tab(chromium, f"{url}?job={job_id}") for _ in range(TABS)]
        mine = open_tab(chromium, url)
        click = clicked(mine)
        seen: list[tuple[int, float]] = []
        threads = [
            threading.Thread(target=follow, args=(client.port, job_id, seen))
            for _ in range(WATCHERS - TABS)
        ]
        for thread in threads:
            thread.start()
        before = cached(folder)
        client.ask("POST", "/api/queue/resume")
        calls, clicks = [], []
        while client.get(job_id)["status"] != "completed":
            calls.append(milliseconds(lambda: client.ask("GET", "/api/generate/?limit=48")))
            calls.append(milliseconds(lambda: client.get(job_id)))
            calls.append(milliseconds(lambda: client.ask("POST", *click)))
            clicks.append(mine.evaluate(CLICK))
        ended = time.perf_counter()
        for tab in tabs:
            tab.locator("#status [data-status=completed]").wait_for()
        told = time.perf_counter() - ended
        for thread in threads:
            thread.join()
        added = cached(folder) - before
    late = max(at for _, at in seen) - ended
    call, shown = "a click's call beside 50 watchers", "a click in an 11th tab"
    return {call: summary(calls), shown: summary(clicks)}, {
        f"{call}, the slowest": limited(f"{call}, the slowest", max(calls)),
        f"{shown}, the slowest": f"{max(clicks):.0f}",
        "streams that saw the end": f"{len(seen)}, the last after {late * 1000:.0f} ms",
        "tabs that saw the end": f"{len(tabs)}, all within {told * 1000:.0f} ms",
        "events of a stream": f"{min(seen)[0]} to {max(seen)[0]}",
        "files added to the cache of Gradio": added,
    }


@contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=arguments
        )
        yield chromium
        chromium.close()


def clicked(page: Page) -> tuple[str, Any]:
    """Path and body of what the page sends when "New" is pressed, to be sent without a browser."""
    with page.expect_request("**/run/predict*") as sent:
        page.locator("#dice").click()
    return urlsplit(sent.value.url).path, sent.value.post_data_json


def open_tab(chromium: Browser, url: str) -> Page:
    page = chromium.new_context().new_page()
    page.set_default_timeout(120_000)
    page.goto(url)
    page.locator("#head .fx-pills").wait_for()
    return page


def follow(port: int, job_id: str, seen: list[tuple[int, float]]) -> None:
    """Read the events to their end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", f"/api/generate/{job_id}/events")
    events = 0
    for line in connection.getresponse():
        events += line.startswith(b"event: ")
        if line == b"event: end\n":
            seen.append((events, time.perf_counter()))
    connection.close()


def cached(folder: Path) -> int:
    return sum(1 for path in (folder / "temp").rglob("*") if path.is_file())


def memory(pid: int) -> float:
    """Of the process, in MB; Linux only."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def limited(name: str, value: float) -> str:
    verdict = "kept" if value <= TARGETS[name] else "MISSED"
    return f"{value:.0f} (target {TARGETS[name]:.0f}: {verdict})"


if __name__ == "__main__":
    main()
