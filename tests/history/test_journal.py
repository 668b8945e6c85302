"""The contract of TinyDB over its own storages and ours, then what only ours promises."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tinydb import TinyDB, where
from tinydb.storages import JSONStorage, MemoryStorage
from tinydb.table import Document

from fluxui.errors import HistoryLocked, HistoryReadOnly, StorageFull
from fluxui.history.journal import JournalStorage
from fluxui.history.table import JournalDatabase
from tests.disk import file_limit


def journal(path: Path, compact_bytes: int = 16 * 2**20) -> JournalDatabase:
    return JournalDatabase(path, compact_bytes, storage=JournalStorage)


@pytest.fixture(params=["memory", "stock", "journal"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TinyDB]:
    made = {
        "memory": lambda: TinyDB(storage=MemoryStorage),
        "stock": lambda: TinyDB(tmp_path / "stock.json", storage=JSONStorage),
        "journal": lambda: journal(tmp_path / "journal.json"),
    }[request.param]()
    with made:
        yield made


def test_insert_get_update_remove(database: TinyDB) -> None:
    table = database.table("t")
    assert table.insert({"a": 1, "n": [1]}) == 1
    assert table.insert_multiple([{"a": 2}, {"a": 3}]) == [2, 3]
    assert table.get(doc_id=1) == {"a": 1, "n": [1]}
    assert table.get(doc_id=9) is None
    assert table.update({"b": 1}, doc_ids=[1, 9]) == [1]
    assert table.update({"c": 1}, where("a") == 2) == [2]
    assert table.remove(doc_ids=[3]) == [3]
    assert [dict(document) for document in table] == [{"a": 1, "n": [1], "b": 1}, {"a": 2, "c": 1}]
    assert len(table) == 2
    assert table.search(where("a") > 1)[0].doc_id == 2
    assert table.contains(doc_id=2) and not table.contains(doc_id=3)


def test_given_ids_upsert_truncate_and_drop(database: TinyDB) -> None:
    table = database.table("t")
    assert table.insert(Document({"a": 1}, 7)) == 7
    assert table.insert({"a": 2}) == 8
    with pytest.raises(ValueError, match="already exists"):
        table.insert(Document({}, 7))
    assert table.upsert(Document({"a": 3}, 7)) == [7]
    assert table.upsert({"a": 4}, where("a") == 99) == [9]
    database.table("other").insert({})
    assert database.tables() == {"t", "other"}
    table.truncate()
    assert table.all() == [] and table.insert({"a": 5}) == 1
    database.drop_table("other")
    assert database.tables() == {"t"}
    database.drop_tables()
    assert database.tables() == set()


def test_an_updater_that_fails_changes_nothing(database: TinyDB) -> None:
    table = database.table("t")
    table.insert_multiple([{"a": [1]}, {"a": 2}])
    with pytest.raises(AttributeError):
        table.update(lambda document: document["a"].append(2))
    if not isinstance(database.storage, MemoryStorage):  # TinyDB's own weakness
        assert table.all() == [{"a": [1]}, {"a": 2}]


def test_what_is_read_is_a_copy_at_every_depth(tmp_path: Path) -> None:
    with journal(tmp_path / "h.json") as database:
        database.insert({"deep": {"list": [1]}})
        database.all()[0]["deep"]["list"].append(2)
        database.get(doc_id=1)["deep"].clear()
        assert database.all() == [{"deep": {"list": [1]}}]


def test_a_value_that_is_no_json_is_refused_whole(tmp_path: Path) -> None:
    with journal(tmp_path / "h.json") as database:
        with pytest.raises(ValueError, match="JSON compliant"):
            database.insert({"weight": float("nan")})
        with pytest.raises(TypeError):
            database.insert_multiple([{"a": 1}, {"a": object()}])
        assert database.all() == []


def test_every_write_appends_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    with journal(path) as database:
        sizes = []
        for number in range(100):
            database.insert({"number": number, "text": "x" * 500})
            sizes.append(path.stat().st_size)
        steps = [after - before for before, after in zip(sizes, sizes[1:], strict=False)]
        assert max(steps) < 600


def test_after_close_stock_tinydb_opens_it_and_we_open_stock(tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    with journal(path) as database:
        database.table("t").insert_multiple([{"a": "é\u2028"}, {"a": 2}])
        database.table("t").remove(doc_ids=[2])
    with TinyDB(path) as stock:
        assert stock.table("t").all() == [{"a": "é\u2028"}]
        stock.table("t").insert({"a": 3})
    with journal(path) as database:
        assert database.table("t").all() == [{"a": "é\u2028"}, {"a": 3}]


def test_compaction_keeps_the_change_that_caused_it(tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    with journal(path, compact_bytes=1) as database:
        for number in range(5):
            database.insert({"number": number})
            assert b"\x1e" not in path.read_bytes()  # it did compact
            assert len(json.loads(path.read_bytes())["_default"]) == number + 1
        database.update({"number": 9}, doc_ids=[5])
        database.remove(doc_ids=[1])
    with journal(path) as database:
        assert [document["number"] for document in database] == [1, 2, 3, 9]


def test_a_cut_off_line_is_dropped_and_the_next_one_lasts(tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    database = journal(path)
    database.insert({"a": 1})
    end = path.stat().st_size
    database.insert({"a": 2})
    database.storage._held.close()  # dies here: no compaction
    os.truncate(path, end + 20)
    with journal(path) as database:
        assert database.all() == [{"a": 1}]
        assert database.storage.set_aside is None
        database.insert({"a": 3})
        database.storage._held.close()
    with journal(path) as database:
        assert database.all() == [{"a": 1}, {"a": 3}]


def test_a_damaged_file_is_copied_aside_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    path.write_bytes(b'{"_default": {"1": {"a": 1}, ')
    with journal(path) as database:
        aside = database.storage.set_aside
        assert aside.read_bytes() == b'{"_default": {"1": {"a": 1}, '
        assert aside.name.startswith("h.damaged-20")
        database.insert({"a": 2})
    with journal(path) as database:
        assert database.all() == [{"a": 2}] and database.storage.set_aside is None


def test_a_second_opener_is_told_who_holds_it(tmp_path: Path) -> None:
    match = f"process {os.getpid()}"
    with journal(tmp_path / "h.json"), pytest.raises(HistoryLocked, match=match):
        journal(tmp_path / "h.json")
    journal(tmp_path / "h.json").close()


def test_another_process_is_refused_too(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fluxui.history.journal import JournalStorage\n"
        "JournalStorage(Path(sys.argv[1]))"
    )
    with journal(tmp_path / "h.json"):
        result = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "h.json"], capture_output=True, check=False
        )
    assert result.returncode == 1 and b"HistoryLocked" in result.stderr


def test_eight_threads_lose_nothing(tmp_path: Path) -> None:
    with journal(tmp_path / "h.json", compact_bytes=20_000) as database:
        table = database.table("t")
        with ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(lambda number: table.insert({"number": number}), range(400)))
        assert sorted(ids) == list(range(1, 401))
    with journal(tmp_path / "h.json") as database:
        assert {document["number"] for document in database.table("t")} == set(range(400))


def test_reading_while_others_write(tmp_path: Path) -> None:
    with journal(tmp_path / "h.json") as database:
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                database.remove(doc_ids=[database.insert({"a": 1})])

        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(200):
            assert len(database.search(where("a") == 1)) <= 1
        stop.set()
        writer.join()


def test_a_full_disk_takes_part_of_a_line_and_the_next_is_still_kept(tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    database = journal(path)
    database.insert({"a": "kept"})
    end = path.stat().st_size
    with file_limit(end + 100), pytest.raises(StorageFull):
        database.insert({"a": "x" * 500})  # 100 bytes fit: the kernel writes them, and no error
    assert path.stat().st_size == end
    assert len(database) == 1
    database.insert({"a": "after"})
    database.storage._held.close()
    with journal(path) as database:
        assert [document["a"] for document in database] == ["kept", "after"]


def test_a_disk_too_full_to_compact_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    with journal(path, compact_bytes=4000) as database:
        for _ in range(3):
            database.insert({"a": "x" * 1000})
        with file_limit(path.stat().st_size + 2000), pytest.raises(StorageFull):
            for _ in range(5):
                database.insert({"a": "y" * 1000})
        kept = len(database)
    with journal(path) as database:
        assert len(database) == kept > 3
    assert not path.with_name("h.json.new").exists()


def test_after_a_failed_sync_the_file_is_never_trusted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "h.json"

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    database = journal(path)
    database.insert({"a": 1})
    before = path.stat().st_ino
    with monkeypatch.context() as patch:
        patch.setattr("fluxui.history.journal._data_sync", fail)
        with pytest.raises(HistoryReadOnly):
            database.insert({"a": 2})
        patch.setattr(os, "fsync", fail)
        with pytest.raises(HistoryReadOnly):
            database.insert({"a": 3})
    assert database.all() == [{"a": 1}]
    database.insert({"a": 4})  # the disk works again: into a new file, with all that was kept
    assert path.stat().st_ino != before
    database.storage._held.close()
    with journal(path) as database:
        assert database.all() == [{"a": 1}, {"a": 4}]
    with pytest.raises(HistoryReadOnly, match="closed"):
        database.insert({"a": 5})


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(HistoryReadOnly, match="can't be opened"):
        journal(tmp_path / "taken" / "h.json")
