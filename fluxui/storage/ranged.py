"""A stream over something far away that is asked for by ranges: what is not read hardly travels.

The first bytes come in one piece, which holds the header of most LoRAs; who goes on reading gets
pieces that grow. It can seek. It knows no boto3 and no HTTP: `ask` does.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FIRST, SECOND, GROWTH = 128 << 10, 64 << 10, 4  # bytes, bytes, times


class Body(Protocol):
    """What is left of an answer."""

    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class Piece(NamedTuple):
    """One answer. `size` is that of the whole object, and `tag` changes when the object does."""

    body: Body
    size: int
    tag: str


# (first byte, one after the last or None for all, tag or "") → a piece. Raises StorageError,
# ObjectNotFound, also for an object whose tag is another one now.
Ask = Callable[[int, "int | None", str], Piece]


class RangedStream(io.RawIOBase):
    """Raises what `ask` raises, at once and while reading. One thread at a time."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._position = 0
        self._window = FIRST
        self._end = FIRST  # where the current piece ends
        self._piece: Piece | None = ask(0, FIRST, "")
        self._size, self._tag = self._piece.size, self._piece.tag

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        position = max(start + offset, 0)
        if position != self._position:
            self._drop()
            self._window = FIRST
        self._position = position
        return position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer)
        if self._position >= self._size or not view:
            return 0
        piece = self._piece or self._go_on(self._position + self._window)
        data = piece.body.read(len(view))
        view[: len(data)] = data
        self._position += len(data)
        if self._position >= self._end or not data:
            self._drop()
            self._window = SECOND if self._window == FIRST else self._window * GROWTH
        return len(data)

    def readall(self) -> bytes:
        """All that is left, the unread rest in one piece."""
        parts = []
        if self._piece is not None:
            parts.append(self._piece.body.read(self._end - self._position))
            self._position += len(parts[0])
            self._drop()
        if self._position < self._size:
            self._go_on(None)
            while data := self.read(1 << 20):
                parts.append(data)
        return b"".join(parts)

    def close(self) -> None:
        self._drop()
        super().close()

    def _go_on(self, end: int | None) -> Piece:
        self._end = self._size if end is None else min(end, self._size)
        self._piece = self._ask(self._position, self._end, self._tag)
        return self._piece

    def _drop(self) -> None:
        if self._piece is not None:
            self._piece.body.close()
            self._piece = None
