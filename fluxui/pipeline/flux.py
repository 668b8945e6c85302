"""FLUX through diffusers: encode, denoise, decode. `loading.py` brings it here; no other file
knows it.

One thread owns it. It is handed tensors of LoRAs and gives back pixels; it knows no file of a
LoRA, no storage and no history.
"""

from __future__ import annotations

import gc
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fluxui.errors import BaseModelDamaged, BaseModelUnavailable, OutOfMemory
from fluxui.pipeline import Adapter, Painting, Step
from fluxui.pipeline.base_models import SIZE_STEP, BaseModel
from fluxui.pipeline.devices import Device, cpu, probe
from fluxui.pipeline.loading import fingerprint, put_on_device, read_model, send_back
from fluxui.pipeline.placement import Placement, ladder, unlocks
from fluxui.pipeline.steps import Watch
from fluxui.pipeline.targets import CLIP, T5

if TYPE_CHECKING:
    from torch import Tensor

    from fluxui.pipeline.adapters import Adapters, Signature
    from fluxui.pipeline.preview import Previewer
    from fluxui.pipeline.speed import Speed
    from fluxui.settings import Settings

PROMPTS_KEPT = 64
MAX_THREADS = 8  # the CPU paints with a small model: more threads only wait for each other
PATIENCE = 2  # times in a row that memory may run out before the next rung is taken

Encoded = tuple["Tensor", "Tensor"]


@dataclass(frozen=True)
class _Loaded:
    """A diffusers pipeline in its place, and what hangs on it."""

    pipe: Any
    adapters: Adapters
    previewer: Previewer
    speed: Speed
    fingerprint: dict[str, tuple[int, ...]]


class FluxPipeline:
    """One FLUX on one device. See `fluxui.pipeline.Pipeline` for the contract.

    `device` is what to paint on, for whoever knows better than the driver; `read` brings the
    diffusers pipeline, for whoever has it already.
    """

    def __init__(
        self,
        base_model: BaseModel,
        settings: Settings,
        device: Device | None = None,
        read: Callable[[BaseModel, Placement, Settings], Any] = read_model,
    ) -> None:
        self.base_model = base_model
        self._settings = settings
        self._given = device
        self._read = read
        self._loaded: _Loaded | None = None
        self._rungs: list[Placement] = []
        self._fell: list[str] = []
        self._starved = 0
        self._prompts: OrderedDict[tuple[str, Signature], Encoded] = OrderedDict()
        self._seconds_to_load = 0.0

    def load(self) -> None:
        """Import, load and place the base model; a second call does nothing.

        It stands on the first rung of the ladder that paints a step. Raises BaseModelUnavailable.
        """
        if self._loaded:
            return
        started = time.monotonic()
        _import_torch()
        from fluxui.pipeline.speed import FAILURES, said

        self._rungs = self._rungs or self._ladder()
        while not self._loaded:
            fell = ""
            try:
                self._loaded = self._settle(self._rungs[0])
            except FAILURES as error:
                fell = said(f"the rung {self._rungs[0].rung.value}", error)
            # Here the failed frames are gone, and with them the weights that they held.
            if fell:
                self._step_down(fell)
        self._seconds_to_load = time.monotonic() - started

    def _ladder(self) -> list[Placement]:
        """The rungs for what is free just now. Raises BaseModelUnavailable."""
        import torch

        self._facts = self._given or _measured(probe())
        rungs = ladder(self._facts, self.base_model.sizes, self._settings.fast)
        if rungs[0].short:
            raise BaseModelUnavailable(
                f"{self.base_model.name} needs {rungs[0].short} on this machine.",
                "FLUXUI_BASE_MODEL=tiny paints anywhere.",
            )
        self._device = torch.device(rungs[0].device)
        return list(rungs)

    def _settle(self, placement: Placement) -> _Loaded:
        """Read it, put it in its place, and everything that hangs on it beside it."""
        from fluxui.pipeline.adapters import Adapters
        from fluxui.pipeline.preview import fit_previewer
        from fluxui.pipeline.speed import speed_up

        pipe = self._read(self.base_model, placement, self._settings)
        put_on_device(pipe, placement)
        previewer = fit_previewer(pipe.vae, self._device)
        adapters = Adapters(
            pipe.transformer,
            self.base_model.targets(),
            self._device,
            encoders={part: getattr(pipe, part) for part in (CLIP, T5)},
            pristine=placement.pristine,
        )
        limits = self.base_model.limits
        small, usual = (limits.min_size, limits.min_size), (limits.width, limits.height)
        # Of two sizes, for after the second compiled blocks are ready for any.
        both = (usual, (limits.width, limits.height // 32 * SIZE_STEP))
        speed = speed_up(
            pipe.transformer,
            placement,
            step=lambda: self._try(pipe, [small]),
            warm_up=lambda: self._try(pipe, both),
        )
        self._prompts.clear()
        return _Loaded(pipe, adapters, previewer, speed, fingerprint(pipe))

    def _try(self, pipe: Any, sizes: Sequence[tuple[int, int]]) -> None:
        """A step and a decode of each size; what comes out must be numbers."""
        for size in sizes:
            encoded = self._encode(pipe, "", ())
            latents = self._denoise(pipe, encoded, size, 1, self.base_model.limits.guidance, 0)
            if not latents.isfinite().all():
                raise FloatingPointError("The first step gave values that are no numbers.")
            self._decode(pipe, latents, *size)
            pipe.maybe_free_model_hooks()

    def _step_down(self, fell: str) -> None:
        """To the next rung, at the next `load`. Raises BaseModelUnavailable below the last."""
        self._loaded = None
        self._fell.append(fell)
        self._rungs = self._rungs[1:]
        self._free()
        if not self._rungs:
            raise BaseModelUnavailable(f"{self.base_model.name} does not run here. {fell}")

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
        """One picture. What `on_step` raises stops it within that step, without a decode.

        Raises OutOfMemory, LoraMisfit, BaseModelUnavailable, BaseModelDamaged.
        """
        self.load()
        started = time.monotonic()
        painted: tuple[bytes, tuple[int, ...]] | None = None
        try:
            painted = self._paint(prompt, (width, height), steps, guidance, seed, adapters, on_step)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
        finally:
            self._tidy(painted is not None)
        if painted is None:
            # Here the failed frames are gone, and with them the tensors that they held.
            raise self._out_of_memory(width, height)
        self._starved = 0
        seconds, shortcuts = time.monotonic() - started, self._rungs[0].shortcuts
        return Painting(painted[0], width, height, painted[1], seconds, shortcuts)

    def _paint(
        self,
        prompt: str,
        size: tuple[int, int],
        steps: int,
        guidance: float,
        seed: int,
        adapters: Sequence[Adapter],
        on_step: Callable[[Step], None],
    ) -> tuple[bytes, tuple[int, ...]]:
        """The pixels, and the layers that each adapter changed."""
        loaded = self._ready
        layers = loaded.adapters.apply(adapters)
        watch = Watch(loaded.previewer, size, steps, on_step)
        encoded = self._encode(loaded.pipe, prompt, loaded.adapters.on_text)
        latents = self._denoise(loaded.pipe, encoded, size, steps, guidance, seed, watch)
        return self._decode(loaded.pipe, latents, *size), layers

    @property
    def _ready(self) -> _Loaded:
        return cast(_Loaded, self._loaded)

    def _tidy(self, painted: bool) -> None:
        """Hooks forget this picture; after a failure, look whether the model is still whole.

        Raises BaseModelDamaged if it is not; the next `load` begins anew.
        """
        loaded = self._ready
        loaded.pipe.maybe_free_model_hooks()
        if painted:
            return
        send_back(loaded.pipe)
        if fingerprint(loaded.pipe) != loaded.fingerprint:
            self._loaded = None
            raise BaseModelDamaged("A failure changed the base model.")

    def _out_of_memory(self, width: int, height: int) -> OutOfMemory:
        """What to do about it: a smaller size, and after the second time in a row another rung."""
        self._starved += 1
        self._free()
        told = f"{width}x{height} is too large for the memory of {self._facts.name}."
        if self._starved >= PATIENCE and len(self._rungs) > 1:
            self._starved = 0
            self._step_down(f"The rung {self._rungs[0].rung.value} ran out of memory twice.")
            return OutOfMemory(told, f"From now on it fits more: {self._rungs[0].note} Try again.")
        least, side = self.base_model.limits.min_size, max(width, height)
        smaller = [max(least, int(one * 0.75) // SIZE_STEP * SIZE_STEP) for one in (width, height)]
        if side > least:
            return OutOfMemory(told, f"Try {smaller[0]}x{smaller[1]}.")
        return OutOfMemory(told, f"Close what else uses the memory of {self._facts.name}.")

    def _denoise(
        self,
        pipe: Any,
        encoded: Encoded,
        size: tuple[int, int],
        steps: int,
        guidance: float,
        seed: int,
        watch: Watch | None = None,
    ) -> Tensor:
        import torch

        (width, height), (embeds, pooled) = size, encoded
        # On the CPU, so that one seed is one picture on every device.
        noise, _ = pipe.prepare_latents(
            1,
            pipe.transformer.config.in_channels // 4,
            height,
            width,
            embeds.dtype,
            self._device,
            torch.Generator("cpu").manual_seed(seed),
        )
        result = pipe(
            prompt_embeds=embeds,
            pooled_prompt_embeds=pooled,
            latents=noise,
            width=width,
            height=height,
            num_inference_steps=steps,
            guidance_scale=guidance,
            output_type="latent",
            callback_on_step_end=watch and watch.begin(noise),
            return_dict=False,
        )
        latents: Tensor = result[0]
        return latents

    def _encode(self, pipe: Any, prompt: str, on_text: Signature) -> Encoded:
        """The prompt's embeddings, kept for the prompts used last.

        `on_text` is what LoRAs do to the text encoders.
        """
        key = prompt, on_text
        if key not in self._prompts:
            import torch

            with torch.no_grad():
                embeds, pooled, _ = pipe.encode_prompt(
                    prompt,
                    device=self._device,
                    max_sequence_length=self.base_model.max_sequence_length,
                )
            dtype = getattr(torch, self._rungs[0].dtype)
            self._prompts[key] = (embeds.to(dtype), pooled.to(dtype))
            if len(self._prompts) > PROMPTS_KEPT:
                self._prompts.popitem(last=False)
        self._prompts.move_to_end(key)
        return self._prompts[key]

    def _decode(self, pipe: Any, latents: Tensor, width: int, height: int) -> bytes:
        """Bytes on the device, then one copy; rounded as diffusers rounds."""
        import torch

        vae = pipe.vae
        latents = pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor)
        latents = latents / vae.config.scaling_factor + vae.config.shift_factor
        with torch.no_grad():
            image = vae.decode(latents.to(vae.dtype), return_dict=False)[0][0]
            image = (image * 0.5 + 0.5).clamp(0, 1).float().permute(1, 2, 0)
            return bytes(image.mul(255).round().to(torch.uint8).cpu().contiguous().numpy())

    def _free(self) -> None:
        import torch

        self._prompts.clear()
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def describe(self) -> dict[str, Any]:
        """Plain values for people; sizes in bytes. Empty before `load`."""
        if not self._loaded:
            return {}
        import torch

        placement, speed = self._rungs[0], self._loaded.speed
        helpful = unlocks(self._facts, self.base_model.sizes, self._settings.fast)
        facts = {
            "device": self._facts.name,
            "dtype": placement.dtype,
            "rung": placement.rung.value,
            "placement": placement.note,
            "shortcuts": ", ".join(placement.shortcuts),
            "attention": speed.attention.strip("_"),
            "compiled": speed.compiled,
            "fell": " ".join((*self._fell, *speed.fell)),
            "unlocks": " ".join(f"pip install {name}: {gain}" for name, gain in helpful),
            "seconds_to_load": round(self._seconds_to_load, 2),
            "loras_in_memory": len(self._loaded.adapters.cache),
        }
        if self._device.type == "cuda":
            free, total = torch.cuda.mem_get_info()
            return facts | {"memory_used": total - free, "memory_total": total}
        return facts | {"memory_used": _resident_bytes(), "threads": torch.get_num_threads()}


def _measured(device: Device) -> Device:
    """With what is free just now, as torch sees it, which has a context on the device."""
    import torch

    if device.kind == "cpu" or not torch.cuda.is_available():
        return device if device.kind == "cpu" else cpu(hidden=True)
    free, _ = torch.cuda.mem_get_info()
    return replace(device, free=free)


def _import_torch() -> Any:
    """torch, with a core left for the page. Waiting threads must not spin while others work."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    torch.set_num_threads(_threads())
    return torch


@lru_cache(maxsize=1)
def _threads() -> int:
    import torch

    return max(1, min(torch.get_num_threads() - 1, MAX_THREADS))


def _out_of_memory(error: Exception) -> bool:
    """torch has a class for its own on CUDA; on the CPU, and of CUDA's libraries, the message."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(words in str(error) for words in ("DefaultCPUAllocator", "_STATUS_ALLOC_FAILED"))


def _resident_bytes() -> int:
    """What this process holds in memory; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return 0
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
