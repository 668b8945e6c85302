"""The guidance stage: what classifier-free guidance does in two passes, learnt to be done in one.

The finished transformer is the teacher; its pupil starts as its copy and is told how strong the
guidance is, as FLUX.1-dev is.
"""

import copy

import torch
from torch import Tensor, nn

from tinyflux import flow
from tinyflux.painting import SHIFT, Painter, School

WEAKEST, STRONGEST = 1.0, 6.0


def noise_levels(batch: int, device: torch.device) -> Tensor:
    """As often as a sampler passes them. Its first steps, in which guidance decides what will be
    seen, are rare among those that a transformer learns from."""
    time = torch.rand(batch, device=device)
    return SHIFT * time / (1 + (SHIFT - 1) * time)


class Guiding:
    name = "guidance"

    def __init__(self, painter: Painter, school: School) -> None:
        painter.requires_grad_(False)
        self.painter, self.school = painter, school
        self.teacher = copy.deepcopy(painter.transformer)
        painter.transformer.requires_grad_(True)
        self.module: nn.Module = painter.transformer

    def loss(self, step: int) -> Tensor:
        # Lessons are taken from behind the end of the last stage, where all sizes are mixed.
        lesson = self.school.lesson(self.school.steps + step)
        told = self.painter.read(lesson.texts)
        untold = self.painter.read([""])
        latents = lesson.latents.to(self.teacher.device)
        batch, size = len(latents), (latents.shape[2], latents.shape[3])
        clean = flow.pack(latents)
        sigma = noise_levels(batch, latents.device)
        noisy = clean + sigma[:, None, None] * (torch.randn_like(clean) - clean)
        ones = torch.ones_like(sigma)
        with torch.no_grad():
            meant = flow.velocity(self.teacher, noisy, sigma, told.text, told.pooled, ones, size)
            plain = flow.velocity(
                self.teacher, noisy, sigma, untold.text.expand(batch, -1, -1),
                untold.pooled.expand(batch, -1), ones, size,
            )  # fmt: skip
        weight = WEAKEST + (STRONGEST - WEAKEST) * torch.rand_like(sigma)
        target = plain.float() + weight[:, None, None] * (meant.float() - plain.float())
        guess = flow.velocity(self.module, noisy, sigma, told.text, told.pooled, weight, size)
        # What is missed grows with the guidance: divided by it, every strength counts alike.
        return ((guess.float() - target) / weight[:, None, None]).square().mean()
