"""Write the golden documents anew, after a change of a contract that was meant."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from fluxui.settings import Settings
from tests.live import serving
from tests.security.test_gate_matrix import KNOWN, routes

OPENAPI = Path(__file__).parent / "openapi.json"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), base_model="tiny")
        with serving(settings) as app:
            OPENAPI.write_text(json.dumps(app.api.openapi(), indent=1, sort_keys=True) + "\n")
            table = sorted({f"{method} {path}" for method, path in routes(app)})
            KNOWN.write_text("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
