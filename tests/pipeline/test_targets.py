"""The arithmetic agrees with the modules that diffusers and transformers really make."""

from __future__ import annotations

import pytest
import torch
from diffusers import FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from fluxui.pipeline.base_models import CATALOGUE
from fluxui.pipeline.targets import CLIP, CLIP_L, T5, T5_XXL, targets


@pytest.mark.parametrize("slug", CATALOGUE)
def test_targets_are_the_tensors_of_the_real_modules(slug: str) -> None:
    base = CATALOGUE[slug]
    config = {k: v for k, v in base.config.items() if not k.startswith("_")}
    with torch.device("meta"):
        modules = {
            "": FluxTransformer2DModel.from_config(config),
            f"{CLIP}.": CLIPTextModel(CLIPTextConfig(**base.clip)),
            f"{T5}.": T5EncoderModel(T5Config(**{**base.t5, "feed_forward_proj": "gated-gelu"})),
        }
    linears: dict[str, tuple[int, ...]] = {}
    for prefix, module in modules.items():
        for name, part in module.named_modules():
            if isinstance(part, torch.nn.Linear):
                linears[prefix + name] = tuple(part.weight.shape)
                if part.bias is not None:
                    linears[f"{prefix}{name}.bias"] = tuple(part.bias.shape)
            elif name.split(".")[-1] in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
                linears[f"{prefix}{name}.weight"] = tuple(part.weight.shape)
    assert base.targets() == linears


def test_flux1_dev_has_494_targets_in_its_blocks_and_10_around_them() -> None:
    names = list(targets(CATALOGUE["flux1-dev"].config))
    assert sum("transformer_blocks." in name for name in names) == 494
    assert len(names) == 504


def test_flux1_has_clip_l_and_t5_xxl() -> None:
    assert (CATALOGUE["flux1-dev"].clip, CATALOGUE["flux1-dev"].t5) == (CLIP_L, T5_XXL)
    found = CATALOGUE["flux1-dev"].targets()
    assert found["text_encoder.encoder.layers.11.mlp.fc1"] == (3072, 768)
    assert found["text_encoder_2.encoder.block.23.layer.1.DenseReluDense.wo"] == (4096, 10240)
