"""How soon the page is up, and the first picture: python -m benchmarks.startup [--json FILE]

In turn, each in a new process: `python -c "import gradio"`, the least that any Gradio app waits
for, and `python app.py` to its first HTTP 200 and on to its first picture with the embedded model.
At that first page the process must not have loaded torch, which is read from its own memory map.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.overhead import free_port
from benchmarks.timing import Row, arguments, milliseconds, summary, tell

ROOT = Path(__file__).parent.parent
ROUNDS = 5
PAGE_TARGET = 1000.0  # milliseconds more than importing gradio
PICTURE_TARGET = 20_000.0
POLL_SECONDS = 0.01
PATIENCE = 120.0


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    imports, pages, pictures = [], [], []
    import_gradio()  # the files come from the disk once
    for _ in range(given.rounds):
        imports.append(milliseconds(import_gradio))
        page, picture = start()
        pages.append(page)
        pictures.append(picture)
    added = [page - imported for page, imported in zip(pages, imports, strict=True)]
    rows: dict[str, Row] = {
        "import gradio": summary(imports),
        "app.py to the first page": summary(pages),
        "added to import gradio": summary(added),
        "app.py to the first picture": summary(pictures),
    }
    tell(
        rows,
        given.json,
        torch_at_the_first_page="not loaded",
        page_target=f"{PAGE_TARGET:.0f} added",
        picture_target=f"{PICTURE_TARGET:.0f}",
    )


def import_gradio() -> None:
    subprocess.run([sys.executable, "-c", "import gradio"], check=True)


def start() -> tuple[float, float]:
    """Milliseconds from the start of the process to its first page, and to its first picture."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--port", str(port), "--data-dir", folder, "--base-model", "tiny"]
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "app.py", *flags], cwd=ROOT, stdout=subprocess.DEVNULL
        )
        try:
            while answer(port, "GET", "/")[0] != 200:
                wait(process, begin)
            page = time.perf_counter() - begin
            assert not loaded_torch(process.pid), "torch was loaded before the page was up"
            paint(port, process, begin)
            picture = time.perf_counter() - begin
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
    return page * 1000, picture * 1000


def paint(port: int, process: subprocess.Popen[bytes], begin: float) -> None:
    """One picture with the defaults, to its last byte."""
    status, accepted = answer(port, "POST", "/api/generate/image", {"prompt": "a red boat"})
    assert status == 202, accepted
    while (told := answer(port, "GET", f"/api/generate/{accepted['id']}")[1])["error"] is None:
        if told["status"] == "completed":
            break
        wait(process, begin)
    assert told["error"] is None, told["error"]
    path = told["output_paths"][0].split(str(port), 1)[1]
    assert answer(port, "GET", path)[0] == 200


def answer(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON, if it is JSON; status 0 as long as nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        told = json.dumps(body) if body else None
        connection.request(method, path, told, {"Content-Type": "application/json"})
        got = connection.getresponse()
        data = got.read()
        is_json = got.headers.get_content_type() == "application/json"
        return got.status, json.loads(data) if is_json else None
    except ConnectionError:
        return 0, None
    finally:
        connection.close()


def wait(process: subprocess.Popen[bytes], begin: float) -> None:
    assert process.poll() is None, "app.py ended"
    assert time.perf_counter() - begin < PATIENCE, "app.py took too long"
    time.sleep(POLL_SECONDS)


def loaded_torch(pid: int) -> bool:
    """Whether torch's library is mapped into the process. Linux only, as the assertion is."""
    maps = Path(f"/proc/{pid}/maps")
    return os.name == "posix" and maps.exists() and "libtorch" in maps.read_text()


if __name__ == "__main__":
    main()
