"""`python -m tinyflux.evaluate --out DIR`: what it was asked for, and how often it painted it.

Pictures of unseen prompts are classified by a judge that was trained on drawn scenes. The judge
itself and the VAE are measured first, since no row below them can be better than they are.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from statistics import median

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxPipeline
from PIL import Image
from safetensors.torch import load_file

from tinyflux import album, autoencoder, loras
from tinyflux.captions import Caption, caption
from tinyflux.judge import QUESTIONS, Judge
from tinyflux.sampling import add, paint
from tinyflux.scenes import Scene, picture
from tinyflux.styles import KEPT, LESSONS, SUBJECT, lesson

UNSEEN = 200
STYLED = 100
STRENGTHS = (0.0, 0.5, 1.0)
TABLE = ("<!-- table -->", "<!-- end of table -->")  # in the model card, around what is made here

Row = dict[str, float]
Prompts = list[tuple[Scene, Caption]]


def told(number: int) -> Prompts:
    rng = Random("evaluation")
    scenes = album.scene_list(number, album.UNSEEN)
    return [(scene, caption(scene, rng, dropout=0.1)) for scene in scenes]


def placeless(number: int) -> Prompts:
    """Unseen scenes with one thing, in words that do not say where it is: it is in the middle."""
    rng = Random("evaluation without places")
    found: Prompts = []
    for scene in album.scene_list(16 * number, album.UNSEEN):
        told_of = caption(scene, rng, dropout=0.1)
        if scene.count == 1 and "thing" in told_of.claims and "position" not in told_of.claims:
            found.append((scene, told_of._replace(claims=told_of.claims | {"position"})))
    return found[:number]


def told_for(name: str, number: int) -> Prompts:
    """Unseen scenes in the words that call for a LoRA."""
    rng = Random(f"evaluation {name}")
    scenes = album.scene_list(number, album.UNSEEN)
    prompts = [(scene, loras.prompt(name, scene, rng)) for scene in scenes]
    if name != SUBJECT:
        return prompts
    # A place that is told is the subject's, not that of the thing in whose place it stands.
    return [(scene, each._replace(claims=each.claims - {"position"})) for scene, each in prompts]


def asked(scene: Scene, told_of: Caption) -> Iterator[str]:
    """The questions whose answer the prompt gives. Of several things none has the one place."""
    for question in QUESTIONS:
        if question in told_of.claims and not (question == "position" and scene.count > 1):
            yield question


def score(judge: Judge, pictures: list[Image.Image], prompts: Prompts) -> Row:
    """How many of the answers that were asked for are right, in %, question by question."""
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for image, (scene, told_of) in zip(pictures, prompts, strict=True):
        [answer] = judge.answers(album.tensor(np.asarray(image)))
        for question in asked(scene, told_of):
            total[question] += 1
            right[question] += answer[question] == getattr(scene, question)
    return {question: 100 * right[question] / max(1, total[question]) for question in QUESTIONS}


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


def lora_strength(
    pipe: FluxPipeline, judge: Judge, name: str, adapters: Path, number: int = STYLED
) -> Row:
    """How often the style is seen at each weight, and what the scene loses between 0 and 1."""
    adapter, prompts = load_file(adapters / f"{name}.safetensors"), told_for(name, number)
    row: Row = {}
    scene: Row = {}
    for weight in STRENGTHS:
        add(pipe, adapter, weight)
        painted = paint(pipe, [told_of.text for _, told_of in prompts])
        add(pipe, adapter, -weight)
        row[f"at {weight}"] = recognised(judge, painted, name)
        scores = score(judge, painted, prompts)
        scene[f"at {weight}"] = float(np.mean([scores[question] for question in KEPT[name]]))
    drawn = [lesson(name, scene_of, 256, 256) for scene_of, _ in prompts]
    row["drawn"] = recognised(judge, drawn, name)
    row["scene at 0"], row["scene at 1"] = scene["at 0.0"], scene["at 1.0"]
    return row


def seconds(folder: Path, prompt: str = "a red house on the left, mountains at sunset") -> Row:
    """From disk to memory, and for one picture of the default size and steps, warm."""
    loads, pictures = [], []
    for _ in range(3):
        start = time.perf_counter()
        pipe = FluxPipeline.from_pretrained(folder, dtype=torch.float32)
        loads.append(time.perf_counter() - start)
    pipe.set_progress_bar_config(disable=True)
    for _ in range(6):
        start = time.perf_counter()
        paint(pipe, [prompt])
        pictures.append(time.perf_counter() - start)
    return {"load": median(loads), "picture": median(pictures[1:])}


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


def tables(out: Path) -> Iterator[str]:
    """Each as soon as it is measured."""
    folder, judge, prompts = out / "tiny-flux", judged(out), told(UNSEEN)
    pipe = FluxPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    yield table("PSNR, dB", {"VAE": vae_quality(pipe.vae)})
    rows = {"drawn": score(judge, [picture(scene) for scene, _ in prompts], prompts)}
    for guidance in (1.0, 3.5, 6.0):
        painted = paint(pipe, [told_of.text for _, told_of in prompts], guidance=guidance)
        rows[f"guidance {guidance}"] = score(judge, painted, prompts)
    for steps in (4, 20):
        painted = paint(pipe, [told_of.text for _, told_of in prompts], steps=steps)
        rows[f"{steps} steps"] = score(judge, painted, prompts)
    prompts = placeless(STYLED)
    painted = paint(pipe, [told_of.text for _, told_of in prompts])
    rows["no place told"] = score(judge, painted, prompts)
    yield table("followed, %", rows)
    adapters = out / "adapters"
    yield table(
        "recognised, %",
        {name: lora_strength(pipe, judge, name, adapters) for name in LESSONS},
    )
    yield table("seconds", {f"{torch.get_num_threads()} threads": seconds(folder)})


def write_card(card: Path, text: str) -> None:
    """Put the tables between their marks in the model card."""
    head, rest = card.read_text().split(TABLE[0])
    tail = rest.split(TABLE[1])[1]
    card.write_text(f"{head}{TABLE[0]}\n{text}{TABLE[1]}{tail}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tinyflux.evaluate", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder that was trained in")
    parser.add_argument("--card", type=Path, help="the model card to write the tables into")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    made = []
    for text in tables(arguments.out):
        print(text, flush=True)
        made.append(text)
    if arguments.card:
        write_card(arguments.card, "\n".join(made))


if __name__ == "__main__":
    main()
