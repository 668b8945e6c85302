"""`python -m tinyflux.train STAGE --out DIR`: one command per stage.

Each goes on where it was stopped. What a stage learns is in the file of its name.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch

from tinyflux import album, autoencoder
from tinyflux.loop import Plan, train

VAE = Plan(steps=20_000, rate=2e-3)
SCENES = 4_000


def vae(out: Path, steps: int | None) -> None:
    plan = Plan(steps=steps or VAE.steps, rate=VAE.rate)
    pictures = album.varied(out / "album", SCENES, (256, 256))
    stage = autoencoder.Autoencoding(plan.steps, pictures)
    train(stage, plan, out).settle()
    autoencoder.scale(stage.module, pictures)
    autoencoder.save(stage.module, out / "tiny-flux" / "vae")


STAGES: dict[str, Callable[[Path, int | None], None]] = {"vae": vae}


def main() -> None:
    parser = argparse.ArgumentParser(prog="tinyflux.train", description=__doc__)
    parser.add_argument("stage", choices=tuple(STAGES))
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and results")
    parser.add_argument("--steps", type=int, help="instead of the stage's own number")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    STAGES[arguments.stage](arguments.out, arguments.steps)


if __name__ == "__main__":
    main()
