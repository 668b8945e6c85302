"""The command line: parse, call Studio, print. Server and doctor are loaded only when asked for.

Results go to stdout, progress and errors to stderr. An error that fluxui raises on purpose is one
line and exit code 1, never a traceback.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fluxui import commands
from fluxui.errors import ConfigurationError, FluxuiError, InvalidRequest
from fluxui.generation import Generation, Status
from fluxui.history import Query
from fluxui.loras.hub import Address
from fluxui.loras.library import Lora
from fluxui.opening import open_studio
from fluxui.queue import Phase
from fluxui.request import DEFAULT_WEIGHT, GenerationForm, invalid_request
from fluxui.settings import Settings
from fluxui.storage import SUFFIXES
from fluxui.studio import Studio
from fluxui.watch import Moment


def main(arguments: Sequence[str]) -> int:
    """Run one command; the exit code."""
    given = _parser().parse_args(arguments)
    try:
        return _run(given)
    except FluxuiError as error:
        print(f"fluxui: {error.message} {error.hint}".rstrip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(given: argparse.Namespace) -> int:
    if getattr(given, "output", None):
        given.output_format = _format_of(given.output)
    settings = read_settings(
        {name: getattr(given, name) for name in SETTINGS if getattr(given, name, None) is not None}
    )
    if given.command == "serve":
        from fluxui.server import serve

        serve(settings)
        return 0
    if given.command == "doctor":
        from fluxui.doctor import examine

        return examine(settings)
    if given.command == "worker":
        return _work(settings, given)
    if given.command == "space":
        return _space(settings, given)
    with closing(open_studio(settings)) as studio:
        code: int = given.call(studio, given)
        return code


def read_settings(given: dict[str, Any]) -> Settings:
    """Flags over environment over `.env`. Raises ConfigurationError."""
    try:
        return Settings(**given)
    except ValidationError as error:
        said = invalid_request(error.errors(include_url=False)).message
        raise ConfigurationError(said, "Correct the flag or the environment variable.") from None


# What can be typed

SETTINGS = ("host", "port", "share", "insecure", "base_model", "data_dir", "output_format")
FORMATS = {suffix: name for name, suffix in SUFFIXES.items()} | {".jpeg": "jpeg"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("fluxui", description="Generate with your own FLUX LoRAs.")
    groups = parser.add_subparsers(dest="command", required=True, metavar="command")
    _serve_flags(_command(groups, "serve", "open the page", None))
    _generate_flags(_command(groups, "generate", "paint without the server", _generate))
    loras = _group(groups, "loras", "the LoRAs that are here")
    _command(loras, "list", "every LoRA, by name", _list_loras)
    _command(loras, "show", "all about one", _show_lora).add_argument("model_id")
    _import_flags(
        _command(loras, "import", "add one, from a file, the Hub or the bucket", _import_lora)
    )
    _command(loras, "remove", "move one to the trash", _remove_lora).add_argument("model_id")
    history = _group(groups, "history", "what was asked for")
    _history_flags(_command(history, "list", "newest first", _list_history))
    _command(history, "show", "all about one", _show_history).add_argument("job_id")
    _command(history, "rebuild", "take in what only the storage has", commands.rebuild_history)
    _command(history, "verify", "compare with the storage", commands.verify_history).add_argument(
        "--repair", action="store_true", help="make both agree; nothing is lost by it"
    )
    for name, told, call in (
        ("export", "every record as JSON lines", commands.export_history),
        ("import", "take in such lines", commands.import_history),
    ):
        _command(history, name, told, call).add_argument("file", type=Path)
    _command(groups, "doctor", "what this machine has, and what is missing", None)
    worker = _command(groups, "worker", "paint for the page of another process", None)
    worker.add_argument("--gpus", metavar="all | 0,1", help="one worker for each of these")
    _space_flags(_group(groups, "space", "a Hugging Face Space with this in it"))
    return parser


def _group(commands: Any, name: str, told: str) -> Any:
    group = commands.add_parser(name, help=told, description=told)
    return group.add_subparsers(required=True, metavar="command")


def _command(commands: Any, name: str, told: str, call: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=told, description=told)
    parser.add_argument("--base-model", metavar="NAME", help="tiny, flux1-dev, a folder, a Hub id")
    parser.add_argument("--data-dir", type=Path, metavar="FOLDER", help="where everything is kept")
    parser.set_defaults(call=call)
    return parser


def _serve_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", help="0.0.0.0 for every network this machine is in")
    parser.add_argument("--port", type=int)
    parser.add_argument("--share", action="store_true", default=None, help="make a public link")
    parser.add_argument(
        "--insecure", action="store_true", default=None, help="let strangers in without a password"
    )


def _generate_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="out.png, .webp or .jpg")
    parser.add_argument(
        "--lora", action="append", default=[], metavar="ID[:WEIGHT]", help="may be repeated"
    )
    parser.add_argument("--steps", type=int, dest="num_inference_steps")
    parser.add_argument("--guidance", type=float, dest="guidance_scale")
    parser.add_argument("--images", type=int, dest="num_images")
    for name in ("width", "height", "seed"):
        parser.add_argument(f"--{name}", type=int)


def _space_flags(space: Any) -> None:
    deploy = _command(space, "deploy", "create or renew one, as spaces.yaml says", "deploy")
    deploy.add_argument("--hardware", default="", help="cpu-basic, zero-a10g, a100-large …")
    deploy.add_argument("--dry-run", action="store_true", help="say what would be done")
    status = _command(space, "status", "how it stands", "status")
    logs = _command(space, "logs", "what it printed", "logs")
    logs.add_argument("--build", action="store_true", help="what its build printed")
    delete = _command(space, "delete", "take it away; its bucket stays", "delete")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    for parser in (deploy, status, logs, delete):
        parser.add_argument("name", metavar="user/name")


def _import_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="FILE | OWNER/NAME | KEY", help="a file, a repository, or with --bucket"
    )
    parser.add_argument("--bucket", action="store_true", help="take it from the bucket, by its key")
    parser.add_argument("--file", default="", dest="filename", help="which one of a repository")
    parser.add_argument("--revision", default="", help="a branch, tag or commit of a repository")
    parser.add_argument("--id", default="", dest="model_id", help="the name that requests use")
    parser.add_argument("--name", default="", help="the name that people read")
    parser.add_argument("--trigger-words", default="", metavar="WORDS", help="with commas between")


def _history_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--search", default="", metavar="WORDS")


# generate


def _generate(studio: Studio, given: argparse.Namespace) -> int:
    names = ("num_inference_steps", "guidance_scale", "num_images", "width", "height", "seed")
    values = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    form = GenerationForm.parse(
        {"prompt": given.prompt, "loras": [_lora_ref(told) for told in given.lora], **values}
    )
    if given.output and not given.output.parent.is_dir():
        raise InvalidRequest(f"There is no folder {given.output.parent}.")
    studio.pause(False)  # who asks here waits for it
    generation = studio.submit(form)
    try:
        ended = asyncio.run(_follow(studio, generation.id))
    except KeyboardInterrupt:
        studio.cancel(generation.id)
        raise
    if ended.status is not Status.completed:
        told = ended.error.message if ended.error else f"It was {ended.status.value}."
        print(f"fluxui: {told} {ended.error.hint if ended.error else ''}".rstrip(), file=sys.stderr)
        return 1
    for path in _save(studio, ended, given.output):
        print(path)
    return 0


def _format_of(output: Path) -> str | None:
    """What the name asks for; without an ending, what is set. Raises InvalidRequest."""
    suffix = output.suffix.lower()
    if suffix and suffix not in FORMATS:
        raise InvalidRequest(f"{output.name} should end in {', '.join(FORMATS)}.")
    return FORMATS.get(suffix)


def _lora_ref(told: str) -> dict[str, Any]:
    """`id:weight`; the id may contain colons, the weight is what follows the last."""
    model_id, colon, weight = told.rpartition(":")
    return (
        {"model_id": model_id, "weight": weight}
        if colon
        else {"model_id": told, "weight": DEFAULT_WEIGHT}
    )


async def _follow(studio: Studio, job_id: str) -> Generation:
    """Show progress on one line of stderr until it has ended."""
    async for moment in studio.watch(job_id):
        if sys.stderr.isatty():
            print(f"\r\033[K{_stage(moment)}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return moment.generation


def _stage(moment: Moment) -> str:
    progress = moment.progress
    if progress is None:
        return moment.generation.status.value
    if progress.phase is not Phase.painting:
        return f"{progress.phase.value} …"
    left = f", {moment.seconds_left:.0f} s left" if moment.seconds_left is not None else ""
    image = f"image {progress.image} of {progress.images}, " if progress.images > 1 else ""
    return f"{image}step {progress.step} of {progress.steps}{left}"


def _save(studio: Studio, ended: Generation, output: Path | None) -> list[Path]:
    """Copy the pictures out: one to `output`, several to `output_1`, `output_2` …"""
    paths = []
    suffix = Path(ended.images[0].key).suffix
    output = output or Path(f"fluxui_{ended.request.seed}{suffix}")
    for image in ended.images:
        numbered = output.with_stem(f"{output.stem}_{image.index}")
        path = numbered if len(ended.images) > 1 else output
        picture = studio.pictures.image(ended.id, image.index)
        try:
            with studio.pictures.open(picture) as stream, path.open("wb") as target:
                shutil.copyfileobj(stream, target)
        except OSError as error:
            raise ConfigurationError(
                f"{path} could not be written: {error.strerror}.",
                f"The picture is kept in the history as {ended.id}.",
            ) from None
        paths.append(path)
    return paths


# worker


def _work(settings: Settings, given: argparse.Namespace) -> int:
    from fluxui.crew import lead, work

    if not given.gpus:
        return work(settings)
    return lead(given.gpus, settings)


# loras


def _list_loras(studio: Studio, given: argparse.Namespace) -> int:
    for lora in studio.collection.all(patience=None):
        print(f"{lora.model_id:32} {lora.size / 1e6:8.1f} MB  {lora.fit.verdict}")
    return 0


def _show_lora(studio: Studio, given: argparse.Namespace) -> int:
    _print_lora(studio.collection.get(given.model_id))
    return 0


def _import_lora(studio: Studio, given: argparse.Namespace) -> int:
    words = tuple(word.strip() for word in given.trigger_words.split(",") if word.strip())
    said = given.model_id, given.name, words
    file = Path(given.source)
    if file.is_file() and not given.bucket:
        _print_lora(studio.collection.add(file, *said))
        return 0
    if file.suffix and not given.bucket and "://" not in given.source:
        raise InvalidRequest(f"There is no file {file}.")
    collection = studio.collection
    source = collection.find(_wanted(given))
    _print_lora(collection.fetch(source, _show_progress, *said))
    return 0


def _wanted(given: argparse.Namespace) -> Address | str:
    if given.bucket:
        return str(given.source)
    told = Address.parse(given.source)
    return Address(told.repo_id, given.filename or told.filename, given.revision or told.revision)


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        print(f"\r\033[K{done / 1e6:.1f} of {total / 1e6:.1f} MB", end=end, file=sys.stderr)


def _remove_lora(studio: Studio, given: argparse.Namespace) -> int:
    used = studio.collection.delete(given.model_id)
    print(f"{given.model_id} was moved to the trash. {used} pictures painted with it stay.")
    return 0


def _print_lora(lora: Lora) -> None:
    facts = {
        "id": lora.model_id,
        "name": lora.name,
        "trigger words": ", ".join(lora.trigger_words) or "none",
        "default weight": f"{lora.default_weight:g}",
        "format": f"{lora.fit.format}, rank {lora.fit.rank}, {lora.fit.layers} layers",
        "size": f"{lora.size / 1e6:.1f} MB",
        "sha256": lora.sha256,
        "fit": lora.fit.verdict,
    }
    _print_facts(facts)


def _print_facts(facts: dict[str, str]) -> None:
    for name, value in facts.items():
        print(f"{name:16}{value}")


# history


def _list_history(studio: Studio, given: argparse.Namespace) -> int:
    if given.limit < 1:
        raise InvalidRequest("--limit should be at least 1.")
    page = studio.pictures.page(Query(words=given.search), limit=given.limit)
    for one in page.generations:
        print(f"{one.id}  {one.created_at:%Y-%m-%d %H:%M}  {one.status.value:9}  {_short(one)}")
    if page.cursor:
        print(f"{page.total - len(page.generations)} more: --limit", file=sys.stderr)
    return 0


def _short(generation: Generation) -> str:
    line = " ".join(generation.request.prompt.split())
    return line if len(line) <= 60 else f"{line[:59]}…"


def _show_history(studio: Studio, given: argparse.Namespace) -> int:
    print(studio.get(given.job_id).model_dump_json(indent=1))
    return 0


# space


def _space(settings: Settings, given: argparse.Namespace) -> int:
    from fluxui.space import Spaces, choose_plan

    spaces = Spaces(settings)
    if given.call == "deploy":
        plan = choose_plan(settings, given.name, given.hardware)
        if given.dry_run:
            print(*plan.lines(), sep="\n")
            return 0
        print(spaces.deploy(plan, lambda line: print(line, file=sys.stderr, flush=True)))
    elif given.call == "status":
        _print_facts(spaces.status(given.name))
    elif given.call == "logs":
        for line in spaces.logs(given.name, given.build):
            print(line)
    elif given.yes or _typed_again(given.name):
        spaces.delete(given.name)
        print(f"{given.name} was deleted. The bucket of its pictures stays.")
    else:
        print("Nothing was deleted.", file=sys.stderr)
        return 1
    return 0


def _typed_again(name: str) -> bool:
    print(f"Type {name} to delete it: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == name
