"""A whole fluxui, page and all, over a fake pipeline, in processes forked as those of the house.

To import Gradio takes seconds: here it is done once.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import fluxui.opening
import fluxui.queue.local
import fluxui.storage.local
import fluxui.ui  # which `serve` would import only now
from fluxui.pipeline import Painting, Step
from fluxui.server import serve
from fluxui.settings import Settings
from tests.conftest import FakePipeline
from tests.faults.house import nurse

PREVIEW = b"\xff\xd8" + bytes(6000)  # about the size of a real one


class SlowPipeline(FakePipeline):
    def __init__(self, settings: Settings, step_seconds: float, load_seconds: float) -> None:
        super().__init__(settings)
        self.step_seconds = step_seconds
        self._load_seconds = load_seconds

    def load(self) -> None:
        time.sleep(0 if self.loaded else self._load_seconds)
        super().load()

    def paint(self, prompt: str, **rest: Any) -> Painting:
        on_step = rest.pop("on_step")

        def with_preview(step: Step) -> None:
            on_step(Step(step.step, step.steps, PREVIEW))

        return super().paint(prompt, on_step=with_preview, **rest)


def live(
    folder: str,
    port: int,
    step_seconds: float = 0.0,
    load_seconds: float = 0.0,
    store_seconds: float = 0.0,
    grace_seconds: float = 3.0,
    queue_size: int = 64,
) -> None:
    """Serve until a signal comes, as `python app.py` does."""
    place = fluxui.storage.local.place

    def slow_place(draft: Path, path: Path) -> None:
        time.sleep(store_seconds)
        place(draft, path)

    fluxui.storage.local.place = slow_place
    fluxui.queue.local.GRACE_SECONDS = grace_seconds  # type: ignore[assignment]
    fluxui.queue.local.LAST_STEP_SECONDS = 0.5  # type: ignore[assignment]
    fluxui.opening.get_pipeline = lambda settings: SlowPipeline(
        settings, step_seconds, load_seconds
    )
    os.environ["FLUXUI_QUEUE_SIZE"] = str(queue_size)
    serve(Settings(_env_file=None, data_dir=Path(folder), base_model="tiny", port=port))


if __name__ == "__main__":
    nurse(live)
