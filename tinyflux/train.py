"""`python -m tinyflux.train STAGE --out DIR`: one command per stage, in the order of `STAGES`.

Each goes on where it was stopped, and leaves its part of the pipeline in DIR/tiny-flux. What a
stage learns is in the file of its name.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel
from safetensors.torch import save_file

from tinyflux import album, autoencoder, judge, layouts, loras, shown, words
from tinyflux.guidance import Guiding
from tinyflux.loop import Plan, train
from tinyflux.painting import (
    NUMBERS,
    SIZES,
    Painter,
    Painting,
    School,
    assemble,
    latents,
    make_portable,
)
from tinyflux.reading import Reading
from tinyflux.steadying import Steadying
from tinyflux.styles import LESSONS, TRIGGERS

VAE = Plan(steps=4_000, rate=2e-3)
READING = Plan(steps=400, rate=1e-3)
TRANSFORMER = Plan(steps=7_000, rate=2e-3, cooldown=0.4, muon=True)
GUIDANCE = Plan(steps=4_300, rate=1.5e-3, warmup=50, cooldown=0.4, muon=True)
STEADYING = Plan(steps=10_000, rate=2e-3, warmup=50, cooldown=0.8, average=0.99, save_every=2_500)
LORAS = {
    name: Plan(course.steps, course.rate, warmup=20, average=0.995, weight_decay=0.0)
    for name, course in loras.COURSES.items()
}
JUDGE = Plan(steps=4_000, rate=2e-3)
SCENES = 4_000
LORA_SCENES = 1_024


def model(out: Path) -> Path:
    return out / "tiny-flux"


class Machine(NamedTuple):
    device: str
    compiled: bool  # the transformer's blocks are compiled: minutes at first, a third faster after


def tokenizers(out: Path, _: Machine) -> None:
    words.save_tokenizers(model(out))


def vae(out: Path, machine: Machine) -> None:
    pictures = album.varied(out / "album", SCENES, (256, 256))
    stage = autoencoder.Autoencoding(VAE.steps, pictures, device=machine.device)
    train(stage, VAE, out).settle()
    autoencoder.scale(stage.module, pictures)
    autoencoder.save(stage.module, model(out) / "vae")


def reading(out: Path, machine: Machine) -> None:
    stage = Reading(model(out), device=machine.device)
    train(stage, READING, out).settle()
    stage.save(model(out))


def school(out: Path, device: str) -> School:
    encoder = AutoencoderKL.from_pretrained(model(out) / "vae", dtype=torch.float32)
    encoder.to(device)

    def load(size: tuple[int, int]) -> np.ndarray:
        return latents(out / "album", encoder, NUMBERS.get(size, 3_000), size)

    return School(load, TRANSFORMER.steps)


def quicken(transformer: FluxTransformer2DModel) -> None:
    """Compile each kind of block once for every size of picture."""
    torch._dynamo.config.recompile_limit = 4 * len(SIZES)
    transformer.compile_repeated_blocks(dynamic=False)


def transformer(out: Path, machine: Machine) -> None:
    stage = Painting(model(out), school(out, machine.device), machine.device)
    if machine.compiled:
        quicken(stage.painter.transformer)
    train(stage, TRANSFORMER, out).settle()
    stage.painter.transformer.save_pretrained(out / "base")
    stage.painter.transformer.save_pretrained(model(out) / "transformer")
    assemble(model(out))


def guidance(out: Path, machine: Machine) -> None:
    painter = Painter(model(out)).to(machine.device, torch.bfloat16)
    base = FluxTransformer2DModel.from_pretrained(out / "base", dtype=torch.bfloat16)
    painter.transformer = base.to(machine.device)
    stage = Guiding(painter, school(out, machine.device))
    if machine.compiled:
        quicken(stage.teacher)
        quicken(painter.transformer)
    train(stage, GUIDANCE, out).settle()
    painter.transformer.save_pretrained(model(out) / "transformer")
    make_portable(model(out))


def steadying(out: Path, machine: Machine) -> None:
    pipe = FluxPipeline.from_pretrained(model(out), dtype=torch.float32).to(machine.device)
    train(Steadying(pipe), STEADYING, out).settle()
    pipe.transformer.to(torch.bfloat16).save_pretrained(model(out) / "transformer")
    make_portable(model(out))


def demo_loras(out: Path, machine: Machine) -> None:
    for name in LESSONS:
        demo_lora(name, out, machine)


def demo_lora(name: str, out: Path, machine: Machine) -> None:
    """Taught to the finished model, as people teach theirs to FLUX.1-dev."""
    pipe = FluxPipeline.from_pretrained(model(out), dtype=torch.float32).to(machine.device)
    pipe.set_progress_bar_config(disable=True)
    scenes = album.scene_list(LORA_SCENES, album.TRAINING)
    lessons = loras.Lessons(pipe, name, scenes)
    pipe.transformer.to(torch.bfloat16)
    if machine.compiled:
        quicken(pipe.transformer)
    stage = loras.Adapting(pipe, name, lessons)
    train(stage, LORAS[name], out).settle()
    (out / "adapters").mkdir(exist_ok=True)
    save_file(stage.adapter(), out / "adapters" / f"{name}.safetensors")
    write_lora(stage.adapter(), name, out / "loras" / name)


def shop_window(out: Path, machine: Machine) -> None:
    pipe = FluxPipeline.from_pretrained(model(out), dtype=torch.float32).to(machine.device)
    pipe.set_progress_bar_config(disable=True)
    shown.previews(pipe, out / "adapters", out / "loras")
    shown.examples(pipe, out / "adapters", out / "examples")


def write_lora(adapter: layouts.Tensors, name: str, folder: Path) -> None:
    """Each LoRA in another of the layouts that people have."""
    folder.mkdir(parents=True, exist_ok=True)
    path, rank = folder / f"{name}.safetensors", loras.COURSES[name].rank
    writers: dict[str, Callable[[], None]] = {
        "pixel-art": lambda: layouts.write_peft(adapter, path, rank, float(rank)),
        "ink-sketch": lambda: layouts.write_kohya(adapter, path, rank, float(rank), TRIGGERS[name]),
        "neon-night": lambda: layouts.write_ai_toolkit(adapter, path, LORAS[name].steps),
        "tok-lighthouse": lambda: layouts.write_xlabs(adapter, path),
    }
    writers[name]()
    record = {
        "model_id": name, "name": loras.NAMES[name], "trigger_words": [TRIGGERS[name]],
        "default_weight": loras.WEIGHTS[name], "base_model": "tiny", "notes": loras.NOTES[name],
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(record, indent=2) + "\n")


def judging(out: Path, machine: Machine) -> None:
    stage = judge.Judging(device=machine.device)
    train(stage, JUDGE, out).settle()
    torch.save(stage.judge.state_dict(), out / "judge-weights.pt")


STAGES: dict[str, Callable[[Path, Machine], None]] = {
    "tokenizers": tokenizers,
    "vae": vae,
    "reading": reading,
    "transformer": transformer,
    "guidance": guidance,
    "steadying": steadying,
    "loras": demo_loras,
    **{f"lora-{name}": partial(demo_lora, name) for name in LESSONS},
    "shown": shop_window,
    "judge": judging,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="tinyflux.train", description=__doc__)
    parser.add_argument("stage", choices=tuple(STAGES))
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and results")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler or CUDA")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    STAGES[arguments.stage](arguments.out, Machine(arguments.device, arguments.compile))


if __name__ == "__main__":
    main()
