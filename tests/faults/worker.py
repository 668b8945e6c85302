"""`python -m tests.faults.worker`: the worker of the command line, over the fake pipeline.

It starts in a second, without torch, and takes its time for each step as FAKE_STEP says.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import fluxui.crew
import fluxui.queue.hand
from fluxui.cli import main
from fluxui.pipeline import Painting, Step
from fluxui.settings import Settings
from tests.conftest import FakePipeline

PREVIEW = b"\xff\xd8" + bytes(3000)


class PreviewingPipeline(FakePipeline):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.step_seconds = float(os.environ.get("FAKE_STEP", "0.01"))

    def paint(self, prompt: str, *, on_step: Callable[[Step], None], **rest: Any) -> Painting:
        def with_preview(step: Step) -> None:
            on_step(Step(step.step, step.steps, PREVIEW))

        return super().paint(prompt, on_step=with_preview, **rest)


if __name__ == "__main__":
    fluxui.queue.hand.BEAT_SECONDS = 0.2  # type: ignore[assignment]
    fluxui.crew.get_pipeline = PreviewingPipeline
    sys.exit(main(sys.argv[1:]))
