"""How a picture was made, read from the texts inside it: ours, and what other programs write.

Automatic1111, Forge and many others write one free text, ComfyUI writes its graph, programs
around diffusers write their arguments as JSON. Whatever stands there comes from a stranger: it is
bounded, and a value that makes no sense is left out and named. It knows no Pillow and no LoRA.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fluxui.errors import InvalidRequest
from fluxui.request import MAX_LORAS, MAX_PROMPT, MAX_SEED

MAX_TEXT = 200_000  # characters of one text
MAX_LINE = 5000  # characters of the line with all but the prompt
MAX_NODES = 2000
# The SHA-256 of nothing: some trainers' files all have it, so it names no LoRA.
EMPTY_HASH = "e3b0c44298fc"

_TAG = re.compile(r"<lora:([^:<>]{1,200})(?::([-+.\d]{1,12}))?(?::[^<>]{0,100})?>")
_LAST_LINE = re.compile(r"^\s*Steps: \d+(,|$)")
_FACT = re.compile(r'\s*([\w /.-]{1,60}):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
_HASH = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class Named:
    """A LoRA as the picture names it; `sha256` may be only its beginning, or ""."""

    name: str
    weight: float
    sha256: str = ""


@dataclass
class Recipe:
    """`values` are fields of a request, `missed` in words what could not be understood."""

    source: str
    values: dict[str, Any] = field(default_factory=dict)
    loras: list[Named] = field(default_factory=list)
    base_model: str = ""
    missed: list[str] = field(default_factory=list)

    def take(self, name: str, value: Any, kind: Callable[[Any], Any]) -> None:
        """Keep a value if it is one of its kind; what is not there is not missed."""
        if value is None:
            return
        try:
            self.values[name] = kind(value)
        except (ValueError, TypeError, OverflowError):
            self.missed.append(name.replace("_", " "))


def read(texts: Mapping[str, str]) -> Recipe:
    """The first of the known kinds that stands there. Raises InvalidRequest if there is none."""
    if any(len(text) > MAX_TEXT for text in texts.values()):
        raise InvalidRequest("The text in this picture is longer than any settings are.")
    for found in _recipes(texts):
        if found and found.values.get("prompt"):
            found.loras = found.loras[:MAX_LORAS]
            return found
    raise InvalidRequest("This picture carries no settings that fluxui can read.")


def _recipes(texts: Mapping[str, str]) -> Iterator[Recipe | None]:
    yield _ours(_json(texts.get("fluxui", "")))
    for name in ("parameters", "Parameters", "Description", "Comment", "Dream", "metadata"):
        text = texts.get(name, "")
        yield _arguments(_json(text)) or _free_text(text)
    yield _graph(_json(texts.get("prompt", "")))


# Ours


def _ours(settings: Any) -> Recipe | None:
    if not isinstance(settings, dict):
        return None
    recipe = _arguments(settings)
    if recipe is None:
        return None
    recipe.source = "fluxui"
    recipe.base_model = str(settings.get("base_model", ""))[:200]
    loras = settings.get("loras")
    for one in loras if isinstance(loras, list) else []:
        if isinstance(one, dict):
            _take_lora(recipe, one.get("model_id"), one.get("weight"), one.get("sha256"))
    return recipe


# Arguments of diffusers as JSON


def _arguments(found: Any) -> Recipe | None:
    if not isinstance(found, dict) or not isinstance(found.get("prompt"), str):
        return None
    recipe = Recipe("diffusers")
    recipe.take("prompt", found["prompt"], _prompt)
    steps = found.get("num_inference_steps", found.get("steps"))
    recipe.take("num_inference_steps", steps, _whole)
    guidance = found.get("guidance_scale", found.get("guidance"))
    recipe.take("guidance_scale", guidance, _number)
    recipe.take("width", found.get("width"), _whole)
    recipe.take("height", found.get("height"), _whole)
    recipe.take("seed", found.get("seed", found.get("generator_seed")), _seed)
    if found.get("negative_prompt"):
        recipe.missed.append("the negative prompt, which FLUX has none of")
    return recipe


# The free text that Automatic1111 began


def _free_text(text: str) -> Recipe | None:
    lines = text.strip().split("\n")
    if not _LAST_LINE.match(lines[-1]) or len(lines[-1]) > MAX_LINE:
        return None
    recipe = Recipe("Automatic1111")
    prompt, negative = _parted(lines[:-1])
    facts = {name.strip(): _unquoted(value) for name, value in _FACT.findall(lines[-1])}
    hashes = dict(_hashes(facts.get("Lora hashes", "")))
    for name, weight in _TAG.findall(prompt):
        _take_lora(recipe, name, weight or 1.0, hashes.get(name, ""))
    recipe.take("prompt", " ".join(_TAG.sub("", prompt).split(" ")), _prompt)
    recipe.take("num_inference_steps", facts.get("Steps"), _whole)
    recipe.take("guidance_scale", facts.get("Distilled CFG Scale", facts.get("CFG scale")), _number)
    recipe.take("seed", facts.get("Seed"), _seed)
    width, by, height = facts.get("Size", "").partition("x")
    if by:
        recipe.take("width", width, _whole)
        recipe.take("height", height, _whole)
    recipe.base_model = facts.get("Model", "")[:200]
    if negative:
        recipe.missed.append("the negative prompt, which FLUX has none of")
    left = ("Denoising strength", "Hires upscale", "ControlNet 0", "VAE", "Clip skip")
    recipe.missed += [name for name in left if name in facts]
    return recipe


def _parted(lines: list[str]) -> tuple[str, str]:
    """The prompt, and the negative one after it."""
    for number, line in enumerate(lines):
        if line.startswith("Negative prompt:"):
            negative = [line.removeprefix("Negative prompt:"), *lines[number + 1 :]]
            return "\n".join(lines[:number]), "\n".join(negative).strip()
    return "\n".join(lines), ""


def _unquoted(value: str) -> str:
    return value[1:-1].replace('\\"', '"') if value.startswith('"') else value.strip()


def _hashes(text: str) -> Iterator[tuple[str, str]]:
    """`name: 1a2b3c4d5e6f, other: …`"""
    for part in text.split(","):
        name, _, value = part.rpartition(":")
        yield name.strip(), value.strip()


# ComfyUI's graph


def _graph(nodes: Any) -> Recipe | None:
    """The plain values of the usual nodes; what comes out of another node is not followed, but
    for the text of the prompt."""
    if not isinstance(nodes, dict) or len(nodes) > MAX_NODES:
        return None
    recipe = Recipe("ComfyUI")
    known: dict[str, Any] = {}
    texts: list[str] = []
    for inputs in _inputs(nodes):
        for name, value in inputs.items():
            if isinstance(value, (int, float, str)) and not isinstance(value, bool):
                known.setdefault(name, value)
        texts += [text for name in ("text", "t5xxl") if isinstance(text := inputs.get(name), str)]
        if "lora_name" in inputs:
            _take_lora(recipe, inputs["lora_name"], inputs.get("strength_model", 1.0), "")
    # The longest text is the prompt: a negative one is empty with FLUX, or short.
    recipe.take("prompt", max(texts, key=len, default=None), _prompt)
    recipe.take("num_inference_steps", known.get("steps"), _whole)
    recipe.take("guidance_scale", known.get("guidance"), _number)
    recipe.take("seed", known.get("noise_seed", known.get("seed")), _seed)
    recipe.take("width", known.get("width"), _whole)
    recipe.take("height", known.get("height"), _whole)
    recipe.missed.append("everything else that the graph did")
    return recipe


def _inputs(nodes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for node in nodes.values():
        if isinstance(node, dict) and isinstance(inputs := node.get("inputs"), dict):
            yield inputs


# Values


def _take_lora(recipe: Recipe, name: Any, weight: Any, sha256: Any) -> None:
    if not isinstance(name, str) or not name.strip():
        return
    name = name.strip()[:200].removesuffix(".safetensors")
    found = sha256.lower() if isinstance(sha256, str) else ""
    known = found if _HASH.fullmatch(found) and not found.startswith(EMPTY_HASH) else ""
    try:
        recipe.loras.append(Named(name, _number(weight), known))
    except (ValueError, TypeError):
        recipe.missed.append(f"the LoRA {name}")


def _json(text: str) -> Any:
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _prompt(value: Any) -> str:
    text = str(value).strip()
    if not 0 < len(text) <= MAX_PROMPT:
        raise ValueError
    return text


def _whole(value: Any) -> int:
    number = int(str(value).strip()[:20])
    if not 0 < number < 100_000:
        raise ValueError
    return number


def _number(value: Any) -> float:
    number = float(value)
    if not -100 <= number <= 100:  # NaN is not, either
        raise ValueError
    return number


def _seed(value: Any) -> int:
    number = int(str(value).strip()[:40])
    if not 0 <= number <= MAX_SEED:
        raise ValueError
    return number
