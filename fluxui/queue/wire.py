"""What the page's process and its workers tell each other, over one Redis. The only redis-py.

Ends are kept in a list until the page has recorded them; offers wait under a key that one worker
can take; the rest, progress and signs of life, is told to who listens and kept by nobody. It
knows no Celery, and of a generation the bytes of its record.
"""

from __future__ import annotations

import json
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from fluxui import __version__
from fluxui.errors import ConfigurationError, RedisUnavailable
from fluxui.queue import Phase, Progress
from fluxui.settings import Settings

PREFIX = "fluxui:"
CHANNEL, NEWS, PAGE = f"{PREFIX}talk", f"{PREFIX}news", f"{PREFIX}page"
OFFER, CANCEL = f"{PREFIX}offer:", f"{PREFIX}cancel:"
DAY = 86_400
# What is told at least so often, and after how long a silence nobody is there any more.
BEAT_SECONDS, SILENCE_SECONDS = 2.0, 12.0
CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 5.0

Kind = Literal["began", "completed", "stopped", "back"]


@dataclass(frozen=True)
class Terms:
    """What page and workers must agree on before one paints for the other."""

    version: str
    base_model: str
    bucket: str
    output_format: str = "png"

    def refuse(self, worker: Terms) -> str:
        """Why this page has nothing for that worker; "" if they agree."""
        if worker.version != self.version:
            return f"This worker is fluxui {worker.version}, and the page is {self.version}."
        if worker.base_model != self.base_model:
            return f"This worker paints with {worker.base_model}, the page's is {self.base_model}."
        if worker.bucket != self.bucket:
            return f"This worker's bucket is {worker.bucket}, the page's is {self.bucket}."
        if worker.output_format != self.output_format:
            return f"This worker writes {worker.output_format}, the page {self.output_format}."
        return ""


def terms(settings: Settings, base_model: str) -> Terms:
    """Those of this process. Raises ConfigurationError where there is no bucket."""
    if not settings.s3_bucket_name:
        raise ConfigurationError(
            "With REDIS_URL pictures must be kept in a bucket: page and workers share no disk.",
            "Set S3_BUCKET_NAME, or leave REDIS_URL out.",
        )
    where = f"{settings.s3_endpoint_url}/{settings.s3_bucket_name}/{settings.s3_prefix}"
    return Terms(__version__, base_model, where.strip("/"), settings.output_format)


@dataclass(frozen=True)
class News:
    """What became of one offer. `record` is the generation's, "" where it is given back."""

    kind: Kind
    token: str
    record: str


@dataclass(frozen=True)
class Beat:
    """One worker lives, and holds these offers. `leaves` is its last word."""

    name: str
    device: str
    tokens: tuple[str, ...] = ()
    leaves: bool = False


@dataclass(frozen=True)
class Report:
    """How far one offer is."""

    token: str
    progress: Progress


def new_token(job_id: str) -> str:
    """One offer of this generation; another one has another token."""
    return f"{job_id}:{uuid.uuid4().hex[:8]}"


def job_of(token: str) -> str:
    return token.rpartition(":")[0]


class Wire:
    """Both ends. Safe to call from any thread, but `hear` from one.

    Every call raises RedisUnavailable.
    """

    def __init__(self, url: str) -> None:
        try:
            self._redis = Redis.from_url(
                url,
                decode_responses=True,
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=ANSWER_SECONDS,
                # A kept connection may be of a server that was restarted since.
                retry=Retry(NoBackoff(), 1),
            )
        except ValueError as error:
            raise ConfigurationError(
                f"REDIS_URL is not an address: {error}.", "For example redis://127.0.0.1:6379/0"
            ) from None
        self._ear: Any = None

    def check(self) -> None:
        """Whether it answers and takes something."""
        with _explained():
            self._redis.set(f"{PREFIX}probe", "1", ex=1)

    def forgets(self) -> bool:
        """Whether a restart of that server loses all; False where it won't say."""
        try:
            kept = self._redis.config_get("save", "appendonly")
        except exceptions.RedisError:  # a hosted one that does not tell its configuration
            return False
        return kept.get("appendonly") == "no" and not kept.get("save")

    # The page's role

    def page(self) -> tuple[str, Terms] | None:
        """Who is the page, and on which terms; None as long as there is none."""
        with _explained():
            told = self._redis.get(PAGE)
        if not told:
            return None
        said = json.loads(str(told))
        return said["owner"], Terms(**said["terms"])

    def claim_page(self, owner: str, on: Terms) -> bool:
        """Become the page if nobody is. False if somebody is."""
        with _explained():
            word = _page_word(owner, on)
            return bool(self._redis.set(PAGE, word, nx=True, ex=int(SILENCE_SECONDS)))

    def stay_page(self, owner: str, on: Terms) -> None:
        """Remain it until SILENCE_SECONDS from now."""
        with _explained():
            self._redis.set(PAGE, _page_word(owner, on), ex=int(SILENCE_SECONDS))

    def page_seconds(self) -> float:
        """How long the role is taken if its holder says nothing more."""
        with _explained():
            return max(int(self._redis.pttl(PAGE)), 0) / 1000

    def leave_page(self, owner: str) -> None:
        told = self.page()
        if told and told[0] == owner:
            with _explained():
                self._redis.delete(PAGE)

    # What the page says

    def offer(self, token: str, record: str) -> None:
        with _explained():
            self._redis.set(OFFER + token, record, ex=DAY)

    def withdraw(self, token: str) -> bool:
        """False if a worker took it, or it was lost."""
        with _explained():
            return bool(self._redis.delete(OFFER + token))

    def cancel(self, token: str) -> None:
        with _explained():
            self._redis.set(CANCEL + token, "1", ex=DAY)

    def hear(self, seconds: float) -> Beat | Report | None:
        """The next word of a worker; None if there is none for so long, or news in the list."""
        with _explained():
            if self._ear is None:
                self._ear = self._redis.pubsub(  # type: ignore[no-untyped-call]
                    ignore_subscribe_messages=True
                )
                self._ear.subscribe(CHANNEL)
            try:
                heard = self._ear.get_message(timeout=seconds)
            except exceptions.RedisError:
                self._ear.close()
                self._ear = None
                raise
        return _word(json.loads(heard["data"])) if heard else None

    def first_news(self) -> News | None:
        """The oldest that was not done with; it stays until `drop_first_news`."""
        with _explained():
            told = self._redis.lindex(NEWS, 0)
        return News(**json.loads(str(told))) if told else None

    def drop_first_news(self) -> None:
        with _explained():
            self._redis.lpop(NEWS)

    # What a worker says

    def take(self, token: str) -> str | None:
        """The record of an offer, for one taker alone; None if it is gone."""
        with _explained():
            taken = self._redis.getdel(OFFER + token)
        return None if taken is None else str(taken)

    def tell(self, news: News) -> None:
        """It is kept until the page is done with it."""
        with _explained(), self._redis.pipeline(transaction=False) as both:
            both.rpush(NEWS, json.dumps(asdict(news)))
            both.publish(CHANNEL, "{}")
            both.execute()

    def say(self, words: Iterable[Beat | Report]) -> None:
        """To the page, if it listens."""
        with _explained(), self._redis.pipeline(transaction=False) as all_of_it:
            for word in words:
                all_of_it.publish(CHANNEL, _told(word))
            all_of_it.execute()

    def cancelled(self, tokens: Iterable[str]) -> set[str]:
        """Those of them that nobody wants any more."""
        asked = list(tokens)
        if not asked:
            return set()
        with _explained():
            found: Any = self._redis.mget([CANCEL + token for token in asked])
        return {token for token, one in zip(asked, found, strict=True) if one}

    def close(self) -> None:
        if self._ear is not None:
            self._ear.close()
        self._redis.close()


def _page_word(owner: str, on: Terms) -> str:
    return json.dumps({"owner": owner, "terms": asdict(on)})


def _told(word: Beat | Report) -> str:
    if isinstance(word, Beat):
        return json.dumps({"beat": asdict(word)})
    said = asdict(word.progress)
    if word.progress.preview:
        said["preview"] = b64encode(word.progress.preview).decode()
    return json.dumps({"report": {"token": word.token, "progress": said}})


def _word(told: dict[str, Any]) -> Beat | Report | None:
    if beat := told.get("beat"):
        return Beat(**beat | {"tokens": tuple(beat["tokens"])})
    if report := told.get("report"):
        progress = Progress(**report["progress"])
        preview = b64decode(report["progress"]["preview"] or "") or None
        return Report(
            report["token"], replace(progress, phase=Phase(progress.phase), preview=preview)
        )
    return None


@contextmanager
def _explained() -> Iterator[None]:
    """Whatever redis-py raises, in our words."""
    try:
        yield
    except exceptions.AuthenticationError:
        raise RedisUnavailable("Redis refuses the password in REDIS_URL.") from None
    except exceptions.BusyLoadingError:
        raise RedisUnavailable("Redis is starting.") from None
    except exceptions.ReadOnlyError:
        raise RedisUnavailable("This Redis is a replica, and takes nothing.") from None
    except (exceptions.ConnectionError, exceptions.TimeoutError):
        raise RedisUnavailable("Redis does not answer.") from None
    except exceptions.RedisError as error:
        raise RedisUnavailable(f"Redis refuses: {error}.") from None
