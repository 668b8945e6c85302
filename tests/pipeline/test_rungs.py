"""What happens on the ladder: a rung that fails, memory that runs out, layers that visit."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fluxui.errors import BaseModelUnavailable, Cancelled, OutOfMemory
from fluxui.pipeline import Step, flux
from fluxui.pipeline.base_models import CATALOGUE
from fluxui.pipeline.devices import cpu
from fluxui.pipeline.flux import FluxPipeline
from fluxui.pipeline.placement import Placement, Rung, place
from fluxui.pipeline.targets import targets
from tests.pipeline.conftest import Easel, lora, make_pipeline

PLAIN = place(cpu(), CATALOGUE["tiny"].sizes)
LAYERED = replace(PLAIN, rung=Rung.layered, text_visits=True, tiling=True, note="In turns.")

Rungs = Callable[..., FluxPipeline]


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rungs]:
    """A pipeline with a ladder of our own."""

    def make(*rungs: Placement) -> FluxPipeline:
        monkeypatch.setattr(flux, "ladder", lambda *given: rungs)
        return make_pipeline(tmp_path)

    yield make


def failing(
    monkeypatch: pytest.MonkeyPatch, owner: object, where: str, errors: dict[Rung, Exception]
) -> None:
    """What is called there fails on these rungs."""
    real = getattr(owner, where)

    def call(*given: Any) -> Any:
        (placement,) = [one for one in given if isinstance(one, Placement)]
        if error := errors.get(placement.rung):
            raise error
        return real(*given)

    monkeypatch.setattr(owner, where, call)


@pytest.mark.parametrize("where", ["_read", "put_on_device"])
def test_a_rung_that_fails_falls_to_the_next_and_says_so(
    on: Rungs, easel: Easel, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    errors = {
        Rung.whole: torch.OutOfMemoryError("CUDA out of memory at /secret/path"),
        Rung.nf4: ImportError("libbitsandbytes.so"),
    }
    pipeline = on(replace(PLAIN, rung=Rung.whole), replace(PLAIN, rung=Rung.nf4), PLAIN)
    failing(monkeypatch, pipeline if where == "_read" else flux, where, errors)
    assert Easel(pipeline).paint().pixels == easel.paint().pixels
    told = pipeline.describe()
    assert told["rung"] == "cpu"
    assert told["fell"] == (
        "The rung whole failed here (OutOfMemoryError). The rung nf4 failed here (ImportError)."
    )


def test_a_first_step_of_no_numbers_falls_to_the_next(
    on: Rungs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As fp16 overflows: it would paint black."""
    pipeline = on(replace(PLAIN, rung=Rung.whole), PLAIN)
    put = flux.put_on_device

    def poisoned(pipe: Any, placement: Placement) -> None:
        put(pipe, placement)
        if placement.rung is Rung.whole:
            pipe.transformer.proj_out.bias.data.fill_(torch.inf)

    monkeypatch.setattr(flux, "put_on_device", poisoned)
    pipeline.load()
    assert pipeline.describe()["fell"] == "The rung whole failed here (FloatingPointError)."


def test_below_the_last_rung_there_is_a_sentence(
    on: Rungs, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = on(replace(PLAIN, rung=Rung.whole), PLAIN)
    error = RuntimeError("no kernel image is available")
    failing(monkeypatch, flux, "put_on_device", {Rung.whole: error, Rung.cpu: error})
    for _ in range(2):  # the second time it climbs from the top
        with pytest.raises(BaseModelUnavailable, match="tiny does not run here") as caught:
            pipeline.load()
        assert "doctor" in caught.value.hint
    monkeypatch.undo()
    monkeypatch.setattr(flux, "ladder", lambda *given: (PLAIN,))
    pipeline.load()
    assert pipeline.describe()["rung"] == "cpu"


def starve(pipeline: FluxPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> bytes:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(pipeline, "_decode", decode)


def test_out_of_memory_says_what_fits(on: Rungs, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = on(PLAIN)
    easel = Easel(pipeline)
    plain = easel.paint()
    starve(pipeline, monkeypatch)
    with pytest.raises(OutOfMemory, match="384x192 is too large for the memory of CPU") as caught:
        easel.paint(width=384, height=192)
    assert caught.value.hint == "Try 288x144."
    with pytest.raises(OutOfMemory) as caught:
        easel.paint()
    assert "Close what else uses" in caught.value.hint  # there is no smaller size, and no rung
    monkeypatch.undo()
    assert easel.paint().pixels == plain.pixels


def test_memory_that_runs_out_again_costs_a_rung(
    on: Rungs, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = on(PLAIN, LAYERED)
    easel = Easel(pipeline)
    plain = easel.paint()

    def twice(width: int) -> list[str]:
        hints = []
        for _ in range(2):
            with pytest.raises(OutOfMemory) as caught:
                easel.paint(width=width)
            hints.append(caught.value.hint)
        return hints

    starve(pipeline, monkeypatch)
    with pytest.raises(OutOfMemory):
        easel.paint()
    monkeypatch.undo()
    monkeypatch.setattr(flux, "ladder", lambda *given: (PLAIN, LAYERED))
    easel.paint()  # so the next one is a first time again
    assert pipeline.describe()["rung"] == "cpu"
    starve(pipeline, monkeypatch)
    hints = twice(256)
    assert hints[0] == "Try 192x128."
    assert hints[1] == "From now on it fits more: In turns. Try again."
    assert pipeline.describe() == {}
    monkeypatch.undo()
    assert easel.paint().pixels == plain.pixels
    told = pipeline.describe()
    assert told["rung"] == "layered"
    assert told["fell"] == "The rung cpu ran out of memory twice."


def test_what_failed_is_let_go_of(on: Rungs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or two models would have to fit where one did not."""
    pipeline = on(PLAIN, LAYERED)
    pipeline.load()
    alive = weakref.ref(pipeline._ready.pipe.transformer)
    starve(pipeline, monkeypatch)
    for _ in range(2):
        with pytest.raises(OutOfMemory):
            Easel(pipeline).paint()
    assert alive() is None


def test_layers_that_visit_paint_the_same(on: Rungs, easel: Easel) -> None:
    visiting = Easel(on(LAYERED))
    sizes = targets(easel.pipeline.base_model.config)
    plain = visiting.paint()
    assert plain.pixels == easel.paint().pixels
    one = visiting.paint([lora(sizes)])
    assert one.pixels == easel.paint([lora(sizes)]).pixels
    assert visiting.paint().pixels == plain.pixels


def test_loras_act_beside_layers_where_there_is_no_room_for_copies(on: Rungs, easel: Easel) -> None:
    beside = Easel(on(replace(LAYERED, pristine="")))
    adapter = lora(targets(easel.pipeline.base_model.config))
    plain = beside.paint()
    one, merged = beside.paint([adapter]).pixels, easel.paint([adapter]).pixels
    assert max(abs(a - b) for a, b in zip(one, merged, strict=True)) <= 1
    assert one != plain.pixels
    assert beside.paint().pixels == plain.pixels


def test_a_cancel_sends_the_visitors_back(on: Rungs, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = on(LAYERED)
    visiting = Easel(pipeline)
    plain = visiting.paint()
    sent: list[Any] = []
    real = flux.send_back
    monkeypatch.setattr(flux, "send_back", lambda pipe: (sent.append(pipe), real(pipe)))

    def stop(step: Step) -> None:
        raise Cancelled(step.step)

    with pytest.raises(Cancelled):
        pipeline.paint(
            "a boat",
            width=64,
            height=64,
            steps=4,
            guidance=3.5,
            seed=1,
            adapters=[],
            on_step=stop,
        )
    assert len(sent) == 1
    assert visiting.paint().pixels == plain.pixels


def test_the_step_cache_is_said_and_forgets_the_picture(on: Rungs) -> None:
    cached = Easel(on(replace(PLAIN, cache=True)))
    one = cached.paint(steps=12)
    assert one.shortcuts == ("step cache",)
    cached.paint(steps=12, seed=8, prompt="a castle on snowy mountains at night")
    assert cached.paint(steps=12).pixels == one.pixels
    assert cached.pipeline.describe()["shortcuts"] == "step cache"
