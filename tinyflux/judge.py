"""A small classifier that says what a picture shows: time, land, thing, colour, place, and style.

It is trained on drawn scenes only, so that what it says of painted ones is a measurement. It knows
nothing of the model that it judges.
"""

from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinyflux import album
from tinyflux.lands import LANDS
from tinyflux.scenes import POSITIONS, TIMES, Scene, picture, random_scene
from tinyflux.styles import KEPT, LESSONS, lesson
from tinyflux.things import COLOURS, THINGS

SIDE = 128
UNASKED = -1
QUESTIONS = ("time", "land", "thing", "colour", "position")
ANSWERS: dict[str, tuple[str | None, ...]] = {
    "time": TIMES,
    "land": tuple(LANDS),
    "thing": (None, *THINGS),
    "colour": (None, *COLOURS),
    "position": (None, *POSITIONS),
    "style": (None, *LESSONS),
}


class Judge(nn.Module):
    """Five strided convolutions; one linear head for each question, over what is where."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 96, 128, 128)
        layers: list[nn.Module] = []
        for wide, wider in zip(widths, widths[1:], strict=False):
            layers += [
                nn.Conv2d(wide, wider, 3, 2, 1, bias=False),
                nn.GroupNorm(8, wider),
                nn.ReLU(),
            ]
        self.features = nn.Sequential(*layers, nn.Conv2d(128, 128, 3, 1, 1), nn.ReLU())
        self.heads = nn.ModuleDict(
            {name: nn.Linear(128 * 16 + 128, len(answers)) for name, answers in ANSWERS.items()}
        )

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        seen = self.features(F.interpolate(pictures, (SIDE, SIDE), mode="area"))
        features = torch.cat([seen.flatten(1), seen.amax((2, 3))], dim=1)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def answers(self, pictures: Tensor) -> list[dict[str, str | None]]:
        scores = self(pictures)
        return [
            {name: ANSWERS[name][int(scores[name][index].argmax())] for name in ANSWERS}
            for index in range(len(pictures))
        ]


class Judging:
    """The stage that trains a judge on scenes drawn for it, a third in a LoRA's manner."""

    name = "judge"

    def __init__(self, batch: int = 32, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.judge = Judge().to(self.device)
        self.module: nn.Module = self.judge
        self.batch = batch

    def loss(self, step: int) -> Tensor:
        rng = Random(f"judge {step}")
        shown = [_shown(rng) for _ in range(self.batch)]
        pictures = torch.cat([pixels for pixels, _ in shown]).to(self.device)
        pictures = pictures + 0.06 * torch.rand(1).item() * torch.randn_like(pictures)
        scores = self.judge(pictures)
        truths = {
            name: torch.tensor([truth[name] for _, truth in shown], device=self.device)
            for name in ANSWERS
        }
        losses = [
            F.cross_entropy(scores[name], truths[name], ignore_index=UNASKED) for name in ANSWERS
        ]
        return torch.stack(losses).sum()


def _shown(rng: Random) -> tuple[Tensor, dict[str, int]]:
    scene = random_scene(rng)
    style = rng.choice(LESSONS) if rng.random() < 0.33 else None
    drawn = lesson(style, scene, SIDE, SIDE) if style else picture(scene, SIDE, SIDE)
    kept = KEPT[style] if style else QUESTIONS
    truth = {name: _index(name, scene) if name in kept else UNASKED for name in QUESTIONS}
    return album.tensor(np.asarray(drawn)), {**truth, "style": ANSWERS["style"].index(style)}


def _index(name: str, scene: Scene) -> int:
    if name == "position" and scene.count > 1:
        return UNASKED
    return ANSWERS[name].index(getattr(scene, name))
