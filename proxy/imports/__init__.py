"""Files that an import reads: one row in a table for each format, and a module behind it.

What is in a file becomes the lines that every import reads, whether they go into a data directory or to a running
proxy, and a count of what was left out.
"""

from collections.abc import Mapping
from typing import Final

from proxy.imports import chatgpt, mem0, native, openai
from proxy.imports.base import REASONS, Format, FormatError, Given, Reader, Record

# The first one that recognises a record is its format.
FORMATS: Final[Mapping[str, Format]] = {
    "native": Format("our own lines", "line", native.recognises, None, native.NativeReader),
    "chatgpt": Format(
        "an export of ChatGPT's", "conversation", chatgpt.recognises, chatgpt.says_user, chatgpt.ChatGPTReader
    ),
    "mem0": Format("an export of Mem0's", "memory", mem0.recognises, mem0.says_user, mem0.Mem0Reader),
    "openai": Format("a log of requests", "line", openai.recognises, openai.says_user, openai.OpenAIReader),
}

__all__ = ["FORMATS", "REASONS", "Format", "FormatError", "Given", "Reader", "Record"]
