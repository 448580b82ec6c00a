"""Counting tokens, estimated and by tables."""

import hashlib
from pathlib import Path

import pytest
import tiktoken

from proxy.tokens import TokenCounter, estimate


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("I went to the farmers market yesterday and bought some tomatoes.", 12, 18),
        ("私は東京に住んでいます", 8, 15),
        ("Привет, как дела сегодня?", 6, 20),
        ("+49 170 1234567", 6, 14),
        ("\ud800", 1, 2),
    ],
)
def test_estimate_is_close(text: str, least: int, most: int) -> None:
    """The estimate lies between what current and older vocabularies need."""
    assert least <= estimate(text) <= most


def test_counts_are_estimates_without_tables(tmp_path: Path) -> None:
    """An empty cache folder leaves the counter estimating, without asking the network."""
    counter = TokenCounter()
    assert not counter.load_tables({"TIKTOKEN_CACHE_DIR": str(tmp_path)})
    assert not counter.exact
    assert counter.count("some words here") == estimate("some words here")


def _put_tables(folder: Path) -> dict[str, str]:
    source = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
    (folder / hashlib.sha1(source.encode()).hexdigest()).write_bytes(b"")
    return {"TIKTOKEN_CACHE_DIR": str(folder)}


def test_counts_are_exact_with_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables found in the cache folder are used from then on, and special tokens in a text are mere text."""
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256}
    tables = tiktoken.Encoding("tiny", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens={"<|end|>": 257})
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: {"o200k_base": tables}[name])
    counter = TokenCounter()
    assert counter.load_tables(_put_tables(tmp_path))
    assert counter.exact
    assert counter.count("abab <|end|>") == 2 + 1 + 7


@pytest.mark.parametrize("error", [OSError("no network"), ValueError("hash mismatch")])
def test_unreadable_tables_are_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """When tiktoken cannot load what is in its cache, counts stay estimates."""

    def fail(name: str) -> tiktoken.Encoding:
        raise error

    monkeypatch.setattr(tiktoken, "get_encoding", fail)
    counter = TokenCounter()
    assert not counter.load_tables(_put_tables(tmp_path))
    assert counter.count("word") == 1
