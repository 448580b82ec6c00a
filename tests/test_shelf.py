"""What the write path knows of one user's memories."""

from datetime import UTC, datetime

from proxy.models import Memory, Record
from proxy.remember.shelf import Shelf, make_item


def add(shelf: Shelf, memory_id: str, conversation: str, index: int) -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    memory = Memory(memory_id, "ada", "turn", "user", f"Said as {memory_id}.", at, conversation, index)
    record = Record(memory, b"", b"", 1)
    shelf.add(make_item(memory, record.chain, record.parent, record.statements))


def test_conversations_that_are_gone_are_forgotten() -> None:
    """Of what comes and goes without end, in ever new conversations, no more is kept than of what is there."""
    shelf = Shelf()
    for number in range(100):
        add(shelf, f"m{number}", f"c{number}", 3)
        assert shelf.last_index(f"c{number}") == 3
        shelf.remove(f"m{number - 10}")
    assert [number for number in range(100) if shelf.last_index(f"c{number}") != -1] == list(range(90, 100))
    assert len(shelf) == 10


def test_a_conversation_goes_on_where_it_was() -> None:
    """As long as anything of it is there, and when that is replaced."""
    shelf = Shelf()
    add(shelf, "first", "c", 0)
    add(shelf, "second", "c", 1)
    shelf.remove("second")
    assert shelf.last_index("c") == 1
    add(shelf, "first", "c", 0)
    assert shelf.last_index("c") == 1
