"""A FLUX.1 of random weights as a folder in the diffusers layout: real sizes, and no download.

Made on the device, in bf16, and written as any other base model is, so that loading and rounding
are the real ones too. How it paints says nothing; how long it takes and what it needs does.
Narrow, it has FLUX.1's real depth, and the text encoders and decoder of the built-in model.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from fluxui.pipeline.base_models import FLUX1, TINY

DEPTH_ONLY = {"num_attention_heads": 2, "attention_head_dim": 16, "axes_dims_rope": (4, 6, 6)}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
CLIP_L |= {"num_attention_heads": 12, "projection_dim": 768, "vocab_size": 49408}
T5_XXL = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_heads": 64, "num_layers": 24}
T5_XXL |= {"vocab_size": 32128}
VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "norm_num_groups": 32}
VAE |= {"mid_block_add_attention": True, "sample_size": 1024}
VAE |= {"scaling_factor": 0.3611, "shift_factor": 0.1159}
SHIFTED = {"use_dynamic_shifting": True, "shift": 3.0}


def write_model(folder: Path, device: torch.device, narrow: bool) -> None:
    """What FLUX.1-dev's repository holds, about 34 GB; narrow, a few megabytes."""
    from fluxui.pipeline.loading import hush

    hush()
    from diffusers import FluxTransformer2DModel

    shutil.copytree(TINY, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("transformer"))
    torch.manual_seed(0)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with device:
            save(FluxTransformer2DModel.from_config(_sizes(narrow)), folder / "transformer")
            if not narrow:
                _write_the_rest(folder)
    finally:
        torch.set_default_dtype(usual)


def _sizes(narrow: bool) -> dict[str, Any]:
    if not narrow:
        return FLUX1
    clip, t5 = config("text_encoder"), config("text_encoder_2")
    pooled, joint = clip["hidden_size"], t5["d_model"]
    return FLUX1 | DEPTH_ONLY | {"joint_attention_dim": joint, "pooled_projection_dim": pooled}


def _write_the_rest(folder: Path) -> None:
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

    clip = CLIPTextConfig(**config("text_encoder") | CLIP_L)
    save(CLIPTextModel(clip), folder / "text_encoder")
    save(T5EncoderModel(T5Config(**config("text_encoder_2") | T5_XXL)), folder / "text_encoder_2")
    save(AutoencoderKL.from_config(config("vae") | VAE), folder / "vae")
    scheduler = folder / "scheduler" / "scheduler_config.json"
    scheduler.write_text(json.dumps(json.loads(scheduler.read_text()) | SHIFTED))


def config(part: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((TINY / part / "config.json").read_text())
    return found


def save(model: Any, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, max_shard_size="10GB")
