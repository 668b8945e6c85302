from __future__ import annotations

import pytest

from fluxui.visitor import OWNER, SCOPE_KEY, Visitor, visitor_of


def test_everybody_owns_their_own_and_the_owner_all() -> None:
    ann = Visitor("user:ann")
    assert ann.owns("user:ann")
    assert not any(ann.owns(mark) for mark in ("", "user:bob", "user:ann "))
    assert all(OWNER.owns(mark) for mark in ("", "user:ann"))
    assert not any(Visitor().owns(mark) for mark in ("", "user:ann"))


def test_nobody_comes_in_around_the_gate() -> None:
    assert visitor_of({SCOPE_KEY: OWNER}) is OWNER
    with pytest.raises(KeyError):
        visitor_of({"type": "http"})
