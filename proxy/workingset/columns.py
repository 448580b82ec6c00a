"""What is known of each memory, a row each."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from proxy.models import Memory
from proxy.workingset.growing import Growing

_TYPES: Final[dict[str, type[np.generic]]] = {
    "words": np.float32,
    "assistant": np.bool_,
    "conversation": np.int32,
    "position": np.int32,
    "speaker": np.int32,
    "when": np.float64,
    "asking": np.float32,
}

_MARK: Final = re.compile("[?？؟]")
_QUESTION: Final = re.compile(rf"[^.!…。！\n?？؟]*{_MARK.pattern}+")


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Arrays of equal length."""

    words: NDArray[np.float32]  # how many index words its text has
    assistant: NDArray[np.bool_]
    conversation: NDArray[np.int32]  # a number for each conversation, in order of appearance
    position: NDArray[np.int32]  # of the message in its conversation
    speaker: NDArray[np.int32]  # a number for each speaker's name; -1 without one
    when: NDArray[np.float64]  # it was made, in seconds since 1970
    asking: NDArray[np.float32]  # what part of it asks something; 0 where speakers have no names

    def __len__(self) -> int:
        return len(self.words)

    @classmethod
    def empty(cls) -> "Columns":
        return cls(**{name: np.zeros(0, kind) for name, kind in _TYPES.items()})


class Table:
    """Columns that rows are appended to."""

    def __init__(self) -> None:
        self._arrays: dict[str, Growing[Any]] = {name: Growing(kind) for name, kind in _TYPES.items()}

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self._arrays.values())

    def append(self, new: Columns) -> None:
        for name, array in self._arrays.items():
            array.append(getattr(new, name))

    def keep(self, rows: NDArray[np.intp], first: int) -> None:
        """As :meth:`Growing.keep`."""
        for array in self._arrays.values():
            array.keep(rows, first)

    def renumber(self, name: str, names: "Numbers") -> "Numbers":
        """Numbers without gaps, in a column of them and in the result, which has only those *names* that it has."""
        column: NDArray[np.int32] = self._arrays[name].view
        used = np.unique(column[column >= 0])
        numbers = np.full(len(names) + 1, -1, np.int32)  # and the last for -1, nobody
        numbers[used] = np.arange(len(used))
        column[:] = numbers[column]
        known = list(names)
        return Numbers((known[number], place) for place, number in enumerate(used.tolist()))

    def view(self) -> Columns:
        """The columns as they are now; valid until rows are appended or dropped."""
        return Columns(**{name: array.view for name, array in self._arrays.items()})


class Numbers(dict[str, int]):
    """A number for each name, in order of appearance."""

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self)
        return number


def read_columns(
    memories: Sequence[Memory], words: NDArray[np.float32], conversations: Numbers, speakers: Numbers
) -> Columns:
    """Columns of *memories*; conversations and speakers not met before are numbered in the dictionaries given."""
    return Columns(
        words=words,
        assistant=np.array([memory.role == "assistant" for memory in memories], np.bool_),
        conversation=np.array([conversations[memory.conversation_id] for memory in memories], np.int32),
        position=np.array([memory.message_index for memory in memories], np.int32),
        speaker=np.array([speakers[memory.name] if memory.name else -1 for memory in memories], np.int32),
        when=np.array([memory.created_at.timestamp() for memory in memories], np.float64),
        asking=np.array([_measure_asking(memory.text) if memory.name else 0 for memory in memories], np.float32),
    )


def _measure_asking(text: str) -> float:
    """What part of *text* the sentences are that end in a question mark: 0 to 1."""
    return sum(map(len, _QUESTION.findall(text))) / len(text) if _MARK.search(text) else 0.0
