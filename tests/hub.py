"""A Hub of one account, over real HTTP: what huggingface_hub asks for when it makes a Space.

Paths, payloads and answers are those that huggingface_hub's own source sends and reads.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

COMMIT = "c" * 40
Answer = tuple[int, Any]


@dataclass
class Space:
    made: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=lambda: {".gitattributes": b""})
    secrets: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    volumes: list[dict[str, str]] = field(default_factory=list)
    hardware: str = "cpu-basic"
    uploaded: bool = False


@dataclass
class Hub:
    """`stages` is what a Space goes through once something was uploaded; the last one stays."""

    url: str = ""
    roles: dict[str, str] = field(
        default_factory=lambda: {"hf_writes": "write", "hf_reads": "read"}
    )
    unpaid: frozenset[str] = frozenset({"a100x8"})
    stages: list[str] = field(default_factory=lambda: ["BUILDING", "APP_STARTING", "RUNNING"])
    logs: dict[str, list[str]] = field(default_factory=dict)
    spaces: dict[str, Space] = field(default_factory=dict)
    buckets: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, token: str, body: bytes) -> Answer:
        self.asked.append(f"{method} {path}")
        if token not in self.roles:
            return 401, {"error": "Invalid credentials in Authorization header"}
        if method != "GET" and self.roles[token] != "write":
            return 403, {"error": "This token only reads"}
        parts = path.strip("/").split("/")[1:]
        match parts:
            case ["whoami-v2"]:
                return 200, {"name": "ann", "auth": {"accessToken": {"role": self.roles[token]}}}
            case ["validate-yaml"]:
                return 200, {"errors": [], "warnings": []}
            case ["buckets", owner, name] if method == "POST":
                return self._bucket(f"{owner}/{name}", json.loads(body))
            case ["repos", "create"]:
                return self._create(json.loads(body))
            case ["repos", "delete"]:
                told = json.loads(body)
                return 200, self.spaces.pop(f"{told['organization']}/{told['name']}") and {}
            case ["spaces", owner, name, *rest]:
                if owner != "ann" and method != "GET":
                    return 403, {"error": "You don't have the rights"}
                name = f"{owner}/{name}"
                if name not in self.spaces:
                    return 404, {"error": "Repository not found"}
                return self._space(name, self.spaces[name], rest, body)
        return 404, {"error": "Not found"}

    def _bucket(self, name: str, told: Any) -> Answer:
        taken = name in self.buckets
        self.buckets.setdefault(name, told)
        return 409 if taken else 200, {"url": f"{self.url}/buckets/{name}"}

    def _create(self, told: dict[str, Any]) -> Answer:
        name = f"{told['organization']}/{told['name']}"
        if told["organization"] != "ann":
            return 403, {"error": f"You don't have the rights to create {name}"}
        if told["hardware"] in self.unpaid:
            # As rude as can be: it repeats what it was sent.
            return 402, {"error": f"Add a payment method first. You sent {json.dumps(told)}"}
        space = Space(told, volumes=told.get("volumes", []), hardware=told["hardware"])
        space.secrets = {one["key"]: one["value"] for one in told["secrets"]}
        space.variables = {one["key"]: one["value"] for one in told["variables"]}
        self.spaces[name] = space
        return 200, {"url": f"{self.url}/spaces/{name}", "name": name}

    def _space(self, name: str, space: Space, rest: list[str], body: bytes) -> Answer:
        match rest:
            case [] | ["revision", _]:
                siblings = [{"rfilename": path} for path in space.files]
                return 200, {"id": name, "sha": COMMIT, "siblings": siblings, "private": True}
            case ["tree", *_]:
                files = space.files.items()
                return 200, [
                    {"type": "file", "path": path, "size": len(held), "oid": "0" * 40}
                    for path, held in files
                ]
            case ["preupload", _]:
                asked = json.loads(body)["files"]
                kept = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
                return 200, {"files": [{"path": one["path"], **kept} for one in asked]}
            case ["commit", _]:
                return self._commit(name, space, [json.loads(line) for line in body.splitlines()])
            case ["runtime"]:
                return 200, self._runtime(space)
            case ["hardware"]:
                told = json.loads(body)
                if told["flavor"] in self.unpaid:
                    return 402, {"error": "Add a payment method first"}
                space.hardware = told["flavor"]
                return 200, self._runtime(space)
            case ["secrets"]:
                told = json.loads(body)
                space.secrets[told["key"]] = told["value"]
                return 200, {}
            case ["variables"]:
                told = json.loads(body)
                space.variables[told["key"]] = told["value"]
                return 200, {key: {"value": value} for key, value in space.variables.items()}
            case ["volumes"]:
                space.volumes = json.loads(body)["volumes"]
                return 200, {}
            case ["logs", kind]:
                return 200, self.logs.get(kind, [])
        return 404, {"error": "Not found"}

    def _commit(self, name: str, space: Space, lines: list[dict[str, Any]]) -> Answer:
        for line in lines:
            if line["key"] == "file":
                space.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del space.files[line["value"]["path"]]
        space.uploaded = True
        url = f"{self.url}/spaces/{name}/commit/{COMMIT}"
        return 200, {"commitUrl": url, "commitOid": COMMIT}

    def _runtime(self, space: Space) -> dict[str, Any]:
        stage = "NO_APP_FILE"
        if space.uploaded:
            stage = self.stages.pop(0) if len(self.stages) > 1 else self.stages[0]
        runtime = {"stage": stage, "sha": COMMIT, "volumes": space.volumes}
        return runtime | {"hardware": {"current": space.hardware, "requested": space.hardware}}


@contextmanager
def open_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            path = self.path.partition("?")[0]
            status, told = hub.answer(self.command, path, token, body)
            logs = status == 200 and "/logs/" in path
            sent = _events(told) if logs else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/event-stream" if logs else "application/json")
            self.send_header("Content-Length", str(len(sent)))
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_PUT = do_DELETE = _any

        log_message: Callable[..., None] = lambda *_: None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _events(lines: list[str]) -> bytes:
    told = [{"data": f"{line}\n", "timestamp": "2026-11-22T12:00:00Z"} for line in lines]
    return "".join(f"data: {json.dumps(one)}\n\n" for one in told).encode()
