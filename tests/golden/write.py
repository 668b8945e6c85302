"""Write the golden documents anew, after a change of a contract that was meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from fluxui.api import build_api
from fluxui.studio import Studio

OPENAPI = Path(__file__).parent / "openapi.json"


def main() -> None:
    api = build_api(cast(Studio, None))  # a contract needs nobody behind it
    OPENAPI.write_text(json.dumps(api.openapi(), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
