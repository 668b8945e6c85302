"""What a LoRA's trainer wrote into the file's metadata: trigger words and settings, for showing.

Nothing here is ever used to calculate, and everything is bounded: it comes from strangers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

MAX_WORDS = 8


def trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The words that wake the LoRA, as its trainer wrote them down; none is guessed."""
    for key in ("trigger_words", "modelspec.trigger_phrase", "trigger_word"):
        if words := _words(metadata.get(key, "")):
            return words
    return _only_tag(metadata.get("ss_tag_frequency", ""))


def _words(text: str) -> tuple[str, ...]:
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = text.split(",")
    words = parsed if isinstance(parsed, list) else [parsed]
    return tuple(word.strip() for word in words if _is_word(word))[:MAX_WORDS]


def _is_word(word: object) -> bool:
    return isinstance(word, str) and 0 < len(word.strip()) <= 100 and word.strip().isprintable()


def _only_tag(text: str) -> tuple[str, ...]:
    """ai-toolkit writes its trigger word as the one tag of the one folder."""
    try:
        folders = json.loads(text)
    except ValueError:
        return ()
    tags = [tag for folder in _values(folders) for tag in folder] if folders else []
    return (tags[0].strip(),) if len(tags) == 1 and _is_word(tags[0]) else ()


def _values(folders: object) -> list[dict[str, object]]:
    values = list(folders.values()) if isinstance(folders, dict) else []
    return [value for value in values if isinstance(value, dict)]


# What a person wants to know of a training, and the names it has in the metadata.
_TRAINING = {
    "title": "modelspec.title",
    "author": "modelspec.author",
    "licence": "modelspec.license",
    "trained on": "ss_base_model_version",
    "network dim": "ss_network_dim",
    "network alpha": "ss_network_alpha",
    "learning rate": "ss_learning_rate",
    "pictures": "ss_num_train_images",
    "steps": "ss_steps",
    "epochs": "ss_num_epochs",
    "resolution": "ss_resolution",
}


def training(metadata: Mapping[str, str]) -> dict[str, str]:
    """The settings of the training that the file tells, for showing only."""
    return {
        label: metadata[key][:200]
        for label, key in _TRAINING.items()
        if metadata.get(key, "") not in ("", "None")
    }
