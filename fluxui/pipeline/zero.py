"""ZeroGPU: a Space's GPU that is lent for one picture at a time, in a process forked for it.

The base model is placed here, before the page is launched; `spaces` packs it, and moves it to the
GPU in the forked process, which paints with a `FluxPipeline` of its own. What goes over there and
comes back is pickled. Closing the stream of steps is how a picture is cancelled.
"""

from __future__ import annotations

import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

from fluxui.errors import Cancelled, FluxuiError, GpuRefused
from fluxui.pipeline import Adapter, Delta, Painting, Step
from fluxui.pipeline.base_models import BaseModel
from fluxui.pipeline.devices import Device
from fluxui.pipeline.flux import FluxPipeline
from fluxui.pipeline.loading import put_on_device, read_model
from fluxui.pipeline.placement import place
from fluxui.settings import Settings

# A whole one, "xlarge": FLUX.1-dev with the copies that LoRAs are taken out by needs 60 GB, and
# the half that "large" is has 48.
LENT = Device("cuda", "ZeroGPU", memory=96_000_000_000, ram=0, capability=(12, 0))
SIZE = "xlarge"
# Asked for, not measured: twice what an H200 takes, and the way to the GPU.
START_SECONDS = 30
MEGAPIXEL_STEP_SECONDS = 0.5
LORAS_KEPT = 8


@dataclass(frozen=True)
class Asked:
    """One picture, as it goes to the forked process. `loras`: SHA-256, weight, file."""

    prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    loras: tuple[tuple[str, float, Path], ...]


@dataclass(frozen=True)
class Failed:
    """A deliberate error on its way back, whose class `spaces` would lose."""

    kind: type[FluxuiError]
    message: str
    hint: str


Yielded: TypeAlias = Step | Painting | Failed


def seconds(asked: Asked) -> int:
    """How long to lend it for."""
    megapixels = asked.width * asked.height / 1e6
    return round(START_SECONDS + MEGAPIXEL_STEP_SECONDS * asked.steps * megapixels)


class LentPipeline:
    """See `fluxui.pipeline.Pipeline` for the contract; but any thread may paint here, at once.

    Importing `spaces` patches torch, so torch must come after it. Raises BaseModelUnavailable.
    """

    def __init__(self, base_model: BaseModel, settings: Settings, device: Device = LENT) -> None:
        import spaces

        self.base_model = base_model
        self._placement = place(device, base_model.sizes)
        pipe = read_model(base_model, self._placement, settings)
        put_on_device(pipe, self._placement)
        self._painter = FluxPipeline(base_model, settings, device, read=lambda *_: pipe)
        self._lend: Callable[[Asked], Iterator[Yielded]] = spaces.GPU(
            self._paint_there, duration=seconds, size=SIZE
        )
        self._folder = tempfile.TemporaryDirectory(prefix="fluxui-zero-")
        self._loras: OrderedDict[str, Path] = OrderedDict()
        self._lock = threading.Lock()

    def load(self) -> None:
        """It was, when this was made: what is placed after the launch is never packed."""

    def describe(self) -> dict[str, Any]:
        """Plain values for people."""
        return {
            "device": "ZeroGPU, lent for each picture",
            "dtype": self._placement.dtype,
            "placement": self._placement.note,
        }

    def paint(
        self,
        prompt: str,
        *,
        width: int,
        height: int,
        steps: int,
        guidance: float,
        seed: int,
        adapters: Sequence[Adapter],
        on_step: Callable[[Step], None],
    ) -> Painting:
        """One picture, on the quota of whoever asks in this context. What `on_step` raises stops
        it within that step. Raises GpuRefused, and what a FluxPipeline raises."""
        from gradio import Error  # the only one that `spaces` knows

        loras = tuple((one.sha256, one.weight, self._file(one)) for one in adapters)
        asked = Asked(prompt, width, height, steps, guidance, seed, loras)
        try:
            with closing(self._lend(asked)) as stream:  # type: ignore[type-var]
                return _follow(stream, on_step)
        except Error as error:
            raise GpuRefused(f"ZeroGPU: {_plain(str(error.message))}") from None

    def _file(self, adapter: Adapter) -> Path:
        """Its tensors on this disk, where the forked process finds them too."""
        import torch

        with self._lock:
            path = self._loras.get(adapter.sha256)
            if path is None:
                path = Path(self._folder.name) / adapter.sha256
                torch.save(dict(adapter.load()), path)
                self._loras[adapter.sha256] = path
                if len(self._loras) > LORAS_KEPT:
                    self._loras.popitem(last=False)[1].unlink()
            self._loras.move_to_end(adapter.sha256)
            return path

    def _paint_there(self, asked: Asked) -> Iterator[Yielded]:
        """In the forked process: its steps, then the picture. A callback becomes a stream by a
        thread that paints, and stops at the next step once nobody listens."""
        told: SimpleQueue[Step | Future[Painting]] = SimpleQueue()
        stopped = threading.Event()

        def on_step(step: Step) -> None:
            if stopped.is_set():
                raise Cancelled(step.step)
            told.put(step)

        with ThreadPoolExecutor(1) as thread:
            painting = thread.submit(self._paint_asked, asked, on_step)
            painting.add_done_callback(told.put)
            try:
                while isinstance(one := told.get(), Step):
                    yield one
                yield one.result()
            except FluxuiError as error:
                yield Failed(type(error), error.message, error.hint)
            finally:
                stopped.set()

    def _paint_asked(self, asked: Asked, on_step: Callable[[Step], None]) -> Painting:
        loras = [Adapter(sha, weight, partial(_read, file)) for sha, weight, file in asked.loras]
        return self._painter.paint(
            asked.prompt,
            width=asked.width,
            height=asked.height,
            steps=asked.steps,
            guidance=asked.guidance,
            seed=asked.seed,
            adapters=loras,
            on_step=on_step,
        )


def _follow(stream: Iterator[Yielded], on_step: Callable[[Step], None]) -> Painting:
    for one in stream:
        if isinstance(one, Painting):
            return one
        if isinstance(one, Failed):
            raise one.kind(one.message, one.hint)
        on_step(one)
    raise GpuRefused("ZeroGPU ended before the picture did.")


def _read(file: Path) -> Delta:
    import torch

    loaded: Delta = torch.load(file, weights_only=True, mmap=True)
    return loaded


def _plain(message: str) -> str:
    """Without the links that Gradio's own page would show."""
    return re.sub(r"<[^>]*>", "", message)
