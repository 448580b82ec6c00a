"""``python -m tests.reembedding_victim``: moves memories, and kills itself at the moment that it is told.

Arguments: data directory, URL of the embedding endpoint, model, and before the how manieth call of which step it dies.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any

from proxy.keeper.lock import Holder
from proxy.keeper.reembedding import Reembedding
from proxy.keeper.vault import open_vault
from proxy.ledger import FileLedger
from proxy.stores.chroma import ChromaStore
from tests.embedding_models import Models

STEPS = {"make_keys": FileLedger, "_write": ChromaStore, "settle_keys": FileLedger, "change_embedding": FileLedger}


def _arm(step: str, last: int) -> None:
    numbers = count(1)

    def die_before(work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def dying(*arguments: Any, **named: Any) -> Any:
            if next(numbers) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return work(*arguments, **named)

        return dying

    setattr(STEPS[step], step, die_before(getattr(STEPS[step], step)))


async def _move(data_dir: Path, url: str, model: str, step: str, last: int) -> None:
    models = Models()
    models.url = url
    async with open_vault(models.settings(data_dir, model), Holder(os.getpid(), "a victim")) as vault:
        _arm(step, last)
        await Reembedding(vault, batch=7).run()


if __name__ == "__main__":
    where, url, model, step, last = sys.argv[1:]
    asyncio.run(_move(Path(where), url, model, step, int(last)))
