"""What is told of each denoising step: its number, and now and then how the picture looks by then.

It hangs in diffusers' callback; what `on_step` raises ends the picture there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fluxui.pipeline import Step

if TYPE_CHECKING:
    from torch import Tensor

    from fluxui.pipeline.preview import Previewer


class Watch:
    """Tells of each step of one picture, now and then with a preview."""

    def __init__(
        self,
        previewer: Previewer,
        size: tuple[int, int],
        steps: int,
        on_step: Callable[[Step], None],
    ) -> None:
        self._previewer, self._size = previewer, size
        self._steps, self._on_step = steps, on_step

    def begin(self, noise: Tensor) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
        """What diffusers calls after each step, from this noise on."""
        self._before = noise
        return self._step

    def _step(self, pipe: Any, index: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        latents = tensors["latents"]
        preview = None
        if index + 1 < self._steps and self._previewer.due():
            preview = self._preview(latents, pipe, index)
        self._before = latents
        self._on_step(Step(index + 1, self._steps, preview))
        return {}

    def _preview(self, latents: Tensor, pipe: Any, index: int) -> bytes:
        """The picture that this step was heading for: its last stretch gone in a straight line."""
        sigmas, (width, height) = pipe.scheduler.sigmas, self._size
        pace = (latents.float() - self._before.float()) / (sigmas[index + 1] - sigmas[index])
        aim = latents.float() - sigmas[index + 1] * pace
        unpacked = pipe._unpack_latents(aim, height, width, pipe.vae_scale_factor)
        return self._previewer.jpeg(unpacked[0], max(self._size))
