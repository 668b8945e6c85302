"""What fluxui adds to the bare diffusers call: python -m benchmarks.overhead [--json FILE]

One process, everything warm: a picture asked for through `gradio_client` (HTTP, queue, pipeline,
PNG with its settings, thumbnail, storage, history, download) against diffusers' own pipeline and
a PNG on disk. First the two pictures must be equal, then pairs are timed in turn, each with a
prompt that neither has seen.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.timing import Row, arguments, milliseconds, summary, tell

PAIRS = 20
STEPS = 12
TARGET = 60.0  # milliseconds
Paint = Callable[[str, int], Path]


def main() -> None:
    given = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        from fluxui.server import serve
        from fluxui.settings import Settings

        settings = Settings(data_dir=Path(folder) / "fluxui", base_model="tiny", port=free_port())
        app = serve(settings, block=False)
        ours = through_the_client(app)
        ours("a red boat on the sea at sunset", 0)  # two threads can't import diffusers at once
        bare = through_diffusers(app, Path(folder) / "bare.png")
        compare(ours, bare)
        rows = measure(ours, bare)
        app.close()
    added = rows["added by fluxui"]["median"]
    tell(rows, given.json, pixels="equal", target=f"{TARGET:.0f}", added=f"{added:.1f}")


def through_the_client(app: Any) -> Paint:
    from gradio_client import Client

    client = Client(app.url, verbose=False)

    def paint(prompt: str, seed: int) -> Path:
        files, _ = client.predict(
            prompt=prompt, seed=seed, num_inference_steps=STEPS, api_name="/generate_image"
        )
        return Path(files[0])

    return paint


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


def compare(ours: Paint, bare: Paint) -> None:
    """The same pixels, or there is nothing to compare. Warms both, too."""
    from PIL import Image

    for seed in range(3):
        paths = [paint("a red boat on the sea at sunset", seed) for paint in (ours, bare)]
        one, other = (Image.open(path).convert("RGB").tobytes() for path in paths)
        assert one == other, f"the pictures of seed {seed} differ"


def measure(ours: Paint, bare: Paint) -> dict[str, Row]:
    """Turn by turn, and in turn first, so that neither gets the quieter moment."""
    times: dict[Paint, list[float]] = {ours: [], bare: []}
    for number in range(PAIRS):
        prompt = f"a tree on the hills at night, {number}"
        for paint in (ours, bare) if number % 2 else (bare, ours):
            times[paint].append(milliseconds(partial(paint, prompt, number)))
    added = [one - other for one, other in zip(times[ours], times[bare], strict=True)]
    return {
        "through gradio_client": summary(times[ours]),
        "diffusers and a PNG": summary(times[bare]),
        "added by fluxui": summary(added),
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
