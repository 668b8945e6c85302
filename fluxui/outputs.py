"""What the storage holds of each generation, and its record as it can be read from there.

A stranger may have edited a record, or deleted half of the pictures: what is read here is checked
against what is listed. It changes nothing, and knows no history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time, timezone
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

from fluxui import images
from fluxui.errors import InvalidRequest
from fluxui.generation import Generation, Image, LoraUse, Status
from fluxui.request import MAX_SEED, GenerationRequest, LoraRef
from fluxui.storage import GENERATED, PICTURE_SUFFIXES, TRASH, Storage, folder_of

RECORD = "record.json"


class Flaw(Enum):
    """What is wrong with an output; the value says it of `{count}`, the first being `{first}`."""

    gone = (
        "{count} without any of their pictures (first {first}): left out, their records stay "
        "where they are."
    )
    partly = "{count} without some of their pictures (first {first}): the others are shown."
    unreadable = "{count} whose record can't be read (first {first}): left out, left as they are."
    restored = "{count} without a record (first {first}): made again from what the pictures say."
    silent = (
        "{count} without a record, and whose pictures carry no settings (first {first}): left out, "
        "left as they are."
    )

    def said(self, job_ids: list[str]) -> str:
        count = f"{len(job_ids):,} generation{'s' * (len(job_ids) > 1)}"
        return self.value.format(count=count, first=job_ids[0])


@dataclass
class Output:
    """One generation's folder, `generated/…/<id>/`: the size of each file by its name.

    `md5` is that of its record, where the listing tells it.
    """

    folder: str
    modified: datetime
    md5: str = ""
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def job_id(self) -> str:
        return self.folder.split("/")[-2]

    @property
    def pictures(self) -> list[str]:
        """Names, in the order of their numbers; one of each, should it be there in two formats."""
        found = {_number(name): name for name in self.sizes}
        return [found[number] for number in sorted(found) if number]


def list_kept(storage: Storage) -> list[Output]:
    """Newest day first, without those that are in the trash. Raises StorageError."""
    trashed = in_trash(storage)
    return [output for output in list_outputs(storage) if output.job_id not in trashed]


def list_outputs(storage: Storage) -> list[Output]:
    """Newest day first. Raises StorageError."""
    found: dict[str, Output] = {}
    for stored in storage.list(GENERATED):
        folder, _, name = stored.key.rpartition("/")
        if folder.count("/") == 4:  # generated/2026/11/22/<id>
            output = found.setdefault(folder, Output(f"{folder}/", stored.modified))
            output.sizes[name] = stored.size
            if name == RECORD:
                output.md5 = stored.md5
    return sorted(found.values(), key=lambda output: output.folder, reverse=True)


def in_trash(storage: Storage) -> set[str]:
    """The ids of deleted generations. Raises StorageError."""
    keys = (stored.key for stored in storage.list(TRASH))
    return {key.split("/")[-2] for key in keys if key.endswith(f"/{RECORD}")}


def read(storage: Storage, output: Output) -> tuple[Generation | None, Flaw | None]:
    """What the history should hold of it, if anything, and what is wrong, if anything.

    Raises StorageError, ObjectNotFound for what was deleted meanwhile.
    """
    if not output.pictures:
        return None, Flaw.gone
    if RECORD not in output.sizes:
        generation = _from_pictures(storage, output)
        return generation, Flaw.restored if generation else Flaw.silent
    generation = _from_record(storage, output)
    if generation is None:
        return None, Flaw.unreadable
    there = tuple(image for image in generation.images if present(image, output))
    if not there:
        return None, Flaw.gone
    if len(there) < len(generation.images):
        return generation.model_copy(update={"images": there}), Flaw.partly
    return generation, None


def present(image: Image, output: Output) -> bool:
    """Whether it is there, in the folder of its own generation."""
    folder, _, name = image.key.rpartition("/")
    return f"{folder}/" == output.folder and name in output.sizes


def _from_record(storage: Storage, output: Output) -> Generation | None:
    """None for what is not, or no longer, the record of this output."""
    with storage.open(output.folder + RECORD) as stream:
        text = stream.read()
    try:
        generation = Generation.model_validate_json(text)
    except ValueError:
        return None
    own = folder_of(generation) == output.folder
    thumbs = all(image.thumb_key.startswith(output.folder) for image in generation.images)
    done = generation.status is Status.completed
    return generation if own and thumbs and done else None


def _from_pictures(storage: Storage, output: Output) -> Generation | None:
    """The record anew. Who had asked for it is not in the pictures: it becomes the owner's."""
    found = list(_pictures(storage, output))
    if not found:
        return None
    images_there, settings = [image for image, _ in found], found[0][1]
    loras = settings["loras"]
    try:
        request = GenerationRequest(
            prompt=settings["prompt"],
            loras=tuple(LoraRef(model_id=one["model_id"], weight=one["weight"]) for one in loras),
            num_images=max(image.index for image in images_there),
            num_inference_steps=settings["num_inference_steps"],
            guidance_scale=settings["guidance_scale"],
            width=settings["width"],
            height=settings["height"],
            seed=(settings["seed"] - images_there[0].index + 1) % (MAX_SEED + 1),
        )
        return Generation(
            id=output.job_id,
            request=request,
            status=Status.completed,
            base_model=settings["base_model"],
            painted=settings["painted"],
            loras=tuple(LoraUse(**one) for one in loras),
            images=tuple(images_there),
            created_at=_day_of(output),
            completed_at=output.modified,
        )
    except (ValueError, TypeError, KeyError):
        return None


def _pictures(storage: Storage, output: Output) -> Iterator[tuple[Image, dict[str, Any]]]:
    for name in output.pictures:
        with storage.open(output.folder + name) as stream:
            content = stream.read()
        try:
            settings = images.read_settings(content)
            index = _number(name)
            image = Image(
                index=index,
                key=output.folder + name,
                thumb_key=f"{output.folder}thumb_{index}.webp",
                seed=settings["seed"],
                width=settings["width"],
                height=settings["height"],
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
        except (InvalidRequest, ValueError, KeyError):
            continue
        yield image, settings


def _day_of(output: Output) -> datetime:
    """A moment on the day that the folder names: when it was stored, if that is the day."""
    year, month, day = map(int, output.folder.split("/")[1:4])
    midnight = datetime.combine(datetime(year, month, day), time(), timezone.utc)
    return output.modified if output.modified.date() == midnight.date() else midnight


def _number(name: str) -> int:
    """Of `image_3.png` 3, and 0 of what is no picture."""
    path = PurePosixPath(name)
    kind, _, number = path.stem.partition("_")
    ours = kind == "image" and number.isdecimal() and path.suffix in PICTURE_SUFFIXES
    return int(number) if ours else 0
