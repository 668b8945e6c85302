"""The scale that PEFT writes into the metadata of a file, where no alpha tensor tells it.

Numbers and plain names are taken from there by an allow-list; nothing is allocated or matched by
its word.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from fluxui.errors import LoraUnreadable

MAX_ALPHA = 1e9  # no trainer comes near it, and a whole number may be larger than any float
_PARTS = ("text_encoder", "text_encoder_2")


class Scales:
    """The scales of one file. Raises LoraUnreadable for nonsense."""

    def __init__(self, metadata: Mapping[str, str]) -> None:
        self._configs = _peft_configs(metadata)

    @property
    def dora(self) -> bool:
        """Whether the file says that it is DoRA."""
        return any(config.get("use_dora") for config in self._configs.values())

    def of(self, layer: str, rank: int) -> float:
        """alpha / rank, or alpha / √rank if the file says rsLoRA; 1 if it says nothing."""
        part, _, rest = layer.partition(".")
        part, name = (part, rest) if part in _PARTS else ("transformer", layer)
        config = self._configs.get(part, {})
        alpha = _pattern(config.get("alpha_pattern"), name, config.get("lora_alpha"))
        if alpha is None:
            return 1.0
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
            raise LoraUnreadable("lora_alpha in this LoRA's metadata is no number.")
        if not 0 <= alpha <= MAX_ALPHA:
            raise LoraUnreadable("lora_alpha in this LoRA's metadata is out of all bounds.")
        return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _peft_configs(metadata: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """`lora_adapter_metadata`, as diffusers writes it: each part's fields behind its name.
    What stands behind none is the transformer's.
    """
    try:
        fields = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except ValueError:
        raise LoraUnreadable("lora_adapter_metadata of this LoRA is no JSON.") from None
    if not isinstance(fields, dict):
        raise LoraUnreadable("lora_adapter_metadata of this LoRA is no table.")
    configs: dict[str, dict[str, object]] = {}
    for name, value in fields.items():
        part, _, field = name.rpartition(".")
        configs.setdefault(part or "transformer", {})[field] = value
    return configs


def _pattern(patterns: object, layer: str, default: object) -> object:
    """PEFT matches whole names or their ends; patterns that are more than a name are refused."""
    for name, value in (patterns if isinstance(patterns, dict) else {}).items():
        plain = name.removeprefix("^").replace("\\.", ".").removeprefix("text_model.")
        if not re.fullmatch(r"[\w.]+", plain):
            raise LoraUnreadable("alpha_pattern in this LoRA's metadata has more than names.")
        if layer == plain or layer.endswith(f".{plain}"):
            return value
    return default
