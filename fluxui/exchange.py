"""The history as JSON lines, out of one fluxui and into another: a record each, oldest first.

Records travel, bytes do not: what comes in has to find its pictures in the storage.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fluxui.generation import Generation, Status
from fluxui.history import Catalogue, Gaps, Query
from fluxui.outputs import Output, list_kept, present
from fluxui.storage import Storage

PAGE = 500


@dataclass
class Imported:
    """How many lines came in, and why the others did not."""

    added: int = 0
    known: int = 0
    unreadable: int = 0
    unfinished: int = 0
    without_pictures: int = 0

    def sentences(self) -> list[str]:
        said = {
            "were here already": self.known,
            "can't be read: they were edited or cut off": self.unreadable,
            "had not ended": self.unfinished,
            "have no pictures in this storage, or are in its trash": self.without_pictures,
        }
        return [f"{count:,} left out that {words}." for words, count in said.items() if count]


def export_lines(history: Catalogue) -> Iterator[str]:
    """Every record, ended or not."""
    cursor = ""
    while True:
        page = history.page(Query(oldest=True), cursor, PAGE)
        for generation in page.generations:
            yield json.dumps(generation.record()) + "\n"
        cursor = page.cursor
        if not cursor:
            return


def import_lines(lines: Iterable[bytes], storage: Storage, history: Gaps) -> Imported:
    """Take in what the history lacks. Raises StorageError, HistoryError."""
    outputs = {output.job_id: output for output in list_kept(storage)}
    told = Imported()
    fitting = list(_fitting((line for line in lines if line.strip()), outputs, history, told))
    told.added = history.merge(fitting)
    return told


def _fitting(
    lines: Iterable[bytes], outputs: dict[str, Output], history: Gaps, told: Imported
) -> Iterator[Generation]:
    for line in lines:
        try:
            generation = Generation.model_validate_json(line)
        except ValueError:
            told.unreadable += 1
            continue
        if history.knows(generation.id):
            told.known += 1
        elif not generation.status.ended:
            told.unfinished += 1
        elif not _has_pictures(generation, outputs.get(generation.id)):
            told.without_pictures += 1
        else:
            yield generation


def _has_pictures(generation: Generation, output: Output | None) -> bool:
    if generation.status is not Status.completed:
        return not generation.images
    there = output is not None and all(present(image, output) for image in generation.images)
    return there and bool(generation.images)
