"""History and storage compared: records without bytes, bytes without records, and both repaired.

Nothing is lost by a repair: a record that goes is written to a file first, and so is one in the
storage that says something else than the history. Where the listing tells the MD5 of each object,
as most buckets do, only records that differ are read; elsewhere every record is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fluxui import images
from fluxui.errors import InvalidRequest, NotFound, StorageRefused
from fluxui.generation import Generation, Image, Status
from fluxui.history import Catalogue, History, Query, Records
from fluxui.outputs import RECORD, Flaw, Output, in_trash, list_outputs, present, read
from fluxui.storage import Storage, record_key

PAGE = 500
# A bucket's answers take longer than its bytes: so many are asked for at once.
READERS = 16


@dataclass
class Findings:
    """What does not agree. Each list holds generations or outputs, newest first."""

    records: int = 0
    outputs: int = 0
    # Records of the history whose pictures are gone, all or some.
    gone: list[Generation] = field(default_factory=list)
    partly: list[Generation] = field(default_factory=list)
    # In the history, but without a thumbnail, or with another record beside the pictures.
    no_thumb: list[tuple[Generation, Image]] = field(default_factory=list)
    other_record: list[Generation] = field(default_factory=list)
    # In the storage alone.
    lacking: list[Generation] = field(default_factory=list)
    flaws: dict[Flaw, list[str]] = field(default_factory=dict)

    @property
    def fine(self) -> bool:
        return not self.sentences()

    def sentences(self) -> list[str]:
        """One for each thing that does not agree."""
        said = {
            "in the history, their pictures are gone": self.gone,
            "in the history, some of their pictures are gone": self.partly,
            "in the storage, but not in the history": self.lacking,
            "with another record beside the pictures than in the history": self.other_record,
        }
        found = [_said(len(ones), words, ones[0].id) for words, ones in said.items() if ones]
        if self.no_thumb:
            found.append(_said(len(self.no_thumb), "without a thumbnail", self.no_thumb[0][0].id))
        return found + [flaw.said(ids) for flaw, ids in self.flaws.items()]


def _said(count: int, words: str, first: str) -> str:
    return f"{count:,} {words} (first {first})."


def verify(storage: Storage, history: History) -> Findings:
    """Compare. Raises StorageError."""
    outputs = {output.job_id: output for output in list_outputs(storage)}
    found = Findings(outputs=len(outputs))
    to_read: list[Output] = []
    for generation in completed(history):
        found.records += 1
        output = outputs.pop(generation.id, None)
        if _compare(generation, output, found) and output:
            to_read.append(output)
    with ThreadPoolExecutor(READERS, thread_name_prefix="fluxui-read") as pool:
        found.other_record += filter(None, pool.map(partial(_other, storage, history), to_read))
    trashed = in_trash(storage)
    for output in outputs.values():
        # Known: it is being painted just now, or its end could not be recorded.
        if history.knows(output.job_id) or output.job_id in trashed:
            continue
        lacking, flaw = read(storage, output)
        if lacking:
            found.lacking.append(lacking)
        if flaw:
            found.flaws.setdefault(flaw, []).append(output.job_id)
    return found


def completed(history: Catalogue) -> Iterator[Generation]:
    """Every one that has pictures, newest first."""
    query, cursor = Query(status=Status.completed), ""
    while True:
        page = history.page(query, cursor, PAGE)
        yield from page.generations
        cursor = page.cursor
        if not cursor:
            return


def _compare(generation: Generation, output: Output | None, found: Findings) -> bool:
    """What the listing tells; whether the record beside the pictures is still to be read."""
    there = [image for image in generation.images if output and present(image, output)]
    if output is None or not there:
        found.gone.append(generation)
        return False
    if len(there) < len(generation.images):
        found.partly.append(generation)
    thumbs = (image for image in there if Path(image.thumb_key).name not in output.sizes)
    found.no_thumb += [(generation, image) for image in thumbs]
    if RECORD not in output.sizes:
        found.other_record.append(generation)
        return False
    return output.md5 != hashlib.md5(generation.record_file(), usedforsecurity=False).hexdigest()


def _other(storage: Storage, history: Records, output: Output) -> Generation | None:
    """The history's record, if the one beside the pictures says something else."""
    with suppress(NotFound):  # deleted since it was listed
        generation = history.get(output.job_id)
        with storage.open(output.folder + RECORD) as stream:
            text = stream.read()
        return None if text == generation.record_file() or _says(text, generation) else generation
    return None


def _says(text: bytes, generation: Generation) -> bool:
    """One of an older version is shorter, and says the same."""
    try:
        return Generation.model_validate_json(text) == generation
    except ValueError:
        return False


def repair(found: Findings, storage: Storage, history: History, folder: Path) -> Path | None:
    """Make both agree; where the records that went were written to in `folder`, if any went.

    Raises StorageError, HistoryError, and StorageRefused where the storage has nothing at all:
    that is another bucket, and no damage.
    """
    if found.gone and not found.outputs:
        raise StorageRefused(
            "The storage holds no pictures at all: nothing was repaired.",
            "Check that it is the right bucket, prefix or folder.",
        )
    aside = _set_aside([*found.gone, *found.partly], folder)
    outputs = {output.job_id: output for output in list_outputs(storage)}
    for generation in found.gone:
        history.remove(generation.id)
    for generation in found.partly:
        output = outputs[generation.id]
        there = tuple(image for image in generation.images if present(image, output))
        _keep(generation.model_copy(update={"images": there}), storage, history)
    for generation in found.other_record:
        _rewrite(history.get(generation.id), outputs[generation.id], storage)
    for _, image in found.no_thumb:
        _draw(image, storage)
    history.merge(found.lacking)
    for job_id in found.flaws.get(Flaw.restored, ()):
        generation = history.get(job_id)
        storage.put(record_key(generation), generation.record_file(), "application/json")
    return aside


def _set_aside(generations: list[Generation], folder: Path) -> Path | None:
    """As JSON lines, which `history import` reads."""
    if not generations:
        return None
    path = folder / "history.repaired.jsonl"
    with path.open("a", encoding="utf-8") as file:
        for generation in generations:
            file.write(json.dumps(generation.record()) + "\n")
    return path


def _keep(generation: Generation, storage: Storage, history: Records) -> None:
    history.replace(generation)
    storage.put(record_key(generation), generation.record_file(), "application/json")


def _rewrite(generation: Generation, output: Output, storage: Storage) -> None:
    """The history's record beside the pictures; the one that was there is kept beside it."""
    key = output.folder + RECORD
    if RECORD in output.sizes:
        with storage.open(key) as stream:
            storage.put(f"{output.folder}record.before.json", stream.read(), "application/json")
    storage.put(record_key(generation), generation.record_file(), "application/json")


def _draw(image: Image, storage: Storage) -> None:
    """Its thumbnail, anew. A picture that can't be read any more stays without one."""
    with storage.open(image.key) as stream:
        content = stream.read()
    try:
        storage.put(image.thumb_key, images.thumbnail_of(content), "image/webp")
    except InvalidRequest:
        return
