"""The pipeline: what turns one prompt into one picture, and the cached singleton of it.

Only this folder imports torch, diffusers, transformers and peft, and only when the first picture
is asked for. It knows no files of LoRAs, no storage and no history: it is handed tensors and
gives back pixels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from fluxui.pipeline.base_models import BaseModel, choose_base_model

if TYPE_CHECKING:
    from torch import Tensor

    from fluxui.settings import Settings


class Change(Protocol):
    """What a LoRA does to one tensor where that is no product of two matrices."""

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the tensor it is for."""

    @property
    def nbytes(self) -> int: ...

    def delta(self, pristine: Tensor, weight: float) -> Tensor:
        """What to add to the untouched tensor, in fp32 as it is given."""


# A layer's name, for its weight, → (B, A), whose change is B @ A with alpha baked in, or another
# change. Biases and norms stand under their tensors' own names. What is a text encoder's stands
# behind its name in diffusers.
Delta = Mapping[str, "tuple[Tensor, Tensor] | Change"]


@dataclass(frozen=True)
class Adapter:
    """One LoRA to apply. `load` is called only if `sha256` is not in the adapter cache."""

    sha256: str
    weight: float
    load: Callable[[], Delta]


@dataclass(frozen=True)
class Step:
    """A denoising step that was just finished, counted from 1; `preview` is a small JPEG."""

    step: int
    steps: int
    preview: bytes | None


@dataclass(frozen=True)
class Painting:
    """One picture: RGB bytes, row by row, and the layers that each adapter changed, those of the
    text encoders included.

    `shortcuts` names what made it differ from what the weights as published would paint.
    """

    pixels: bytes
    width: int
    height: int
    layers: tuple[int, ...]
    seconds: float
    shortcuts: tuple[str, ...] = ()


class Pipeline(Protocol):
    """What the worker needs. One thread owns it; nothing here is safe to call from two."""

    base_model: BaseModel

    def load(self) -> None:
        """Import, load and place the base model; a second call does nothing.

        Raises BaseModelUnavailable.
        """

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
        """One picture. What `on_step` raises stops it within that step, without a decode."""

    def describe(self) -> dict[str, Any]:
        """Device, memory, dtype, seconds it took to load; `{}` before `load`."""


_lock = threading.Lock()
_pipeline: Pipeline | None = None


def get_pipeline(settings: Settings) -> Pipeline:
    """The one pipeline of this process, made on the first call and loaded by its `load()`."""
    global _pipeline
    with _lock:
        if _pipeline is None and settings.zero_gpu:
            from fluxui.pipeline.zero import LENT, LentPipeline

            _pipeline = LentPipeline(choose_base_model(settings, LENT), settings)
        elif _pipeline is None:
            from fluxui.pipeline.flux import FluxPipeline

            _pipeline = FluxPipeline(choose_base_model(settings), settings)
        return _pipeline
