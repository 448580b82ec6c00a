"""``python -m proxy.remember.analysing``: started by whoever stores much, never by hand, and ended with its input."""

import sys
from typing import IO

import msgspec

from proxy import cores
from proxy.children import read_order
from proxy.embedders.local import LocalEmbedder
from proxy.remember.analyst import LENGTH, Analysis, Order, Task
from proxy.text import pack_terms


def main() -> int:
    """Makes what it is asked for, until nobody asks any more."""
    order = read_order(sys.stdin.buffer)
    if not isinstance(order, Order):
        raise SystemExit("this process is started by memory-proxy, not by hand")
    cores.take(order.cores)
    embedder = LocalEmbedder()
    if embedder.name != order.model:
        return 1
    while (task := _read(sys.stdin.buffer)) is not None:
        vectors = embedder.embed_now(task.texts).tobytes()
        done = msgspec.msgpack.encode(Analysis(vectors, [pack_terms(text, name) for text, name in task.said]))
        sys.stdout.buffer.write(LENGTH.pack(len(done)) + done)
        sys.stdout.buffer.flush()
    return 0


def _read(file: IO[bytes]) -> Task | None:
    head = file.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    data = file.read(length)
    return msgspec.msgpack.decode(data, type=Task) if len(data) == length else None


if __name__ == "__main__":
    sys.exit(main())
