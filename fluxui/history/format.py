"""The bytes of a history file: plain TinyDB JSON, then one record for each change since.

A record follows RFC 7464 with a checksum: a byte that no JSON holds, the CRC-32 of the rest, one
line of JSON. This module reads and writes bytes; it opens no file.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Texts = dict[int, str]  # document id → its JSON
Changes = Mapping[int, "str | None"]  # None: removed

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
    bodies = (
        f"{json.dumps(name)}: {{\n"
        + ",\n".join(f'"{doc_id}": {text}' for doc_id, text in texts.items())
        + "\n}"
        for name, texts in tables.items()
    )
    return ("{" + ",\n".join(bodies) + "}\n").encode()


def texts_of(data: Any) -> dict[str, Texts]:
    """Raises ValueError if this is no TinyDB."""
    if not isinstance(data, dict) or not all(isinstance(table, dict) for table in data.values()):
        raise ValueError("not a TinyDB file")
    return {
        name: {int(doc_id): encode(document) for doc_id, document in table.items()}
        for name, table in data.items()
    }


def parse(data: bytes) -> Parsed:
    """Everything that can be read; never raises."""
    head, *records = data.split(_MARK)
    tables, whole = _parse_head(head)
    position = end = len(head)
    torn = False
    for text in records:
        # What follows the line is no record: its mark was lost.
        line, newline, rest = text.partition(b"\n")
        change = _checked(line) if newline else None
        if change:
            whole = whole and not torn
            table, documents = change
            apply(tables.setdefault(table, {}), documents)
            end = position + len(_MARK) + len(line) + 1
        torn = torn or change is None or bool(rest)
        position += len(_MARK) + len(text)
    return Parsed(tables, len(head), end, whole)


def _parse_head(head: bytes) -> tuple[dict[str, Texts], bool]:
    tables, whole = _parse_lines(head)
    if whole or not head:
        return tables, True
    try:
        return texts_of(json.loads(head)), True  # as stock TinyDB writes it
    except (ValueError, RecursionError):
        return tables, False


def _parse_lines(head: bytes) -> tuple[dict[str, Texts], bool]:
    """What `dump` wrote, a line at a time: faster than all at once, and damage stays local."""
    tables: dict[str, Texts] = {}
    texts: Texts = {}
    lines = head.rstrip(b"\n").split(b"\n")
    whole = lines[-1] in _ENDS
    for line in lines:
        if (found := _DOCUMENT.fullmatch(line)) and _is_json(found[2]):
            texts[int(found[1])] = found[2].decode()
        elif found := _TABLE.fullmatch(line):
            texts = tables.setdefault(json.loads(found[1]), {})
        elif line not in _BETWEEN:
            whole = False
    return tables, whole


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _checked(line: bytes) -> tuple[str, Changes] | None:
    data = line[9:]
    if line[:9] != b"%08x " % zlib.crc32(data):
        return None
    table, documents = json.loads(data)
    return table, {int(key): doc if doc is None else encode(doc) for key, doc in documents.items()}
