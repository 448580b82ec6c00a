"""What a ledger can do, wherever it lies."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from proxy.errors import StoreError
from proxy.ledger.keys import Keys
from proxy.ledger.tombstones import Tombstone
from proxy.models import Embedding


class Standing(NamedTuple):
    """How it is with a user before anything of theirs is stored: is memory *off*, and what has been erased."""

    off: bool
    tombstone: Tombstone


class Ledger(Protocol):
    """Keys, tombstones and switches of all users. Safe to call from several threads.

    What a method has returned for is durable and survives a power cut. Every method raises
    :class:`~proxy.errors.StoreError` when the ledger cannot be used, and then has done nothing.

    A user is named by :attr:`proxy.models.Scope.key`, a row by whatever the store calls it.
    """

    def identify(self) -> str:
        """Which ledger this is: a random name, given to it once. What is sealed here opens with no other."""

    def make_keys(self, rows: Mapping[str, Sequence[str]]) -> dict[str, dict[str, bytes]]:
        """The key to seal each of the users' *rows* under: random, 16 bytes, new unless one waits to be settled.

        A row that had a key has both until :meth:`settle_keys`.
        """

    def settle_keys(self, keys: Mapping[str, Mapping[str, bytes]]) -> None:
        """The store has these rows under these *keys*: they are listed from now on, and older keys destroyed.

        Nothing happens to a row whose newest key is another one: somebody is putting it again at this moment.
        """

    def list_unsettled(self) -> dict[str, list[str]]:
        """Rows, by user key, that were made a key and not settled: after a crash, while the store failed, or because
        somebody is putting them at this moment.
        """

    def read_keys(self, user_key: str, rows: Sequence[str] | None = None) -> dict[str, Keys]:
        """The keys of a user's *rows*, or with None of all rows; without those that have none."""

    def read_row_keys(self, row: str, user_keys: Sequence[str]) -> dict[str, Keys]:
        """The keys that users have of the *row* that goes by the same name with each of them."""

    def page_row_keys(self, row: str, *, after: str, limit: int) -> dict[str, Keys]:
        """The same of the first *limit* users, in the order of their keys, that come *after* this one."""

    def list_rows(self, user_key: str) -> list[str]:
        """All of a user's rows that the store has, in the order in which they were first settled."""

    def count_everybodys_rows(self, shared_row: str) -> int | None:
        """How many rows of all users the store has, without those called *shared_row* with each of them; None where
        counting would hold up others.
        """

    def destroy_keys(self, user_key: str, rows: Sequence[str] | None = None) -> int:
        """Destroys the keys of a user's *rows*, or with None of all rows; how many rows had any.

        Raises StoreError also when they are destroyed but may still be found in a log: calling again tries again.
        """

    def is_surveyed(self) -> bool:
        """Whether it is known what the store holds from before there was a ledger."""

    def note_survey(self, unsealed: Iterable[tuple[str, str]]) -> None:
        """Takes in all (user key, row) that the store holds *unsealed*."""

    def is_littered(self) -> bool:
        """Whether something unsealed was erased or replaced, whose text may lie in the store's files still."""

    def note_sweep(self) -> None:
        """The store's files hold nothing of that any more."""

    def bury(self, user_key: str, *, at: datetime, memory_ids: Sequence[str] | None, digests: Iterable[bytes]) -> None:
        """Remembers that memories of a user were erased, or with *memory_ids* None the user, and which texts it were.

        It adds to what was buried before. The user's switch stays: who wants no memory does not want one afterwards.
        """

    def tombstone(self, user_key: str) -> Tombstone:
        """What a user has erased."""

    def switch(self, user_key: str, *, off: bool) -> None:
        """Turns a user's memory off or on again. It is on until it is turned off."""

    def is_off(self, user_key: str) -> bool:
        """Whether a user has turned memory off."""

    def read_standings(self, user_keys: Iterable[str]) -> dict[str, Standing]:
        """How it is with each of these users."""

    def read_version(self) -> int | None:
        """The version of what replicas share; None where there is a data directory to say so."""

    def write_version(self, version: int) -> None:
        """It is of this *version* from now on, or of a later one if it was. Does nothing for a data directory."""

    def count_rows(self, user_keys: Sequence[str]) -> int:
        """How many rows the store has of these users together."""

    def read_embedding(self) -> Embedding | None:
        """Which embedding model is in force; None until :meth:`change_embedding` was told of one."""

    def change_embedding(self, old: Embedding | None, new: Embedding) -> bool:
        """Notes *new* in one step, if what is noted is *old*; else nothing happens, and it is false."""

    def close(self) -> None:
        """Closes files and connections."""


def decode_embedding(noted: bytes) -> Embedding:
    """What a ledger has noted, as JSON. Raises StoreError where that is none of ours."""
    try:
        return msgspec.json.decode(noted, type=Embedding)
    except msgspec.MsgspecError as exc:
        raise StoreError("ledger: what it says of the embedding model cannot be read") from exc
