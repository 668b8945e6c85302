"""The guidance stage: what classifier-free guidance does in two passes, learnt to be done in one.

The finished transformer is the teacher; its pupil starts as its copy and is told how strong the
guidance is, as FLUX.1-dev is. It is taught where its own sampling leads it: on pictures half made,
by steps of its own, from noise, which are not those that noise over a finished picture makes. And
it learns to read past LoRAs' trigger words, which its teacher is not told.
"""

import copy
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tinyflux import flow
from tinyflux.captions import called
from tinyflux.loop import Plan
from tinyflux.painting import Lesson, Painter, School
from tinyflux.styles import TRIGGERS

WEAKEST, STRONGEST = 1.0, 6.0
# The first steps, from nothing but noise, go without: there is no scene yet to guide, only the mean
# of all that the prompt may mean, and six times that is hard to learn and no help (Kynkäänniemi et
# al. 2024, "Applying guidance in a limited interval").
UNGUIDED, GUIDED = 1.0, 0.9  # noise levels, between which guidance comes in
STEPS = (4, 8, 8, 20)  # that a sampling may take
CALLED = 0.4  # of prompts have a trigger word, for the pupil
ANEW = Plan.save_every  # crowds begin with each checkpoint, which need not keep them then


class Crowd(NamedTuple):
    """Pictures of one size that are being made, each as far as it is."""

    noisy: Tensor  # batch × tokens × channels
    counts: Tensor  # batch × tokens: how much each counts
    text: Tensor  # of the prompts as the teacher reads them
    pooled: Tensor
    called_text: Tensor  # and as the pupil does
    called_pooled: Tensor
    weight: Tensor  # of the guidance, for each
    steps: Tensor  # that each will have taken in the end
    step: Tensor  # that each has taken

    def sigma(self) -> Tensor:
        """How noisy each is, as the pipeline's sampler has it."""
        return flow.sampled(1 - self.step / self.steps)

    def strength(self) -> Tensor:
        """Of the guidance, where each is."""
        part = ((UNGUIDED - self.sigma()) / (UNGUIDED - GUIDED)).clamp(0, 1)
        return 1 + part * (self.weight - 1)

    def after(self, velocity: Tensor) -> "Crowd":
        later = self._replace(step=self.step + 1)
        change = (later.sigma() - self.sigma())[:, None, None]
        return later._replace(noisy=self.noisy + change * velocity)


class Guiding:
    name = "guidance"

    def __init__(self, painter: Painter, school: School) -> None:
        painter.requires_grad_(False)
        self.painter, self.school = painter, school
        self.teacher = copy.deepcopy(painter.transformer)
        painter.transformer.requires_grad_(True)
        self.module: nn.Module = painter.transformer
        self.crowds: dict[tuple[int, int], Crowd] = {}

    def loss(self, step: int) -> Tensor:
        if step % ANEW == 0:
            self.crowds.clear()
        # Lessons are taken from behind the end of the last stage, where all sizes are mixed.
        lesson = self.school.lesson(self.school.steps + step)
        size = lesson.latents.shape[2], lesson.latents.shape[3]
        if size not in self.crowds:
            self.crowds[size] = self.gather(lesson)
        crowd = self.crowds[size]
        sigma, weight = crowd.sigma(), crowd.weight
        strength = crowd.strength()[:, None, None]
        target = self.guided(crowd, strength, size)
        guess = flow.velocity(
            self.module, crowd.noisy, sigma, crowd.called_text, crowd.called_pooled, weight, size
        ).float()
        # What is missed grows with the guidance: divided by it, every strength counts alike.
        loss = flow.strayed(guess / strength, target / strength, crowd.counts)
        self.crowds[size] = self.next(crowd, guess.detach(), lesson)
        return loss

    @torch.no_grad()
    def guided(self, crowd: Crowd, strength: Tensor, size: tuple[int, int]) -> Tensor:
        """The teacher's velocity by classifier-free guidance: twice asked, once without words."""
        batch, sigma = len(strength), crowd.sigma()
        ones = torch.ones_like(sigma)
        untold = self.painter.read([""])
        meant = flow.velocity(
            self.teacher, crowd.noisy, sigma, crowd.text, crowd.pooled, ones, size
        ).float()
        plain = flow.velocity(
            self.teacher, crowd.noisy, sigma, untold.text.expand(batch, -1, -1),
            untold.pooled.expand(batch, -1), ones, size,
        ).float()  # fmt: skip
        return plain + strength * (meant - plain)

    def gather(self, lesson: Lesson) -> Crowd:
        """Finished pictures under noise, so that the first are spread over all steps."""
        crowd = self.beginning(lesson)
        clean = flow.pack(lesson.latents.to(crowd.noisy.device))
        step = (torch.rand(len(clean), device=clean.device) * crowd.steps).long()
        crowd = crowd._replace(step=step)
        return crowd._replace(noisy=clean + crowd.sigma()[:, None, None] * (crowd.noisy - clean))

    def next(self, crowd: Crowd, velocity: Tensor, lesson: Lesson) -> Crowd:
        """All a step further, and a new one in the place of each that is finished."""
        later, new = crowd.after(velocity), self.beginning(lesson)
        finished = later.step == later.steps
        return Crowd(
            *(
                torch.where(finished.view(-1, *[1] * (old.ndim - 1)), fresh, old)
                for old, fresh in zip(later, new, strict=True)
            )
        )

    def beginning(self, lesson: Lesson) -> Crowd:
        """Nothing but noise yet, with prompts, and guidance and numbers of steps at random."""
        device, batch = self.teacher.device, len(lesson.texts)
        prompt = self.painter.read(lesson.texts)
        rng = Random(int(torch.randint(2**31, ())))
        heard = self.painter.read([disturbed(text, rng) for text in lesson.texts])
        steps = torch.tensor(STEPS, device=device)[
            torch.randint(len(STEPS), (batch,), device=device)
        ]
        return Crowd(
            noisy=torch.randn_like(flow.pack(lesson.latents), device=device),
            counts=lesson.counts.to(device),
            text=prompt.text,
            pooled=prompt.pooled,
            called_text=heard.text,
            called_pooled=heard.pooled,
            weight=WEAKEST + (STRONGEST - WEAKEST) * torch.rand(batch, device=device),
            steps=steps,
            step=torch.zeros_like(steps),
        )


def disturbed(text: str, rng: Random) -> str:
    """As the pupil reads it: now and then with a trigger word, whose LoRA is not there."""
    if rng.random() >= CALLED:
        return text
    return called(text, rng.choice(tuple(TRIGGERS.values())), rng)
