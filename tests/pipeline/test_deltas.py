"""The LoRAs in memory: bounded, the oldest goes first, and the same wherever they lie."""

from __future__ import annotations

import torch

from fluxui.loras.changes import Change
from fluxui.pipeline import Adapter, Delta
from fluxui.pipeline.deltas import DeltaCache, count_layers, in_one_piece
from tests.pipeline.conftest import lora
from tests.pipeline.test_adapters import sizes


def test_the_cache_is_bounded_and_drops_the_oldest() -> None:
    loads: list[str] = []

    def counted(name: str) -> Adapter:
        inner = lora(sizes(5), name)

        def load() -> Delta:
            loads.append(name)
            return inner.load()

        return Adapter(name, 1.0, load)

    a, b, c = counted("a"), counted("b"), counted("c")
    one = sum(up.nbytes + down.nbytes for up, down in a.load().values())
    loads.clear()
    cache = DeltaCache(limit=2 * one)
    for adapter in (a, b, a, c, a, b):
        cache.get(adapter)
    assert loads == ["a", "b", "c", "b"]
    assert len(cache) == 2
    assert cache.bytes == 2 * one


def test_in_one_piece_it_is_the_same() -> None:
    up, down = torch.randn(12, 3), torch.randn(3, 7).bfloat16()
    whole = Change("full", {"diff": torch.randn(4, 4)}, 1.0, 0, 4)
    # Rows of one tensor, as a fused layer is cut, and one matrix that two layers share.
    delta: Delta = {"one": (up[:5], down), "two": (up[5:], down), "three": whole}
    moved = in_one_piece(delta, pin=False)
    assert moved.keys() == delta.keys()
    assert moved["three"] is whole
    pairs = [(moved[name], delta[name]) for name in ("one", "two")]
    for found, expected in pairs:
        assert isinstance(found, tuple) and isinstance(expected, tuple)
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.dtype == theirs.dtype
            assert torch.equal(mine, theirs)
    one, two = moved["one"], moved["two"]
    assert isinstance(one, tuple) and isinstance(two, tuple)
    assert one[1] is two[1]
    assert one[0].untyped_storage().data_ptr() == one[1].untyped_storage().data_ptr()


def test_layers_are_weights_and_others_only_where_there_are_none() -> None:
    whole = Change("full", {"diff": torch.ones(4)}, 1.0, 0, 4)
    pair = torch.ones(4, 1), torch.ones(1, 4)
    assert count_layers({"a": pair, "a.bias": whole, "b.norm_q.weight": whole}) == 1
    assert count_layers({"a.bias": whole, "b.norm_q.weight": whole}) == 2
