"""The filters of a list, as REST takes them in the address: one for all calls that have them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Literal

from fastapi import Query

from fluxui.generation import Status
from fluxui.history import Query as Search
from fluxui.request import MAX_SEED

Hash = Annotated[
    str, Query(pattern="^[0-9a-f]{0,64}$", description="The SHA-256 of a LoRA, or its beginning")
]
Pixels = Annotated[int | None, Query(ge=1)]


def search(
    q: Annotated[str, Query(max_length=200, description="Words of prompt or LoRA name")] = "",
    model_id: Annotated[str, Query(max_length=200)] = "",
    status: Status | None = None,
    lora: Hash = "",
    base_model: Annotated[str, Query(max_length=200)] = "",
    width: Pixels = None,
    height: Pixels = None,
    seed: Annotated[int | None, Query(ge=0, le=MAX_SEED)] = None,
    since: Annotated[datetime | None, Query(description="Asked for then or later")] = None,
    until: Annotated[datetime | None, Query(description="Asked for before")] = None,
    favourite: Annotated[bool, Query(description="With a star on a picture")] = False,
    tag: Annotated[str, Query(max_length=40)] = "",
    visitor: Annotated[str | None, Query(max_length=200)] = None,
    order: Literal["newest", "oldest"] = "newest",
) -> Search:
    """All of it must match. A time without a zone is UTC."""
    return Search(
        words=q,
        model_id=model_id,
        status=status,
        visitor=visitor,
        lora=lora,
        base_model=base_model,
        width=width,
        height=height,
        seed=seed,
        since=_in_utc(since),
        until=_in_utc(until),
        favourite=favourite,
        tag=tag,
        oldest=order == "oldest",
    )


def _in_utc(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo:
        return moment
    return moment.replace(tzinfo=timezone.utc)
