"""The model: any OpenAI-compatible endpoint, through the official client on our own transport."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol

import httpx2
from openai import APIConnectionError, APIStatusError, AsyncOpenAI, OpenAIError

from proxy.config import Settings
from proxy.config import Upstream as UpstreamSettings
from proxy.errors import ExtractionError
from proxy.extraction.answers import Answer, Asked, read_answer
from proxy.extraction.prompt import FORMS, Form, Prompt, make_messages, make_response_format
from proxy.upstream import Upstream
from proxy.upstream.transport import NO_KEY, Transport

# Twenty facts of the longest kind, with their quotes.
MOST_TOKENS: Final = 4_000
# Sixteen bytes a token, four times what they have.
LARGEST_ANSWER: Final = 256 << 10
LONGEST_WAIT_S: Final = 3600.0

_REFUSES: Final = frozenset({400, 404, 415, 422, 501})
_NAMES_FORM: Final = re.compile(r"response_?format|json_?schema|json_?object|structured|json mode", re.IGNORECASE)
_NAMES_LIMIT: Final = re.compile(r"max_(?:completion_)?tokens")
_NAMES_TEMPERATURE: Final = re.compile("temperature")


class _TooLargeError(httpx2.ReadError):
    """More came than any answer has."""


class Endpoint:
    """``POST {base_url}/chat/completions``. All failures come out as ExtractionError.

    Their messages end up in logs and in the journal, so they repeat nothing of the provider's, who may quote the text
    or the key. What the server was found to understand is remembered for as long as the process lives.
    """

    def __init__(self, settings: Settings) -> None:
        chosen = settings.extraction
        # A certificate of ours is shown to the upstream alone.
        upstream = settings.upstream if chosen.base_url is None else UpstreamSettings(base_url=chosen.base_url)
        self._model = chosen.model or ""
        self._timeout_s = chosen.timeout_s
        self._form: Form | None = None
        self._limit = "max_tokens"
        self._options: dict[str, Any] = {"temperature": 0}
        self._client = AsyncOpenAI(
            base_url=upstream.address.origin + upstream.address.prefix,
            api_key=chosen.api_key.get_secret_value() if chosen.api_key is not None else NO_KEY,
            timeout=self._timeout_s,
            max_retries=0,  # whoever asked waits for longer than the client would, and tries again
            default_headers={"accept-encoding": "identity"},
            http_client=httpx2.AsyncClient(transport=_Bounded(Transport(Upstream(upstream))), timeout=self._timeout_s),
        )

    async def ask(self, prompt: Prompt) -> Asked:
        """The facts that the model finds. Within ``extraction.timeout_s``, whatever it does.

        Raises:
            ExtractionError: there are none to be had for now.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._ask(prompt)
        except TimeoutError as exc:
            raise ExtractionError(f"the model gave no answer in {self._timeout_s:g} s") from exc

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def _ask(self, prompt: Prompt) -> Asked:
        """Tries one form after the other until one is understood, or just the one that was."""
        calls = tokens = 0
        for form in FORMS[FORMS.index(self._form or FORMS[0]) :]:
            answer, tried = await self._try(prompt, form)
            calls += tried
            if answer is None:
                continue
            tokens += answer.tokens
            if answer.items is not None:
                self._form = form
                return Asked(answer.items, calls, tokens, answer.model, answer.usage)
            if self._form is not None:
                break
        raise ExtractionError("the model's answer has no list of facts")

    async def _try(self, prompt: Prompt, form: Form) -> tuple[Answer | None, int]:
        """The answer and how many calls it took; no answer where the server does not understand the form."""
        tried = 0
        while True:
            tried += 1
            try:
                return read_answer(await self._post(prompt, form), prompt), tried
            except APIStatusError as exc:
                if not self._adapt(exc):
                    if form != "text" and _refuses(exc, _NAMES_FORM):
                        return None, tried
                    raise _translate(exc) from exc
            except OpenAIError as exc:
                raise ExtractionError(f"model: {_name(exc)}") from exc

    async def _post(self, prompt: Prompt, form: Form) -> bytes:
        fields = {"model": self._model, "messages": make_messages(prompt, form), self._limit: MOST_TOKENS}
        if wanted := make_response_format(form):
            fields["response_format"] = wanted
        create: Any = self._client.chat.completions.with_raw_response.create
        content: bytes = (await create(**fields, **self._options)).content
        return content

    def _adapt(self, exc: APIStatusError) -> bool:
        """Leaves out what the server does not take, once each; whether there was anything."""
        if self._limit == "max_tokens" and _refuses(exc, _NAMES_LIMIT):
            self._limit = "max_completion_tokens"
            return True
        if self._options and _refuses(exc, _NAMES_TEMPERATURE):
            self._options = {}
            return True
        return False


class _Closing(Protocol):
    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class _Bounded(httpx2.AsyncBaseTransport):
    """A transport whose answers end at :data:`LARGEST_ANSWER`, those of errors included."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._transport.handle_async_request(request)
        stream = response.stream
        if not isinstance(stream, httpx2.AsyncByteStream):
            raise TypeError("an asynchronous transport gave a synchronous body")
        if response.headers.get("content-encoding", "identity") != "identity":
            await stream.aclose()  # packed, it has no bound
            raise httpx2.RemoteProtocolError("the answer is packed", request=request)
        return httpx2.Response(response.status_code, headers=response.headers, stream=_BoundedBody(stream))

    async def aclose(self) -> None:
        await self._transport.aclose()


class _BoundedBody(httpx2.AsyncByteStream):
    def __init__(self, stream: _Closing) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            size += len(piece)
            if size > LARGEST_ANSWER:
                raise _TooLargeError(f"more than {LARGEST_ANSWER >> 10} kB")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


def _refuses(exc: APIStatusError, names: re.Pattern[str]) -> bool:
    """Whether the server says that it does not take a certain part of the request."""
    return exc.status_code in _REFUSES and names.search(exc.response.text) is not None


def _name(exc: OpenAIError) -> str:
    if isinstance(exc, APIConnectionError) and isinstance(exc.__cause__, _TooLargeError):
        return f"its answer is larger than {LARGEST_ANSWER >> 10} kB"
    return type(exc).__name__


def _translate(exc: APIStatusError) -> ExtractionError:
    reason = f"model: {type(exc).__name__}, status {exc.status_code}"
    return ExtractionError(reason, after_s=read_retry_after(exc.response.headers))


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, an hour at most; the header has seconds or a date."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value) if value.replace(".", "", 1).isdecimal() else _until(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_WAIT_S)


def _until(date: str) -> float:
    when = parsedate_to_datetime(date)
    return (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
