"""kill -9 of a whole studio with twenty in its queue: everything accepted ends, once, and equal."""

from __future__ import annotations

import random
import signal
from pathlib import Path

from tests.faults.house import CHECKPOINTS
from tests.faults.killing import Nursery, Promises, moment

RANDOM_KILLS = 5


def test_nothing_accepted_is_lost_doubled_or_stuck(tmp_path: Path) -> None:
    folder = tmp_path / "house"
    folder.mkdir()
    promises = Promises(folder)
    with Nursery("house") as nursery:
        for life, checkpoint in enumerate([*CHECKPOINTS, *[""] * RANDOM_KILLS]):
            how = {"folder": str(folder), "life": life, "checkpoint": checkpoint}
            after = None if checkpoint else moment()
            lines, end = nursery.live(after, count=random.randint(1, 4), **how)
            assert end == -signal.SIGKILL, f"{checkpoint} was never reached"
            promises.hear(lines)
        assert nursery.live(folder=str(folder), life=99, last=True) == ([], 0)
        ends = promises.ended()
        assert ends["completed"] > 20 and set(ends) <= {"completed", "worker_lost"}
        assert promises.compare(nursery, tmp_path / "calm") == 2 * ends["completed"]
