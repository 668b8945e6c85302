"""The file formats in which people have LoRAs: one adapter written as four kinds of trainer would.

An adapter is peft's dictionary: `transformer_blocks.0.attn.to_q.lora_A.weight` and so on. How it
was trained is not known here.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

Tensors = dict[str, Tensor]

# Black Forest Labs' own names, which most trainers write, against those of diffusers. Where several
# layers stand in one row, the file has one layer for them all.
DOUBLE = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "img_attn.proj": ("attn.to_out.0",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "txt_attn.proj": ("attn.to_add_out",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
}
SINGLE = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
}
OUTER = {"img_in": "x_embedder", "final_layer.linear": "proj_out"}
XLABS_DOUBLE = {
    "qkv_lora1": DOUBLE["img_attn.qkv"],
    "proj_lora1": DOUBLE["img_attn.proj"],
    "qkv_lora2": DOUBLE["txt_attn.qkv"],
    "proj_lora2": DOUBLE["txt_attn.proj"],
}
XLABS_SINGLE = {"qkv_lora": SINGLE["linear1"][:3], "proj_lora": SINGLE["linear2"]}


def fused(adapter: Tensors, modules: list[str]) -> tuple[Tensor, Tensor]:
    """Several adapters that share an input as one: downs stacked, ups on a diagonal of blocks."""
    downs = [adapter[f"{module}.lora_A.weight"] for module in modules]
    ups = [adapter[f"{module}.lora_B.weight"] for module in modules]
    return torch.cat(downs), torch.block_diag(*ups)


def blocks(adapter: Tensors, kind: str) -> list[int]:
    """The numbers of the adapter's blocks of a kind."""
    return sorted({int(key.split(".")[1]) for key in adapter if key.startswith(f"{kind}.")})


def write_peft(adapter: Tensors, path: Path, rank: int, alpha: float) -> None:
    """What diffusers' own training scripts save."""
    modules = sorted({key.rsplit(".lora_", 1)[0] for key in adapter})
    settings = {
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": modules,
        "peft_type": "LORA",
        "bias": "none",
    }
    metadata = {f"transformer.{key}": value for key, value in settings.items()}
    tensors = {f"transformer.{key}": value for key, value in adapter.items()}
    save_file(
        tensors,
        path,
        {"format": "pt", "lora_adapter_metadata": json.dumps(metadata, sort_keys=True)},
    )


def write_kohya(adapter: Tensors, path: Path, rank: int, alpha: float, trigger: str) -> None:
    """What sd-scripts saves: fused layers, flattened names, an alpha for each."""
    rows = {
        f"{prefix}_{block}_{name}": [f"{kind}.{block}.{module}" for module in modules]
        for kind, prefix, names in (
            ("transformer_blocks", "double_blocks", DOUBLE),
            ("single_transformer_blocks", "single_blocks", SINGLE),
        )
        for block in blocks(adapter, kind)
        for name, modules in names.items()
    }
    outer = {name: [module] for name, module in OUTER.items()}
    rows |= {name: one for name, one in outer.items() if f"{one[0]}.lora_A.weight" in adapter}
    tensors: Tensors = {}
    for name, modules in rows.items():
        down, up = fused(adapter, modules)
        key = f"lora_unet_{name}".replace(".", "_")
        tensors[f"{key}.lora_down.weight"], tensors[f"{key}.lora_up.weight"] = down, up
        # Its readers divide alpha by the rank they find, which is that of all the parts.
        tensors[f"{key}.alpha"] = torch.tensor(alpha * len(down) / rank, dtype=down.dtype)
    metadata = {
        "ss_network_module": "networks.lora_flux",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(alpha),
        "ss_base_model_version": "flux1",
        "ss_output_name": path.stem,
        "ss_mixed_precision": "bf16",
        "ss_tag_frequency": json.dumps({"scenes": {trigger: 96}}),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "flux-1-dev/lora",
        "modelspec.title": path.stem,
        "modelspec.trigger_phrase": trigger,
    }
    save_file(tensors, path, metadata)


def write_ai_toolkit(adapter: Tensors, path: Path, steps: int) -> None:
    """What ai-toolkit saves: diffusers' names and no alpha, so a scale of one."""
    metadata = {
        "format": "pt",
        "name": path.stem,
        "version": "1.0",
        "ss_base_model_version": "flux1",
        "ss_output_name": path.stem,
        "software": json.dumps(
            {"name": "ai-toolkit", "repo": "https://github.com/ostris/ai-toolkit"}
        ),
        "training_info": json.dumps({"step": steps, "epoch": 0}),
    }
    save_file({f"transformer.{key}": value for key, value in adapter.items()}, path, metadata)


def write_xlabs(adapter: Tensors, path: Path) -> None:
    """What x-flux saves: the attention alone, named after its processors, and no metadata."""
    tensors: Tensors = {}
    for kind, prefix, names in (
        ("transformer_blocks", "double_blocks", XLABS_DOUBLE),
        ("single_transformer_blocks", "single_blocks", XLABS_SINGLE),
    ):
        for block in blocks(adapter, kind):
            for name, modules in names.items():
                down, up = fused(adapter, [f"{kind}.{block}.{module}" for module in modules])
                key = f"{prefix}.{block}.processor.{name}"
                tensors[f"{key}.down.weight"], tensors[f"{key}.up.weight"] = down, up
    save_file(tensors, path)
