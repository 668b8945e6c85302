"""What a history of 50,000 generations costs: python -m benchmarks.history [--json FILE]

Every line of the journal is synced, so an insert costs what a sync of this disk costs; the
question is whether it grows with the history.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path

from benchmarks.timing import arguments, milliseconds, summary, tell
from fluxui.generation import Generation, Image, LoraUse, Status
from fluxui.history import Query, journal
from fluxui.history.format import dump, encode
from fluxui.history.tiny import TABLE, TinyHistory
from fluxui.request import GenerationRequest, LoraRef

SMALL, LARGE = 100, 50_000
INSERTS, PAGES = 300, 50
PAGE = 48
TARGET = 1.5
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
    path.write_bytes(dump({TABLE: texts}))


def first_page(history: TinyHistory, query: Query) -> float:
    """With nothing remembered: any change makes the history search anew."""
    history.replace(history.page(Query(), "", 1).generations[0])
    return milliseconds(lambda: history.page(query, "", PAGE))


def open_filled(folder: Path, count: int) -> tuple[TinyHistory, float]:
    path = folder / f"{count}.json"
    fill(path, count)
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
    queries = {
        "page, completed": Query(status=Status.completed),
        "page, one LoRA": Query(model_id="style-7"),
        "page, two words": Query(words="lantern 7"),
    }
    return {
        "page, newest": [first_page(history, Query()) for _ in range(PAGES)],
        "page, in the middle": [
            milliseconds(lambda: history.page(Query(), middle, PAGE)) for _ in range(PAGES)
        ],
        **{
            name: [first_page(history, query) for _ in range(PAGES)]
            for name, query in queries.items()
        },
    }


def measure(folder: Path) -> dict[int, dict[str, list[float]]]:
    opened = {count: open_filled(folder, count) for count in (SMALL, LARGE)}
    histories = {count: history for count, (history, _) in opened.items()}
    times = {count: {"insert": found} for count, found in insert(histories).items()}
    sync, journal._data_sync = journal._data_sync, lambda fd: None
    for count, found in insert(histories).items():
        times[count]["insert, without the sync"] = found
    journal._data_sync = sync
    for count, history in histories.items():
        times[count] |= pages(history, middle=str(count // 2))
        times[count]["open"] = [opened[count][1]]
        times[count]["close (compacts)"] = [milliseconds(history.close)]
    return times


def main() -> None:
    given = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        times = measure(Path(folder))
    rows = {
        f"{name}, of {count:,}": summary(times[count][name])
        for name in times[SMALL]
        for count in times
    }
    insert = [rows[f"insert, of {count:,}"]["median"] for count in (LARGE, SMALL)]
    tell(
        rows,
        given.json,
        insert_grows=f"{insert[0] / insert[1]:.2f} times",
        target=f"{TARGET:g} times",
        peak_memory=f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB",
    )


if __name__ == "__main__":
    main()
