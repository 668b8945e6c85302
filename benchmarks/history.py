"""What a history of 50,000 generations costs: python -m benchmarks.history [--json FILE]

Every line of the journal is synced, so an insert costs what a sync of this disk costs; the
question is whether it grows with the history.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fluxui.generation import Generation, Image, LoraUse, Status
from fluxui.history import Query, journal
from fluxui.history.format import dump, encode
from fluxui.history.tiny import TABLE, TinyHistory
from fluxui.request import GenerationRequest, LoraRef

SMALL, LARGE = 100, 50_000
INSERTS, PAGES = 300, 50
PAGE = 48
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


def milliseconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1000


def summary(times: list[float]) -> dict[str, float]:
    """Median, and the middle 80 per cent as the spread."""
    tenths = statistics.quantiles(times, n=10) if len(times) > 1 else times
    return {"median": statistics.median(times), "p10": tenths[0], "p90": tenths[-1]}


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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the numbers here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        times = measure(Path(folder))
    results = {
        count: {name: summary(found) for name, found in rows.items()}
        for count, rows in times.items()
    }
    print(f"{'milliseconds':26}{f'{SMALL} records':>26}{f'{LARGE:,} records':>26}  ratio")
    for name, small in results[SMALL].items():
        large = results[LARGE][name]
        cells = [
            f"{row['median']:.2f} ({row['p10']:.2f}-{row['p90']:.2f})" for row in (small, large)
        ]
        print(f"{name:26}{cells[0]:>26}{cells[1]:>26}{large['median'] / small['median']:7.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB; median (10th to 90th percentile)")
    if arguments.json:
        arguments.json.write_text(json.dumps({"milliseconds": results, "peak_mb": peak}, indent=1))


if __name__ == "__main__":
    main()
