"""20 queued generations against 20 bare calls: python -m benchmarks.throughput [--json FILE]

One process, one loaded model, in turn: the whole studio (admission, queue, painting, PNG with its
settings, thumbnail, storage, history) against diffusers' own call on the same weights, which keeps
nothing. First the pictures must be equal. What comes after a picture should not keep the next one
waiting, so both should take about as long. And what a preview costs, of which there are at most
four a second.
"""

from __future__ import annotations

import io
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.timing import Row, arguments, milliseconds, summary, tell

COUNT = 20
ROUNDS = 15
STEPS = 8
TARGET = 0.97
PREVIEWS = 4  # a second, at most
SHARE = 0.02


def main() -> None:
    given = arguments(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        from fluxui.opening import open_studio
        from fluxui.settings import Settings

        studio = open_studio(Settings(data_dir=Path(folder) / "fluxui", base_model="tiny"))
        queued(studio, -1, 1)  # the model is loaded by the thread that paints
        compare(studio)
        rows = throughput(studio) | previews(studio)
        ratios = rows.pop("throughput")
        studio.close()
    share = PREVIEWS * rows["one preview"]["median"] / 1000
    tell(
        rows,
        given.json,
        pixels="equal",
        throughput=f"{ratios['median']:.3f} of the bare calls' ({ratios['p25']:.3f} to"
        f" {ratios['p75']:.3f}), target {TARGET}",
        previews=f"{share:.1%} of the time, target {SHARE:.0%}",
    )


def prompt(batch: int, number: int) -> str:
    """One that nobody has seen: what was encoded before would not be again."""
    return f"a tree on the hills at night {batch * COUNT + number}"


def queued(studio: Any, batch: int, count: int) -> list[str]:
    """Admit all at once, and wait until the last is kept. Their ids, in order."""
    from fluxui.request import GenerationForm

    forms = [
        GenerationForm(prompt=prompt(batch, number), seed=number, num_inference_steps=STEPS)
        for number in range(count)
    ]
    ids = [studio.submit(form).id for form in forms]
    while jobs := studio._queue.jobs():  # looking more often would take a share of its own
        time.sleep(0.25 if len(jobs) > 2 else 0.005)
    assert studio.get(ids[-1]).status.ended, "the last is not kept yet"
    return ids


def bare(studio: Any, batch: int, count: int) -> list[bytes]:
    """diffusers' own call, one after the other; the pixels of each."""
    import torch

    model, pipe = studio.base_model, studio._pipeline._ready.pipe
    pictures = []
    for number in range(count):
        picture = pipe(
            prompt(batch, number),
            width=model.limits.width,
            height=model.limits.height,
            num_inference_steps=STEPS,
            guidance_scale=model.limits.guidance,
            max_sequence_length=model.max_sequence_length,
            generator=torch.Generator("cpu").manual_seed(number),
        ).images[0]
        pictures.append(picture.tobytes())
    return pictures


def compare(studio: Any) -> None:
    """The same pixels, or there is nothing to compare. Warms both, too."""
    from PIL import Image

    count = 3
    for job_id, pixels in zip(queued(studio, 0, count), bare(studio, 0, count), strict=True):
        generation = studio.get(job_id)
        with studio._storage.open(generation.images[0].key) as stream:
            picture = Image.open(io.BytesIO(stream.read())).convert("RGB")
        assert picture.tobytes() == pixels, "the pictures differ"


def throughput(studio: Any) -> dict[str, Row]:
    times: dict[str, list[float]] = {f"{COUNT} bare calls": [], f"{COUNT} generations": []}
    for batch in range(1, ROUNDS + 1):
        turns = [
            (f"{COUNT} bare calls", partial(bare, studio, batch, COUNT)),
            (f"{COUNT} generations", partial(queued, studio, batch, COUNT)),
        ]
        for name, call in turns if batch % 2 else reversed(turns):
            times[name].append(milliseconds(call))
    # Round by round, since the machine's own pace changes.
    ratios = [plain / ours for plain, ours in zip(*times.values(), strict=True)]
    return {name: summary(taken) for name, taken in (times | {"throughput": ratios}).items()}


def previews(studio: Any) -> dict[str, Row]:
    """Latents → colours → JPEG, of the size that is painted."""
    import torch

    loaded, limits = studio._pipeline._ready, studio.base_model.limits
    channels, scale = loaded.pipe.vae.config.latent_channels, loaded.pipe.vae_scale_factor
    latents = torch.randn(channels, limits.height // scale, limits.width // scale)
    latents = latents.to(loaded.pipe.device)
    call = partial(loaded.previewer.jpeg, latents, max(limits.width, limits.height))
    for _ in range(5):
        call()
    return {"one preview": summary([milliseconds(call) for _ in range(50)])}


if __name__ == "__main__":
    main()
