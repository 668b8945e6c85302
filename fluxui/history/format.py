"""The bytes of a history file: plain TinyDB JSON, then one record for each change since.

A record follows RFC 7464 with a checksum: a byte that no JSON holds, the CRC-32 of the rest, one
line of JSON. This module reads and writes bytes; it opens no file.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

Texts = dict[int, str]  # document id → its JSON
Changes = Mapping[int, "str | None"]  # None: removed
Seen = Callable[[str, int, Any], None]  # table, document id, document

PART = 1000  # documents

_MARK = b"\x1e"
_DOCUMENT = re.compile(rb'"(\d+)": (\{.*\}),?')
_TABLE = re.compile(rb'\{?("(?:[^"\\]|\\.)*"): \{')
_ENDS = (b"}}", b"{}")
_BETWEEN = (*_ENDS, b"},", b"")


@dataclass(frozen=True)
class Parsed:
    """`base` is where the plain JSON ends, `end` where the last good record does.

    It is not `whole` if the JSON can't be read, or if good records follow a bad one. A bad last
    record is no damage: it was cut off while it was written, and never acknowledged.
    """

    tables: dict[str, Texts]
    base: int
    end: int
    whole: bool


def encode(document: Any) -> str:
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def apply(texts: Texts, changes: Changes) -> None:
    for doc_id, text in changes.items():
        if text is None:
            texts.pop(doc_id, None)
        else:
            texts[doc_id] = text


def record(table: str, changes: Changes) -> bytes:
    body = ",".join(f'"{doc_id}":{text or "null"}' for doc_id, text in changes.items())
    data = f"[{json.dumps(table)},{{{body}}}]".encode()
    return b"%s%08x %s\n" % (_MARK, zlib.crc32(data), data)


def dump(tables: Mapping[str, Texts]) -> bytes:
    """Plain TinyDB JSON, one document a line."""
    return b"".join(dump_parts(tables))


def dump_parts(tables: Mapping[str, Texts]) -> Iterator[bytes]:
    """The same, a few documents at a time: the whole of it may be as large as the memory."""
    before = "{"  # and after the first table a comma
    for name, texts in tables.items():
        yield f"{before}{json.dumps(name)}: {{\n".encode()
        lines = (f'"{doc_id}": {text}' for doc_id, text in texts.items())
        comma = ""
        while part := ",\n".join(islice(lines, PART)):
            yield f"{comma}{part}".encode()
            comma = ",\n"
        yield b"\n}"
        before = ",\n"
    yield b"}\n" if tables else b"{}\n"


def texts_of(data: Any) -> dict[str, Texts]:
    """Raises ValueError if this is no TinyDB."""
    if not isinstance(data, dict) or not all(isinstance(table, dict) for table in data.values()):
        raise ValueError("not a TinyDB file")
    return {
        name: {int(doc_id): encode(document) for doc_id, document in table.items()}
        for name, table in data.items()
    }


def unseen(table: str, doc_id: int, document: Any) -> None:
    """Nobody looks at the documents while they are read."""


def parse(data: bytes, seen: Seen = unseen) -> Parsed:
    """Everything that can be read; never raises.

    `seen` is told of each document in the order of the file, so that nobody has to parse it
    again: a later one of the same id takes the place of the former, and one that was removed is
    in the tables no more.
    """
    base = data.find(_MARK)
    base = len(data) if base < 0 else base
    tables, whole = _parse_head(data, base, seen)
    position = end = base
    torn = False
    while position < len(data):
        following = data.find(_MARK, position + 1)
        following = len(data) if following < 0 else following
        # What follows the line is no record: its mark was lost.
        line, newline, rest = data[position + 1 : following].partition(b"\n")
        change = _checked(line) if newline else None
        if change:
            whole = whole and not torn
            _apply(tables, *change, seen)
            end = position + len(_MARK) + len(line) + 1
        torn = torn or change is None or bool(rest)
        position = following
    return Parsed(tables, base, end, whole)


def _apply(tables: dict[str, Texts], table: str, documents: Mapping[int, Any], seen: Seen) -> None:
    changes: dict[int, str | None] = {}
    for doc_id, document in documents.items():
        changes[doc_id] = None if document is None else encode(document)
        if document is not None:
            seen(table, doc_id, document)
    apply(tables.setdefault(table, {}), changes)


def _parse_head(data: bytes, end: int, seen: Seen) -> tuple[dict[str, Texts], bool]:
    tables, whole = _parse_lines(data, end, seen)
    if whole or not end:
        return tables, True
    try:
        found = json.loads(data[:end])  # as stock TinyDB writes it
        tables = texts_of(found)
    except (ValueError, RecursionError):
        return tables, False
    for name, documents in found.items():
        for doc_id, document in documents.items():
            seen(name, int(doc_id), document)
    return tables, True


def _parse_lines(data: bytes, end: int, seen: Seen) -> tuple[dict[str, Texts], bool]:
    """What `dump` wrote, a line at a time: faster than all at once, and damage stays local."""
    tables: dict[str, Texts] = {}
    name, texts, line = "", {}, b""
    whole = True
    for line in _lines(data, end):
        found = _DOCUMENT.fullmatch(line)
        if found and (read := _read(found[2])):
            doc_id = int(found[1])
            texts[doc_id] = read[0]
            seen(name, doc_id, read[1])
        elif found := _TABLE.fullmatch(line):
            name = json.loads(found[1])
            texts = tables.setdefault(name, {})
        elif line not in _BETWEEN:
            whole = False
    return tables, whole and line in _ENDS


def _lines(data: bytes, end: int) -> Iterator[bytes]:
    """Up to `end`, one at a time: a list of them all would be the file once more in memory."""
    while end and data[end - 1 : end] == b"\n":
        end -= 1
    begin = 0
    while begin <= end:
        stop = data.find(b"\n", begin, end)
        stop = end if stop < 0 else stop
        yield data[begin:stop]
        begin = stop + 1


def _read(line: bytes) -> tuple[str, Any] | None:
    """A document as text and parsed; None if it is damaged."""
    try:
        text = line.decode()
        return text, json.loads(text)
    except (ValueError, RecursionError):
        return None


def _checked(line: bytes) -> tuple[str, dict[int, Any]] | None:
    data = line[9:]
    if line[:9] != b"%08x " % zlib.crc32(data):
        return None
    table, documents = json.loads(data)
    return table, {int(key): document for key, document in documents.items()}
