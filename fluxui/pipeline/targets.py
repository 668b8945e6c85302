"""What a LoRA may change of a FLUX and its two text encoders, by arithmetic from their configs.

So a LoRA can be checked against a base model that was never loaded. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# A layer's name → its weight's (out_features, in_features). What is no matrix stands under its own
# name, which ends in .bias or .weight, with its one length.
Targets = dict[str, tuple[int, ...]]

CLIP, T5 = "text_encoder", "text_encoder_2"
# FLUX.1's own text encoders: CLIP-L and T5-XXL.
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
T5_XXL = {"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_heads": 64, "num_layers": 24}


def all_targets(
    config: Mapping[str, Any], clip: Mapping[str, Any], t5: Mapping[str, Any]
) -> Targets:
    """Every tensor that a LoRA may change; an encoder's stand behind its name in diffusers."""
    matrices = targets(config) | clip_targets(clip)
    biases = {f"{layer}.bias": (rows,) for layer, (rows, _) in matrices.items()}
    return matrices | t5_targets(t5) | biases | _norms(config)


def clip_targets(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Each Linear of a CLIPTextModel of this config."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    found = {}
    for number in range(config["num_hidden_layers"]):
        layer = f"{CLIP}.encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            found[f"{layer}.self_attn.{part}"] = (width, width)
        found[f"{layer}.mlp.fc1"] = (inner, width)
        found[f"{layer}.mlp.fc2"] = (width, inner)
    return found


def t5_targets(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Each Linear of a T5EncoderModel of this config; none has a bias."""
    width, heads = config["d_model"], config["num_heads"] * config["d_kv"]
    found = {}
    for number in range(config["num_layers"]):
        block = f"{T5}.encoder.block.{number}.layer"
        for part in ("q", "k", "v"):
            found[f"{block}.0.SelfAttention.{part}"] = (heads, width)
        found[f"{block}.0.SelfAttention.o"] = (width, heads)
        for part in ("wi_0", "wi_1"):
            found[f"{block}.1.DenseReluDense.{part}"] = (config["d_ff"], width)
        found[f"{block}.1.DenseReluDense.wo"] = (width, config["d_ff"])
    return found


def _norms(config: Mapping[str, Any]) -> Targets:
    double = ("norm_q", "norm_k", "norm_added_q", "norm_added_k")
    blocks = [
        (f"transformer_blocks.{number}", double) for number in range(config["num_layers"])
    ] + [
        (f"single_transformer_blocks.{number}", double[:2])
        for number in range(config["num_single_layers"])
    ]
    return {
        f"{block}.attn.{norm}.weight": (config["attention_head_dim"],)
        for block, norms in blocks
        for norm in norms
    }


def targets(config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Each Linear of a FluxTransformer2DModel of this config → (out_features, in_features)."""
    width = config["num_attention_heads"] * config["attention_head_dim"]
    embedders = {"timestep_embedder": 256, "text_embedder": config["pooled_projection_dim"]}
    if config["guidance_embeds"]:
        embedders["guidance_embedder"] = 256
    found = {
        "context_embedder": (width, config["joint_attention_dim"]),
        "x_embedder": (width, config["in_channels"]),
        "norm_out.linear": (2 * width, width),
        "proj_out": (
            config["patch_size"] ** 2 * (config["out_channels"] or config["in_channels"]),
            width,
        ),
    }
    for name, size in embedders.items():
        found[f"time_text_embed.{name}.linear_1"] = (width, size)
        found[f"time_text_embed.{name}.linear_2"] = (width, width)
    for block in range(config["num_layers"]):
        found.update(_double(f"transformer_blocks.{block}", width))
    for block in range(config["num_single_layers"]):
        found.update(_single(f"single_transformer_blocks.{block}", width))
    return found


def _double(block: str, width: int) -> Iterator[tuple[str, tuple[int, int]]]:
    for norm in ("norm1", "norm1_context"):
        yield f"{block}.{norm}.linear", (6 * width, width)
    for part in ("to_q", "to_k", "to_v", "to_out.0"):
        yield f"{block}.attn.{part}", (width, width)
    for part in ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"):
        yield f"{block}.attn.{part}", (width, width)
    for part in ("ff", "ff_context"):
        yield f"{block}.{part}.net.0.proj", (4 * width, width)
        yield f"{block}.{part}.net.2", (width, 4 * width)


def _single(block: str, width: int) -> Iterator[tuple[str, tuple[int, int]]]:
    yield f"{block}.norm.linear", (3 * width, width)
    for part in ("to_q", "to_k", "to_v"):
        yield f"{block}.attn.{part}", (width, width)
    yield f"{block}.proj_mlp", (4 * width, width)
    yield f"{block}.proj_out", (width, 5 * width)
