"""From files to a diffusers pipeline on its device: weights read, and each part where it goes.

Knows where things go because `placement.py` said so; paints nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fluxui.pipeline import hub
from fluxui.pipeline.base_models import BaseModel
from fluxui.pipeline.placement import Offload, Placement
from fluxui.settings import Settings


def read_model(model: BaseModel, placement: Placement, settings: Settings) -> Any:
    """The diffusers pipeline in the machine's memory. Raises BaseModelUnavailable."""
    import torch

    _hush()
    from diffusers import FluxPipeline as Diffusion

    folder = Path(model.source)
    if not folder.is_dir():
        folder = hub.fetch_weights(model.source, settings)
    dtypes = {"default": getattr(torch, placement.dtype)}
    # Both overflow in fp16.
    dtypes |= dict.fromkeys(("text_encoder_2", "vae"), getattr(torch, placement.wide_dtype))
    pipe = Diffusion.from_pretrained(
        folder, dtype=dtypes, use_safetensors=True, local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _hush() -> None:
    """Before diffusers is imported, or transformers asks for a torchvision that FLUX never uses."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    from diffusers.utils import logging as diffusers_logging

    diffusers_logging.disable_progress_bar()


def put_on_device(pipe: Any, placement: Placement) -> None:
    import torch

    device = torch.device(placement.device)
    if placement.offload is Offload.none:
        pipe.to(device)
    elif placement.offload is Offload.model:
        pipe.enable_model_cpu_offload(device=device)
        pipe.vae.enable_tiling()
    else:
        # Without a stream: with one, diffusers puts copies of its own back after each layer, and
        # what a LoRA wrote into a layer that an error left on the device would be lost.
        pipe.enable_group_offload(onload_device=device, offload_type="leaf_level")
        pipe.vae.enable_tiling()


def fingerprint(pipe: Any) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight: a few hundred small tuples."""
    parts = ("transformer", "text_encoder", "text_encoder_2", "vae")
    return {
        f"{part}.{name}": tuple(weight.shape)
        for part in parts
        for name, weight in getattr(pipe, part).named_parameters()
    }
