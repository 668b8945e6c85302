"""Where a studio is put together: which storage, which history, which queue. Nothing else knows."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from importlib.util import find_spec

from fluxui.errors import ConfigurationError, StorageUnavailable
from fluxui.history import History
from fluxui.history.tiny import TinyHistory
from fluxui.ledger import HistoryLedger
from fluxui.loras.library import Library
from fluxui.pipeline import Pipeline, get_pipeline
from fluxui.queue import Queue
from fluxui.queue.lent import LentQueue
from fluxui.queue.local import LocalQueue
from fluxui.queue.order import Ticket
from fluxui.settings import Settings
from fluxui.storage import Storage
from fluxui.storage.local import LocalStorage
from fluxui.storage.s3 import S3Storage
from fluxui.storage.spool import SpooledStorage
from fluxui.studio import Studio
from fluxui.waiting import Pauses, left_elsewhere, left_over
from fluxui.webhook import Tell, choose_webhook, nobody
from fluxui.worker import Worker

log = logging.getLogger(__name__)


def open_studio(settings: Settings) -> Studio:
    """Put the organs together, and take up the work that the last process left.

    Raises ConfigurationError, StorageRefused, HistoryLocked, RedisUnavailable.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    storage = _open_storage(settings)
    history = TinyHistory(settings.data_dir / "history.json")
    if history.set_aside:
        log.warning("The history was damaged. It is kept as %s.", history.set_aside.name)
    with ExitStack() as undone:
        undone.callback(history.close)
        studio = assemble(settings, get_pipeline(settings), storage, history)
        undone.pop_all()
    if history.incomplete:
        studio.upkeep.start_rebuild()
    return studio


def assemble(settings: Settings, pipeline: Pipeline, storage: Storage, history: History) -> Studio:
    """A studio around the given organs, with the queue of this process."""
    cache, room = settings.data_dir / "cache", settings.lora_cache_gib * 2**30
    library = Library(storage, cache, pipeline.base_model, limit=room)
    webhook = choose_webhook(settings)
    tell = webhook.tell if webhook else nobody
    if settings.redis_url:
        queue = _open_remote(settings, pipeline.base_model.id, history, tell)
    else:
        worker = Worker(pipeline, library, storage, history, tell, settings.output_format)
        queue = _open_queue(settings, worker, left_over(pipeline.base_model.id, history))
    if webhook:
        webhook.catch_up(history)
    return Studio(settings, pipeline, library, storage, history, queue, tell)


def _open_queue(settings: Settings, worker: Worker, resume: list[Ticket]) -> Queue:
    size, size_each = settings.queue_size, settings.visitor_queue_size
    if settings.zero_gpu:
        return LentQueue(worker.run, size, resume, size_each)
    pauses = Pauses(settings.data_dir)
    spare = worker.spare if settings.lora_previews else None
    return LocalQueue(
        worker.run, worker.prepare, size, resume, size_each, pauses.read(), pauses.keep, spare
    )


def _open_remote(settings: Settings, base_model: str, history: History, tell: Tell) -> Queue:
    url = redis_url(settings)
    from fluxui.queue.celery import Post
    from fluxui.queue.remote import RemoteQueue
    from fluxui.queue.role import become_page, page_name
    from fluxui.queue.wire import Wire, terms

    role = page_name(settings.data_dir), terms(settings, base_model)
    wire, pauses = Wire(url), Pauses(settings.data_dir)
    wire.check()
    become_page(wire, *role)
    if wire.forgets():
        log.warning(FORGETS)
    left, resume = left_elsewhere(base_model, history)
    return RemoteQueue(
        wire,
        Post(url, role[1]),
        HistoryLedger(history, tell),
        role,
        settings.queue_size,
        resume,
        left,
        settings.visitor_queue_size,
        pauses.read(),
        pauses.keep,
    )


FORGETS = (
    "This Redis keeps nothing over its own restart: nothing is lost by that, but what ends just "
    "then is painted once more. Set `appendonly yes` there."
)


def redis_url(settings: Settings) -> str:
    """Raises ConfigurationError if it is not set, or not to be used here."""
    if not settings.redis_url:
        raise ConfigurationError("A worker needs the page's REDIS_URL.")
    if not find_spec("celery"):
        raise ConfigurationError(
            "REDIS_URL needs two more packages.", "pip install -r requirements-celery.txt"
        )
    return settings.redis_url.get_secret_value()


def _open_storage(settings: Settings) -> Storage:
    if not settings.s3_bucket_name:
        return LocalStorage(settings.data_dir)
    bucket = S3Storage(settings)
    try:
        bucket.check()
    except StorageUnavailable as error:
        # It may come back while we run: pictures wait for it in the spool.
        log.warning("%s %s", error.message, error.hint)
    return SpooledStorage(bucket, settings.data_dir / "spool")
