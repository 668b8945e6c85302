"""Every layout that people have, through the real embedded model: the picture of its weights.

The truth is written into the weights by hand, without any of our code; the file goes the way that
every file goes. What can't be the picture of its weights is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fluxui.errors import LoraError
from fluxui.loras.canonical import read
from fluxui.loras.header import Fit, inspect, opened
from fluxui.pipeline import Adapter
from fluxui.pipeline.flux import FluxPipeline
from tests.loras.refused import REFUSED
from tests.loras.truth import targets
from tests.loras.wild import ROWS, Row
from tests.pipeline.conftest import Easel

Write = Callable[..., Path]


def of_file(path: Path) -> Adapter:
    return Adapter(sha256=path.name, weight=1.0, load=lambda: read(path, targets()))


def report(path: Path) -> Fit:
    with opened(path) as (stream, size):
        return inspect(stream, size, targets(), "tiny")[0]


def parameters(pipeline: FluxPipeline) -> Mapping[str, Tensor]:
    pipe = pipeline._ready.pipe
    found = dict(pipe.transformer.named_parameters())
    for part in ("text_encoder", "text_encoder_2"):
        for name, tensor in getattr(pipe, part).named_parameters():
            found[f"{part}.{name}"] = tensor
    return found


@contextmanager
def by_hand(pipeline: FluxPipeline, row: Row) -> Iterator[None]:
    """The base model as the truth says it should become."""
    tensors, before = parameters(pipeline), {}
    pipeline._prompts.clear()
    for name in row.deltas:
        tensor = tensors[name if name in tensors else f"{name}.weight"]
        before[name] = (tensor, tensor.detach().clone())
        tensor.data.copy_(row.new(name, tensor.data))
    yield
    for tensor, untouched in before.values():
        tensor.data.copy_(untouched)
    pipeline._prompts.clear()


def furthest(one: bytes, two: bytes) -> int:
    pixels = [torch.frombuffer(bytearray(each), dtype=torch.uint8).int() for each in (one, two)]
    return int((pixels[0] - pixels[1]).abs().max())


@pytest.fixture(scope="module")
def plain(loaded: FluxPipeline) -> bytes:
    return Easel(loaded).paint(steps=1).pixels


@pytest.fixture(scope="module")
def untouched(loaded: FluxPipeline, plain: bytes) -> list[Tensor]:
    """After a picture without LoRAs, which takes out what another test left in."""
    return [tensor.detach().clone() for tensor in parameters(loaded).values()]


@pytest.mark.parametrize("name", ROWS)
def test_the_picture_of_its_weights(
    name: str, easel: Easel, plain: bytes, untouched: list[Tensor], lora_file: Write
) -> None:
    row = ROWS[name]()
    with by_hand(easel.pipeline, row):
        truth = easel.paint(steps=1).pixels
    file = lora_file(row.tensors, f"{name}.safetensors", **row.metadata)
    painted = easel.paint([of_file(file)], steps=1)
    assert furthest(truth, plain) > 1, "the truth is no other picture"
    assert furthest(painted.pixels, truth) <= 1
    fit = report(file)
    assert fit.fits
    assert painted.layers == (fit.layers,) == (fit.layers_total,)
    assert len(fit.left_out) == row.left_out
    assert ("Left out" in fit.verdict) == bool(row.left_out)
    assert easel.paint(steps=1).pixels == plain
    for tensor, before in zip(parameters(easel.pipeline).values(), untouched, strict=True):
        assert torch.equal(tensor, before)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_none_is_refused_by_name(name: str, easel: Easel, lora_file: Write) -> None:
    bad = REFUSED[name]()
    path = lora_file(bad.tensors, f"{name}.safetensors", **bad.metadata)
    with pytest.raises(LoraError, match=bad.words):
        easel.paint([of_file(path)])
    assert report(path).fits == bad.by_numbers


def test_after_all_of_them_the_picture_is_as_before(
    easel: Easel, plain: bytes, lora_file: Write
) -> None:
    good = of_file(lora_file(ROWS["kohya"]().tensors, "good.safetensors"))
    for name, make in REFUSED.items():
        bad = make()
        path = lora_file(bad.tensors, f"{name}.safetensors", **bad.metadata)
        with pytest.raises(LoraError):
            easel.paint([good, of_file(path)])
    assert easel.paint(steps=1).pixels == plain
