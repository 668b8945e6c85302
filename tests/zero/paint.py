"""Run by tests/pipeline/test_zero.py in a process of its own, since it forks: a Space on ZeroGPU.

The small model stands for FLUX.1-dev, and the CPU for what is lent. Prints what was seen, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from gradio_client import Client

from fluxui.errors import Cancelled, FluxuiError
from fluxui.history.tiny import TinyHistory
from fluxui.opening import assemble
from fluxui.pipeline import Adapter, Painting, Step
from fluxui.pipeline.base_models import choose_base_model
from fluxui.pipeline.devices import cpu
from fluxui.pipeline.flux import FluxPipeline
from fluxui.pipeline.zero import LentPipeline
from fluxui.server import App
from fluxui.settings import Settings
from fluxui.storage.local import LocalStorage
from tests.live import free_port

FORM = {"width": 64, "height": 64, "steps": 3, "guidance": 3.5, "seed": 7}


def paint(pipeline: Any, adapters: Any = (), on_step: Any = lambda step: None) -> Painting:
    painting: Painting = pipeline.paint("a boat", **FORM, adapters=adapters, on_step=on_step)
    return painting


def digest(painting: Painting) -> str:
    return hashlib.sha256(painting.pixels).hexdigest()


def lora(pipeline: Any, rank: int = 2) -> Adapter:
    """Not picklable, as the worker's."""
    import torch

    name, (out, into) = next(iter(pipeline.base_model.targets().items()))

    def load() -> Any:
        drawn = torch.Generator().manual_seed(0)
        up = torch.randn(out, rank, generator=drawn)
        return {name: (up, torch.randn(rank, into, generator=drawn))}

    return Adapter("a" * 64, 0.5, load)


def misfit(pipeline: Any) -> Adapter:
    import torch

    name = next(iter(pipeline.base_model.targets()))
    return Adapter("b" * 64, 0.5, lambda: {name: (torch.ones(3, 2), torch.ones(2, 3))})


def stopped(pipeline: Any) -> list[int]:
    seen: list[int] = []

    def on_step(step: Step) -> None:
        seen.append(step.step)
        raise Cancelled(step.step)

    try:
        paint(pipeline, on_step=on_step)
    except Cancelled:
        return seen
    return [-1]


def refused(pipeline: Any, *adapters: Adapter) -> dict[str, str]:
    try:
        paint(pipeline, adapters)
    except FluxuiError as error:
        return error.as_dict()
    return {}


def through_the_doors(folder: Path, lent: LentPipeline, settings: Settings) -> dict[str, Any]:
    history = TinyHistory(folder / "history.json")
    app = App(settings, assemble(settings, lent, LocalStorage(folder), history))
    app.launch()
    headers = {"Content-Type": "application/json", "X-IP-Token": "rest"}
    body = json.dumps({"prompt": "a boat", "num_inference_steps": 2, "num_images": 2}).encode()
    url = f"http://127.0.0.1:{settings.port}"
    jobs = [json.load(urlopen(Request(f"{url}/api/generate/image", body, headers)))["id"]]
    client = Client(url, headers={"X-IP-Token": "gradio"}, verbose=False)
    jobs.append(client.predict("a boat", api_name="/submit_generation")["id"])
    until = time.monotonic() + 120
    while app.studio.jobs() and time.monotonic() < until:
        time.sleep(0.2)
    ended = [app.studio.get(job).status.value for job in jobs]
    app.close()
    return {"ended": ended}


def main(folder: Path) -> None:
    settings = Settings(data_dir=folder, base_model="tiny", port=free_port(), _env_file=None)
    model = choose_base_model(settings)
    lent = LentPipeline(model, settings, device=cpu())
    import spaces

    steps: list[int] = []
    seen: dict[str, Any] = {
        "lent": digest(paint(lent, on_step=lambda step: steps.append(step.step))),
        "steps": steps,
        "lora": digest(paint(lent, [lora(lent)])),
        "stopped": stopped(lent),
        "misfit": refused(lent, misfit(lent)),
        "after": digest(paint(lent)),
        "scheduled": spaces.scheduled[0],
    }
    spaces.refusal.append('You have exceeded your <a href="x">GPU quota</a>')
    seen["refused"] = refused(lent)
    spaces.refusal.clear()
    begun = len(spaces.scheduled)
    seen |= through_the_doors(folder, lent, settings)
    seen["tokens"] = sorted(str(one["token"]) for one in spaces.scheduled[begun:])
    plain = FluxPipeline(model, settings)
    seen |= {"plain": digest(paint(plain)), "plain_lora": digest(paint(plain, [lora(plain)]))}
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
