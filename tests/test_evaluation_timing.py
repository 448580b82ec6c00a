"""The clock of an evaluation."""

import pytest

from proxy.embedders.local import LocalEmbedder
from proxy.evaluation.timing import INSERTS, RECALLS, measure_timing, summarise_ms
from proxy.models import Memory, now


def make_memory(number: int) -> Memory:
    return Memory(
        id=str(number),
        user_id="ann",
        kind="turn",
        role="user",
        text=f"My dog is called Rex {number}",
        created_at=now(),
        conversation_id="c",
        message_index=number,
    )


async def test_each_size_is_timed() -> None:
    """Few memories are repeated until there are enough; the largest set is the one that grows."""
    seen: list[int] = []
    memories = {"ann": [make_memory(number) for number in range(7)]}
    timing, samples = await measure_timing(
        memories, ["What is my dog called?"], LocalEmbedder(), sizes=(5, 40), progress=seen.append
    )
    assert [size.memories for size in timing.sizes] == [5, 40]
    for spread in (timing.sizes[1].wall_ms, timing.sizes[1].cpu_ms, timing.insert_ms, timing.next_ms):
        assert 0 < spread.p50 <= spread.p99 < 1000
    assert seen == [1, 2]
    assert {name: sample.count for name, sample in samples.items()} == {
        "5 memories": RECALLS,
        "40 memories": RECALLS,
        "right after an exchange": INSERTS,
    }
    assert samples["40 memories"].at(0.5) == pytest.approx(timing.sizes[1].wall_ms.p50, abs=0.001)
    assert INSERTS >= 100  # or p99 would be the slowest


def test_quantiles_are_in_milliseconds() -> None:
    """Half of the times are shorter than p50, all but one in a hundred than p99."""
    assert summarise_ms([number / 1000 for number in range(101)]) == summarise_ms(
        [n / 1000 for n in range(100, -1, -1)]
    )
    spread = summarise_ms([number / 1000 for number in range(101)])
    assert (spread.p50, spread.p99) == (50, 99)
