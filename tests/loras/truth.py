"""One LoRA, written in each layout that people have, for the layers of the embedded model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from fluxui.pipeline.base_models import CATALOGUE

RANK = 4
ALPHA = 2.0

Truth = dict[str, tuple[Tensor, Tensor]]

# Black Forest Labs' name → the layers of diffusers that share its rows; as in their own code.
FUSED = {
    "double_blocks.1.img_attn.qkv": ["attn.to_q", "attn.to_k", "attn.to_v"],
    "double_blocks.1.txt_attn.qkv": ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"],
    "double_blocks.1.img_attn.proj": ["attn.to_out.0"],
    "double_blocks.1.txt_attn.proj": ["attn.to_add_out"],
    "double_blocks.1.img_mlp.0": ["ff.net.0.proj"],
    "double_blocks.1.img_mlp.2": ["ff.net.2"],
    "double_blocks.1.txt_mlp.0": ["ff_context.net.0.proj"],
    "double_blocks.1.txt_mlp.2": ["ff_context.net.2"],
    "double_blocks.1.img_mod.lin": ["norm1.linear"],
    "double_blocks.1.txt_mod.lin": ["norm1_context.linear"],
    "single_blocks.3.linear1": ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"],
    "single_blocks.3.linear2": ["proj_out"],
    "single_blocks.3.modulation.lin": ["norm.linear"],
}
ATTENTION = [
    "double_blocks.1.img_attn.qkv",
    "double_blocks.1.txt_attn.qkv",
    "double_blocks.1.img_attn.proj",
    "double_blocks.1.txt_attn.proj",
]
XLABS = dict(zip(ATTENTION, ("qkv_lora1", "qkv_lora2", "proj_lora1", "proj_lora2"), strict=True))


def targets() -> dict[str, tuple[int, int]]:
    return CATALOGUE["tiny"].targets()


def layers(name: str) -> list[str]:
    kind, number, _ = name.split(".", 2)
    kind = {"double_blocks": "transformer_blocks", "single_blocks": "single_transformer_blocks"}[
        kind
    ]
    return [f"{kind}.{number}.{layer}" for layer in FUSED[name]]


def pairs(seed: int = 0) -> Truth:
    """For each fused layer (up, down), scaled as a trainer with alpha 2 at rank 4 keeps them."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name in FUSED:
        rows = sum(targets()[layer][0] for layer in layers(name))
        columns = targets()[layers(name)[0]][1]
        up = torch.randn(rows, RANK, generator=generator) * 0.1
        found[name] = (up, torch.randn(RANK, columns, generator=generator) * 0.1)
    return found


def split(truth: Truth) -> Truth:
    """The same by the layers of diffusers."""
    found = {}
    for name, (up, down) in truth.items():
        sizes = [targets()[layer][0] for layer in layers(name)]
        for layer, part in zip(layers(name), torch.split(up, sizes), strict=True):
            found[layer] = (part.contiguous(), down.clone())
    return found


def deltas(truth: Truth, scale: float = ALPHA / RANK) -> dict[str, Tensor]:
    """Layer of diffusers → what is to be added to its weight."""
    return {layer: scale * (up @ down) for layer, (up, down) in split(truth).items()}


def _alpha(value: float = ALPHA) -> Tensor:
    return torch.tensor(value)


def kohya(truth: Truth) -> dict[str, Tensor]:
    found = {}
    for name, (up, down) in truth.items():
        key = f"lora_unet_{name.replace('.', '_')}"
        found |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        found[f"{key}.alpha"] = _alpha()
    return found


def onetrainer(truth: Truth) -> dict[str, Tensor]:
    found = {}
    for name, (up, down) in split(truth).items():
        key = f"lora_transformer_{name.replace('.', '_')}"
        found |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        found[f"{key}.alpha"] = _alpha()
    return found


def lettered(prefix: str, adapter: str = "", fused: bool = False) -> Callable[[Truth], Truth]:
    """lora_A and lora_B, whose scale of 1 is what remains when alpha is not written."""

    def write(truth: Truth) -> dict[str, Tensor]:
        found = {}
        for name, (up, down) in (truth if fused else split(truth)).items():
            found[f"{prefix}{name}.lora_A{adapter}.weight"] = down
            found[f"{prefix}{name}.lora_B{adapter}.weight"] = up * (ALPHA / RANK)
        return found

    return write


def with_alpha(truth: Truth) -> dict[str, Tensor]:
    found = {}
    for name, (up, down) in truth.items():
        key = f"diffusion_model.{name}"
        found |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up}
        found[f"{key}.alpha"] = _alpha()
    return found


def simpletuner(truth: Truth) -> dict[str, Tensor]:
    found = {}
    for name, (up, down) in split(truth).items():
        found[f"transformer.{name}.lora.down.weight"] = down
        found[f"transformer.{name}.lora.up.weight"] = up * (ALPHA / RANK)
    return found


def comfy(truth: Truth) -> dict[str, Tensor]:
    """As ComfyUI saves a merge: down and up behind diffusion_model, and biases of nothing."""
    found = {}
    for name, (up, down) in truth.items():
        key = f"diffusion_model.{name}"
        found |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up * (ALPHA / RANK)}
        found[f"{key}.diff_b"] = torch.zeros(up.shape[0])
    return found


def xlabs(prefix: str = "") -> Callable[[Truth], dict[str, Tensor]]:
    def write(truth: Truth) -> dict[str, Tensor]:
        found = {}
        for name, ours in XLABS.items():
            up, down = truth[name]
            key = f"{prefix}double_blocks.1.processor.{ours}"
            found |= {f"{key}.down.weight": down, f"{key}.up.weight": up * (ALPHA / RANK)}
        return found

    return write


LAYOUTS: dict[str, Callable[[Truth], dict[str, Tensor]]] = {
    "kohya": kohya,
    "onetrainer": onetrainer,
    "ai-toolkit": lettered("transformer."),
    "ai-toolkit-comfy": lettered("diffusion_model.", fused=True),
    "ai-toolkit-alpha": with_alpha,
    "bfl-no-prefix": lettered("", fused=True),
    "diffusers-no-prefix": lettered(""),
    "peft": lettered("base_model.model."),
    "peft-bfl": lettered("base_model.model.", fused=True),
    "peft-transformer": lettered("base_model.model.transformer."),
    "peft-adapter-0": lettered("transformer.", ".default_0"),
    "diffsynth": lettered("", ".default"),
    "simpletuner": simpletuner,
    "comfyui": comfy,
    "xlabs": xlabs(),
    "xlabs-comfy": xlabs("diffusion_model."),
}
