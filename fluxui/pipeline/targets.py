"""The layers of a FLUX transformer that a LoRA may change, by arithmetic from its config.

So a LoRA can be checked against a base model that was never loaded. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Targets = dict[str, tuple[int, int]]


def targets(config: Mapping[str, Any]) -> Targets:
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
