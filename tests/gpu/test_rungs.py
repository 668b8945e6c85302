"""Every rung on a real GPU with the built-in model. Skipped without CUDA."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fluxui.errors import OutOfMemory
from fluxui.pipeline import flux
from fluxui.pipeline.base_models import CATALOGUE
from fluxui.pipeline.devices import PACKAGES, installed, probe
from fluxui.pipeline.placement import Placement, Rung, _ways
from fluxui.pipeline.targets import targets
from tests.pipeline.conftest import Easel, lora, make_pipeline

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
DEVICE = replace(probe(), packages=frozenset(PACKAGES))
RUNGS = [way.placement for way in _ways(DEVICE, CATALOGUE["tiny"].sizes, "")]
NEEDS = {Rung.fp8: "torchao", Rung.nf4: "bitsandbytes"}


def easel_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *rungs: Placement) -> Easel:
    monkeypatch.setattr(flux, "ladder", lambda *given: rungs)
    return Easel(make_pipeline(tmp_path))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("number", range(len(RUNGS)), ids=lambda k: f"{RUNGS[k].rung.value} {k}")
def test_a_rung_paints_and_forgets_its_loras(
    number: int, compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    placement = replace(RUNGS[number], compiled=compiled)
    if (needs := NEEDS.get(placement.rung)) and needs not in installed():
        pytest.skip(f"{needs} is not installed")
    if compiled and placement.rung not in (Rung.whole, Rung.fp8):
        pytest.skip("this rung is never compiled")
    easel = easel_on(tmp_path, monkeypatch, placement)
    plain = easel.paint()
    assert easel.pipeline.describe()["rung"] == placement.rung.value
    assert easel.pipeline.describe()["compiled"] == compiled
    sizes = targets(easel.pipeline.base_model.config)
    changed = easel.paint([lora(sizes)])
    assert changed.pixels != plain.pixels
    assert easel.paint().pixels == plain.pixels
    assert easel.paint([lora(sizes)]).pixels == changed.pixels


def test_memory_that_really_runs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    easel = easel_on(tmp_path, monkeypatch, *RUNGS[:1])
    plain = easel.paint()
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved() + (8 << 20)
    torch.cuda.set_per_process_memory_fraction(held / torch.cuda.mem_get_info()[1])
    try:
        with pytest.raises(OutOfMemory, match="384x384 is too large"):
            easel.paint(width=384, height=384)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert easel.paint().pixels == plain.pixels
