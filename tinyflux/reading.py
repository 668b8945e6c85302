"""The reading stage: both text encoders learn to say what a caption tells, and are then left alone.

FLUX.1's encoders knew their language before its transformer saw a prompt. Encoders of ours that
learnt together with the transformer kept the land and lost the colours: a thing of one colour or
another is a small part of a picture's loss.
"""

from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

from tinyflux import words
from tinyflux.captions import SKY, called, caption
from tinyflux.judge import ANSWERS, QUESTIONS
from tinyflux.scenes import Scene, random_scene
from tinyflux.styles import TRIGGERS

CALLED = 0.15  # of captions have a LoRA's trigger word, which must not be as good as any other
# Each question's answers; that the caption does not tell it is one more.
TOLD: dict[str, tuple[object, ...]] = {
    **{name: ANSWERS[name] for name in QUESTIONS},
    "count": (2, 3),
    **dict.fromkeys(SKY, (True,)),
    "trigger": tuple(TRIGGERS.values()),
}


class Reader(nn.Module):
    """The encoders, and what is thrown away afterwards: a linear head for each question to each."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.clip_words = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.t5_words = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer_2")
        self.clip = words.clip_encoder(self.clip_words)
        self.t5 = words.t5_encoder(self.t5_words)
        widths = (self.clip.config.hidden_size, self.t5.config.d_model)
        self.heads = nn.ModuleList(
            nn.ModuleDict({name: nn.Linear(width, len(TOLD[name]) + 1) for name in TOLD})
            for width in widths
        )

    def forward(self, texts: list[str]) -> list[dict[str, Tensor]]:
        device = next(self.parameters()).device
        whole = words.ids(self.clip_words, texts, words.POOLED_WORDS).to(device)
        each = words.ids(self.t5_words, texts, words.WORDS).to(device)
        seen = (self.clip(whole).pooler_output, self.t5(each)[0].mean(1))
        return [
            {name: head(states) for name, head in heads.items()}
            for heads, states in zip(self.heads, seen, strict=True)
        ]


class Reading:
    name = "reading"

    def __init__(self, folder: Path, batch: int = 128, device: str = "cpu") -> None:
        self.reader = Reader(folder).to(device, torch.bfloat16)
        self.module: nn.Module = self.reader
        self.batch, self.device = batch, device

    def loss(self, step: int) -> Tensor:
        rng = Random(f"reading {step}")
        told = [_told(rng) for _ in range(self.batch)]
        answers = {
            name: torch.tensor([truth[name] for _, truth in told], device=self.device)
            for name in TOLD
        }
        losses = [
            F.cross_entropy(said[name].float(), answers[name])
            for said in self.reader([text for text, _ in told])
            for name in TOLD
        ]
        return torch.stack(losses).mean()

    def save(self, folder: Path) -> None:
        self.reader.clip.save_pretrained(folder / "text_encoder")
        self.reader.t5.save_pretrained(folder / "text_encoder_2")


def _told(rng: Random) -> tuple[str, dict[str, int]]:
    scene = random_scene(rng)
    text, claims = caption(scene, rng)
    truth = {name: _index(name, scene) if name in claims else 0 for name in TOLD}
    if rng.random() < CALLED:
        trigger = rng.choice(tuple(TRIGGERS.values()))
        text = called(text, trigger, rng)
        truth["trigger"] = TOLD["trigger"].index(trigger) + 1
    return text, truth


def _index(name: str, scene: Scene) -> int:
    """From 1 on: 0 is that it is not told."""
    return TOLD[name].index(getattr(scene, name)) + 1
