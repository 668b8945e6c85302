"""What the benchmarks share: times with their spread, one table, one file of JSON.

Times are milliseconds. It knows nothing of what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Row = dict[str, float]


def milliseconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1000


def summary(times: Sequence[float]) -> Row:
    """Median, and the middle half as the spread, which a single time has not."""
    quarters = statistics.quantiles(times, n=4) if len(times) > 1 else times
    return {
        "median": statistics.median(times),
        "p25": quarters[0],
        "p75": quarters[-1],
        "count": len(times),
    }


def arguments(description: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here")
    return parser


def tell(rows: Mapping[str, Row], path: Path | None, **facts: Any) -> None:
    """Print the table, and write it with `facts` and the machine to `path` if there is one."""
    width = max(map(len, rows), default=len("milliseconds"))
    print(f"{'milliseconds':{width}}  {'median':>9}  {'middle half':>19}  {'of':>5}")
    for name, row in rows.items():
        middle = f"{row['p25']:.2f} to {row['p75']:.2f}"
        print(f"{name:{width}}  {row['median']:9.2f}  {middle:>19}  {row['count']:5.0f}")
    for name, value in facts.items():
        print(f"{name.replace('_', ' ')}: {value}")
    if path:
        said = {"milliseconds": dict(rows), **facts, "machine": machine()}
        path.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """No name and no path: what a number depends on."""
    libraries = ("torch", "diffusers", "gradio", "tinydb")
    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: found for name in libraries if (found := _version(name))},
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""
