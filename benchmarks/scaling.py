"""How many GPUs one page carries: python -m benchmarks.scaling [--json FILE]

First what the page's process and Redis take for one generation and for one word of progress, by
the code that does it, on this machine; then a simulation of 1, 8, 64 and 1,000 GPUs which are never
without work. What is not measured here is said: how long a GPU paints, and how long a bucket takes.
"""

from __future__ import annotations

import heapq
import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.timing import arguments, tell
from fluxui.generation import Generation, Status
from fluxui.history.tiny import TinyHistory
from fluxui.ledger import HistoryLedger
from fluxui.pipeline.base_models import CATALOGUE
from fluxui.queue import Phase, Progress
from fluxui.queue.celery import Post
from fluxui.queue.line import Line
from fluxui.queue.order import Ticket
from fluxui.queue.remote import RemoteQueue
from fluxui.queue.wire import News, Report, Terms, Wire, new_token
from fluxui.request import GenerationForm
from tests.crews import RedisServer, redis_server

GPUS = (1, 8, 64, 128, 256, 1000)
SECONDS = 120.0  # simulated, after as many to warm up
GENERATIONS, WORDS = 300, 2000  # measured
PREVIEW = b"\xff\xd8" + bytes(5000)
TERMS = Terms("1", "tiny", "bucket")


@dataclass(frozen=True)
class Costs:
    """Seconds. The first four are measured; the others are taken as given."""

    admit: float
    generation: float
    word: float
    redis: float
    watch: float = 0.00034  # of the page, for one stream and one event: benchmarks.queue
    paint: float = 4.0  # FLUX.1-dev on an H200, as others publish
    steps: int = 28
    store: float = 0.3  # encode, and three puts at once
    puts: int = 3
    commands: int = 14  # of Redis, for one generation besides its progress
    beat: float = 2.0
    look: float = 0.1


def main() -> None:
    parser = arguments(__doc__)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as temp:
        costs = measure(Path(temp))
    print(f"{'GPUs':>5} {'pictures/s':>10} {'of all':>7} {'page':>6} {'Redis':>6} {'puts/s':>7}")
    found = {}
    for gpus in GPUS:
        seen = Simulation(gpus, costs).run()
        found[gpus] = seen
        print(
            f"{gpus:5} {seen['pictures']:10.1f} {seen['share']:7.0%} {seen['page']:6.0%} "
            f"{seen['redis']:6.0%} {seen['puts']:7.0f}"
        )
    facts = {f"{name} (ms)": round(getattr(costs, name) * 1000, 3) for name in MEASURED}
    tell({}, given.json, **facts, simulated=found)


MEASURED = ("admit", "generation", "word", "redis")


# Measured


def measure(folder: Path) -> Costs:
    with redis_server(folder / "redis") as redis:
        history = TinyHistory(folder / "history.json")
        wire, post = Wire(redis.url), Post(redis.url, TERMS)
        ledger = HistoryLedger(history, lambda ended: None)
        queued = [generation() for _ in range(GENERATIONS)]
        admit = each(history.add, queued)
        before = redis_seconds(redis)
        worked = each(lambda one: work(wire, post, ledger, one), queued)
        commands = GENERATIONS * Costs(0, 0, 0, 0).commands
        of_redis = (redis_seconds(redis) - before) / commands
        queue = RemoteQueue(wire, post, ledger, ("me", TERMS), 64)
        word = hear(queue, wire, redis)
        queue.close()
        history.close()
    return Costs(admit, worked, word, of_redis)


def generation() -> Generation:
    form = GenerationForm.parse({"prompt": "a red boat on the sea at sunset"})
    request = form.admit(CATALOGUE["tiny"].limits)
    return Generation(request=request, base_model="tiny", painted=request.prompt)


def each(act: Callable[[Any], object], given: list[Any]) -> float:
    began = time.perf_counter()
    for one in given:
        act(one)
    return (time.perf_counter() - began) / len(given)


def work(wire: Wire, post: Post, ledger: HistoryLedger, queued: Generation) -> None:
    """All that one generation asks of the page, and what its worker asks of Redis for it."""
    token = new_token(queued.id)
    wire.offer(token, ledger.offer(queued.id))
    post.send(token)
    taken = Generation.model_validate_json(wire.take(token) or "")
    running = taken.advance(Status.running)
    for kind, told in (("began", running), ("completed", running.advance(Status.completed))):
        wire.tell(News(kind, token, told.model_dump_json()))  # type: ignore[arg-type]
        news = wire.first_news()
        assert news
        ledger.keep(news.record)
        wire.drop_first_news()


def redis_seconds(redis: RedisServer) -> float:
    """CPU that the server took so far."""
    told = Path(f"/proc/{redis.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / 100


def hear(queue: RemoteQueue, wire: Wire, redis: RedisServer) -> float:
    """What one word of progress with a preview costs the page, of its own time."""
    token = new_token("a")
    Line.put(queue, Ticket("a"), lambda: None)  # which starts no threads
    queue._hear()
    told = Progress(Phase.painting, image=1, images=1, steps=28, preview=PREVIEW)
    speaker = Wire(redis.url)
    speaker.say(Report(token, replace(told, step=step % 28)) for step in range(WORDS))
    began = time.process_time()
    for _ in range(WORDS):
        queue._hear()
    speaker.close()
    return (time.process_time() - began) / WORDS


# Simulated


class Server:
    """Does one thing at a time, in the order in which it is asked."""

    def __init__(self) -> None:
        self.free = self.busy = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When it is done."""
        self.free = max(self.free, now) + seconds
        self.busy += seconds
        return self.free


class Simulation:
    """`gpus` workers that never lack work, each picture watched by one browser."""

    def __init__(self, gpus: int, costs: Costs) -> None:
        self._gpus, self._costs = gpus, costs
        self._page, self._redis = Server(), Server()
        self._done = 0
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = count()

    def run(self) -> dict[str, float]:
        """Rates, and shares of one second, once it has warmed up."""
        for gpu in range(self._gpus):
            self._at(random.uniform(0, self._costs.paint), self._offer)
            self._at(self._costs.beat * gpu / self._gpus, self._beat)
        self._until(SECONDS)
        done, page, redis = self._done, self._page.busy, self._redis.busy
        self._until(2 * SECONDS)
        pictures = (self._done - done) / SECONDS
        return {
            "pictures": pictures,
            "share": pictures * self._costs.paint / self._gpus,
            "page": (self._page.busy - page) / SECONDS,
            "redis": (self._redis.busy - redis) / SECONDS,
            "puts": pictures * self._costs.puts,
        }

    def _until(self, end: float) -> None:
        while self._events[0][0] < end:
            now, _, act = heapq.heappop(self._events)
            act(now)

    def _at(self, when: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._number), act))

    def _offer(self, now: float) -> None:
        """A GPU is free: the next one is admitted, offered, and taken."""
        costs = self._costs
        told = self._page.serve(now, costs.admit + costs.generation)
        self._at(self._redis.serve(told, costs.commands * costs.redis), self._begin)

    def _begin(self, now: float) -> None:
        seconds = self._costs.paint * random.uniform(0.9, 1.1)
        for step in range(1, self._costs.steps + 1):
            self._at(now + seconds * step / self._costs.steps, self._step)
        looks = int(seconds / self._costs.look)
        self._redis.serve(now, looks * self._costs.redis)
        self._at(now + seconds, self._painted)

    def _step(self, now: float) -> None:
        heard = self._redis.serve(now, self._costs.redis)
        self._page.serve(heard, self._costs.word + self._costs.watch * 4 / 7)  # 4 of 7 a second

    def _painted(self, now: float) -> None:
        """The GPU gets the next one while this one is stored."""
        self._done += 1
        self._at(self._page.serve(now, self._costs.word), self._offer)

    def _beat(self, now: float) -> None:
        self._page.serve(self._redis.serve(now, self._costs.redis), self._costs.word)
        self._at(now + self._costs.beat, self._beat)


if __name__ == "__main__":
    main()
