"""LoRAs on the Hugging Face Hub: found, looked at by their first bytes, and streamed.

A revision is pinned to its commit, so what was checked is what comes. A name that somebody typed
never becomes a URL unless the Hub itself listed it. It keeps nothing on this disk.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from fluxui.errors import HubNotFound, HubRefused, HubUnavailable, InvalidRequest
from fluxui.loras.copies import Source
from fluxui.loras.files import Head, read_head
from fluxui.loras.header import SUFFIX

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SECONDS = 10.0  # without a byte
FIRST = 128 << 10
SITE = "https://huggingface.co/"
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
# What trainers call the one file that is the LoRA.
_USUAL = ("pytorch_lora_weights", "adapter_model", "lora")
_ASKED = 12


@dataclass(frozen=True)
class Address:
    """What somebody wants from the Hub; "" for what they did not say."""

    repo_id: str
    filename: str = ""
    revision: str = ""

    @classmethod
    def parse(cls, told: str) -> Address:
        """`owner/name`, or the link of a repository or of a file in it. Raises InvalidRequest."""
        path = told.strip().removeprefix(SITE).partition("?")[0].strip("/")
        repo_id, _, rest = re.sub(r"^([^/]*/[^/]*)/?", r"\1\n", path).partition("\n")
        if not _REPO.fullmatch(repo_id) or ".." in repo_id:
            raise InvalidRequest(
                f"{told[:100]!r} is not the name of a repository.", "It looks like owner/name."
            )
        file = re.fullmatch(r"(?:blob|resolve)/([^/]+)/(.+)", rest)
        return cls(repo_id, file[2], file[1]) if file else cls(repo_id)


class Hub:
    """`token` is None for what everybody may see."""

    def __init__(self, token: str | None = None) -> None:
        self._token = token

    def find(self, address: Address) -> Source:
        """The one file that is meant, at a commit.

        Raises InvalidRequest where there are several and none is named, HubNotFound, HubRefused,
        HubUnavailable.
        """
        from huggingface_hub import HfApi  # only whoever asks the Hub waits for it

        repo_id, wanted = address.repo_id, address.revision or None
        with _explained(address):
            api = HfApi(token=self._token)
            info = api.model_info(repo_id, revision=wanted, files_metadata=True, timeout=SECONDS)
        files = {one.rfilename: one for one in info.siblings or []}
        name = _choose([name for name in files if name.endswith(SUFFIX)], address)
        commit, chosen = str(info.sha), files[name]
        read = partial(self._read, address, commit, name)
        return Source(
            name=name.rpartition("/")[2],
            size=chosen.size or 0,
            stamp=f"hub-{(chosen.lfs.sha256 if chosen.lfs else chosen.blob_id) or commit}",
            open=read,
            head=partial(_head, read),
            sha256=chosen.lfs.sha256 if chosen.lfs else "",
            origin={"repo_id": repo_id, "filename": name, "revision": commit},
        )

    def _read(
        self, address: Address, commit: str, name: str, start: int, end: int | None = None
    ) -> BinaryIO:
        """The bytes from `start`; all that are left without an `end`."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        url = hf_hub_url(address.repo_id, name, revision=commit)
        headers = build_hf_headers(token=self._token)
        # As it lies there: compressed, a range would be one of something else.
        headers |= {"Accept-Encoding": "identity"}
        if start or end:
            headers["Range"] = f"bytes={start}-{end - 1 if end else ''}"
        with _explained(address), ExitStack() as stack:
            asked = get_session().stream(
                "GET", url, headers=headers, timeout=SECONDS, follow_redirects=True
            )
            answer = stack.enter_context(asked)
            hf_raise_for_status(answer)
            if start and answer.status_code != 206:
                raise HubUnavailable("The Hub did not go on where the download had stopped.")
            return io.BufferedReader(_Body(address, answer.iter_raw(), stack.pop_all()))


class _Body(io.RawIOBase):
    """What is left of an answer; what goes wrong while reading is explained too."""

    def __init__(self, address: Address, chunks: Iterator[bytes], stack: ExitStack) -> None:
        self._address, self._chunks, self._stack = address, chunks, stack
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        if not self._rest:
            with _explained(self._address):
                self._rest = next(self._chunks, b"")
        data, self._rest = self._rest[: len(view)], self._rest[len(view) :]
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stack.close()
        super().close()


def _head(read: partial[BinaryIO]) -> Head:
    with read(0, FIRST) as stream:
        first = read_head(stream)
    missing = int.from_bytes(first.getvalue()[:8], "little") + 8 - len(first.getvalue())
    if len(first.getvalue()) < FIRST or missing <= 0:
        return first
    with read(FIRST, FIRST + missing) as stream:
        return read_head(stream, first.getvalue())


def _choose(names: list[str], address: Address) -> str:
    """The file that is meant. Raises HubNotFound, InvalidRequest."""
    repo_id, wanted = address.repo_id, address.filename
    if wanted in names:
        return wanted
    if wanted or not names:
        what = f"no file {wanted[:100]!r}" if wanted else f"no {SUFFIX} file"
        raise HubNotFound(f"{repo_id} holds {what}.", f"See {SITE}{repo_id}/tree/main")
    own = _plain(repo_id.partition("/")[2])
    stems = {name: name.removesuffix(SUFFIX) for name in names}
    usual = [name for name, stem in stems.items() if _plain(stem) == own or stem in _USUAL]
    for clear in (names, usual):
        if len(clear) == 1:
            return clear[0]
    listed = ", ".join(sorted(names)[:_ASKED]) + (" …" if len(names) > _ASKED else "")
    raise InvalidRequest(
        f"{repo_id} holds {len(names)} LoRA files: {listed}.", "Say which one is meant: filename."
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@contextmanager
def _explained(address: Address) -> Iterator[None]:
    """What keeps us from the Hub, in one sentence with the way out."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except HfHubHTTPError as error:
        raise _refusal(address, error) from None
    except OfflineModeIsEnabled:
        raise HubUnavailable("The Hub is switched off by HF_HUB_OFFLINE.", "Unset it.") from None
    except httpx2.HTTPError:
        raise HubUnavailable("The Hub does not answer.") from None


def _refusal(address: Address, error: Exception) -> HubNotFound | HubRefused | HubUnavailable:
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repo_id = address.repo_id
    if isinstance(error, GatedRepoError):  # before the next, which it is as well
        return HubRefused(
            f"{repo_id} is behind a licence that this token has not accepted.",
            f"Accept it at {SITE}{repo_id}, then set HF_TOKEN ({SITE}settings/tokens).",
        )
    if isinstance(error, RepositoryNotFoundError):
        return HubNotFound(f"There is no model {repo_id!r} on the Hub that we can see.")
    if isinstance(error, RevisionNotFoundError):
        return HubNotFound(f"{repo_id} has no revision {address.revision[:60]!r}.")
    if isinstance(error, EntryNotFoundError):
        return HubNotFound(f"The file has gone from {repo_id}.", f"See {SITE}{repo_id}/tree/main")
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    if status in (401, 403):
        return HubRefused("The Hub does not accept this HF_TOKEN.")
    return HubUnavailable(f"The Hub answers with an error ({status}).")
