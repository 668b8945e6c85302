"""Celery: the way of a token from the page's process to a worker that is free. The only celery.

A worker takes one message at a time and gives its receipt when it has painted. Which token still
counts is not Celery's to say: a message that comes twice finds its offer taken.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from celery import Celery
from celery.exceptions import CPendingDeprecationWarning
from celery.platforms import SecurityWarning
from celery.signals import worker_shutting_down
from kombu.exceptions import OperationalError

from fluxui.errors import RedisUnavailable
from fluxui.queue.wire import CONNECT_SECONDS, PREFIX, Terms

TASK = "fluxui.paint"
# No generation takes longer: a worker that does ends itself. A message without a receipt comes
# again only after that.
LONGEST_SECONDS = 6 * 3600
VISIBLE_SECONDS = 7 * 3600
RESTORE_SECONDS = 10


class Post:
    """One queue of one Redis, for those alone who agree on `terms`."""

    def __init__(self, url: str, terms: Terms) -> None:
        agreed = sha256(repr(terms).encode()).hexdigest()[:12]
        self._queue = f"paint-{agreed}"
        self._app = Celery("fluxui", broker=url, set_as_current=False)
        self._app.conf.update(
            task_default_queue=self._queue,
            accept_content=["json"],
            task_ignore_result=True,
            task_acks_late=True,
            task_reject_on_worker_lost=True,
            task_publish_retry=False,
            worker_prefetch_multiplier=1,
            worker_enable_remote_control=False,
            worker_send_task_events=False,
            worker_hijack_root_logger=False,
            broker_connection_retry_on_startup=True,
            broker_connection_max_retries=None,
            broker_transport_options={
                "global_keyprefix": PREFIX,
                "visibility_timeout": VISIBLE_SECONDS,
                "unacked_restore_interval": RESTORE_SECONDS,
                "unacked_restore_throttle": 1,
                "socket_connect_timeout": CONNECT_SECONDS,
            },
        )

    def send(self, token: str) -> None:
        """Raises RedisUnavailable."""
        try:
            self._app.send_task(TASK, args=[token], queue=self._queue)
        except OperationalError:
            raise RedisUnavailable("Redis does not answer.") from None

    def serve(self, paint: Callable[[str], None], stopping: Callable[[], None]) -> None:
        """Paint what comes, in this thread, until SIGTERM; `stopping` is called on that."""

        def on_message(token: str) -> None:
            paint(token)

        def on_stop(**_: Any) -> None:
            stopping()

        worker_shutting_down.connect(on_stop)
        self._app.task(on_message, name=TASK)
        # What it has to say of a lost connection is told in a sentence of ours; and it warns root
        # of pickled messages, of which we accept none.
        logging.getLogger("celery.worker").setLevel(logging.CRITICAL + 1)
        warnings.simplefilter("ignore", SecurityWarning)
        worker = self._app.Worker(
            pool="solo",
            concurrency=1,
            # The other loop forgets to listen after Redis was restarted.
            use_eventloop=False,
            queues=[self._queue],
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            loglevel="WARNING",
            quiet=True,
        )
        warnings.simplefilter("ignore", CPendingDeprecationWarning)  # which that made loud
        worker.start()

    def close(self) -> None:
        self._app.close()
