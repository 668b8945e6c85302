from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tinyflux.loop import Plan, rate_at, train


class Fitting:
    """Learns a line from noisy points, four weights in all."""

    name = "fit"

    def __init__(self, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Linear(3, 1).to(dtype)

    def loss(self, step: int) -> Tensor:
        points = torch.randn(8, 3, dtype=self.module.weight.dtype)
        return (self.module(points).sum(1) - points.sum(1)).square().mean()


class Blocks(Fitting):
    """The same line, whose matrix is inside a block."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(dtype)
        self.line = self.module
        self.module = nn.ModuleDict({"some_blocks": nn.ModuleList([self.line])})

    def loss(self, step: int) -> Tensor:
        points = torch.randn(8, 3, dtype=self.line.weight.dtype)
        return (self.line(points).sum(1) - points.sum(1)).square().mean()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("kind", "optimizers"), [(Fitting, 1), (Blocks, 2)])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    tmp_path: Path, dtype: torch.dtype, kind: type[Fitting], optimizers: int
) -> None:
    plan = Plan(steps=4, rate=0.05, warmup=1, save_every=1, muon=True)
    whole = train(kind(dtype), plan, tmp_path / "whole")
    train(kind(dtype), plan, tmp_path / "parts", until=2)
    parts = train(kind(dtype), plan, tmp_path / "parts")
    assert len(whole.optimizers) == optimizers
    for one, other in zip(
        (*whole.masters, *whole.averages), (*parts.masters, *parts.averages), strict=True
    ):
        assert torch.equal(one, other)


def test_a_torn_write_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    plan = Plan(steps=4, rate=0.05, warmup=1, save_every=2)
    whole = train(Fitting(torch.float32), plan, tmp_path / "whole")
    train(Fitting(torch.float32), plan, tmp_path / "torn", until=2)
    (tmp_path / "torn" / "fit.partial").write_bytes(b"half a checkpoint")
    torn = train(Fitting(torch.float32), plan, tmp_path / "torn")
    assert all(
        torch.equal(one, other) for one, other in zip(whole.masters, torn.masters, strict=True)
    )


def test_bf16_weights_learn_from_updates_smaller_than_their_digits(tmp_path: Path) -> None:
    stage = Fitting(torch.bfloat16)
    before = stage.module.weight.detach().float().clone()
    weights = train(stage, Plan(steps=40, rate=1e-4, warmup=1, cooldown=0.01), tmp_path)
    assert (weights.masters[0] - before).abs().min() > 1e-3


def test_the_rate_rises_stays_and_falls() -> None:
    plan = Plan(steps=1000, rate=1.0, warmup=100, cooldown=0.3)
    rates = [rate_at(plan, step) for step in (0, 99, 400, 700, 850, 999)]
    assert rates[0] < rates[1] == rates[2] == rates[3] > rates[4] > rates[5]
    assert rates[5] < 0.01
