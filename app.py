"""Launch fluxui: `python app.py`, a Hugging Face Space, or a notebook. No logic lives here."""

from __future__ import annotations

import sys
from typing import Any

from fluxui.cli import main as command_line
from fluxui.server import App, serve
from fluxui.settings import Settings


def main(block: bool = True, **settings: Any) -> App:
    """Serve with these settings over the environment's. A notebook gives `block=False`."""
    return serve(Settings(**settings), block)


if __name__ == "__main__":
    sys.exit(command_line(["serve", *sys.argv[1:]]))
