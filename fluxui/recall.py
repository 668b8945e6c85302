"""A picture's settings as a request for this machine, and in words what could not be restored.

They come from inside a file, or from the history. LoRAs are found by what they are, whatever they
are called here; one of the same name that is another file is never taken for it. It changes
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fluxui import images, parameters
from fluxui.errors import IllegalTransition, InvalidRequest, LoraMisfit, LoraNotFound
from fluxui.generation import Generation, add_trigger_words
from fluxui.loras.library import Lora
from fluxui.parameters import Named, Recipe
from fluxui.pipeline.base_models import BaseModel
from fluxui.request import MAX_WEIGHT, GenerationForm, GenerationRequest, LoraRef

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


def recall(
    picture: bytes, base_model: BaseModel, loras: Sequence[Lora], by_hash: ByHash
) -> Recalled:
    """`by_hash` finds one of which it is not known yet what it is, None if none is it.

    Raises InvalidRequest for what is no picture, or carries no settings.
    """
    if len(picture) > MAX_FILE:
        raise InvalidRequest(f"This file is larger than {MAX_FILE // 2**20} MB.")
    return _recalled(parameters.read(images.read_texts(picture)), base_model, loras, by_hash)


def recall_kept(
    generation: Generation,
    seed: int,
    base_model: BaseModel,
    loras: Sequence[Lora],
    by_hash: ByHash,
) -> Recalled:
    """The same of a picture in the history, which was painted with this seed."""
    names = {"prompt", "num_inference_steps", "guidance_scale", "width", "height"}
    values = generation.request.model_dump(include=names) | {"seed": seed}
    named = [Named(use.model_id, use.weight, use.sha256) for use in generation.loras]
    recipe = Recipe("fluxui", values, named, generation.base_model)
    return _recalled(recipe, base_model, loras, by_hash)


def loras_of(generation: Generation, here: Sequence[Lora], by_hash: ByHash) -> tuple[LoraRef, ...]:
    """Those that painted it, under the names that they have here. Raises LoraNotFound."""
    found = []
    for use in generation.loras:
        named = Named(use.model_id, use.weight, use.sha256)
        lora = _found(named, here, by_hash)
        if lora is None:
            raise LoraNotFound(use.model_id)
        found.append(LoraRef(model_id=lora.model_id, weight=use.weight))
    return tuple(found)


def _recalled(
    recipe: Recipe, base_model: BaseModel, loras: Sequence[Lora], by_hash: ByHash
) -> Recalled:
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


def changes_between(then: Generation, now: Generation) -> str:
    """In words, what is known to be different in how two generations were painted."""
    if not (then.machine and now.machine):
        return ""
    facts = [one.machine | {"shortcuts": ", ".join(one.shortcuts)} for one in (then, now)]
    names = dict.fromkeys([*facts[0], *facts[1]])
    pairs = [(name, *(fact.get(name) or "none" for fact in facts)) for name in names]
    return "; ".join(f"{name}: {was}, now {is_}" for name, was, is_ in pairs if was != is_)


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
        found = _found(named, here, by_hash)
        if found is None:
            sentences.append(_absent(named, here))
            close = get_close_matches(named.name, [one.model_id for one in here], 1, 0.5)
            nearest += [one for one in close if one not in nearest]
            continue
        if len(named.sha256) == WHOLE and not found.sha256:
            sentences.append(f"{found.model_id} is taken by its name: it was never used here.")
        if found.model_id != named.name and found.name != named.name:
            sentences.append(f"LoRA found under another name: {found.model_id}.")
        weight = min(max(named.weight, 0.0), MAX_WEIGHT)
        if weight != named.weight:
            sentences.append(f"{found.model_id} had the weight {named.weight:g}: now {weight:g}.")
        chosen[found.model_id] = {"model_id": found.model_id, "weight": weight}
    return list(chosen.values()), nearest


def _found(named: Named, here: Sequence[Lora], by_hash: ByHash) -> Lora | None:
    """By what it is, among those that are known and then among the others; else by its name."""
    found = _by_hash(named, here)
    if found is None and len(named.sha256) == WHOLE:
        found = by_hash(named.sha256)
    return found or _by_name(named, here)


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
