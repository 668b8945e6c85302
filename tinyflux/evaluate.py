"""`python -m tinyflux.evaluate --out DIR`: what it was asked for, and how often it painted it.

Pictures of unseen prompts are classified by a judge that was trained on drawn scenes. The judge
itself and the VAE are measured first, since no row below them can be better than they are.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxPipeline
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from tinyflux import album, autoencoder, loras, words
from tinyflux.captions import Caption, caption
from tinyflux.judge import Judge
from tinyflux.scenes import Scene, picture

QUESTIONS = ("time", "land", "thing", "colour", "position")
UNSEEN = 200
STRENGTHS = (0.0, 0.5, 1.0)

Row = dict[str, float]


def told(number: int) -> list[tuple[Scene, Caption]]:
    rng = Random("evaluation")
    scenes = album.scene_list(number, album.UNSEEN)
    return [(scene, caption(scene, rng, dropout=0.1)) for scene in scenes]


def asked(scene: Scene, told_of: Caption) -> Iterator[str]:
    """The questions whose answer the prompt gives. Of several things none has the one place."""
    for question in QUESTIONS:
        if question in told_of.claims and not (question == "position" and scene.count > 1):
            yield question


def score(judge: Judge, pictures: list[Image.Image], prompts: list[tuple[Scene, Caption]]) -> Row:
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for image, (scene, told_of) in zip(pictures, prompts, strict=True):
        [answer] = judge.answers(album.tensor(np.asarray(image)))
        for question in asked(scene, told_of):
            total[question] += 1
            right[question] += answer[question] == getattr(scene, question)
    return {question: 100 * right[question] / max(1, total[question]) for question in QUESTIONS}


def paint(
    pipe: FluxPipeline, prompts: list[str], guidance: float = 3.5, steps: int = 8, side: int = 256
) -> list[Image.Image]:
    """One picture a prompt, each of its own seed, in batches that fit a small machine."""
    pictures: list[Image.Image] = []
    for first in range(0, len(prompts), 10):
        batch = prompts[first : first + 10]
        seeds = [torch.Generator().manual_seed(first + index) for index in range(len(batch))]
        pictures += pipe(
            batch, height=side, width=side, num_inference_steps=steps, guidance_scale=guidance,
            max_sequence_length=words.WORDS, generator=seeds,
        ).images  # fmt: skip
    return pictures


def vae_quality(vae: AutoencoderKL, number: int = 64) -> Row:
    """PSNR on unseen scenes: that of all the pixels together, and of the middle picture."""
    values, errors = [], []
    for scene in album.scene_list(number, album.UNSEEN):
        drawn = picture(scene)
        restored = autoencoder.restore(vae, drawn)
        values.append(autoencoder.psnr(drawn, restored))
        errors.append(np.square(np.asarray(drawn, np.float32) - np.asarray(restored)).mean())
    overall = 20 * np.log10(255) - 10 * np.log10(np.mean(errors))
    return {
        "all": float(overall),
        "mean": float(np.mean(values)),
        "median": float(np.median(values)),
    }


def recognised(judge: Judge, pictures: list[Image.Image], style: str) -> float:
    answers = [judge.answers(album.tensor(np.asarray(image)))[0] for image in pictures]
    return 100 * sum(answer["style"] == style for answer in answers) / len(answers)


def adapted(pipe: FluxPipeline, adapter: dict[str, Tensor], weight: float) -> FluxPipeline:
    """The pipeline with an adapter's deltas, in peft's names, added to its weights in place."""
    for module in {key.rsplit(".lora_", 1)[0] for key in adapter}:
        down, up = (adapter[f"{module}.lora_{side}.weight"].float() for side in "AB")
        pipe.transformer.get_submodule(module).weight.data += weight * (up @ down)
    return pipe


def lora_strengths(
    pipe: FluxPipeline, judge: Judge, adapters: Path, number: int = 40
) -> dict[str, Row]:
    rows = {}
    for name, trigger in loras.TRIGGERS.items():
        adapter = load_file(adapters / f"{name}.safetensors")
        prompts = [f"{told_of.text}, {trigger}" for _, told_of in told(number)]
        row = {}
        for weight in STRENGTHS:
            adapted(pipe, adapter, weight)
            row[f"at {weight}"] = recognised(judge, paint(pipe, prompts), name)
            adapted(pipe, adapter, -weight)
        rows[name] = row
    return rows


def table(title: str, rows: dict[str, Row]) -> str:
    columns = list(next(iter(rows.values())))
    lines = [f"| {title} | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(f'{row[column]:.1f}' for column in columns)} |")
    return "\n".join(lines) + "\n"


def judged(out: Path) -> Judge:
    judge = Judge()
    judge.load_state_dict(torch.load(out / "judge-weights.pt", weights_only=True))
    return judge.eval()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tinyflux.evaluate", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder that was trained in")
    parser.add_argument("--vae-only", action="store_true", help="measure just the autoencoder")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    folder = arguments.out / "tiny-flux"
    if arguments.vae_only:
        vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32)
        print(table("PSNR, dB", {"VAE": vae_quality(vae)}))
        return
    judge, prompts = judged(arguments.out), told(UNSEEN)
    pipe = FluxPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    print(table("PSNR, dB", {"VAE": vae_quality(pipe.vae)}), flush=True)
    rows = {"drawn": score(judge, [picture(scene) for scene, _ in prompts], prompts)}
    for guidance in (1.0, 3.5, 6.0):
        painted = paint(pipe, [told_of.text for _, told_of in prompts], guidance)
        rows[f"guidance {guidance}"] = score(judge, painted, prompts)
    print(table("followed, %", rows), flush=True)
    print(table("recognised, %", lora_strengths(pipe, judge, arguments.out / "adapters")))


if __name__ == "__main__":
    main()
