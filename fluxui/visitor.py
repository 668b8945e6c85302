"""Who asks: as far as the gate can tell people and programs apart, and no further.

It knows no cookie, no login and no password; the gate does, and says who it is in the scope.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SCOPE_KEY = "fluxui.visitor"


@dataclass(frozen=True)
class Visitor:
    """`id` is what their generations are marked with. The owner of the machine sees all, and
    marks with ""; whoever else has no id has nothing."""

    id: str = ""
    owner: bool = False

    def owns(self, mark: str) -> bool:
        """Whether what bears this mark is theirs to see, to cancel and to delete."""
        return self.owner or (self.id != "" and self.id == mark)


OWNER = Visitor(owner=True)
# Asked at every call for whom it is.
Who = Callable[[], Visitor]


def visitor_of(scope: Mapping[str, Any]) -> Visitor:
    """As the gate said. Raises KeyError where no gate stands: nobody comes in around it."""
    visitor: Visitor = scope[SCOPE_KEY]
    return visitor
