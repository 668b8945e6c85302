"""How listeners are registered: what every one of them says to Gradio.

"private" only keeps them out of the API's description; the gate is what guards the doors.
"""

from __future__ import annotations

from typing import Any

from gradio.context import LocalContext

from fluxui.visitor import Visitor, visitor_of


def visiting() -> Visitor:
    """Whom the event is for that is handled now; while the page is built it is for nobody."""
    request: Any = LocalContext.request.get(None)
    if request is None:
        return Visitor()
    # MCP tells the HTTP request itself, everything else Gradio's wrapping of it.
    return visitor_of(getattr(request, "request", request).scope)


# From component to its new value; Gradio leaves what is not named as it is.
Changes = dict[Any, Any]

# A listener that starts no work: it never waits in Gradio's queue, and lays no veil on the page.
QUIET: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "api_visibility": "private",
}

# One whose every click is sent, also while an answer is on its way.
EVERY: dict[str, Any] = QUIET | {"trigger_mode": "multiple"}

# A listener that follows a generation for as long as it takes.
WATCHING: dict[str, Any] = {
    "concurrency_limit": None,
    "show_progress": "hidden",
    "api_visibility": "private",
}

# The same after an act, also while the browser follows what was there before the act: that ends by
# itself, and by default Gradio would skip this one.
FOLLOWING: dict[str, Any] = WATCHING | {"trigger_mode": "multiple"}


def answered(event: Any, line: str) -> Any:
    """After `event`: the next click of a line is sent (`html.clicks`)."""
    return event.then(None, None, None, js=f"() => fxAnswered('{line}')", **QUIET)
