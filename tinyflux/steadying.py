"""Steadying: what the finished transformer makes of a prompt's vector stays what it is used to.

The vector of the whole prompt reaches every layer through two small matrices. For captions they
are right; for words that no caption has they were never asked, and may answer hundreds of times
too loud, which paints noise. They learn to say of a prompt with such words what they say of the
same prompt without, and of any vector at all nothing louder than of captions: CLIP's last layer
norm puts every prompt onto one stretched sphere, so its loudest places can be looked for.
"""

import copy
from collections.abc import Callable
from random import Random
from string import ascii_lowercase, digits, punctuation

import torch
from diffusers import FluxPipeline
from torch import Tensor, nn
from torch.nn import functional as F

from tinyflux import words
from tinyflux.captions import FILLERS, called, caption
from tinyflux.scenes import random_scene
from tinyflux.styles import TRIGGERS

PROMPTS = 60_000
PLAIN, UNTOLD = 0.5, 0.2  # of prompts: nothing strange in them, and nothing else
BATCH = 1_024
LOUDEST = 0.9999  # of captions are no louder than anything may be
PLACES, CLIMBS, STRIDE = 256, 6, 0.3  # on the sphere, and steps of so many radii to louder ones


class Steadying:
    name = "steadying"

    @torch.no_grad()
    def __init__(self, pipe: FluxPipeline, number: int = PROMPTS) -> None:
        rng = Random("steadying")
        self.module: nn.Module = pipe.transformer.time_text_embed.text_embedder.float()
        self.norm = pipe.text_encoder.final_layer_norm.float().requires_grad_(False)
        before = copy.deepcopy(self.module)
        prompts = [_prompt(rng) for _ in range(number)]
        heard = [text if rng.random() < PLAIN else strange(text, rng) for text in prompts]
        self.heard = pooled(pipe, heard)
        self.targets = before(pooled(pipe, prompts))
        self.spread, self.middle = self.targets.std(), self.targets.mean(0)
        self.loudest = (self.targets - self.middle).norm(dim=1).quantile(LOUDEST)

    def loss(self, step: int) -> Tensor:
        chosen = torch.randint(len(self.heard), (BATCH,))
        said = self.module(self.heard[chosen])
        # Not squared where it is far off, as for some prompts it is in the beginning.
        strayed = F.smooth_l1_loss(said / self.spread, self.targets[chosen] / self.spread)
        places = torch.randn(PLACES, self.heard.shape[1], device=self.heard.device)
        loudness = self.loudness(climbed(self.loudness, places, CLIMBS, STRIDE))
        return strayed + F.relu(loudness / self.loudest - 1).mean()

    def loudness(self, places: Tensor) -> Tensor:
        """How far from the middle of captions its answer is, for vectors before the norm."""
        return (self.module(self.norm(places)) - self.middle).norm(dim=1)


def climbed(
    loudness: Callable[[Tensor], Tensor], places: Tensor, steps: int, stride: float
) -> Tensor:
    """The places after so many steps to where it is louder, on a sphere of the norm's radius."""
    width = places.shape[1:]
    for _ in range(steps):
        places = F.layer_norm(places, width).requires_grad_()
        [slope] = torch.autograd.grad(loudness(places).sum(), places)
        places = places.detach() + stride * F.layer_norm(slope, width)
    return F.layer_norm(places, width)


def pooled(pipe: FluxPipeline, texts: list[str], batch: int = 200) -> Tensor:
    """What CLIP says of each prompt as a whole: prompts × width."""
    found = []
    for first in range(0, len(texts), batch):
        ids = words.ids(pipe.tokenizer, texts[first : first + batch], words.POOLED_WORDS)
        found.append(pipe.text_encoder(ids.to(pipe.text_encoder.device)).pooler_output)
    return torch.cat(found).float()


def strange(text: str, rng: Random) -> str:
    """The prompt with trigger words, fillers and words of no language before or behind it."""
    added = rng.choices((*TRIGGERS.values(), *FILLERS), k=rng.randint(1, 3))
    if rng.random() < 0.6:
        letters = rng.choice((ascii_lowercase, ascii_lowercase * 2 + digits + punctuation))
        added += ["".join(rng.choices(letters, k=rng.randint(1, 12))) for _ in range(9)]
        added = rng.sample(added, rng.randint(1, len(added)))
    return called(text, rng.choice((" ", ", ")).join(added), rng)


def _prompt(rng: Random) -> str:
    if rng.random() < UNTOLD:
        return ""
    return caption(random_scene(rng), rng, dropout=rng.choice((0.2, 0.6))).text
