"""The picture that stands for a LoRA: one prompt and one seed for all of them, so that they can be
compared, with its own trigger words and its default weight.

It is no generation that anybody asked for: it is in no history, and nothing waits for it.
"""

from __future__ import annotations

from fluxui.generation import Generation, LoraUse, add_trigger_words
from fluxui.loras.library import Lora
from fluxui.pipeline.base_models import BaseModel
from fluxui.request import GenerationForm, LoraRef

PROMPT = "a yellow castle on rolling hills at sunset"
SEED = 20261122
# Pixels a side at most: it is shown at 384.
SIDE = 512


def preview_of(lora: Lora, base: BaseModel) -> Generation:
    """What to paint for it."""
    limits = base.limits
    side = max(min(limits.width, limits.height, SIDE), limits.min_size)
    form = GenerationForm(
        prompt=PROMPT,
        loras=(LoraRef(model_id=lora.model_id, weight=lora.default_weight),),
        width=side,
        height=side,
        seed=SEED,
    )
    added, painted = add_trigger_words(PROMPT, lora.trigger_words)
    use = LoraUse(
        model_id=lora.model_id,
        name=lora.name,
        weight=lora.default_weight,
        sha256=lora.sha256,
        layers_total=lora.fit.layers_total,
    )
    return Generation(
        request=form.admit(limits),
        base_model=base.id,
        trigger_words=added,
        painted=painted,
        loras=(use,),
    )
