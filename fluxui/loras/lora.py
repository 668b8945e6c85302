"""One LoRA as plain values: what its file says, what people wrote, and the id they know it by."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fluxui.errors import InvalidRequest
from fluxui.loras.files import File
from fluxui.loras.header import Fit
from fluxui.loras.reading import Report
from fluxui.request import DEFAULT_WEIGHT

_SEGMENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_UNSEEN = Report(Fit("", 0, None, "", 0, 0, False, "It was not looked at yet."))


@dataclass(frozen=True)
class Lora:
    """One LoRA. `file` is its key in the storage, or its path for one that came with fluxui.

    `size` in bytes. `sha256` is that of its tensors, "" in a listing before it was read once.
    `seen` is False in a listing that did not get round to its header yet. `origin` says where it
    was imported from, `preview` changes with its picture and is "" without one.
    """

    model_id: str
    name: str
    trigger_words: tuple[str, ...]
    default_weight: float
    notes: str
    built_in: bool
    file: str
    size: int
    sha256: str
    added: datetime
    fit: Fit
    training: Mapping[str, str] = field(default_factory=dict)
    seen: bool = True
    favourite: bool = False
    origin: Mapping[str, str] = field(default_factory=dict)
    preview: str = ""


def lora_of(
    file: File,
    report: Report | None,
    card: Mapping[str, Any],
    sha256: str = "",
    preview: str = "",
) -> Lora:
    """`report` is None for a file that was not looked at yet."""
    told = report or _UNSEEN
    words = card.get("trigger_words")
    return Lora(
        model_id=file.model_id,
        name=str(card.get("name") or file.model_id),
        trigger_words=told.trigger_words if words is None else tuple(words),
        default_weight=float(card.get("default_weight", DEFAULT_WEIGHT)),
        notes=str(card.get("notes", "")),
        built_in=file.built_in,
        file=file.key,
        size=file.size,
        sha256=sha256,
        added=file.modified,
        fit=told.fit,
        training=told.training,
        seen=report is not None,
        favourite=card.get("favourite") is True,
        origin=_texts(card.get("origin")),
        preview=preview,
    )


def new_id(wanted: str, stem: str, taken: Set[str]) -> str:
    """A slug of `stem` that is free, or the id that is wanted.

    Raises InvalidRequest for an id that can't be or is taken.
    """
    if not wanted:
        slug = re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-._")[:72] or "lora"
        names = (slug, *(f"{slug}-{count}" for count in range(2, 1000)))
        return next(name for name in names if name not in taken)
    if not all(_SEGMENT.fullmatch(part) for part in wanted.split("/")):
        raise InvalidRequest("model_id should be made of a-z, 0-9, dots, dashes and underscores.")
    if wanted in taken:
        raise InvalidRequest(f"There is a LoRA {wanted!r} already.")
    return wanted


def _texts(value: object) -> dict[str, str]:
    """A card is edited by hand: what is no text is left out."""
    pairs = value.items() if isinstance(value, dict) else ()
    return {str(name): text for name, text in pairs if isinstance(text, str)}
