"""Where diffusers converts a layout rightly (FLUX.1-dev's own sizes), we agree with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_kohya_flux_lora_to_diffusers,
    _convert_xlabs_flux_lora_to_diffusers,
)
from torch import Tensor

from fluxui.loras.canonical import read
from fluxui.pipeline.base_models import CATALOGUE

DEV = CATALOGUE["flux1-dev"].targets()
RANK = 2


def tensors(sizes: dict[str, tuple[int, int]], down: str, up: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, (rows, columns) in sizes.items():
        found[name + down] = torch.randn(RANK, columns, generator=generator)
        found[name + up] = torch.randn(rows, RANK, generator=generator)
    return found


def kohya() -> dict[str, Tensor]:
    sizes = {
        "double_blocks_3_img_attn_qkv": (9216, 3072),
        "double_blocks_3_img_attn_proj": (3072, 3072),
        "double_blocks_3_img_mlp_0": (12288, 3072),
        "double_blocks_3_img_mlp_2": (3072, 12288),
        "double_blocks_3_img_mod_lin": (18432, 3072),
        "double_blocks_18_txt_attn_qkv": (9216, 3072),
        "double_blocks_18_txt_attn_proj": (3072, 3072),
        "double_blocks_18_txt_mlp_0": (12288, 3072),
        "double_blocks_18_txt_mlp_2": (3072, 12288),
        "double_blocks_18_txt_mod_lin": (18432, 3072),
        "single_blocks_37_linear1": (21504, 3072),
        "single_blocks_37_linear2": (3072, 15360),
        "single_blocks_37_modulation_lin": (9216, 3072),
    }
    named = {f"lora_unet_{name}": size for name, size in sizes.items()}
    found = tensors(named, ".lora_down.weight", ".lora_up.weight")
    return found | {f"{name}.alpha": torch.tensor(0.5) for name in named}


def split_qkv() -> dict[str, Tensor]:
    """sd-scripts with split_qkv: three ranks in one, each with rows of its own."""
    found = kohya()
    name = "lora_unet_double_blocks_3_img_attn_qkv"
    found[f"{name}.lora_down.weight"] = torch.randn(3 * RANK, 3072)
    found[f"{name}.lora_up.weight"] = torch.block_diag(*torch.randn(3, 3072, RANK))
    return found


def final_layer() -> dict[str, Tensor]:
    sizes = {
        "lora_unet_final_layer_adaLN_modulation_1": (6144, 3072),
        "lora_unet_final_layer_linear": (64, 3072),
    }
    return tensors(sizes, ".lora_down.weight", ".lora_up.weight")


def xlabs() -> dict[str, Tensor]:
    sizes = {
        "double_blocks.5.processor.qkv_lora1": (9216, 3072),
        "double_blocks.5.processor.qkv_lora2": (9216, 3072),
        "double_blocks.5.processor.proj_lora1": (3072, 3072),
        "double_blocks.5.processor.proj_lora2": (3072, 3072),
        "single_blocks.7.processor.qkv_lora": (9216, 3072),
        "single_blocks.7.processor.proj_lora": (3072, 15360),
    }
    return tensors(sizes, ".down.weight", ".up.weight")


def probe(up: Tensor, down: Tensor) -> Tensor:
    """What the delta does to a few vectors: as good as the delta, and a thousand times smaller."""
    vectors = torch.randn(down.shape[1], 4, generator=torch.Generator().manual_seed(1))
    return up @ (down @ vectors)


def probes(converted: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for key, up in converted.items():
        if key.endswith(".lora_B.weight"):
            name = key.removesuffix(".lora_B.weight")
            found[name.removeprefix("transformer.")] = probe(up, converted[f"{name}.lora_A.weight"])
    return found


Convert = Callable[[dict[str, Tensor]], dict[str, Tensor]]
CASES: dict[str, tuple[Callable[[], dict[str, Tensor]], Convert]] = {
    "kohya": (kohya, _convert_kohya_flux_lora_to_diffusers),
    "split_qkv": (split_qkv, _convert_kohya_flux_lora_to_diffusers),
    "final layer": (final_layer, _convert_kohya_flux_lora_to_diffusers),
    "xlabs": (xlabs, _convert_xlabs_flux_lora_to_diffusers),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_weights(case: str, lora_file: Callable[..., Path]) -> None:
    make, convert = CASES[case]
    file = make()
    ours = read(lora_file(file), DEV)
    theirs = probes(convert(dict(file)))
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        torch.testing.assert_close(probe(*ours[name]), expected, rtol=1e-4, atol=1e-3)
