"""The house under libfaketime, whose sleep fails when the clock goes back: here it is a select."""

import select
import time

from tests.faults.house import live, nurse

time.sleep = lambda seconds: select.select((), (), (), seconds)  # type: ignore[assignment]
nurse(live)
