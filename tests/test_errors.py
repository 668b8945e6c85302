from __future__ import annotations

from collections.abc import Iterator

from fluxui import errors
from fluxui.errors import FluxuiError


def leaves(base: type[FluxuiError]) -> Iterator[type[FluxuiError]]:
    children = base.__subclasses__()
    if not children:
        yield base
    for child in children:
        yield from leaves(child)


def test_the_drawn_tree_is_the_tree() -> None:
    drawn = {
        line.replace("│", "").replace("├──", "").replace("└──", "").split()[0]
        for line in (errors.__doc__ or "").splitlines()
        if "──" in line
    }
    everything = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, FluxuiError) and value is not FluxuiError
    }
    assert drawn == everything


def test_every_leaf_has_its_own_code_and_a_status() -> None:
    codes = [leaf.code for leaf in leaves(FluxuiError)]
    assert len(set(codes)) == len(codes)
    assert all(400 <= leaf.status < 600 for leaf in leaves(FluxuiError))
    assert "error" not in codes


def test_an_error_says_what_and_the_way_out() -> None:
    error = errors.QueueFull(64, retry_after=30)
    assert error.as_dict() == {
        "code": "queue_full",
        "message": "The queue is full (64).",
        "hint": "Nothing was lost. Try again when a place is free.",
    }
    assert errors.LoraMisfit("no", hint="other").hint == "other"
