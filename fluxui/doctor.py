"""`python -m fluxui doctor`: what this machine has, and what is missing, in plain words.

It looks and says; it changes nothing but the data folder, which it makes. No torch is imported:
versions come from the installed packages, the device from the driver.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from httpx2 import HTTPError  # the client that huggingface_hub has
from huggingface_hub import get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled
from packaging.requirements import Requirement

from fluxui.errors import FluxuiError
from fluxui.opening import FORGETS, redis_url
from fluxui.pipeline.base_models import CATALOGUE, BaseModel, cached, choose_base_model
from fluxui.pipeline.devices import Device, probe
from fluxui.pipeline.placement import place, unlocks
from fluxui.settings import Settings
from fluxui.storage.s3 import S3Storage

REQUIREMENTS = Path(__file__).parent.parent / "requirements.txt"
PYTHONS = ((3, 10), (3, 13))
NETWORK_SECONDS = 5.0
LITTLE_DISK = 1e9


@dataclass(frozen=True)
class Finding:
    """One line. `kind` is ok, missing or note; what `stops` fluxui makes the exit code 1."""

    kind: str
    text: str
    stops: bool = False


def examine(settings: Settings) -> int:
    """Print every finding; 0 if fluxui can run as it is configured, else 1."""
    findings = []
    for finding in look(settings, probe()):
        print(f"{finding.kind:8} {finding.text}", flush=True)
        findings.append(finding)
    stopped = any(finding.stops for finding in findings)
    print("\nfluxui can't run as configured." if stopped else "\nfluxui can run.")
    return int(stopped)


def look(settings: Settings, device: Device) -> Iterator[Finding]:
    """Everything there is to say, in the order in which fluxui needs it."""
    yield _python()
    yield from _libraries()
    yield _device(device)
    chosen = _chosen(settings, device)
    if isinstance(chosen, BaseModel):
        yield Finding("ok", f"Base model: {chosen.name}. {chosen.reason}")
    else:
        yield Finding("missing", f"Base model: {chosen.message} {chosen.hint}", stops=True)
    dev = CATALOGUE["flux1-dev"]
    wanted = chosen if isinstance(chosen, BaseModel) and chosen.gated else dev
    needed = wanted is chosen and not settings.redis_url  # else the workers' machines are
    yield from _large(wanted, settings, device, needed=needed)
    yield _data_folder(settings.data_dir)
    yield from _bucket(settings)
    if settings.redis_url:
        yield from _redis(settings)
    yield _disk(settings.data_dir)


def _python() -> Finding:
    here = ".".join(str(part) for part in sys.version_info[:3])
    low, high = PYTHONS
    if low <= sys.version_info[:2] < high:
        return Finding("ok", f"Python {here}")
    return Finding("missing", f"Python {here} is not 3.10, 3.11 or 3.12.", stops=True)


def _libraries() -> Iterator[Finding]:
    fine = []
    for line in REQUIREMENTS.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        wanted = Requirement(line)
        try:
            here = version(wanted.name)
        except PackageNotFoundError:
            yield Finding("missing", f"{wanted.name} is not installed. {_INSTALL}", stops=True)
            continue
        if wanted.specifier.contains(here, prereleases=True):
            fine.append(f"{wanted.name} {here}")
        else:
            told = f"{wanted.name} is {here}, and fluxui needs {wanted.specifier}. {_INSTALL}"
            yield Finding("missing", told, stops=True)
    yield Finding("ok", f"Libraries: {', '.join(fine)}")


_INSTALL = "pip install -r requirements.txt"


def _device(device: Device) -> Finding:
    if device.kind == "cpu":
        memory = f", {device.ram / 1e9:.0f} GB of memory" if device.ram else ""
        return Finding("ok", f"Device: CPU, {os.cpu_count()} cores{memory}")
    free = f", {device.free / 1e9:.0f} GB of it free" if device.free else ""
    return Finding("ok", f"Device: {device.name}, {device.memory / 1e9:.0f} GB{free}")


def _chosen(settings: Settings, device: Device) -> BaseModel | FluxuiError:
    try:
        return choose_base_model(settings, device)
    except FluxuiError as error:
        return error


def _large(
    model: BaseModel, settings: Settings, device: Device, *, needed: bool
) -> Iterator[Finding]:
    """What `model` asks of the machine and of its owner. Missing parts stop only if it runs."""
    name, placed = model.name, place(device, model.sizes, settings.fast)
    if device.kind == "cpu":
        told = "the installed torch is built without CUDA" if device.hidden else "no CUDA device"
        # With memory enough a CPU paints too: minutes a step, but it does.
        yield Finding("missing", f"For {name}: {told}.", stops=needed and bool(placed.short))
    elif placed.short:
        yield Finding("missing", f"For {name}: {placed.short}.", stops=needed)
    else:
        yield Finding("ok", f"For {name}: the device. {placed.note}")
    for package, gain in unlocks(device, model.sizes, settings.fast):
        yield Finding("note", f"For {name}: with {package} (requirements-gpu.txt): {gain}")
    if cached(model):
        yield Finding("ok", f"For {name}: the weights are on this disk.")
        return
    size = f"{model.weight_bytes / 1e9:.0f} GB"
    yield Finding("note", f"For {name}: the weights ({size}) would be downloaded first.")
    yield _access(model, settings, needed)


def _access(model: BaseModel, settings: Settings, needed: bool) -> Finding:
    """Whether the Hub lets this token download. Asks the network once, and briefly."""
    name, page = model.name, f"https://huggingface.co/{model.source}"
    if not settings.hf_token:
        told = f"For {name}: HF_TOKEN is not set. Accept the licence at {page}, then make a token."
        return Finding("missing", told, stops=needed)
    try:
        get_hf_file_metadata(
            hf_hub_url(model.source, "model_index.json"),
            token=settings.hf_token.get_secret_value(),
            timeout=NETWORK_SECONDS,
        )
    except GatedRepoError:
        told = f"For {name}: this HF_TOKEN has not accepted the licence at {page}."
        return Finding("missing", told, stops=needed)
    except HfHubHTTPError as error:
        if error.response.status_code not in (401, 403):
            return Finding("note", f"For {name}: the Hub is in trouble, and was not asked.")
        told = f"For {name}: the Hub refused this HF_TOKEN. Make a new one."
        return Finding("missing", told, stops=needed)
    except (HTTPError, OfflineModeIsEnabled):
        return Finding("note", f"For {name}: the Hub could not be reached to ask about HF_TOKEN.")
    return Finding("ok", f"For {name}: HF_TOKEN may download it.")


def _data_folder(folder: Path) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Finding("ok", f"Data folder: {folder}")
    except OSError as error:
        told = f"Data folder: {folder} can't be written ({error.strerror}). Choose --data-dir."
        return Finding("missing", told, stops=True)


def _bucket(settings: Settings) -> Iterator[Finding]:
    if not settings.s3_bucket_name:
        yield Finding("note", "Bucket: none is set, so pictures are kept in the data folder.")
        return
    try:
        S3Storage(settings).check()
    except FluxuiError as error:
        yield Finding("missing", f"Bucket: {error.message} {error.hint}".rstrip(), stops=True)
    else:
        yield Finding("ok", f"Bucket: {settings.s3_bucket_name} can be read and written.")


def _redis(settings: Settings) -> Iterator[Finding]:
    try:
        url = redis_url(settings)
        from fluxui.queue.wire import Wire, terms

        terms(settings, "")  # asks for the bucket
        with closing(Wire(url)) as wire:
            wire.check()
            if wire.forgets():
                yield Finding("note", f"Redis: {FORGETS}")
    except FluxuiError as error:
        yield Finding("missing", f"Redis: {error.message} {error.hint}".rstrip(), stops=True)
    else:
        yield Finding("ok", "Redis: it answers. Workers paint: python -m fluxui worker")


def _disk(folder: Path) -> Finding:
    standing = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(standing).free
    kind = "note" if free < LITTLE_DISK else "ok"
    return Finding(kind, f"Disk: {free / 1e9:.1f} GB free")
