"""What fluxui adds to the bare diffusers call: python -m benchmarks.overhead [--json FILE]

One process, everything warm: a picture asked for through `gradio_client` (HTTP, queue, pipeline,
PNG with its settings, thumbnail, storage, history, download) against diffusers' own pipeline and
a PNG on disk. First the pictures must be equal, then they are timed in turn, each round with a
prompt that nobody has seen.

The client is measured twice: it reads the machine's certificates for each of its three calls, also
where there is no TLS, unless it is told `ssl_verify=False`. What it costs by itself shows in a call
that paints nothing, and in the same picture over REST.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.timing import Row, arguments, milliseconds, summary, tell

ROUNDS = 20
STEPS = 8
TARGET = 60.0  # milliseconds
BARE = "diffusers and a PNG"
Paint = Callable[[str, int], Path]


def main() -> None:
    given = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        from fluxui.server import serve
        from fluxui.settings import Settings

        settings = Settings(data_dir=Path(folder) / "fluxui", base_model="tiny", port=free_port())
        app = serve(settings, block=False)
        client = through_the_client(app, ssl_verify=True)
        client("a red boat on the sea at sunset", 0)  # two threads can't import diffusers at once
        ways = {
            BARE: through_diffusers(app, Path(folder) / "bare.png"),
            "gradio_client": client,
            "gradio_client, ssl_verify=False": through_the_client(app, ssl_verify=False),
            "REST": through_rest(app, Path(folder) / "rest.png"),
        }
        compare(ways)
        rows = measure(ways) | nothing_painted(app)
        app.close()
    tell(rows, given.json, pixels="equal", target=f"{TARGET:.0f} added")


def through_the_client(app: Any, ssl_verify: bool) -> Paint:
    from gradio_client import Client

    client = Client(app.url, verbose=False, ssl_verify=ssl_verify)

    def paint(prompt: str, seed: int) -> Path:
        files, _ = client.predict(
            prompt=prompt, seed=seed, num_inference_steps=STEPS, api_name="/generate_image"
        )
        return Path(files[0])

    return paint


def through_rest(app: Any, path: Path) -> Paint:
    import httpx2

    http = httpx2.Client(base_url=app.url, timeout=60)

    def paint(prompt: str, seed: int) -> Path:
        body = {"prompt": prompt, "seed": seed, "num_inference_steps": STEPS}
        asked = http.post("/api/generate/image", json=body).raise_for_status().json()
        with http.stream("GET", f"/api/generate/{asked['id']}/events") as events:
            assert "event: end" in events.read().decode()
        path.write_bytes(http.get(f"/api/images/{asked['id']}/1").raise_for_status().content)
        return path

    return paint


def nothing_painted(app: Any) -> dict[str, Row]:
    from gradio_client import Client

    client = Client(app.url, verbose=False)
    ask = partial(client.predict, api_name="/list_models")
    return {"gradio_client, painting nothing": summary([milliseconds(ask) for _ in range(ROUNDS)])}


def through_diffusers(app: Any, path: Path) -> Paint:
    """As its documentation has it, in the same process and on the same threads."""
    import torch
    from diffusers import FluxPipeline

    model = app.studio.base_model
    pipe = FluxPipeline.from_pretrained(model.source, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)

    def paint(prompt: str, seed: int) -> Path:
        picture = pipe(
            prompt,
            width=model.limits.width,
            height=model.limits.height,
            num_inference_steps=STEPS,
            guidance_scale=model.limits.guidance,
            max_sequence_length=model.max_sequence_length,
            generator=torch.Generator("cpu").manual_seed(seed),
        ).images[0]
        picture.save(path)
        return path

    return paint


def compare(ways: dict[str, Paint]) -> None:
    """The same pixels, or there is nothing to compare. Warms every way, too."""
    from PIL import Image

    for seed in range(3):
        paths = [paint("a red boat on the sea at sunset", seed) for paint in ways.values()]
        pixels = {Image.open(path).convert("RGB").tobytes() for path in paths}
        assert len(pixels) == 1, f"the pictures of seed {seed} differ"


def measure(ways: dict[str, Paint]) -> dict[str, Row]:
    """Turn by turn, each in turn first, so that nobody gets the quieter moment."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(ROUNDS * len(ways)):
        name = names[(number + number // len(ways)) % len(ways)]
        # A prompt of its own: one that was seen before need not be encoded again.
        prompt = f"a tree on the hills at night {number}"
        times[name].append(milliseconds(partial(ways[name], prompt, number)))
    rows = {name: summary(times[name]) for name in ways}
    for name in ways:
        if name != BARE:
            pairs = zip(times[name], times[BARE], strict=True)
            rows[f"added by {name}"] = summary([one - bare for one, bare in pairs])
    return rows


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
