"""One request as code that makes it again, for each door. Address and key are variables."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

from fluxui.request import GenerationRequest

DEFAULT_ADDRESS = "http://127.0.0.1:7860"


def curl(request: GenerationRequest, address: str) -> str:
    """Two commands: ask for it, and look how far it is. All of it can be pasted at once."""
    body = json.dumps(_body(request), ensure_ascii=False)
    return (
        f"FLUXUI_URL={shlex.quote(address)}\n"
        '# behind a login, add to both calls: -H "Authorization: Bearer $FLUXUI_API_KEY"\n'
        'ID=$(curl -s "$FLUXUI_URL/api/generate/image" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)} \\\n"
        """  | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')\n"""
        'curl -s "$FLUXUI_URL/api/generate/$ID"'
    )


def client(request: GenerationRequest, address: str) -> str:
    """`gradio_client`, waiting for the files."""
    lines = "".join(f"    {name}={value!r},\n" for name, value in _body(request).items())
    return (
        "from gradio_client import Client\n\n"
        f"# behind a login: Client(url, headers={{'Authorization': f'Bearer {{key}}'}})\n"
        f"client = Client({address!r})\n"
        f"files, record = client.predict(\n{lines}"
        '    api_name="/generate_image",\n)'
    )


def command(request: GenerationRequest, address: str) -> str:
    """The command line; it needs no server, so no address, and no data folder in use."""
    words = ["python", "-m", "fluxui", "generate"]
    for lora in request.loras:
        words += ["--lora", f"{lora.model_id}:{lora.weight:g}"]
    words += ["--images", str(request.num_images), "--steps", str(request.num_inference_steps)]
    words += ["--guidance", f"{request.guidance_scale:g}", "--width", str(request.width)]
    words += ["--height", str(request.height), "--seed", str(request.seed), "-o", "out.png"]
    words += ["--", request.prompt]  # which may begin with a dash
    return (
        "# paints by itself: stop the server first, or add --data-dir with another folder\n"
        f"{shlex.join(words)}"
    )


LANGUAGES: dict[str, tuple[str, Callable[[GenerationRequest, str], str]]] = {
    "curl": ("shell", curl),
    "gradio_client": ("python", client),
    "CLI": ("shell", command),
}


def _body(request: GenerationRequest) -> dict[str, Any]:
    """The fields in the words of REST; one LoRA in the short form."""
    values = request.model_dump(exclude={"loras"})
    if len(request.loras) == 1:
        values |= {"model_id": request.loras[0].model_id, "lora_weight": request.loras[0].weight}
    elif request.loras:
        values["loras"] = [lora.model_dump() for lora in request.loras]
    return values
