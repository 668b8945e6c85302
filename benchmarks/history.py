"""What a history of 100,000 generations costs: python -m benchmarks.history [--json FILE]

Every line of the journal is synced, so an insert costs what a sync of this disk costs; the
question is whether it grows with the history.
"""

from __future__ import annotations

import resource
import tempfile
import time
from dataclasses import replace
from datetime import datetime, timezone
from multiprocessing import Process
from pathlib import Path

from benchmarks.timing import Row, arguments, milliseconds, summary, tell
from fluxui.generation import Generation, Image, LoraUse, Status
from fluxui.history import Query, journal
from fluxui.history.format import dump, encode
from fluxui.history.tiny import TABLE, TinyHistory
from fluxui.request import GenerationRequest, LoraRef

SMALL, LARGE = 100, 100_000
INSERTS, PAGES = 300, 50
PAGE = 48
TARGET = 1.5
# Milliseconds at the large one, and MB of the whole process, which has no model in it.
TARGETS = {"open": 3000.0, "page": 50.0, "search": 150.0, "insert": 10.0, "delete": 10.0}
MEMORY = 450.0
DAY = datetime(2026, 11, 1, tzinfo=timezone.utc)
WORDS = ("red", "blue", "house", "boat", "garden", "snow", "night", "lantern", "old", "quiet")


def generation(number: int) -> Generation:
    """A completed one of about 1.3 KB, as they are: a prompt, a LoRA, one image."""
    prompt = " ".join(WORDS[(number * 7 + k * k) % len(WORDS)] for k in range(25)) + f" {number}"
    lora = LoraUse(model_id=f"style-{number % 20}", name="Style", weight=0.8, sha256="ab" * 32)
    request = GenerationRequest(
        prompt=prompt,
        loras=(LoraRef(model_id=lora.model_id),),
        num_images=1,
        num_inference_steps=28,
        guidance_scale=3.5,
        width=1024,
        height=1024,
        seed=number,
    )
    made = Generation(request=request, base_model="flux1-dev", painted=prompt, loras=(lora,))
    folder = f"generated/2026/11/22/{made.id}"
    image = Image(
        index=1,
        key=f"{folder}/image_1.png",
        thumb_key=f"{folder}/thumb_1.webp",
        seed=number,
        width=1024,
        height=1024,
        bytes=1_500_000,
        sha256="cd" * 32,
    )
    return made.advance(Status.running).advance(Status.completed, images=(image,))


def fill(path: Path, count: int) -> None:
    """A compacted file, as a closed history leaves it."""
    texts = {number: encode(generation(number).record()) for number in range(1, count + 1)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dump({TABLE: texts}))


def first_page(history: TinyHistory, query: Query) -> float:
    """With nothing remembered."""
    history._index._answers.clear()
    return milliseconds(lambda: history.page(query, "", PAGE))


def after_a_change(history: TinyHistory, query: Query) -> float:
    """As paging goes on: asked before, and a record has changed since."""
    history.page(query, "", PAGE)
    history.replace(history.page(Query(), "", 1).generations[0])
    return milliseconds(lambda: history.page(query, "", PAGE))


def delete(histories: dict[int, TinyHistory]) -> dict[int, list[float]]:
    """The newest, as many as were inserted."""
    times: dict[int, list[float]] = {count: [] for count in histories}
    for _ in range(INSERTS):
        for count, history in histories.items():
            newest = history.page(Query(), "", 1).generations[0].id
            times[count].append(milliseconds(lambda go=history.remove, one=newest: go(one)))
    return times


def open_filled(folder: Path, count: int) -> tuple[TinyHistory, float]:
    path = folder / f"{count}.json"
    begin = time.perf_counter()
    return TinyHistory(path), (time.perf_counter() - begin) * 1000


def insert(histories: dict[int, TinyHistory]) -> dict[int, list[float]]:
    """In turns, so that both meet the same moods of the disk."""
    times: dict[int, list[float]] = {count: [] for count in histories}
    for number in range(INSERTS):
        for count, history in histories.items():
            new = generation(LARGE * 2 + number)
            times[count].append(milliseconds(lambda add=history.add, new=new: add(new)))
    return times


def pages(history: TinyHistory, middle: str) -> dict[str, list[float]]:
    done = Query(status=Status.completed)
    queries = {
        "page, completed": done,
        "search, one LoRA": replace(done, model_id="style-7"),
        "search, its hash": replace(done, lora="abab"),
        "search, two words": replace(done, words="lantern 7"),
        "search, a word that is nowhere": replace(done, words="castel"),
        "search, a day and a size": replace(done, since=DAY, width=1024, height=1024),
        "search, a seed": replace(done, seed=LARGE // 2),
    }
    return {
        "page, newest": [first_page(history, Query()) for _ in range(PAGES)],
        "page, in the middle": [
            milliseconds(lambda: history.page(Query(), middle, PAGE)) for _ in range(PAGES)
        ],
        "page, completed, after a change": [after_a_change(history, done) for _ in range(PAGES)],
        **{
            name: [first_page(history, query) for _ in range(PAGES)]
            for name, query in queries.items()
        },
    }


def measure(folder: Path) -> tuple[dict[int, dict[str, list[float]]], float]:
    """Times by size and name, and the resident memory in MB with the large one open."""
    opened = {count: open_filled(folder, count) for count in (LARGE, SMALL)}
    memory = resident()
    histories = {count: history for count, (history, _) in opened.items()}
    times = {count: {"insert": found} for count, found in insert(histories).items()}
    for count, found in delete(histories).items():
        times[count]["delete"] = found
    sync, journal._data_sync = journal._data_sync, lambda fd: None
    for count, found in insert(histories).items():
        times[count]["insert, without the sync"] = found
    journal._data_sync = sync
    for count, history in histories.items():
        times[count] |= pages(history, middle=str(count // 2))
        times[count]["open"] = [opened[count][1]]
        times[count]["close (compacts)"] = [milliseconds(history.close)]
    return times, memory


def resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def verdicts(rows: dict[str, Row], memory: float, peak: float) -> dict[str, str]:
    """The worst of each kind against what it may take."""
    told = {}
    for kind, limit in TARGETS.items():
        names = [name for name in rows if name.startswith(kind) and name.endswith(f"{LARGE:,}")]
        worst = max(rows[name]["median"] for name in names)
        told[kind] = f"{worst:.1f} ms, target {limit:.0f}{'' if worst <= limit else ': missed'}"
    missed = "" if peak <= MEMORY else ": missed"
    told["memory"] = f"{memory:.0f} MB, at most {peak:.0f}, target {MEMORY:.0f}{missed}"
    return told


def main() -> None:
    given = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        # In a process of its own: what writing the file takes is not the history's.
        for count in (LARGE, SMALL):
            filling = Process(target=fill, args=(Path(folder) / f"{count}.json", count))
            filling.start()
            filling.join()
        times, memory = measure(Path(folder))
    rows = {
        f"{name}, of {count:,}": summary(times[count][name])
        for name in times[SMALL]
        for count in times
    }
    insert = [rows[f"insert, of {count:,}"]["median"] for count in (LARGE, SMALL)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    tell(
        rows,
        given.json,
        insert_grows=f"{insert[0] / insert[1]:.2f} times, target {TARGET:g}",
        **verdicts(rows, memory, peak),
    )


if __name__ == "__main__":
    main()
