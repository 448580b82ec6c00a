"""Word vectors from the wheel."""

import asyncio
import ctypes
import random
import sys

import numpy as np
import pytest

from proxy.embedders import local
from proxy.embedders.base import EMBEDDERS, NoEmbedder, pack_vector
from proxy.embedders.local import LocalEmbedder
from proxy.errors import EmbedderError


@pytest.fixture(scope="module")
def embedder() -> LocalEmbedder:
    return LocalEmbedder()


def test_rows_have_unit_length(embedder: LocalEmbedder) -> None:
    """Every text gets a row of length one, in float32."""
    vectors = embedder.embed_now(["I like dogs", "日本語", "x" * 10_000])
    assert vectors.shape == (3, embedder.dim)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_nothing_to_embed_is_zero(embedder: LocalEmbedder) -> None:
    """Empty texts get zeros, without a warning or a NaN, and no texts get no rows."""
    assert not embedder.embed_now(["", "  \n"]).any()
    assert embedder.embed_now([]).shape == (0, 256)


def test_meaning_is_closer_than_spelling(embedder: LocalEmbedder) -> None:
    """A related sentence without a common word is nearer than one with the same opening words."""
    dog, puppy, dock = embedder.embed_now(["My dog is ill", "The puppy has a fever", "My dock is long"])
    assert dog @ puppy > dog @ dock


def test_only_the_head_of_a_text_counts(embedder: LocalEmbedder) -> None:
    """What comes after 600 characters changes nothing."""
    head = "all about my dog. " * 34
    one, other = embedder.embed_now([head[:600], head[:600] + "stock prices " * 50])
    assert (one == other).all()


class _Allocated(ctypes.Structure):
    """As mallinfo2(3) answers."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc to say what is allocated")
def test_no_text_is_kept(embedder: LocalEmbedder) -> None:
    """Two thousand texts were 10 MB, and said what they say to whoever could read this process's memory."""
    glibc = ctypes.CDLL(None)
    glibc.mallinfo2.restype = _Allocated
    chance = random.Random(1)
    texts = [" ".join(f"word{chance.randrange(9_999)}" for _ in range(20)) for _ in range(2_000)]
    embedder.embed_now(texts[:10])
    before = glibc.mallinfo2()
    for text in texts:
        embedder.embed_now([text])
    after = glibc.mallinfo2()
    assert after.uordblks + after.hblkhd - before.uordblks - before.hblkhd < 1e6


async def test_embedding_in_a_thread_gives_the_same(embedder: LocalEmbedder) -> None:
    """The asynchronous way is the synchronous one off the event loop, several at a time."""
    first, second = await asyncio.gather(embedder.embed(["dog"]), embedder.embed(["cat"]))
    assert (np.concatenate((first, second)) == embedder.embed_now(["dog", "cat"])).all()
    await embedder.aclose()


def test_the_package_itself_is_not_imported(embedder: LocalEmbedder) -> None:
    """Only the wheel's files are used, so that its imports and its logging setup stay out."""
    assert embedder.name == "wordllama-l2-supercat-256"
    assert "wordllama" not in sys.modules


def test_a_missing_wheel_is_an_embedder_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the error says what to install or to configure."""
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    with pytest.raises(EmbedderError, match=r"embedding\.provider: none"):
        LocalEmbedder()


def test_missing_weights_are_an_embedder_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel without the expected file is reported with its folder."""
    monkeypatch.setattr(local, "_WEIGHTS", "weights/nowhere.safetensors")
    with pytest.raises(EmbedderError, match="wordllama cannot be read"):
        LocalEmbedder()


def test_packed_vectors_are_half_floats() -> None:
    """A stored vector is little-endian float16."""
    assert pack_vector(np.array([1, -0.5], np.float32)) == b"\x00\x3c\x00\xb8"


async def test_no_embedder_has_empty_vectors() -> None:
    """Without a provider every text gets a row without numbers."""
    none = NoEmbedder()
    assert (await none.embed(["a", "b"])).shape == (2, none.dim)
    await none.aclose()


def test_every_provider_has_a_class_name() -> None:
    """The table names a module and a class for each provider."""
    assert {"local", "openai", "none"} == EMBEDDERS.keys()
    assert all(len(target.split(":")) == 2 for target in EMBEDDERS.values())
