from __future__ import annotations

import json

import pytest

from fluxui.history.format import Texts, apply, dump, parse, record

BASE: dict[str, Texts] = {"generations": {1: '{"a":1}', 2: '{"b":"\\u00e9\\n"}'}}
CHANGES: list[dict[int, str | None]] = [
    {3: '{"c":[1,2]}'},
    {1: None},
    {2: '{"b":"\\u001e"}', 4: "{}"},
    {3: None, 5: '{"d":null}'},
]


def states() -> list[tuple[int, Texts]]:
    """Where each record ends, and the table that stands there."""
    data = dump(BASE)
    table = dict(BASE["generations"])
    found = [(len(data), dict(table))]
    for changes in CHANGES:
        data += record("generations", changes)
        apply(table, changes)
        found.append((len(data), dict(table)))
    return found


def whole() -> bytes:
    return dump(BASE) + b"".join(record("generations", changes) for changes in CHANGES)


def test_cut_at_every_byte_it_is_the_state_after_the_last_whole_record() -> None:
    data = whole()
    expected = states()
    for cut in range(expected[0][0], len(data) + 1):
        end, table = [state for state in expected if state[0] <= cut][-1]
        found = parse(data[:cut])
        assert (found.end, found.tables["generations"], found.whole) == (end, table, True), cut


def test_every_flipped_byte_of_a_record_loses_that_record_alone() -> None:
    data = whole()
    expected = states()
    for at in range(expected[0][0], len(data)):
        damaged = bytes([*data[:at], data[at] ^ 0x55, *data[at + 1 :]])
        found = parse(damaged)
        last = at >= expected[-2][0]
        assert found.whole == last, at
        if last:
            assert found.tables["generations"] == expected[-2][1]
        else:
            assert found.tables["generations"][5] == '{"d":null}'


@pytest.mark.parametrize(
    "head", [b"{", b"[]", b'{"t": 1}', b'{"t": {"x": {}}}', b"\xff\xfe", b"[" * 99_999]
)
def test_a_file_of_something_else_is_not_whole(head: bytes) -> None:
    found = parse(head)
    assert (found.tables, found.whole) == ({}, False)


def test_records_behind_an_unreadable_base_are_kept() -> None:
    found = parse(b"{garbage" + record("generations", {7: '{"a":1}'}))
    assert (found.tables, found.whole) == ({"generations": {7: '{"a":1}'}}, False)


def test_a_damaged_line_of_the_base_costs_that_document_alone() -> None:
    texts: Texts = {number: f'{{"number":{number}}}' for number in range(1, 50)}
    data = dump({"generations": texts, "other": {}})
    for at in range(data.index(b'"1"'), data.index(b"\n}")):
        found = parse(bytes([*data[:at], data[at] ^ 0x80, *data[at + 1 :]]))
        assert not found.whole
        lost = texts.items() - found.tables["generations"].items()
        assert len(lost) == (2 if data[at : at + 1] == b"\n" else 1), at
        cut = parse(data[:at])
        assert not cut.whole and cut.tables["generations"].items() <= texts.items()


@pytest.mark.parametrize(
    "tables", [{}, {"t": {}}, {"t": {}, "u": {}}, {'"q\\"': {1: '{"a":"},"}'}, "u": {7: "{}"}}]
)
def test_what_is_dumped_is_parsed(tables: dict[str, Texts]) -> None:
    assert parse(dump(tables)).tables == tables
    assert json.loads(dump(tables)).keys() == tables.keys()


def test_an_empty_file_is_an_empty_database() -> None:
    found = parse(b"")
    assert (found.tables, found.base, found.end, found.whole) == ({}, 0, 0, True)
