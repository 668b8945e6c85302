"""A picture's settings as a request for this machine, and in words what could not be restored.

LoRAs are found by what they are, whatever they are called here; one of the same name that is
another file is never taken for it. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fluxui import images, parameters
from fluxui.errors import IllegalTransition, InvalidRequest, LoraMisfit
from fluxui.generation import Generation, add_trigger_words
from fluxui.loras.library import Lora
from fluxui.parameters import Named, Recipe
from fluxui.pipeline.base_models import BaseModel
from fluxui.request import MAX_WEIGHT, GenerationForm, GenerationRequest

MAX_FILE = 100 * 2**20  # bytes
WHOLE = 64  # hexadecimal digits of a hash of ours

ByHash = Callable[[str], Lora | None]


@dataclass(frozen=True)
class Recalled:
    """`nearest` are LoRAs that are here, the names of which come close to one that is not."""

    request: GenerationRequest
    source: str
    sentences: tuple[str, ...]
    nearest: tuple[str, ...]


def recall(png: bytes, base_model: BaseModel, loras: Sequence[Lora], by_hash: ByHash) -> Recalled:
    """`by_hash` finds one of which it is not known yet what it is, None if none is it.

    Raises InvalidRequest for what is no PNG, or carries no settings.
    """
    if len(png) > MAX_FILE:
        raise InvalidRequest(f"This file is larger than {MAX_FILE // 2**20} MB.")
    recipe = parameters.read(images.read_texts(png))
    sentences: list[str] = []
    values = dict(_within(recipe, base_model, sentences))
    chosen, nearest = _loras(recipe, loras, by_hash, sentences)
    if recipe.missed:
        sentences.append(f"Not restored: {', '.join(recipe.missed)}.")
    if recipe.base_model and recipe.base_model not in (base_model.id, base_model.name):
        sentences.append(f"It was painted by {recipe.base_model}, here paints {base_model.name}.")
    request = GenerationForm.parse({**values, "loras": chosen}).admit(base_model.limits)
    return Recalled(request, recipe.source, tuple(sentences), tuple(nearest))


def check_repeatable(generation: Generation, base_model: BaseModel, loras: Sequence[Lora]) -> None:
    """Whether all that made it is here as it was; `loras` are those that it names.

    Raises IllegalTransition, LoraMisfit, which say what is not.
    """
    if generation.base_model != base_model.id:
        raise IllegalTransition(
            f"It was painted by {generation.base_model}, and here paints {base_model.id}.",
            "Start fluxui with that base model to compare.",
        )
    for lora, use in zip(loras, generation.loras, strict=True):
        if use.sha256 and lora.sha256 and lora.sha256 != use.sha256:
            raise LoraMisfit(
                f"The LoRA {use.model_id} is another file now.", "Import the former one again."
            )
    words = tuple(word for lora in loras for word in lora.trigger_words)
    if add_trigger_words(generation.request.prompt, words)[1] != generation.painted:
        raise IllegalTransition(
            "The trigger words of its LoRAs have changed since.", "Change them back to compare."
        )


def _within(
    recipe: Recipe, base_model: BaseModel, sentences: list[str]
) -> Iterator[tuple[str, Any]]:
    """What this base model can do; each value is tried alone, width and height together."""
    values = dict(recipe.values)
    prompt = values.pop("prompt")
    yield "prompt", prompt
    size: dict[str, Any] = {
        name: values.pop(name) for name in ("width", "height") if name in values
    }
    parts: dict[str, dict[str, Any]] = {"size": size}
    parts |= {name.replace("_", " "): {name: value} for name, value in values.items()}
    for what, part in parts.items():
        complaint = _complaint({"prompt": prompt, **part}, base_model)
        if complaint:
            told = " x ".join(str(value) for value in part.values())
            sentences.append(f"Not restored: {what} {told}. {complaint}")
        else:
            yield from part.items()


def _complaint(values: dict[str, Any], base_model: BaseModel) -> str:
    """Why this base model can't do that, "" if it can."""
    try:
        GenerationForm.parse(values).admit(base_model.limits)
    except InvalidRequest as error:
        return error.message
    return ""


def _loras(
    recipe: Recipe, here: Sequence[Lora], by_hash: ByHash, sentences: list[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    chosen: dict[str, dict[str, Any]] = {}
    nearest: list[str] = []
    for named in recipe.loras:
        found = _by_hash(named, here)
        if found is None and len(named.sha256) == WHOLE:
            found = by_hash(named.sha256)
            if found is None and (found := _by_name(named, here)):
                sentences.append(f"{found.model_id} is taken by its name: it was never used here.")
        found = found or _by_name(named, here)
        if found is None:
            sentences.append(_absent(named, here))
            close = get_close_matches(named.name, [one.model_id for one in here], 1, 0.5)
            nearest += [one for one in close if one not in nearest]
            continue
        if found.model_id != named.name and found.name != named.name:
            sentences.append(f"LoRA found under another name: {found.model_id}.")
        weight = min(max(named.weight, 0.0), MAX_WEIGHT)
        if weight != named.weight:
            sentences.append(f"{found.model_id} had the weight {named.weight:g}: now {weight:g}.")
        chosen[found.model_id] = {"model_id": found.model_id, "weight": weight}
    return list(chosen.values()), nearest


def _by_hash(named: Named, here: Sequence[Lora]) -> Lora | None:
    """The one of the same name first, should a file be here twice."""
    same = [one for one in here if named.sha256 and one.sha256.startswith(named.sha256)]
    return next((one for one in same if one.model_id == named.name), same[0] if same else None)


def _by_name(named: Named, here: Sequence[Lora]) -> Lora | None:
    """Only where the hashes do not say that it is another: other programs' are shorter ones of
    other bytes, and say nothing here."""
    whole = len(named.sha256) == WHOLE
    for one in here:
        same = named.name in (one.model_id, one.name) or _slug(named.name) == _slug(one.model_id)
        if same and not (whole and one.sha256):
            return one
    return None


def _absent(named: Named, here: Sequence[Lora]) -> str:
    if any(named.name in (one.model_id, one.name) for one in here):
        return f"LoRA not found: {named.name}. The one of that name here is another file."
    return f"LoRA not found: {named.name}."


def _slug(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
