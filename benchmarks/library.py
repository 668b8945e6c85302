"""A library of 2,000 LoRAs in a bucket: python -m benchmarks.library [--json FILE]

The bucket is a real one (SeaweedFS) on this machine, and its bytes are counted on the way. No
pipeline is loaded and no browser takes part.
"""

from __future__ import annotations

import json
import struct
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.timing import Row, arguments, milliseconds, summary, tell
from fluxui.collection import Collection
from fluxui.history.tiny import TinyHistory
from fluxui.loras.hub import Hub
from fluxui.loras.library import Library
from fluxui.pipeline.base_models import CATALOGUE, BaseModel
from fluxui.storage.s3 import S3Storage
from fluxui.visitor import OWNER
from tests.storage.servers import FaultyLine, seaweedfs

LORAS = 2000
TIMES = 30
RANK = 32
BASE = CATALOGUE["flux1-dev"]

Linear = dict[str, tuple[int, int]]


def main() -> None:
    given = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name, seaweedfs(Path(name)) as server:
        folder = Path(name)
        line = FaultyLine(server)
        storage = S3Storage(line.server.settings(folder))
        rows, facts = fit_report(storage, line, folder)
        fill(storage)
        more, counted = library(storage, folder)
        tell(rows | more, given.json, **facts, **counted)
        line.close()


def fit_report(
    storage: S3Storage, line: FaultyLine, folder: Path
) -> tuple[dict[str, Row], dict[str, object]]:
    """One LoRA as trainers make them for all linear layers of all blocks."""
    data = lora(linear(BASE), RANK)
    storage.put("models/large/large.safetensors", data, "application/octet-stream")
    times = []
    for turn in range(TIMES):
        one = Library(storage, folder / f"cold-{turn}", BASE, folder)
        line.passed = 0
        one.listing.refresh()
        file = one.listing.find("large")
        line.passed = 0
        times.append(milliseconds(lambda one=one, file=file: one.reader.report(file)))
        assert one.reader.report(file).fit.fits
        one.close()
    facts = {"large_file": f"{len(data) / 1e6:.0f} MB", "read_of_it": f"{line.passed / 1e3:.0f} kB"}
    storage.delete("models/large/large.safetensors")
    return {"fit report, one file of it in the bucket": summary(times)}, facts


def fill(storage: S3Storage) -> None:
    """Small ones: of a file no more than its first 128 kB is asked for in any case."""
    wanted = {name: size for name, size in linear(CATALOGUE["tiny"]).items() if "to_q" in name}
    data = lora(wanted, rank=2)

    def put(number: int) -> None:
        storage.put(f"models/style-{number:04}.safetensors", data, "application/octet-stream")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(LORAS)))


def library(storage: S3Storage, folder: Path) -> tuple[dict[str, Row], dict[str, object]]:
    base = CATALOGUE["tiny"]
    history = TinyHistory(folder / "history.json")
    began = time.perf_counter()
    cold = Library(storage, folder / "library", base, folder)
    page = Collection(cold, history, Hub(), lambda: OWNER).page()
    first = time.perf_counter() - began
    left = page.left
    cold.list(patience=None)
    whole = time.perf_counter() - began
    cold.close()
    again = Library(storage, folder / "library", base, folder)
    collection = Collection(again, history, Hub(), lambda: OWNER)
    restarted = milliseconds(lambda: collection.page())
    calls = {
        "page, last used first": lambda: collection.page(),
        "page, by name, in the middle": lambda: collection.page(sort="name", start=1000),
        "page, searched": lambda: collection.page("style 77"),
    }
    rows = {
        name: summary([milliseconds(call) for _ in range(TIMES)]) for name, call in calls.items()
    }
    again.close()
    history.close()
    rows["page, the first after a restart"] = summary([restarted])
    return rows, {
        "loras": f"{LORAS:,}",
        "cold_page_after": f"{first:.2f} s, with {left:,} files still to be looked at",
        "cold_library_after": f"{whole:.1f} s",
    }


def linear(base: BaseModel) -> Linear:
    """The weights of its blocks that have two sides, which trainers change."""
    found = base.targets()
    return {
        name: (size[0], size[1])
        for name, size in found.items()
        if len(size) == 2 and "transformer_blocks" in name
    }


def lora(targets: Linear, rank: int) -> bytes:
    """A LoRA for all these layers, in bf16."""
    header, at = {}, 0
    for layer, (rows, columns) in targets.items():
        for part, shape in (("A", (rank, columns)), ("B", (rows, rank))):
            size = shape[0] * shape[1] * 2
            name = f"transformer.{layer}.lora_{part}.weight"
            header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
            at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


if __name__ == "__main__":
    main()
