"""What the house of `house.py` promised, against what its folder holds after each death.

It reads the files alone: to open them as fluxui does would repair what it is to judge.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from fluxui.generation import Generation, Status
from fluxui.history.format import parse
from fluxui.history.tiny import TABLE, TinyHistory
from fluxui.storage import folder_of, record_key, trash_key

ROOT = Path(__file__).parents[2]


class Nursery:
    """The process that all the others are forked from: `program` is one beside this file."""

    def __init__(self, program: str, **environment: str) -> None:
        self._program = program
        self._environment = environment

    def __enter__(self) -> Nursery:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.faults.{self._program}"],
            cwd=ROOT,
            env={**os.environ, **self._environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe(self._process.stdin).close()
        if error:  # a child may live on, and its nursery waits for it
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)
        self._pipe(self._process.stdout).close()

    def _pipe(self, pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe

    def live(self, after: float | None = None, **how: Any) -> tuple[list[str], int]:
        """One life, killed `after` so many seconds if that is given. What it said, and how it
        ended, as `end` tells it."""
        pid = self.begin(**how)
        if after is not None:
            time.sleep(after)
            os.kill(pid, signal.SIGKILL)
        return self.end()

    def begin(self, **how: Any) -> int:
        """Its process id. It may be dead already."""
        requests = self._pipe(self._process.stdin)
        requests.write(json.dumps(how) + "\n")
        requests.flush()
        word, pid = self._pipe(self._process.stdout).readline().split()
        assert word == "born"
        return int(pid)

    def end(self) -> tuple[list[str], int]:
        """Wait for its end: what it said, and its exit code, or minus the signal that killed it."""
        lines = []
        while not (line := self._pipe(self._process.stdout).readline()).startswith("dead "):
            assert line, "the nursery is gone"
            lines.append(line.rstrip("\n"))
        return lines, os.waitstatus_to_exitcode(int(line.split()[1]))


@dataclass
class Promises:
    """What was acknowledged in `folder` over all lives."""

    folder: Path
    accepted: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    kills: int = 0

    def hear(self, lines: list[str]) -> None:
        """What a life said before it ended, against what it left."""
        self.kills += 1
        flying = ("", "")
        for line in lines:
            word, act, name = line.split(" ")
            flying = (act, name) if word == "begin" else ("", "")
            if word == "done":
                self._did(act, name)
        self._settle(*flying)
        self.check()

    def _did(self, act: str, job_id: str) -> None:
        if act == "submit":
            self.accepted.add(job_id)
        elif act == "delete":
            self.deleted.add(job_id)
        else:
            self.deleted.discard(job_id)

    def _settle(self, act: str, name: str) -> None:
        """What was in flight either happened or did not: nobody was told."""
        there = {one.id: one for one in self.records()}
        if act == "submit":
            self.accepted |= {one.id for one in there.values() if one.idempotency_key == name}
        elif act in ("delete", "restore"):
            self._did("restore" if name in there else "delete", name)

    def records(self) -> list[Generation]:
        path = self.folder / "history.json"
        if not path.exists():  # it died before it opened the house for the first time
            return []
        found = parse(path.read_bytes())
        assert found.whole
        texts = found.tables.get(TABLE, {})
        return [Generation.model_validate_json(text) for _, text in sorted(texts.items())]

    def check(self) -> None:
        records = self.records()
        assert max(Counter(one.id for one in records).values(), default=1) == 1
        keys = Counter(one.idempotency_key for one in records)
        assert max(keys.values(), default=1) == 1
        assert {one.id for one in records} == self.accepted - self.deleted
        for one in records:
            assert one.attempts <= 2
            if one.status is Status.completed:
                self._check_objects(one)

    def _check_objects(self, completed: Generation) -> None:
        assert (self.folder / record_key(completed)).is_file()
        assert len(completed.images) == completed.request.num_images
        for image in completed.images:
            data = (self.folder / image.key).read_bytes()
            assert hashlib.sha256(data).hexdigest() == image.sha256
            assert (self.folder / image.thumb_key).is_file()

    def ended(self) -> Counter[str]:
        """How all ended, once nothing is queued any more."""
        self.check()
        ends: Counter[str] = Counter()
        for one in self.records():
            assert one.status.ended, f"{one.id} is stuck: {one.status.value}"
            if one.status is Status.failed:
                assert one.error is not None and one.error.code == "worker_lost", one.error
                assert one.attempts == 2
            ends[one.error.code if one.error else one.status.value] += 1
        for job_id in self.deleted:
            (record,) = self.folder.glob(f"trash/generated/*/*/*/{job_id}/record.json")
            trashed = Generation.model_validate_json(record.read_bytes())
            assert record == self.folder / trash_key(record_key(trashed))
            assert all((self.folder / trash_key(one.key)).is_file() for one in trashed.images)
            assert not self._files(folder_of(trashed))
        assert not any(self._files(trash_key(folder_of(one))) for one in self.records())
        return ends

    def _files(self, folder: str) -> list[Path]:
        """A kill may leave the folder itself, with nothing in it."""
        return list((self.folder / folder).glob("*"))

    def compare(self, nursery: Nursery, calm: Path) -> int:
        """Paint the same in a house where nobody dies; how many pictures were equal to the byte."""
        records = self.records()
        calm.mkdir()
        history = TinyHistory(calm / "history.json")
        for one in records:
            history.add(Generation.model_validate(one.model_dump(include=_ADMITTED)))
        history.close()
        assert nursery.live(folder=str(calm), life=0, last=True) == ([], 0)
        keys = [
            key for one in records for image in one.images for key in (image.key, image.thumb_key)
        ]
        for key in keys:
            assert (self.folder / key).read_bytes() == (calm / key).read_bytes(), key
        return len(keys) // 2


_ADMITTED = {"id", "request", "base_model", "painted", "created_at", "idempotency_key"}


def moment(longest: float = 0.4) -> float:
    return random.uniform(0, longest)
