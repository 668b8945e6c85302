"""What Celery costs and keeps: python -m benchmarks.celery [--json FILE]

A page in this process, a real Redis, a SeaweedFS, and workers in processes of their own. Two of
them against one paint with the embedded model, each on a core of its own; all else is measured
over a pipeline that only pretends to paint. It ends at the first broken promise.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

import fluxui.opening
from benchmarks.timing import Row, arguments, summary, tell
from fluxui.generation import Generation, Status
from fluxui.history import Query
from fluxui.opening import open_studio
from fluxui.queue import Phase
from fluxui.queue.wire import job_of
from fluxui.request import GenerationForm
from fluxui.studio import Studio
from tests.crews import Crew, RedisServer, crew, crew_settings, redis_server
from tests.faults.worker import PreviewingPipeline
from tests.storage.servers import S3Server, seaweedfs

PICTURES = 60
PAINTED = {"width": 256, "height": 256, "num_inference_steps": 20}
RUN, KILLS = 100, 20
FAKE = "tests.faults.worker"
OVERHEAD_STEPS, OVERHEAD_STEP = 10, 0.01
KILLED_STEPS, KILLED_STEP = 20, 0.05

TARGETS = {
    "two workers against one": 1.8,
    "Celery's share of a generation (ms)": 30.0,
    "from the kill to the rerun, the longest (s)": 30.0,
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--run", type=int, default=RUN, help="generations while it kills")
    parts = {one.__name__: one for one in (throughput, overhead, kill, restart)}
    parser.add_argument("--only", choices=list(parts), action="append", help="not all parts")
    given = parser.parse_args()
    rows: dict[str, Row] = {}
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as temp:
        folder = Path(temp)
        (folder / "bucket").mkdir()
        with seaweedfs(folder / "bucket") as bucket:
            for name in given.only or parts:
                place = folder / name
                place.mkdir()
                found, told = parts[name](place, bucket, given)
                rows |= found
                facts |= told | {f"load during {name}": round(os.getloadavg()[0], 1)}
    tell(rows, given.json, **facts)


@dataclass
class Page:
    """A page, its Redis, and its crew."""

    studio: Studio
    redis: RedisServer
    crew: Crew

    def hire(self, count: int, **how: Any) -> None:
        """So many more, once they are there."""
        wanted = len(self.studio.system().crew) + count
        for _ in range(count):
            self.crew.hire(**how)
        until(lambda: len(self.studio.system().crew) >= wanted)

    def submit(self, count: int, **values: Any) -> list[str]:
        """Each with its number as its seed."""
        forms = (
            GenerationForm.parse({"prompt": "a red boat on the sea", "seed": seed, **values})
            for seed in range(count)
        )
        return [self.studio.submit(form).id for form in forms]

    def wait(self, ids: list[str], seconds: float = 1800) -> list[Generation]:
        for job_id in ids:  # one look at a time: this process is the page too
            until(lambda: self.studio.get(job_id).status.ended, seconds)  # noqa: B023
        return [self.studio.get(one) for one in ids]


@contextmanager
def page(folder: Path, bucket: S3Server, prefix: str) -> Iterator[Page]:
    folder.mkdir(exist_ok=True)
    with redis_server(folder / "redis") as redis, crew(redis, bucket, folder) as hired:
        hired.environment["S3_PREFIX"] = prefix
        settings = crew_settings(
            redis, bucket, folder / "page", s3_prefix=prefix, queue_size=10_000
        )
        studio = open_studio(settings)
        studio.warm_up()
        yield Page(studio, redis, hired)
        studio.close()


def until(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def said(name: str, value: float, kept: bool) -> str:
    verdict = "kept" if kept else "MISSED"
    return f"{value:.2f} (target {TARGETS[name]:g}: {verdict})"


# Two against one


def throughput(folder: Path, bucket: S3Server, given: Any) -> tuple[dict[str, Row], dict[str, Any]]:
    seconds, pictures = [], []
    for count in (1, 2):
        with page(folder / str(count), bucket, f"throughput-{count}") as one:
            one.hire(count, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
            for core, process in enumerate(one.crew.processes):
                pin(process.pid, core % (os.cpu_count() or 1))
            one.wait(one.submit(2 * count, **PAINTED))  # the first ones pay for what is warm then
            began = time.monotonic()
            done = one.wait(one.submit(given.pictures, **PAINTED))
            seconds.append(time.monotonic() - began)
            pictures.append([pixels(one.studio, generation) for generation in done])
    name = "two workers against one"
    gain = seconds[0] / seconds[1]
    return {}, {
        "one worker (s)": round(seconds[0], 2),
        "two workers (s)": round(seconds[1], 2),
        name: said(name, gain, gain >= TARGETS[name]),
        "pictures equal in every pixel": f"{sum(map(str.__eq__, *pictures))} of {given.pictures}",
    }


def pin(pid: int, core: int) -> None:
    """All of its threads, those of torch too."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def pixels(studio: Studio, generation: Generation) -> str:
    """The file holds the id of its generation, so files of two runs differ."""
    assert generation.status is Status.completed, generation.error
    with studio._storage.open(generation.images[0].key) as stream:
        return hashlib.sha256(Image.open(stream).tobytes()).hexdigest()


# What Celery adds


def overhead(folder: Path, bucket: S3Server, given: Any) -> tuple[dict[str, Row], dict[str, Any]]:
    """The same generations by the queue of this process and by one worker, one after the other."""
    work = {"num_inference_steps": OVERHEAD_STEPS, "width": 128, "height": 128}
    os.environ["FAKE_STEP"] = str(OVERHEAD_STEP)
    real, fluxui.opening.get_pipeline = fluxui.opening.get_pipeline, PreviewingPipeline
    settings = bucket.settings(folder / "local", s3_prefix="local", queue_size=10_000)
    local = open_studio(settings)
    local.warm_up()
    here = Page(local, None, None)  # type: ignore[arg-type]
    times_here = [timed(here, given.pictures, work) for _ in range(3)]
    local.close()
    fluxui.opening.get_pipeline = real
    with page(folder / "remote", bucket, "remote") as there:
        there.hire(1, module=FAKE, FAKE_STEP=str(OVERHEAD_STEP))
        timed(there, 2, work)
        times_there = [timed(there, given.pictures, work) for _ in range(3)]
    rows = {
        "a generation, local queue": summary(times_here),
        "a generation, Celery": summary(times_there),
    }
    name = "Celery's share of a generation (ms)"
    added = rows["a generation, Celery"]["median"] - rows["a generation, local queue"]["median"]
    return rows, {name: said(name, added, added <= TARGETS[name])}


def timed(page: Page, count: int, work: dict[str, int]) -> float:
    """Milliseconds for one of so many that are queued together."""
    began = time.monotonic()
    page.wait(page.submit(count, **work))
    return (time.monotonic() - began) * 1000 / count


# Killed


def kill(folder: Path, bucket: S3Server, given: Any) -> tuple[dict[str, Row], dict[str, Any]]:
    """One of two, again and again, while it paints; another one is hired in its place."""
    how = {"module": FAKE, "FAKE_STEP": str(KILLED_STEP)}
    killed: dict[str, float] = {}
    with page(folder / "page", bucket, "kill") as one:
        one.hire(2, **how)
        ids = one.submit(given.run, num_inference_steps=KILLED_STEPS, width=128, height=128)
        for number in range(given.kills):
            wanted = number * given.run // (given.kills + 2)
            until(lambda: ended(one.studio, ids) >= wanted)  # noqa: B023
            time.sleep(random.uniform(0, KILLED_STEP * KILLED_STEPS))
            until(lambda: one_kill(one.studio, killed))
            one.crew.hire(**how)
        done = one.wait(ids)
        found = one.studio.pictures.page(Query(), limit=len(ids) + 1)
        stored = list(one.studio._storage.list("generated/"))
    records = sum(1 for entry in stored if entry.key.endswith("/record.json"))
    completed = sum(1 for each in done if each.status is Status.completed)
    assert completed == given.run, {each.status for each in done}
    assert {each.id for each in found.generations} == set(ids) and found.total == given.run
    assert records == given.run
    began = {each.id: each.started_at.timestamp() for each in done if each.started_at}
    again = [began[job_id] - at for job_id, at in killed.items() if began[job_id] > at]
    name = "from the kill to the rerun, the longest (s)"
    return {"from the kill to the rerun": summary([one * 1000 for one in again])}, {
        "kills": len(killed),
        "completed": f"{completed} of {given.run}",
        "lost": given.run - len(found.generations),
        "twice in the history": found.total - len(set(ids)),
        "painted twice": sum(1 for each in done if each.attempts == 2),
        name: said(name, max(again), max(again) <= TARGETS[name]),
    }


def ended(studio: Studio, ids: list[str]) -> int:
    return sum(studio.get(job_id).status.ended for job_id in ids)


def one_kill(studio: Studio, killed: dict[str, float]) -> bool:
    """Kill one that paints something for the first time: a second death would end that, as
    promised. False if there is none just now."""
    for beat, _ in list(studio._queue._hands.values()):
        for job_id in map(job_of, beat.tokens):
            progress = studio.progress(job_id)
            first = studio.get(job_id).attempts == 1 and job_id not in killed
            if first and progress and progress.phase is Phase.painting:
                os.kill(int(beat.name.rpartition(":")[2]), signal.SIGKILL)
                killed[job_id] = time.time()
                return True
    return False


# Redis restarted


def restart(folder: Path, bucket: S3Server, given: Any) -> tuple[dict[str, Row], dict[str, Any]]:
    with page(folder / "page", bucket, "restart") as one:
        one.hire(2, module=FAKE, FAKE_STEP=str(KILLED_STEP))
        ids = one.submit(20, num_inference_steps=KILLED_STEPS, width=128, height=128)
        until(lambda: ended(one.studio, ids) >= 5)
        one.redis.stop()
        until(lambda: told(one, ids[-1]) != "")
        sentence = told(one, ids[-1])
        time.sleep(2)
        one.redis.start()
        began = time.monotonic()
        before = ended(one.studio, ids)
        until(lambda: ended(one.studio, ids) > before)
        back = time.monotonic() - began
        done = one.wait(ids)
    completed = sum(1 for each in done if each.status is Status.completed)
    assert completed == len(ids), {each.status for each in done}
    return {}, {
        "Redis restarted, completed": f"{completed} of {len(ids)}",
        "painted twice by that": sum(1 for each in done if each.attempts == 2),
        "the page said": sentence,
        "the next one ended after (s)": round(back, 1),
    }


def told(page: Page, job_id: str) -> str:
    progress = page.studio.progress(job_id)
    return progress.obstacle if progress else ""


if __name__ == "__main__":
    main()
