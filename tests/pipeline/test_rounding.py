"""Rounded weights, by the real libraries where they are installed: they work on a CPU as well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fluxui.pipeline import flux
from fluxui.pipeline.base_models import CATALOGUE
from fluxui.pipeline.devices import cpu
from fluxui.pipeline.placement import Rung, place
from fluxui.pipeline.rounding import to_nf4
from fluxui.pipeline.targets import targets
from tests.pipeline.conftest import Easel, lora, make_pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
PLAIN = place(cpu(), CATALOGUE["tiny"].sizes)


def difference(one: bytes, two: bytes) -> float:
    """Mean, of 255."""
    a, b = (torch.frombuffer(bytearray(pixels), dtype=torch.uint8).float() for pixels in (one, two))
    return float((a - b).abs().mean())


@pytest.mark.parametrize(("rung", "package"), [(Rung.nf4, "bitsandbytes"), (Rung.fp8, "torchao")])
def test_a_rounded_model_paints_nearly_the_same(
    rung: Rung, package: str, easel: Easel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library: Any = pytest.importorskip(package)
    if rung is Rung.fp8:
        # A CPU can't multiply fp8 by fp8, so here only the weights are rounded.
        quantization = pytest.importorskip("torchao.quantization")
        monkeypatch.setattr(
            quantization,
            "Float8DynamicActivationFloat8WeightConfig",
            lambda granularity: quantization.Float8WeightOnlyConfig(),
        )
    assert library
    placement = replace(PLAIN, rung=rung, dtype="bfloat16", pristine="")
    monkeypatch.setattr(flux, "ladder", lambda *given: (placement,))
    rounded = Easel(make_pipeline(tmp_path))
    plain, exact = rounded.paint(steps=4), easel.paint(steps=4)
    assert plain.shortcuts == ({Rung.nf4: "NF4 weights", Rung.fp8: "fp8 weights"}[rung],)
    assert 0 < difference(plain.pixels, exact.pixels) < 3
    adapter = lora(targets(easel.pipeline.base_model.config), name="bold")
    with_lora = rounded.paint([adapter], steps=4)
    apart = difference(with_lora.pixels, plain.pixels)
    off = difference(with_lora.pixels, easel.paint([adapter], steps=4).pixels)
    assert off < apart, (off, apart)
    assert rounded.paint(steps=4).pixels == plain.pixels


def test_every_linear_is_rounded_and_the_rest_is_not() -> None:
    bnb = pytest.importorskip("bitsandbytes")
    model = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.Linear(64, 32, bias=False))
    given = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    exact = model(given)
    to_nf4(model, torch.device("cpu"), torch.float32)
    assert [type(layer) for layer in model] == [bnb.nn.Linear4bit, nn.LayerNorm, bnb.nn.Linear4bit]
    assert model[0].weight.dtype == torch.uint8
    assert model[1].weight.dtype == torch.float32
    with torch.no_grad():
        assert 0 < float((model(given) - exact).abs().max()) < 0.5
