"""One training loop for every stage: schedule, fp32 masters, averages, checkpoints, progress.

It knows neither what is trained nor on what. All that is random in a step is drawn from the step's
number, so a run that was killed goes on exactly as if it had not been.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from tinyflux import checkpoints


class Stage(Protocol):
    name: str
    module: nn.Module

    def loss(self, step: int) -> Tensor: ...


@dataclass(frozen=True)
class Plan:
    steps: int
    rate: float
    warmup: int = 200
    cooldown: float = 0.35  # the last part of the run, in which the rate falls to nothing
    weight_decay: float = 0.01
    average: float = 0.999
    save_every: int = 250
    seed: int = 0
    muon: bool = False  # the matrices inside blocks are trained by Muon, the rest by AdamW


def rate_at(plan: Plan, step: int) -> float:
    """Up, level, then down: the level part can be made longer without spoiling what came before."""
    down = max(1, round(plan.steps * plan.cooldown))
    left = max(0.0, (plan.steps - step) / down)
    return (
        plan.rate
        * min(1.0, (step + 1) / plan.warmup)
        * min(1.0, (1 - math.cos(math.pi * min(1.0, left))) / 2)
    )


class Weights:
    """fp32 masters of a module in any type, their running average, and the optimizers over them."""

    def __init__(self, module: nn.Module, plan: Plan) -> None:
        self.plan = plan
        named = [each for each in module.named_parameters() if each[1].requires_grad]
        self.live = [weight for _, weight in named]
        # bf16 has too few digits for small updates: they are gathered in fp32 and copied back.
        self.masters = [
            weight if weight.dtype == torch.float32 else weight.detach().float()
            for weight in self.live
        ]
        self.averages = [weight.detach().float().clone() for weight in self.live]
        inner = {
            index
            for index, (name, weight) in enumerate(named)
            if plan.muon and weight.ndim == 2 and "_blocks." in name
        }
        self.optimizers = self._optimizers(inner)

    def _optimizers(self, inner: set[int]) -> list[torch.optim.Optimizer]:
        outer = [weight for index, weight in enumerate(self.masters) if index not in inner]
        matrices = [weight for weight in outer if weight.ndim > 1]
        others = [weight for weight in outer if weight.ndim <= 1]
        decay = self.plan.weight_decay
        groups = [
            {"params": matrices, "weight_decay": decay},
            {"params": others, "weight_decay": 0.0},
        ]
        adam = torch.optim.AdamW(groups, lr=self.plan.rate, betas=(0.9, 0.99))
        if not inner:
            return [adam]
        # Muon (Jordan et al. 2024), whose steps are scaled to AdamW's size (Liu et al. 2025).
        muon = torch.optim.Muon(
            [self.masters[index] for index in sorted(inner)],
            lr=self.plan.rate,
            weight_decay=decay,
            adjust_lr_fn="match_rms_adamw",
        )
        return [adam, muon]

    def update(self, step: int) -> None:
        for master, weight in zip(self.masters, self.live, strict=True):
            if master is not weight:
                master.grad = None if weight.grad is None else weight.grad.float()
        nn.utils.clip_grad_norm_(self.masters, 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate_at(self.plan, step)
            optimizer.step()
        self._publish(self.masters)
        # Early weights are forgotten quickly, so that short runs have a useful average too.
        keep = min(self.plan.average, (step + 1) / (step + 10))
        torch._foreach_lerp_(self.averages, [master.detach() for master in self.masters], 1 - keep)
        for weight in self.live:
            weight.grad = None

    @torch.no_grad()
    def _publish(self, values: list[Tensor]) -> None:
        for value, weight in zip(values, self.live, strict=True):
            if value is not weight:
                weight.copy_(value)

    def settle(self) -> None:
        """Put the average into the module: what is evaluated and kept."""
        self._publish(self.averages)

    def state(self, step: int) -> checkpoints.State:
        masters = [master.detach() for master in self.masters]
        return {
            "step": step,
            "masters": masters,
            "averages": self.averages,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    @torch.no_grad()
    def restore(self, state: checkpoints.State) -> int:
        for mine, saved in zip(
            (*self.masters, *self.averages), (*state["masters"], *state["averages"]), strict=True
        ):
            mine.copy_(saved)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._publish(self.masters)
        return int(state["step"])


def train(stage: Stage, plan: Plan, folder: Path, until: int | None = None) -> Weights:
    """Train to the end of the plan, or to `until`, from the last checkpoint in the folder."""
    path = folder / f"{stage.name}.pt"
    weights = Weights(stage.module, plan)
    state = checkpoints.load(path)
    first = weights.restore(state) if state else 0
    last = min(plan.steps, until or plan.steps)
    progress = Progress(stage.name, first, plan.steps)
    for step in range(first, last):
        torch.manual_seed(plan.seed * 1_000_003 + step)
        loss = stage.loss(step)
        loss.backward()
        weights.update(step)
        progress.report(step + 1, loss.item())
        if (step + 1) % plan.save_every == 0 or step + 1 == last:
            checkpoints.save(path, weights.state(step + 1))
    return weights


class Progress:
    def __init__(self, name: str, first: int, total: int, every: int = 50) -> None:
        self.name, self.total, self.every = name, total, every
        self.losses: list[float] = []
        self.step, self.time = first, time.monotonic()

    def report(self, step: int, loss: float) -> None:
        self.losses.append(loss)
        if step % self.every and step != self.total:
            return
        now = time.monotonic()
        pace = (now - self.time) / max(1, step - self.step)
        left = round(pace * (self.total - step) / 60)
        mean = sum(self.losses) / len(self.losses)
        print(
            f"{self.name} {step:,}/{self.total:,}  loss {mean:.5f}  {pace:.2f} s a step"
            f"  ETA {left // 60} h {left % 60:02} min",
            flush=True,
        )
        self.losses, self.step, self.time = [], step, now
