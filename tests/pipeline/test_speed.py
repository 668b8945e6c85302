"""Attention and compiled blocks on a narrow FLUX: what fails is left out, the rest paints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from fluxui.pipeline.adapters import Adapters
from fluxui.pipeline.base_models import CATALOGUE, FLUX1
from fluxui.pipeline.devices import cpu
from fluxui.pipeline.placement import place
from fluxui.pipeline.speed import speed_up
from fluxui.pipeline.targets import targets
from tests.pipeline.conftest import lora

PLAIN = place(cpu(), CATALOGUE["tiny"].sizes)
NARROW = FLUX1 | {
    "num_layers": 2,
    "num_single_layers": 3,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "axes_dims_rope": (4, 6, 6),
    "joint_attention_dim": 32,
    "pooled_projection_dim": 32,
}


@pytest.fixture
def model() -> Iterator[Any]:
    torch.manual_seed(0)
    yield FluxTransformer2DModel.from_config(NARROW).eval()
    torch._dynamo.reset()


@torch.no_grad()
def forward(model: Any, tokens: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(tokens)
    output: Tensor = model(
        torch.randn(1, tokens, 64, generator=generator),
        encoder_hidden_states=torch.randn(1, 8, 32, generator=generator),
        pooled_projections=torch.randn(1, 32, generator=generator),
        timestep=torch.tensor([0.5]),
        guidance=torch.tensor([3.5]),
        img_ids=torch.zeros(tokens, 3),
        txt_ids=torch.zeros(8, 3),
    ).sample
    return output


def show(model: Any, *tokens: int) -> None:
    for count in tokens or (16,):
        forward(model, count)


def test_attention_falls_to_the_next(model: Any) -> None:
    """FlashAttention 3 and cuDNN can't run here, each for its own reason."""
    plain = forward(model)
    placement = replace(PLAIN, attention=("_flash_3", "_flash_3_hub", "_native_cudnn", "native"))
    speed = speed_up(model, placement, lambda: show(model), lambda: None)
    assert (speed.attention, speed.compiled) == ("native", False)
    assert [one.split(" failed")[0] for one in speed.fell] == [
        "Attention by flash_3",
        "Attention by flash_3_hub",
        "Attention by native_cudnn",
    ]
    assert torch.equal(forward(model), plain)


def test_where_nothing_paints_it_is_the_rung_that_fails(model: Any) -> None:
    def step() -> None:
        raise RuntimeError("no kernel image is available")

    with pytest.raises(RuntimeError, match="kernel image"):
        speed_up(model, replace(PLAIN, attention=("_native_cudnn", "native")), step, step)


def graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


@pytest.mark.parametrize("pristine", ["cpu", ""], ids=["merged", "beside"])
def test_compiled_blocks_stay_compiled_over_swaps_and_sizes(
    model: Any, monkeypatch: pytest.MonkeyPatch, pristine: str
) -> None:
    """Two sizes warm it up; a LoRA is written into the tensors that the graphs point to."""
    compile_blocks = model.compile_repeated_blocks
    monkeypatch.setattr(
        model,
        "compile_repeated_blocks",
        lambda fullgraph: compile_blocks(fullgraph=fullgraph, backend="eager"),
    )
    torch._dynamo.utils.counters.clear()
    sizes = targets(NARROW)
    adapters = Adapters(model, sizes, torch.device("cpu"), pristine=pristine)
    plain = forward(model, 24)
    speed = speed_up(
        model,
        replace(PLAIN, compiled=True),
        step=lambda: show(model),
        warm_up=lambda: show(model, 16, 20),
    )
    assert speed.compiled and speed.fell == ()
    forward(model, 24)
    before = graphs()
    assert before > 0
    for number in range(20):
        adapters.apply([lora(sizes, name=f"lora {number % 3}", weight=0.1 + number / 20)])
        assert not torch.equal(forward(model, 16 + 4 * (number % 4)), plain)
    adapters.apply([])
    torch.testing.assert_close(forward(model, 24), plain)
    assert graphs() == before


def test_blocks_that_do_not_compile_are_left_as_they_were(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = forward(model)

    def refuse(*_: object) -> None:
        raise AssertionError("no compiler")

    compile_blocks = model.compile_repeated_blocks
    monkeypatch.setattr(
        model,
        "compile_repeated_blocks",
        lambda fullgraph: compile_blocks(fullgraph=fullgraph, backend=refuse),
    )
    speed = speed_up(
        model,
        replace(PLAIN, compiled=True),
        lambda: forward(model),
        lambda: forward(model) and None,
    )
    assert not speed.compiled
    assert speed.fell[0].startswith("Compiled blocks failed here (")
    assert torch.equal(forward(model), plain)
