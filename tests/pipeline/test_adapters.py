"""The hot swap on the embedded transformer: exact, reversible, and the same as peft's own."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
from diffusers import FluxTransformer2DModel
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor

from fluxui.errors import LoraMisfit
from fluxui.loras.changes import Change
from fluxui.pipeline import Adapter, Delta
from fluxui.pipeline.adapters import Adapters
from fluxui.pipeline.base_models import TINY
from fluxui.pipeline.targets import targets
from tests.pipeline.conftest import lora

CPU = torch.device("cpu")


def transformer(dtype: torch.dtype = torch.float32) -> FluxTransformer2DModel:
    return FluxTransformer2DModel.from_pretrained(TINY / "transformer", dtype=dtype)


def sizes(count: int = 62) -> dict[str, tuple[int, int]]:
    """The first `count` layers of the embedded transformer."""
    return dict(
        list(targets(FluxTransformer2DModel.load_config(TINY / "transformer")).items())[:count]
    )


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def assert_same(model: torch.nn.Module, expected: dict[str, Tensor]) -> None:
    for name, weight in model.named_parameters():
        assert torch.equal(weight, expected[name]), name


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def model(request: pytest.FixtureRequest) -> Iterator[FluxTransformer2DModel]:
    yield transformer(request.param)


def test_fifty_random_swaps_leave_every_bit(model: FluxTransformer2DModel) -> None:
    before = weights(model)
    pointers = {name: weight.data_ptr() for name, weight in model.named_parameters()}
    swap = Adapters(model, sizes(), CPU)
    choice = random.Random(0)
    pool = [
        lora(sizes(count), f"lora {count}", weight=0.5, rank=rank)
        for count, rank in ((62, 4), (10, 16), (30, 1), (44, 8))
    ]
    for _ in range(50):
        chosen = choice.sample(pool, choice.randint(0, 3))
        counts = swap.apply(
            [Adapter(one.sha256, choice.choice([0.0, 0.3, 0.8, 2.0]), one.load) for one in chosen]
        )
        assert counts == tuple(int(one.sha256.split()[1]) for one in chosen)
    swap.apply([])
    assert_same(model, before)
    assert pointers == {name: weight.data_ptr() for name, weight in model.named_parameters()}


def test_the_way_there_does_not_matter(model: FluxTransformer2DModel) -> None:
    one, two = lora(sizes(40), "one"), lora(sizes(), "two", weight=0.3)
    swap = Adapters(model, sizes(), CPU)
    swap.apply([one, two])
    straight = weights(model)
    for detour in ([], [two], [two, one], [one]):
        swap.apply(detour)
    swap.apply([one, two])
    assert_same(model, straight)


def test_it_is_the_sum_rounded_once(model: FluxTransformer2DModel) -> None:
    before = weights(model)
    adapters = [lora(sizes(20), "one", weight=0.7), lora(sizes(12), "two", weight=1.3, rank=9)]
    Adapters(model, sizes(), CPU).apply(adapters)
    loaded = [adapter.load() for adapter in adapters]
    for name in sizes():
        expected = before[f"{name}.weight"].double()
        for adapter, delta in zip(adapters, loaded, strict=True):
            if name in delta:
                up, down = delta[name]
                expected = expected + adapter.weight * (up.double() @ down.double())
        found = model.get_parameter(f"{name}.weight")
        one_rounding = torch.finfo(found.dtype).eps
        torch.testing.assert_close(found.double(), expected, rtol=one_rounding, atol=1e-5)


def inputs(model: FluxTransformer2DModel) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    config = model.config
    return {
        "hidden_states": torch.randn(1, 16, config.in_channels, generator=generator),
        "encoder_hidden_states": torch.randn(1, 8, config.joint_attention_dim, generator=generator),
        "pooled_projections": torch.randn(1, config.pooled_projection_dim, generator=generator),
        "timestep": torch.tensor([0.5]),
        "guidance": torch.tensor([3.5]),
        "img_ids": torch.zeros(16, 3),
        "txt_ids": torch.zeros(8, 3),
    }


def with_peft(adapters: list[Adapter], use_dora: bool = False) -> FluxTransformer2DModel:
    """The same LoRAs as peft itself runs them: wrappers beside unchanged weights."""
    wrapped = transformer()
    for adapter in adapters:
        delta = adapter.load()
        rank = next(iter(delta.values()))[1].shape[0]
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(delta), use_dora=use_dora)
        inject_adapter_in_model(config, wrapped, adapter_name=adapter.sha256)
        for name, (up, down) in delta.items():
            layer = wrapped.get_submodule(name)
            layer.lora_A[adapter.sha256].weight.data.copy_(down)
            layer.lora_B[adapter.sha256].weight.data.copy_(up)
            layer.set_scale(adapter.sha256, adapter.weight)
    for layer in wrapped.modules():
        if isinstance(layer, LoraLayer):
            layer.set_adapter([adapter.sha256 for adapter in adapters])
    return wrapped


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
@pytest.mark.parametrize("count", [1, 3])
def test_it_computes_what_peft_computes(count: int) -> None:
    pool = [
        lora(sizes(), "one", weight=0.8, size=0.05),
        lora(sizes(20), "two", weight=0.4, rank=16, size=0.05),
        lora(sizes(35), "three", weight=1.7, rank=2, size=0.05),
    ]
    model = transformer()
    with torch.no_grad():
        plain = model(**inputs(model)).sample
        Adapters(model, sizes(), CPU).apply(pool[:count])
        ours = model(**inputs(model)).sample
        theirs = with_peft(pool[:count])(**inputs(model)).sample
    scale = theirs.abs().max()
    assert (ours - theirs).abs().max() / scale <= 1e-5
    assert (ours - plain).abs().max() / scale > 1e-2


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_dora_is_what_peft_computes(weight: float) -> None:
    one = lora(sizes(30), "one", weight=weight, size=0.05)
    generator = torch.Generator().manual_seed(0)
    lengths = {
        name: torch.rand(rows, generator=generator) + 0.5 for name, (rows, _) in sizes(30).items()
    }

    def load() -> Delta:
        return {
            name: Change(
                "LoRA", {"up": up, "down": down}, 1.0, 0, up.shape[0], magnitude=lengths[name]
            )
            for name, (up, down) in one.load().items()
        }

    wrapped = with_peft([one], use_dora=True)
    for name, length in lengths.items():
        wrapped.get_submodule(name).lora_magnitude_vector["one"].weight.data.copy_(length)
    model = transformer()
    with torch.no_grad():
        Adapters(model, sizes(), CPU).apply([Adapter("one", weight, load)])
        ours = model(**inputs(model)).sample
        theirs = wrapped(**inputs(model)).sample
    assert (ours - theirs).abs().max() / theirs.abs().max() <= 1e-5


def test_a_change_and_a_pair_add_up_and_leave_no_trace(model: FluxTransformer2DModel) -> None:
    before = weights(model)
    draw = torch.Generator().manual_seed(1)
    name = "transformer_blocks.0.attn.to_q"
    one, two = torch.randn(8, 16, generator=draw), torch.randn(32, 16, generator=draw)
    parts = {"lokr_w1": one, "lokr_w2": two}
    bias = torch.randn(256, generator=draw)
    whole: Delta = {
        name: Change("LoKr", parts, 0.01, 0, 256),
        f"{name}.bias": Change("full", {"diff": bias}, 1.0, 0, 256),
    }
    targets = sizes() | {f"{name}.bias": (256,)}
    pair = lora(sizes(20), weight=0.3)
    swap = Adapters(model, targets, CPU)
    assert swap.apply([Adapter("whole", 0.5, lambda: whole), pair]) == (1, 20)
    up, down = pair.load()[name]
    expected = before[f"{name}.weight"].double() + 0.005 * torch.kron(one, two) + 0.3 * (up @ down)
    found = model.get_parameter(f"{name}.weight")
    torch.testing.assert_close(
        found.double(), expected, rtol=torch.finfo(found.dtype).eps, atol=1e-5
    )
    bias_found = model.get_parameter(f"{name}.bias")
    torch.testing.assert_close(
        bias_found.float(),
        before[f"{name}.bias"].float() + 0.5 * bias,
        rtol=torch.finfo(found.dtype).eps,
        atol=1e-5,
    )
    swap.apply([])
    assert_same(model, before)


@pytest.mark.parametrize(
    ("name", "up", "down"),
    [
        ("x_embedder", (256, 4), (4, 128)),
        ("x_embedder", (128, 4), (4, 64)),
        ("x_embedder", (256, 4), (3, 64)),
        ("moon", (256, 4), (4, 64)),
    ],
)
def test_a_misfit_touches_nothing(name: str, up: tuple[int, int], down: tuple[int, int]) -> None:
    model = transformer()
    before = weights(model)

    def load() -> Delta:
        good = dict(lora(sizes(5)).load())
        return good | {name: (torch.ones(up), torch.ones(down))}

    swap = Adapters(model, sizes(), CPU)
    with pytest.raises(LoraMisfit, match=name):
        swap.apply([lora(sizes(), "good"), Adapter("bad", 1.0, load)])
    with pytest.raises(LoraMisfit, match="no layer"):
        swap.apply([Adapter("empty", 1.0, lambda: {})])
    assert_same(model, before)


def test_a_write_that_broke_off_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = transformer()
    before = weights(model)
    swap = Adapters(model, sizes(), CPU)
    merge = swap._merge
    calls = 0

    def break_off(weight: Tensor, *rest: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 10:
            weight.data.zero_()
            raise RuntimeError("half way")
        merge(weight, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(swap, "_merge", break_off)
    with pytest.raises(RuntimeError, match="half way"):
        swap.apply([lora(sizes())])
    monkeypatch.undo()
    swap.apply([])
    assert_same(model, before)


def test_only_what_changed_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    swap = Adapters(transformer(), sizes(), CPU)
    written: list[str] = []
    write = swap._write
    monkeypatch.setattr(
        swap, "_write", lambda name, *rest: (written.append(name), write(name, *rest))
    )
    one, two = lora(sizes(20), "one"), lora(sizes(5), "two")
    for adapters, count in (([], 0), ([one], 20), ([one], 0), ([one, two], 5), ([], 20), ([], 0)):
        written.clear()
        swap.apply(adapters)
        assert len(written) == count
    assert len(swap._pristine) == 20
