"""Drawn scenes kept on disk, so that each is drawn once; and pictures as tensors and back."""

from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tinyflux.scenes import Scene, picture, random_scene
from tinyflux.styles import LESSONS, lesson

Pictures = np.ndarray  # number × height × width × 3, bytes

TRAINING, UNSEEN = 1, 2  # seeds: scenes to learn from, and scenes to be judged by


def scene_list(number: int, seed: int) -> list[Scene]:
    rng = Random(f"scenes {seed}")
    return [random_scene(rng) for _ in range(number)]


def drawn(folder: Path, number: int, size: tuple[int, int], seed: int = TRAINING) -> Pictures:
    """The pictures of the first scenes of a seed, drawn now or read from where they were kept."""
    width, height = size
    path = folder / f"scenes-{seed}-{number}-{width}x{height}.npy"
    if not path.exists():
        keep(
            path,
            np.stack(
                [np.asarray(picture(scene, width, height)) for scene in scene_list(number, seed)]
            ),
        )
    return np.load(path, mmap_mode="r")


def varied(folder: Path, number: int, size: tuple[int, int]) -> Pictures:
    """Scenes, every fifth in one of the LoRAs' styles, so that the VAE can carry these too."""
    width, height = size
    path = folder / f"varied-{number}-{width}x{height}.npy"
    if not path.exists():
        scenes = scene_list(number, TRAINING)
        plain = [
            np.asarray(picture(scene, width, height))
            for index, scene in enumerate(scenes)
            if index % 5
        ]
        styled = [
            np.asarray(lesson(LESSONS[index % len(LESSONS)], scene, width, height))
            for index, scene in enumerate(scenes[::5])
        ]
        keep(path, np.stack(plain + styled))
    return np.load(path, mmap_mode="r")


def keep(path: Path, pictures: Pictures) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npy")
    np.save(partial, pictures)
    partial.replace(path)


def tensor(pixels: np.ndarray) -> Tensor:
    """One picture as a batch of one, from -1 to 1."""
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 127.5 - 1


def image(pixels: Tensor) -> Image.Image:
    values = ((pixels[0].float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(values.permute(1, 2, 0).numpy())
