"""The arithmetic agrees with the modules that diffusers really makes."""

from __future__ import annotations

import pytest
import torch
from diffusers import FluxTransformer2DModel

from fluxui.pipeline.base_models import CATALOGUE


@pytest.mark.parametrize("slug", CATALOGUE)
def test_targets_are_the_linears_of_the_real_module(slug: str) -> None:
    config = {k: v for k, v in CATALOGUE[slug].config.items() if not k.startswith("_")}
    with torch.device("meta"):
        model = FluxTransformer2DModel.from_config(config)
    linears = {
        name: tuple(module.weight.shape)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    assert CATALOGUE[slug].targets() == linears


def test_flux1_dev_has_494_targets_in_its_blocks_and_10_around_them() -> None:
    names = list(CATALOGUE["flux1-dev"].targets())
    assert sum("transformer_blocks." in name for name in names) == 494
    assert len(names) == 504
