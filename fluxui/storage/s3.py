"""A bucket: AWS, Cloudflare R2, MinIO, SeaweedFS, and whatever else speaks S3.

The only file that knows boto3, which is imported on first use. It never makes a bucket, and it
gives up a call after less than a minute: an outage is the spool's business.
"""

from __future__ import annotations

import hashlib
import io
import threading
import uuid
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from pydantic import SecretStr

from fluxui.errors import (
    ConfigurationError,
    ObjectNotFound,
    StorageError,
    StorageFull,
    StorageRefused,
    StorageUnavailable,
)
from fluxui.settings import Settings
from fluxui.storage import StoredObject, check_key
from fluxui.storage.ranged import Piece, RangedStream

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client

MAX_URL_SECONDS = 3600
CONNECTIONS = 16
CONNECT_SECONDS, READ_SECONDS, ATTEMPTS = 3, 10, 5
R2 = ".r2.cloudflarestorage.com"

_KEYS = "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
_RIGHTS = "Let these keys list, read, write and delete in the bucket."
# What servers answer → what is wrong, and the way out. A bare number stands for an answer
# without a body.
_REFUSALS: dict[str, tuple[str, str]] = {
    "NoSuchBucket": ("There is no bucket with this name.", "Make it, or correct S3_BUCKET_NAME."),
    "InvalidAccessKeyId": ("The bucket's server does not know this access key.", _KEYS),
    "SignatureDoesNotMatch": ("The secret key does not belong to this access key.", _KEYS),
    "Unauthorized": ("The bucket's server does not accept these keys.", _KEYS),
    "AccessDenied": ("The bucket refuses these keys.", _RIGHTS),
    "403": ("The bucket refuses these keys.", _RIGHTS),
    "list": ("The bucket refuses these keys a list of what is in it.", _RIGHTS),
    "ExpiredToken": ("The keys have expired.", "Get new keys, and restart fluxui."),
    "RequestTimeTooSkewed": (
        "The clock of this machine is wrong.",
        "Set the clock: signatures hold for 15 minutes.",
    ),
    "PermanentRedirect": ("The bucket is in another region.", "Set S3_REGION to the bucket's."),
    "AuthorizationHeaderMalformed": (
        "The bucket is in another region.",
        "Set S3_REGION to the bucket's.",
    ),
}
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"})
_ABSENT = frozenset({"NoSuchKey", "404"})
_BEYOND = frozenset({"InvalidRange", "416"})
_CHANGED = frozenset({"PreconditionFailed", "412"})


class S3Storage:
    """The objects of one bucket, below one prefix. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bucket = settings.s3_bucket_name
        self._prefix = settings.s3_prefix
        self._making = threading.Lock()
        self._made: S3Client | None = None
        self._seen = False

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self._see_bucket()
        with _explained():
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._full(key),
                Body=data,
                ContentType=content_type,
                ContentDisposition="inline",
                # Checked by the server. An ordinary header, which R2 and the others accept.
                ChecksumSHA256=b64encode(hashlib.sha256(data).digest()).decode(),
            )

    def open(self, key: str) -> BinaryIO:
        return io.BufferedReader(RangedStream(partial(self._piece, key)))

    def _piece(self, key: str, start: int, end: int | None, tag: str) -> Piece:
        last = "" if end is None else end - 1
        asked: Any = {"IfMatch": tag} if tag else {}
        with _explained(key):
            try:
                answer = self._client.get_object(
                    Bucket=self._bucket, Key=self._full(key), Range=f"bytes={start}-{last}", **asked
                )
            except self._client.exceptions.ClientError as error:
                if _code(error) not in _BEYOND:
                    raise
                return Piece(io.BytesIO(), 0, "")  # it is there, and has no first byte
        size = answer.get("ContentRange", "").rpartition("/")[2] or answer["ContentLength"]
        return Piece(_Body(answer["Body"]), int(size), answer["ETag"])

    def url(self, key: str, seconds: int = MAX_URL_SECONDS) -> str | None:
        with _explained():
            return self._client.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": self._bucket,
                    "Key": self._full(key),
                    "ResponseContentDisposition": "inline",
                },
                ExpiresIn=min(seconds, MAX_URL_SECONDS),
            )

    def list(self, prefix: str) -> Iterator[StoredObject]:
        with _explained(listing=True):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for found in page.get("Contents", []):
                    key = found["Key"].removeprefix(self._prefix)
                    # An ETag that is no MD5, of an encrypting bucket for example, matches nothing.
                    md5 = found.get("ETag", "").strip('"')
                    yield StoredObject(key, found["Size"], found["LastModified"], md5)

    def delete(self, key: str) -> None:
        with _explained():
            self._client.delete_object(Bucket=self._bucket, Key=self._full(key))

    def check(self) -> None:
        self._see_bucket()
        probe = f"probe-{uuid.uuid4().hex}"
        self.put(probe, b"fluxui", "text/plain")
        with self.open(probe) as stream:
            stream.read()
        self.delete(probe)

    @property
    def _client(self) -> S3Client:
        with self._making:
            if self._made is None:
                self._made = _connect(self._settings)
            return self._made

    def _full(self, key: str) -> str:
        check_key(key)
        return self._prefix + key

    def _see_bucket(self) -> None:
        """Some servers make a missing bucket on the first `put`: a typo must not pass."""
        if self._seen:
            return
        with _explained(listing=True):
            # Unlike HeadBucket, a listing says in its answer what is wrong with the keys.
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        self._seen = True


class _Body:
    """What goes wrong while reading is explained too."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        with _explained():
            data: bytes = self._stream.read(size)
        return data

    def close(self) -> None:
        self._stream.close()


def _connect(settings: Settings) -> S3Client:
    import boto3
    from botocore.config import Config

    endpoint = settings.s3_endpoint_url
    config = Config(
        signature_version="s3v4",  # else URLs for us-east-1 are signed the old way
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=CONNECTIONS,
        # R2 and others refuse the checksums that boto3 adds by itself.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # "virtual": the host names the region, which a signed URL needs outside of us-east-1.
        s3={"addressing_style": "path" if endpoint else "virtual"},
    )
    try:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint or None,
            region_name=settings.s3_region or _region(endpoint),
            aws_access_key_id=_plain(settings.aws_access_key_id),
            aws_secret_access_key=_plain(settings.aws_secret_access_key),
            aws_session_token=_plain(settings.aws_session_token),
            config=config,
        )
    except ValueError:
        raise ConfigurationError(
            "S3_ENDPOINT_URL is not a URL.", "It looks like https://s3.example.com"
        ) from None


def _region(endpoint: str) -> str | None:
    """None leaves it to the AWS configuration of this machine."""
    if endpoint:
        return "auto" if R2 in endpoint else "us-east-1"
    return None


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


@contextmanager
def _explained(key: str = "", listing: bool = False) -> Iterator[None]:
    """boto3's errors as ours: one sentence each, and the way out."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = _code(error)
        denied = listing and code in ("AccessDenied", "403")
        raise _refusal("list" if denied else code, key) from error
    except BotoCoreError as error:
        raise _silence(error) from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _refusal(code: str, key: str) -> StorageError | ObjectNotFound:
    if key and code in _ABSENT:
        return ObjectNotFound(key)
    if key and code in _CHANGED:
        return StorageUnavailable("It was replaced while it was read.", "Try again.")
    if code in _FULL:
        return StorageFull("The bucket is full.")
    if code in _REFUSALS:
        return StorageRefused(*_REFUSALS[code])
    return StorageUnavailable(f"The bucket's server answers with an error ({code or 'unknown'}).")


def _silence(error: Exception) -> StorageError | ConfigurationError:
    """An error that came from no server."""
    from botocore import exceptions

    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return StorageRefused(
            "There are no keys for the bucket.", "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    if isinstance(error, exceptions.ParamValidationError):
        return ConfigurationError(
            "S3_BUCKET_NAME can't be the name of a bucket.",
            "A name has 3 to 63 small letters, digits, dots and dashes.",
        )
    return StorageUnavailable(
        "The bucket's server does not answer.", "Check S3_ENDPOINT_URL and the network."
    )
