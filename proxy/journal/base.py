"""What the two processes see of a journal, whether it is a file of this replica's own or one that replicas share."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from proxy.journal.entries import Entry, FailedEntry, JournalCounts, JournalState, Seq
from proxy.models import Exchange, Scope

Change = Callable[[Exchange], Exchange | None]
# Everything that was appended until now. Opaque.
Mark = Any


class Writer(Protocol):
    """The edge's end. All methods belong to the event loop that called :meth:`start`."""

    @property
    def state(self) -> JournalState:
        """How it goes right now. Cheap."""
        ...

    def start(self) -> None:
        """Begins to write. Never fails: what is broken shows in :attr:`state`."""
        ...

    async def append(self, exchange: Exchange) -> None:
        """Returns when *exchange* is committed and survives this process, and a power cut.

        Raises JournalError when it could not be written now, after at most a few seconds. It is then held in memory
        and tried again, unless the error says that it is lost. Cancelling the wait does not take it back.
        """
        ...

    async def discard(self, scope: Scope) -> int:
        """Forgets what is held of this user and not yet written; answers how many exchanges that were."""
        ...

    async def aclose(self) -> None:
        """Writes what can be written in one more attempt. What stays unwritten counts as lost."""
        ...


class Reader(Protocol):
    """The keeper's end. Synchronous; safe to call from any thread. Every method raises JournalError when the journal
    cannot be used; nothing is changed then, and the next call tries anew.

    An entry is to be stored (stage 0), then, where there is a model for it, to be extracted from (stage 1). Each method
    that names several entries, which are of one part, does what it does to all of them or to none, and ignores those
    that are gone.

    The users of a journal are in *parts*. Whoever takes from a part, erases in it or amends it has its turn (see
    :mod:`proxy.remember.turns`), which one keeper has at a time.
    """

    def find_parts(self) -> Sequence[int]:
        """The parts in which something may be due to be stored. Cheap."""
        ...

    def take(self, limit: int, *, part: int = 0, now: float | None = None) -> list[Entry]:
        """The oldest due entries of *part* that are to be stored, at most *limit*, as they were appended.

        They stay pending, and are returned again, until they are settled. A damaged one is parked instead of returned.
        *now* is in Unix seconds.
        """
        ...

    def take_user(self, limit: int, *, busy: Collection[str] = (), now: float | None = None) -> list[Entry]:
        """The oldest entries that are to be extracted from, at most *limit*, due or not, of one user: who has been
        waiting the longest for an entry to be due, and for whose key nobody is *busy*, nor is another keeper.

        Otherwise as :meth:`take`.
        """
        ...

    def keep_user(self, key: str) -> bool:
        """Somebody still works for the user with this key, whose entries were taken; false when another keeper may have
        taken them meanwhile. To be called every few seconds.
        """
        ...

    def release_user(self, key: str) -> None:
        """Nobody works for that user any longer."""
        ...

    def put_back(self, seqs: Sequence[Seq]) -> None:
        """These were taken and not touched: they count as not handed out that time."""
        ...

    def done(self, seqs: Sequence[Seq]) -> None:
        """Deletes entries of which nothing is left to be done."""
        ...

    def advance(self, seqs: Sequence[Seq], delay_s: float) -> None:
        """What was stored is to be extracted from, in *delay_s*."""
        ...

    def postpone(self, seqs: Sequence[Seq], reason: str, delay_s: float, *, counted: bool = True) -> None:
        """These, and what follows them of the same users, are not due for *delay_s*. *counted*: an attempt failed."""
        ...

    def park(self, seqs: Sequence[Seq], reason: str, kind: str, *, counted: bool = False) -> None:
        """Gives up on entries until :meth:`release` of *kind* or :meth:`retry_failed`; later ones go on. *counted*: one
        more attempt failed.
        """
        ...

    def release(self, kind: str) -> int:
        """Makes due again what was parked for *kind*, its attempts forgotten; answers how many."""
        ...

    def retry_failed(self) -> int:
        """Makes every parked entry due again, its attempts forgotten; answers how many."""
        ...

    def drop_failed(self) -> int:
        """Deletes every parked entry; answers how many."""
        ...

    def hasten(self) -> int:
        """Makes every entry of both stages due at once, also those that back off; answers how many were not."""
        ...

    def last_seq(self) -> Mark:
        """A mark behind all that was ever appended."""
        ...

    def unsettled(self, mark: Mark, *, extracting: bool = True) -> int:
        """How many entries before *mark* are at one of the stages, or with *extracting* false at the first one: neither
        parked nor gone.
        """
        ...

    def counts(self) -> JournalCounts:
        """How much waits, how much failed, and since when."""
        ...

    def failed(self, limit: int) -> list[FailedEntry]:
        """The oldest parked entries."""
        ...

    def erase(self, scope: Scope) -> int:
        """Deletes all of one user's entries, parked ones too; answers how many. No trace of them stays."""
        ...

    def forget(self, scope: Scope, change: Change) -> int:
        """Puts what *change* answers in place of each of one user's exchanges, parked ones too; None deletes it.

        Answers how many were changed or deleted. What cannot be read any more may hold what is to be forgotten: it is
        deleted. *change* must not use the journal; what it raises is raised, and nothing is changed then.
        """
        ...

    def close(self) -> None:
        """Lets go of files and connections; another call would open them again."""
        ...
