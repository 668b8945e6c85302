"""The catalogue of base models: where each comes from, what it can do, what it asks for.

Plain values, no torch: the page shows them before anything is loaded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fluxui.errors import BaseModelUnavailable
from fluxui.pipeline import hub
from fluxui.pipeline.devices import Device, probe
from fluxui.pipeline.placement import Sizes, place
from fluxui.pipeline.targets import CLIP_L, T5_XXL, Targets, all_targets, targets
from fluxui.request import Limits

if TYPE_CHECKING:
    from fluxui.settings import Settings

TINY = Path(__file__).parent.parent / "assets" / "tiny-flux"
RATIOS = {
    "1:1": (1, 1),
    "4:3": (4, 3),
    "3:2": (3, 2),
    "16:9": (16, 9),
    "3:4": (3, 4),
    "9:16": (9, 16),
}
SIZE_STEP = 16  # 8 pixels a latent, 2 latents a token

# The defaults of FluxTransformer2DModel, which are FLUX.1's own sizes.
FLUX1: dict[str, Any] = {
    "in_channels": 64,
    "out_channels": None,
    "patch_size": 1,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
}


@dataclass(frozen=True)
class BaseModel:
    """One base model. `source` is a Hub id or a folder; `config` is its transformer's, `clip` and
    `t5` are those of its text encoders.
    """

    id: str
    name: str
    source: str
    limits: Limits
    shapes: dict[str, tuple[int, int]]
    licence: str
    gated: bool
    max_sequence_length: int
    weight_bytes: int
    config: Mapping[str, Any] = field(repr=False)
    clip: Mapping[str, Any] = field(default_factory=lambda: CLIP_L, repr=False)
    t5: Mapping[str, Any] = field(default_factory=lambda: T5_XXL, repr=False)
    paints: str = ""
    reason: str = ""

    @property
    def sizes(self) -> Sizes:
        """Bytes at two a weight. What is neither T5 nor the transformer is small beside them."""
        transformer = _transformer_bytes(self.config)
        return Sizes(transformer, max(self.weight_bytes - transformer, 0))

    def targets(self) -> Targets:
        """Every tensor that a LoRA may change → its shape, of the text encoders too."""
        return all_targets(self.config, self.clip, self.t5)


def shapes_for(side: int) -> dict[str, tuple[int, int]]:
    """For each aspect ratio the size whose shape and area come nearest, in steps of 16."""
    return {name: _nearest(side, w / h) for name, (w, h) in RATIOS.items()}


def _nearest(side: int, ratio: float) -> tuple[int, int]:
    def miss(size: tuple[int, int]) -> float:
        width, height = size
        shape, area = math.log(width / height / ratio), math.log(width * height / side**2)
        return abs(shape) + abs(area) / 2

    lengths = range(SIZE_STEP, 2 * side + 1, SIZE_STEP)
    return min(((w, h) for w in lengths for h in lengths), key=miss)


def _limits(side: int, smallest: int, largest: int, steps: int, guidance: float) -> Limits:
    return Limits(
        size_step=SIZE_STEP,
        min_size=smallest,
        max_size=largest,
        max_pixels=min(largest**2, 4 * side**2 if side >= 512 else largest**2),
        max_steps=100,
        max_guidance=30.0,
        width=side,
        height=side,
        steps=steps,
        guidance=guidance,
    )


def _flux1(slug: str, name: str, licence: str, steps: int, guidance: float) -> BaseModel:
    return BaseModel(
        id=slug,
        name=name,
        source=f"black-forest-labs/{name}",
        limits=_limits(1024, 256, 2048, steps, guidance),
        shapes=shapes_for(1024),
        licence=licence,
        gated=True,
        max_sequence_length=512 if guidance else 256,
        weight_bytes=33_700_000_000,
        config={**FLUX1, "guidance_embeds": bool(guidance)},
    )


def _tiny() -> BaseModel:
    return BaseModel(
        id="tiny",
        name="tiny",
        source=str(TINY),
        limits=_limits(256, 128, 384, 8, 3.5),
        shapes=shapes_for(256),
        licence="MIT",
        gated=False,
        max_sequence_length=48,
        weight_bytes=24_000_000,
        **{
            field: json.loads((TINY / part / "config.json").read_text())
            for field, part in (
                ("config", "transformer"),
                ("clip", "text_encoder"),
                ("t5", "text_encoder_2"),
            )
        },
        paints="It paints flat landscapes at any hour, with houses, boats, tents and the like: in "
        "the middle, or where you say, as in “on the left”.",
    )


NON_COMMERCIAL = "FLUX.1 [dev] Non-Commercial License"
CATALOGUE: dict[str, BaseModel] = {
    model.id: model
    for model in (
        _tiny(),
        _flux1("flux1-dev", "FLUX.1-dev", NON_COMMERCIAL, 28, 3.5),
        _flux1("flux1-schnell", "FLUX.1-schnell", "Apache-2.0", 4, 0.0),
        _flux1("flux1-krea-dev", "FLUX.1-Krea-dev", NON_COMMERCIAL, 28, 4.5),
    )
}


def choose_base_model(settings: Settings, device: Device | None = None) -> BaseModel:
    """The one that `FLUXUI_BASE_MODEL` names, or for `auto` the best that can run here.

    Raises BaseModelUnavailable for a name that is neither known, a folder nor on the Hub.
    """
    if settings.base_model != "auto":
        reason = f"FLUXUI_BASE_MODEL is {settings.base_model}."
        return _fitted(replace(_named(settings.base_model, settings), reason=reason), device)
    device = device or probe()
    dev = CATALOGUE["flux1-dev"]
    obstacle = _obstacle(dev, device, settings)
    if obstacle:
        return replace(CATALOGUE["tiny"], reason=f"{obstacle}, so the small built-in model paints.")
    return _fitted(replace(dev, reason=f"{device.name} has room for {dev.name}."), device)


def _fitted(model: BaseModel, device: Device | None) -> BaseModel:
    """With a smaller size by default where this machine takes long for its own."""
    if not place(device or probe(), model.sizes).smaller:
        return model
    side = round(model.limits.width * 0.75 / SIZE_STEP) * SIZE_STEP
    limits = model.limits.model_copy(update={"width": side, "height": side})
    return replace(model, limits=limits, shapes=shapes_for(side))


def _obstacle(model: BaseModel, device: Device, settings: Settings) -> str:
    """Why this machine can't run `model`: the beginning of a sentence, "" if it can."""
    if device.kind == "cpu":
        return "The installed torch has no CUDA" if device.hidden else "No CUDA device here"
    if place(device, model.sizes).short:
        return f"{device.name} has too little memory for {model.name}"
    if not settings.hf_token and not cached(model):
        return f"No HF_TOKEN to download {model.name} with"
    return ""


def cached(model: BaseModel) -> bool:
    """Whether every file of weights lies in the Hugging Face cache."""
    return hub.is_cached(model.source)


def _named(name: str, settings: Settings) -> BaseModel:
    known = {model.source: model for model in CATALOGUE.values()} | CATALOGUE
    if name in known:
        return known[name]
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _custom(folder.name, str(folder.absolute()), lambda file: folder / file)
    return _custom(name, name, lambda file: hub.fetch_config(name, file, settings))


def _custom(name: str, source: str, file: Callable[[str], Path]) -> BaseModel:
    """A base model outside the catalogue: its own configs say what it can do."""
    config, vae = _read(file("transformer/config.json")), _read(file("vae/config.json"))
    if config.get("_class_name") != "FluxTransformer2DModel":
        raise BaseModelUnavailable(
            f"{name} is not a FLUX.1 model.", "Give a diffusers folder or a Hub id of a FLUX.1."
        )
    config = {**FLUX1, "guidance_embeds": False, **config}
    side = vae.get("sample_size", 1024)
    guided = config["guidance_embeds"]
    return BaseModel(
        id=name,
        name=name,
        source=source,
        limits=_limits(
            side, max(64, side // 4), 2 * side, 28 if guided else 4, 3.5 if guided else 0.0
        ),
        shapes=shapes_for(side),
        licence="see its model card",
        gated=False,
        max_sequence_length=512 if guided else 256,
        weight_bytes=_weight_bytes(config),
        config=config,
        **_encoders(config, file),
    )


def _encoders(config: Mapping[str, Any], file: Callable[[str], Path]) -> dict[str, Any]:
    """The text encoders' configs; those of FLUX.1's own widths are known."""
    if (config["pooled_projection_dim"], config["joint_attention_dim"]) == (768, 4096):
        return {}
    return {
        "clip": _read(file("text_encoder/config.json")),
        "t5": _read(file("text_encoder_2/config.json")),
    }


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BaseModelUnavailable(
            f"{path.parent.parent} is no diffusers folder: no {path.parent.name}/{path.name} in it."
        )
    config: dict[str, Any] = json.loads(path.read_text())
    return config


def _weight_bytes(config: Mapping[str, Any]) -> int:
    """Two bytes a weight of the transformer, and 10 GB for the text encoders of FLUX.1."""
    encoders = 9_900_000_000 if config["joint_attention_dim"] == 4096 else 0
    return _transformer_bytes(config) + encoders


def _transformer_bytes(config: Mapping[str, Any]) -> int:
    return 2 * sum(rows * columns for rows, columns in targets(config).values())
