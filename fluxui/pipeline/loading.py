"""From files to a diffusers pipeline on its device: weights read, and each part where it goes.

Knows where things go because `placement.py` said so; paints nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxui.pipeline import hub
from fluxui.pipeline.base_models import BaseModel
from fluxui.pipeline.placement import Placement, Rung

if TYPE_CHECKING:
    from fluxui.settings import Settings


def read_model(model: BaseModel, placement: Placement, settings: Settings) -> Any:
    """The diffusers pipeline in the machine's memory. Raises BaseModelUnavailable.

    What is to be rounded is read as it was written: a file that needs no conversion is mapped, and
    takes no memory of its own.
    """
    import torch

    hush()
    from diffusers import FluxPipeline as Diffusion

    folder = Path(model.source)
    if not folder.is_dir():
        folder = hub.fetch_weights(model.source, settings)
    nf4 = placement.rung is Rung.nf4
    dtypes = {"default": getattr(torch, placement.dtype)}
    # Both overflow in fp16.
    dtypes |= dict.fromkeys(("text_encoder_2", "vae"), getattr(torch, placement.wide_dtype))
    if nf4:
        dtypes |= dict.fromkeys(("transformer", "text_encoder_2"), torch.bfloat16)
    pipe = Diffusion.from_pretrained(
        folder, dtype=dtypes, use_safetensors=True, local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def hush() -> None:
    """Before diffusers is imported, or transformers asks for a torchvision that FLUX never uses."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    from diffusers.utils import logging as diffusers_logging

    # It warns of each choice that we make knowing it: attention, offloading, hooks.
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()


def put_on_device(pipe: Any, placement: Placement) -> None:
    """CLIP and the VAE are small and stay there; the transformer and T5 go as the rung says."""
    import torch

    from fluxui.pipeline import rounding

    device, dtype = torch.device(placement.device), getattr(torch, placement.dtype)
    for part in (pipe.transformer, pipe.text_encoder, pipe.text_encoder_2, pipe.vae):
        part.requires_grad_(False)
    pipe.text_encoder.to(device)
    pipe.vae.to(device)
    if placement.tiling:
        pipe.vae.enable_tiling()
    if placement.rung is Rung.fp8:
        rounding.to_fp8(pipe.transformer, device)
    elif placement.rung is Rung.nf4:
        rounding.to_nf4(pipe.transformer, device, dtype)
    elif placement.rung in (Rung.streamed, Rung.layered):
        _visit(pipe.transformer, device, streamed=placement.rung is Rung.streamed)
    else:
        pipe.transformer.to(device)
    _put_t5(pipe.text_encoder_2, placement, device)


def _put_t5(encoder: Any, placement: Placement, device: Any) -> None:
    import torch

    from fluxui.pipeline import rounding

    wide = getattr(torch, placement.wide_dtype)
    if placement.text_visits:
        # Without a stream: it would pin gigabytes for what happens once a prompt.
        _visit(encoder.to(wide), device, streamed=False)
    elif placement.rung is Rung.nf4:
        rounding.to_nf4(encoder, device, wide)
    else:
        encoder.to(device)


def _visit(module: Any, device: Any, streamed: bool) -> None:
    """Each layer comes to the device when it is its turn, with a stream one ahead of its turn."""
    from diffusers.hooks import apply_group_offloading

    apply_group_offloading(module, device, offload_type="leaf_level", use_stream=streamed)


def send_back(pipe: Any) -> None:
    """What a failure left on the device, out of turn: the layers that were visiting it."""
    from diffusers.hooks import HookRegistry

    for part in (pipe.transformer, pipe.text_encoder_2):
        for module in part.modules():
            registry: HookRegistry | None = getattr(module, "_diffusers_hook", None)
            hook = registry.get_hook("group_offloading") if registry else None
            if hook is not None:
                hook.group.offload_()


def fingerprint(pipe: Any) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight: a few hundred small tuples."""
    parts = ("transformer", "text_encoder", "text_encoder_2", "vae")
    return {
        f"{part}.{name}": tuple(weight.shape)
        for part in parts
        for name, weight in getattr(pipe, part).named_parameters()
    }
