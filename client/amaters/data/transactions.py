"""Writes buffered in memory and made together, or not at all."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from amaters.errors import InvalidRequestError
from amaters.keys import as_bytes
from amaters.predicates import Change, Where
from amaters.values import Delete, KeyLike, Operation, Result, Set, Update

Read = Callable[[str, KeyLike], Awaitable[bytes | None]]
Write = Callable[[Sequence[Operation]], Awaitable[list[Result]]]


class Transaction:
    """Buffers writes to one collection; as a context it commits at the end, unless one raises.

    The writes of a commit are atomic. Reads are not part of it: another client may change what
    `get` returned before the commit.

        async with client.transaction("stock") as change:
            change.set("a", b"new")
            change.update(Where.eq(b"new"), Change.set(b"sold"))
    """

    def __init__(self, collection: str, *, read: Read, write: Write) -> None:
        self._collection = collection
        self._read = read
        self._write = write
        self._pending: dict[bytes | int, Set | Delete | Update] = {}
        """By key; updates by how many writes came before them."""
        self._count = 0
        self._active = True

    @property
    def is_active(self) -> bool:
        """Whether it has been neither committed nor rolled back."""
        return self._active

    @property
    def pending(self) -> tuple[Set | Delete | Update, ...]:
        """The writes a commit would make now: the last one of each key, and all updates."""
        return tuple(self._pending.values())

    def set(self, key: KeyLike, value: bytes) -> None:
        """Store the value at the commit."""
        self._put(key, Set(self._collection, as_bytes(key), value))

    def delete(self, key: KeyLike) -> None:
        """Delete the key at the commit."""
        self._put(key, Delete(self._collection, as_bytes(key)))

    def update(self, where: Where, changes: Change | Sequence[Change]) -> None:
        """Change the values that match at the commit, with the writes before it made."""
        self._require_active()
        made = (changes,) if isinstance(changes, Change) else tuple(changes)
        self._count += 1
        self._pending[self._count] = Update(self._collection, where, made)

    async def get(self, key: KeyLike) -> bytes | None:
        """Return the value as it would be after the commit.

        InvalidRequestError when an update may change it: only the server knows what it makes of it.
        """
        self._require_active()
        wanted = as_bytes(key)
        for one in reversed(self._pending.values()):
            if isinstance(one, Update):
                raise InvalidRequestError(
                    f"an update may change the value of {wanted[:64]!r}: commit, then read it"
                )
            if one.key == wanted:
                break
        match self._pending.get(wanted):
            case Set(_, _, value):
                return value
            case Delete():
                return None
            case _:
                return await self._read(self._collection, key)

    async def commit(self) -> int:
        """Make the writes; returns how many. A commit that fails may be tried again."""
        self._require_active()
        if self._pending:
            await self._write(self.pending)
        self._active = False
        return len(self._pending)

    def rollback(self) -> None:
        """Forget the writes."""
        self._require_active()
        self._pending.clear()
        self._active = False

    async def __aenter__(self) -> Self:
        self._require_active()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._active:
            return
        if kind is None:
            await self.commit()
        else:
            self.rollback()

    def _put(self, key: KeyLike, operation: Set | Delete) -> None:
        self._require_active()
        # The last write of a key decides its position among the others. An earlier one may go: what
        # an update makes of one row depends on no other.
        self._count += 1
        self._pending.pop(as_bytes(key), None)
        self._pending[as_bytes(key)] = operation

    def _require_active(self) -> None:
        if not self._active:
            raise InvalidRequestError(
                "the transaction is over: begin another one with client.transaction()"
            )
