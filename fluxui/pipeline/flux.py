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
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxui.errors import BaseModelDamaged, BaseModelUnavailable, OutOfMemory
from fluxui.pipeline import Adapter, Painting, Step
from fluxui.pipeline.base_models import BaseModel
from fluxui.pipeline.devices import cpu, probe
from fluxui.pipeline.loading import fingerprint, put_on_device, read_model
from fluxui.pipeline.placement import place
from fluxui.pipeline.targets import CLIP, T5
from fluxui.settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

    from fluxui.pipeline.adapters import Adapters
    from fluxui.pipeline.preview import Previewer

PROMPTS_KEPT = 64
MAX_THREADS = 8  # the CPU paints with a small model: more threads only wait for each other

Encoded = tuple["Tensor", "Tensor"]


class FluxPipeline:
    """One FLUX on one device. See `fluxui.pipeline.Pipeline` for the contract."""

    def __init__(self, base_model: BaseModel, settings: Settings) -> None:
        self.base_model = base_model
        self._settings = settings
        self._pipe: Any = None
        self._seconds_to_load = 0.0

    def load(self) -> None:
        """Import, load and place the base model; a second call does nothing.

        Raises BaseModelUnavailable.
        """
        if self._pipe is not None:
            return
        started = time.monotonic()
        torch = _import_torch()
        device = probe()
        if device.kind == "cuda" and not torch.cuda.is_available():
            device = cpu(hidden=True)
        self._placement = place(device, self.base_model.weight_bytes)
        if self._placement.short:
            raise BaseModelUnavailable(
                f"{self.base_model.name} needs {self._placement.short} on this machine.",
                "FLUXUI_BASE_MODEL=tiny paints anywhere.",
            )
        self._device_name = device.name
        self._device = torch.device(self._placement.device)
        pipe = read_model(self.base_model, self._placement, self._settings)
        self._settle(pipe)
        self._seconds_to_load = time.monotonic() - started

    def _settle(self, pipe: Any) -> None:
        """Put the loaded pipe on its device, and everything that hangs on it beside it."""
        from fluxui.pipeline.adapters import Adapters
        from fluxui.pipeline.preview import fit_previewer

        put_on_device(pipe, self._placement)
        self._previewer: Previewer = fit_previewer(pipe.vae, self._device)
        pipe.maybe_free_model_hooks()
        self._adapters: Adapters = Adapters(
            pipe.transformer,
            self.base_model.targets(),
            self._device,
            encoders={part: getattr(pipe, part) for part in (CLIP, T5)},
        )
        # By the words, and by what the LoRAs do to the text encoders.
        self._prompts: OrderedDict[tuple[str, Any], Encoded] = OrderedDict()
        self._fingerprint = fingerprint(pipe)
        self._pipe = pipe

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
        painted = False
        try:
            layers = self._adapters.apply(adapters)
            latents = self._denoise(prompt, (width, height), steps, guidance, seed, on_step)
            pixels = self._decode(latents, width, height)
            painted = True
            return Painting(pixels, width, height, layers, time.monotonic() - started)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
        finally:
            self._tidy(painted)
        # Here the failed frames are gone, and with them the tensors that they held.
        self._free()
        raise OutOfMemory(f"{width}x{height} is too large for the memory of {self._device_name}.")

    def _tidy(self, painted: bool) -> None:
        """Offloaded weights go back; after a failure, look whether the model is still whole.

        Raises BaseModelDamaged if it is not; the next `load` begins anew.
        """
        self._pipe.maybe_free_model_hooks()
        if not painted and fingerprint(self._pipe) != self._fingerprint:
            self._pipe = None
            raise BaseModelDamaged("A failure changed the base model.")

    def _denoise(
        self,
        prompt: str,
        size: tuple[int, int],
        steps: int,
        guidance: float,
        seed: int,
        on_step: Callable[[Step], None],
    ) -> Tensor:
        import torch

        pipe, (width, height) = self._pipe, size
        embeds, pooled = self._encode(prompt)
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
            callback_on_step_end=self._reporter(noise, size, steps, on_step),
            return_dict=False,
        )
        latents: Tensor = result[0]
        return latents

    def _encode(self, prompt: str) -> Encoded:
        """The prompt's embeddings, kept for the prompts used last."""
        key = prompt, self._adapters.on_text
        if key not in self._prompts:
            import torch

            with torch.no_grad():
                embeds, pooled, _ = self._pipe.encode_prompt(
                    prompt,
                    device=self._device,
                    max_sequence_length=self.base_model.max_sequence_length,
                )
            dtype = self._pipe.transformer.dtype
            self._prompts[key] = (embeds.to(dtype), pooled.to(dtype))
            if len(self._prompts) > PROMPTS_KEPT:
                self._prompts.popitem(last=False)
        self._prompts.move_to_end(key)
        return self._prompts[key]

    def _reporter(
        self, noise: Tensor, size: tuple[int, int], steps: int, on_step: Callable[[Step], None]
    ) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
        before = noise

        def report(pipe: Any, index: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            nonlocal before
            latents = tensors["latents"]
            preview = None
            if index + 1 < steps and self._previewer.due():
                preview = self._preview(before, latents, pipe.scheduler.sigmas, index, size)
            before = latents
            on_step(Step(index + 1, steps, preview))
            return {}

        return report

    def _preview(
        self, before: Tensor, latents: Tensor, sigmas: Tensor, index: int, size: tuple[int, int]
    ) -> bytes:
        """The picture that this step was heading for: its last stretch gone in a straight line."""
        pace = (latents.float() - before.float()) / (sigmas[index + 1] - sigmas[index])
        aim = latents.float() - sigmas[index + 1] * pace
        return self._previewer.jpeg(self._unpacked(aim, *size)[0], max(size))

    def _unpacked(self, latents: Tensor, width: int, height: int) -> Tensor:
        pipe = self._pipe
        unpacked: Tensor = pipe._unpack_latents(latents, height, width, pipe.vae_scale_factor)
        return unpacked

    def _decode(self, latents: Tensor, width: int, height: int) -> bytes:
        """Bytes on the device, then one copy; rounded as diffusers rounds."""
        import torch

        vae = self._pipe.vae
        latents = self._unpacked(latents, width, height)
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
        if self._pipe is None:
            return {}
        import torch

        facts = {
            "device": self._device_name,
            "dtype": self._placement.dtype,
            "placement": self._placement.note,
            "offload": self._placement.offload.value,
            "seconds_to_load": round(self._seconds_to_load, 2),
            "loras_in_memory": len(self._adapters.cache),
        }
        if self._device.type == "cuda":
            free, total = torch.cuda.mem_get_info()
            return facts | {"memory_used": total - free, "memory_total": total}
        return facts | {"memory_used": _resident_bytes(), "threads": torch.get_num_threads()}


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
    """torch has a class for it on CUDA; on the CPU there is only the message."""
    import torch

    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(
        error
    )


def _resident_bytes() -> int:
    """What this process holds in memory; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return 0
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
