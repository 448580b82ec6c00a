"""Stores to measure with, filled before a server opens them."""

from pathlib import Path

from proxy.bench.corpus import write_conversations
from proxy.bench.servers import Conditions, import_file


def fill_store(data_dir: Path, users: dict[str, int], conditions: Conditions) -> None:
    """A new data directory in which each of *users* has so many memories."""
    data_dir.mkdir()
    path = data_dir / "conversations.jsonl"
    write_conversations(path, users)
    import_file(path, data_dir, conditions)
    path.unlink()
