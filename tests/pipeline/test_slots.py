"""LoRAs beside layers whose weights can't be written: the same numbers, and no trace afterwards."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
from accelerate import cpu_offload_with_hook
from diffusers import FluxTransformer2DModel
from diffusers.hooks import apply_group_offloading
from torch import Tensor, nn

from fluxui.errors import LoraMisfit
from fluxui.loras.changes import Change
from fluxui.pipeline import Adapter, Delta
from fluxui.pipeline.adapters import Adapters
from fluxui.pipeline.slots import SMALLEST_RANK, room_for
from tests.pipeline.conftest import lora
from tests.pipeline.test_adapters import CPU, inputs, sizes, transformer, with_peft


class Rounded(nn.Module):
    """A Linear in eight bits, which makes its weight whole each time that it is asked."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.register_buffer("scale", weight.abs().amax(dim=1, keepdim=True) / 127)
        self.register_buffer("small", (weight / self.scale).round().to(torch.int8))
        self.bias = linear.bias

    def whole(self) -> Tensor:
        return self.small.float() * self.scale  # type: ignore[operator]

    def forward(self, given: Tensor) -> Tensor:
        return nn.functional.linear(given, self.whole(), self.bias)


BLOCK = "single_transformer_blocks."


def rounded(model: FluxTransformer2DModel) -> FluxTransformer2DModel:
    """Every Linear of the single blocks replaced by one that can't be written."""
    for name in sizes():
        if name.startswith(BLOCK):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, Rounded(model.get_submodule(name)))
    return model


@torch.no_grad()
def output(model: nn.Module) -> Tensor:
    found: Tensor = model(**inputs(model)).sample  # type: ignore[arg-type]
    return found


def relative(one: Tensor, two: Tensor) -> float:
    return float((one - two).abs().max() / two.abs().max())


@pytest.fixture
def model() -> Iterator[FluxTransformer2DModel]:
    yield rounded(transformer())


def dequantised() -> FluxTransformer2DModel:
    """What the rounded model computes with, in weights that can be written."""
    plain, small = transformer(), rounded(transformer())
    for name in sizes():
        if name.startswith(BLOCK):
            plain.get_submodule(name).weight.data.copy_(small.get_submodule(name).whole())
    return plain


def test_some_beside_and_some_merged_is_what_a_merge_gives(model: FluxTransformer2DModel) -> None:
    before = output(model)
    pool = [
        lora(sizes(), "one", weight=0.8, size=0.05),
        lora(sizes(50), "two", weight=0.4, rank=16, size=0.05),
        lora(sizes(), "three", weight=1.7, rank=20, size=0.05),
    ]
    swap, reference = Adapters(model, sizes(), CPU), dequantised()
    expected = Adapters(reference, sizes(), CPU)
    written = {name: model.get_submodule(name).small.clone() for name in sizes() if BLOCK in name}
    for chosen in (pool[:1], pool[:2], pool, pool[2:], pool[1:2]):
        assert swap.apply(chosen) == expected.apply(chosen)
        assert relative(output(model), output(reference)) <= 1e-5
    assert relative(output(model), before) > 1e-2
    swap.apply([])
    assert torch.equal(output(model), before)
    for name, small in written.items():
        assert torch.equal(model.get_submodule(name).small, small)


def test_random_swaps_leave_nothing(model: FluxTransformer2DModel) -> None:
    before = output(model)
    swap, choice = Adapters(model, sizes(), CPU), random.Random(0)
    pool = [lora(sizes(), f"lora {rank}", rank=rank) for rank in (1, 4, 16, 40)]
    for _ in range(20):
        chosen = choice.sample(pool, choice.randint(0, 3))
        swap.apply(
            [Adapter(one.sha256, choice.choice([0.0, 0.5, 2.0]), one.load) for one in chosen]
        )
    swap.apply([])
    assert torch.equal(output(model), before)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
def test_beside_every_layer_where_no_untouched_copy_is_kept() -> None:
    model = transformer()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    plain = output(model)
    swap = Adapters(model, sizes(), CPU, pristine="")
    adapters = [lora(sizes(), "one", size=0.05), lora(sizes(9), "two", rank=33, size=0.05)]
    swap.apply(adapters)
    assert relative(output(model), output(with_peft(adapters))) <= 1e-5
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name]), name
    assert not swap._pristine
    swap.apply([])
    assert torch.equal(output(model), plain)


def test_what_is_no_product_is_refused_there_before_anything_is_touched(
    model: FluxTransformer2DModel,
) -> None:
    before = output(model)
    swap = Adapters(model, sizes(), CPU)
    name = f"{BLOCK}0.attn.to_q"
    whole: Delta = {name: Change("full", {"diff": torch.ones(256, 256)}, 1.0, 0, 256)}
    with pytest.raises(LoraMisfit, match="whole weights"):
        swap.apply([lora(sizes()), Adapter("whole", 1.0, lambda: whole)])
    assert torch.equal(output(model), before)
    layer = "transformer_blocks.0.attn.to_q"
    swap.apply([Adapter("merged", 1.0, lambda: {layer: next(iter(whole.values()))})])
    assert not torch.equal(output(model), before)


def test_another_lora_compiles_nothing_anew(model: FluxTransformer2DModel) -> None:
    torch._dynamo.reset()
    swap = Adapters(model, sizes(), CPU)
    compiled: list[int] = []

    def count(graph: torch.fx.GraphModule, _: list[Tensor]) -> torch.fx.GraphModule:
        compiled.append(1)
        return graph

    model.single_transformer_blocks[0].compile(backend=count)
    plain = output(model)
    first = len(compiled)
    assert first
    for rank in (4, 8, SMALLEST_RANK):
        swap.apply([lora(sizes(), f"lora {rank}", rank=rank, size=0.05)])
        assert not torch.equal(output(model), plain)
    swap.apply([])
    assert torch.equal(output(model), plain)
    assert len(compiled) == first


@pytest.mark.parametrize("how", ["group", "model"])
def test_with_layers_that_visit_the_device(how: str) -> None:
    model, reference = transformer(), transformer()
    if how == "group":
        apply_group_offloading(model, CPU, offload_type="leaf_level")
    else:
        cpu_offload_with_hook(model, execution_device=CPU)
    plain = output(model)
    adapters = [lora(sizes(), "one", size=0.05)]
    for pristine in ("", None):
        swap = Adapters(model, sizes(), CPU, pristine=pristine)
        swap.apply(adapters)
        assert relative(output(model), output(with_peft(adapters))) <= 1e-5
        swap.apply([])
        assert torch.equal(output(model), plain)
    assert torch.equal(output(reference), plain)


@pytest.mark.parametrize(
    ("ranks", "room"), [(0, 32), (1, 32), (32, 32), (33, 64), (64, 64), (65, 128), (200, 256)]
)
def test_rooms_come_in_few_sizes(ranks: int, room: int) -> None:
    assert room_for(ranks) == room
