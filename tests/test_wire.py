"""Frames between the edge and the keeper: whole ones, damaged ones, and what both ends make of these."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import structlog

from proxy.errors import KeeperError
from proxy.keeper import frames, wire
from proxy.keeper.client import KeeperClient
from proxy.models import Memory, Pack, Scope, now
from proxy.tasks import Tasks

ADA = Scope("ada")
EVERY_KIND = [
    wire.Load(ADA),
    wire.Journaled(),
    wire.ListUsers(5, (1.5, "x")),
    wire.ListMemories(Scope("b\u00f6b", "acme"), 5, None, include_superseded=True),
    wire.Erase(ADA, None),
    wire.Erase(ADA, ["m"]),
    wire.Add(ADA, "x"),
    wire.Edit(ADA, "m", None, restore=True),
    wire.Switch(ADA, off=True),
    wire.ListJournal(5),
    wire.RetryFailed(),
    wire.DropFailed(),
    wire.Import(b"{}\n\xff", 7),
    wire.Flush(),
    wire.Status(),
]
GARBAGE = [
    pytest.param(b"\xff\xff\xff\xff", id="oversize"),
    pytest.param(frames.LENGTH.pack(frames.MAX_FRAME + 1), id="just oversize"),
    pytest.param(frames.LENGTH.pack(4) + b"\xc1\xc1\xc1\xc1", id="no msgpack"),
    pytest.param(frames.LENGTH.pack(0), id="empty"),
    pytest.param(frames.LENGTH.pack(1) + b"\x01", id="a number"),
    pytest.param(frames.LENGTH.pack(4) + b"\x92\x01\xc0\x00", id="more than one"),
]


async def read(data: bytes) -> frames.Envelope:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await frames.read_frame(reader)


@pytest.mark.parametrize("request_", EVERY_KIND, ids=lambda r: type(r).__name__)
async def test_every_request_survives_the_way(request_: wire.Request) -> None:
    """What one side sends is what the other side reads."""
    envelope = await read(frames.frame(7, request_))
    assert (envelope.number, envelope.failed) == (7, False)
    assert msgspec.msgpack.decode(envelope.payload, type=wire.AnyRequest) == request_


@pytest.mark.parametrize("data", GARBAGE)
async def test_garbage_is_no_frame(data: bytes) -> None:
    """A length beyond all messages is refused before anything is read; so is what is no envelope."""
    with pytest.raises(KeeperError):
        await read(data)


@pytest.mark.parametrize("length", [0, 2, 4, 9])
async def test_a_cut_frame_is_the_end(length: int) -> None:
    """A connection that ends, between two frames or within one, is the other side's leaving."""
    with pytest.raises(asyncio.IncompleteReadError):
        await read(frames.frame(1, wire.Status())[:length])


def test_requests_that_expect_an_answer_say_of_what_type() -> None:
    """Only the push goes without a reply type."""
    unanswered = {type(request) for request in EVERY_KIND if request.reply is None}
    assert unanswered == {wire.Journaled}


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def talking_to(path: Path, answer: Answer) -> AsyncIterator[KeeperClient]:
    """A client connected to a keeper that does what *answer* does."""
    tasks = Tasks()
    server = await asyncio.start_unix_server(answer, path)
    client = KeeperClient(path, tasks)
    await client.connect()
    try:
        yield client
    finally:
        await client.aclose()
        server.close()
        await tasks.drain()


@pytest.mark.parametrize("data", GARBAGE)
async def test_a_keeper_that_sends_garbage_is_hung_up_on(tmp_path: Path, data: bytes) -> None:
    """The call that waits fails, one line is logged, and later calls fail at once."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await frames.read_frame(reader)
        writer.write(data)
        await writer.drain()
        await reader.read()
        writer.close()

    with structlog.testing.capture_logs() as logs:
        async with talking_to(tmp_path / "s", answer) as client:
            with pytest.raises(KeeperError, match="went away"):
                await client.call(wire.Status())
            with pytest.raises(KeeperError, match="not up"):
                await client.call(wire.Status())
    assert [line["event"] for line in logs] == ["bad_frame"]


async def test_a_failure_is_the_callers_error(tmp_path: Path) -> None:
    """A failed call raises with the keeper's own words, as does an answer of another kind; the connection goes on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await frames.read_frame(reader)
        writer.write(frames.frame(first.number, wire.Failure("the disk is full"), failed=True))
        second = await frames.read_frame(reader)
        writer.write(frames.frame(second.number, None))
        third = await frames.read_frame(reader)
        writer.write(frames.frame(third.number, wire.Flushed(3, 0)))
        await reader.read()
        writer.close()

    async with talking_to(tmp_path / "s", answer) as client:
        with pytest.raises(KeeperError, match="the disk is full"):
            await client.call(wire.Flush())
        with pytest.raises(KeeperError, match="cannot be read"):
            await client.call(wire.Flush())
        assert await client.call(wire.Flush()) == wire.Flushed(3, 0)


async def test_answers_may_come_in_any_order_between_announcements(tmp_path: Path) -> None:
    """Calls are told apart by their number; announcements reach the listener; an answer nobody waits for is dropped."""
    memory = Memory("m", "ada", "turn", "user", "Hello", now(), "c", 0)
    pack = Pack([memory], 0, b"", b"", b"", b"\0\0\0\0")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, second = await frames.read_frame(reader), await frames.read_frame(reader)
        writer.write(frames.frame(second.number, wire.Flushed(2, 0)))
        writer.write(frames.frame(99, wire.Flushed(0, 0)))
        writer.write(frames.frame(0, wire.Changed(ADA, pack)))
        writer.write(frames.frame(first.number, wire.Flushed(1, 0)))
        await reader.read()
        writer.close()

    heard: list[wire.Changed] = []
    async with talking_to(tmp_path / "s", answer) as client:
        client.on_change = heard.append
        first, second = await asyncio.gather(client.call(wire.Flush()), client.call(wire.Flush()))
    assert (first.stored, second.stored) == (1, 2)
    assert heard == [wire.Changed(ADA, pack)]


def one_memory(name: str, left: int) -> wire.Part:
    return wire.Part(
        Pack([Memory(name, "ada", "turn", "user", "Hello", now(), "c", 0)], 0, b"", b"", b"", b"\0" * 4), left
    )


async def test_parts_come_one_by_one_until_nothing_is_left(tmp_path: Path) -> None:
    """Each is there before the next is sent, other answers may come in between, and the last one ends it."""
    parts = [one_memory("b", 1), one_memory("a", 0)]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        load = await frames.read_frame(reader)
        writer.write(frames.frame(load.number, parts[0]))
        call = await frames.read_frame(reader)
        writer.write(frames.frame(call.number, wire.Flushed(1, 0)) + frames.frame(load.number, parts[1]))
        await reader.read()
        writer.close()

    tasks = Tasks()
    async with talking_to(tmp_path / "s", answer) as client:
        seen: list[wire.Part] = []
        async for part in client.load(ADA):
            if not seen:
                flushing = tasks.spawn(client.call(wire.Flush()), name="flush", awaited=True)
            seen.append(part)
        assert await flushing == wire.Flushed(1, 0)
    assert seen == parts


@pytest.mark.parametrize("ending", ["failure", "rubbish", "hanging up"])
async def test_a_load_that_breaks_off_raises_after_what_came(tmp_path: Path, ending: str) -> None:
    """The parts that came before a failure are there; then the failure is raised, whatever kind it is."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = (await frames.read_frame(reader)).number
        writer.write(frames.frame(number, one_memory("b", 1)))
        if ending == "failure":
            writer.write(frames.frame(number, wire.Failure("the disk is gone"), failed=True))
        elif ending == "rubbish":
            writer.write(frames.frame(number, wire.Flushed(1, 0)))
        else:
            writer.close()
        await reader.read()
        writer.close()

    async with talking_to(tmp_path / "s", answer) as client, aclosing(client.load(ADA)) as parts:
        assert (await anext(parts)).left == 1
        with pytest.raises(KeeperError, match=r"the disk is gone|cannot be read|went away"):
            await anext(parts)


async def test_who_stops_a_load_hears_no_more_of_it(tmp_path: Path) -> None:
    """Parts of a load that nobody follows any more are dropped, and calls go on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = (await frames.read_frame(reader)).number
        writer.write(frames.frame(number, one_memory("b", 1)))
        call = await frames.read_frame(reader)
        writer.write(frames.frame(number, one_memory("a", 0)) + frames.frame(call.number, wire.Flushed(1, 0)))
        await reader.read()
        writer.close()

    async with talking_to(tmp_path / "s", answer) as client:
        async with aclosing(client.load(ADA)) as parts:
            assert (await anext(parts)).left == 1
        assert client._waiting == {}
        assert await client.call(wire.Flush()) == wire.Flushed(1, 0)


async def test_a_caller_that_gives_up_is_forgotten(tmp_path: Path) -> None:
    """An answer that comes after its caller's deadline harms nobody."""
    asked = asyncio.Event()
    late = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await frames.read_frame(reader)
        asked.set()
        await late.wait()
        writer.write(frames.frame(first.number, wire.Flushed(1, 0)))
        second = await frames.read_frame(reader)
        writer.write(frames.frame(second.number, wire.Flushed(2, 0)))
        await reader.read()
        writer.close()

    tasks = Tasks()
    async with talking_to(tmp_path / "s", answer) as client:
        impatient = tasks.spawn(client.call(wire.Flush()), name="impatient")
        await asked.wait()
        await tasks.cancel()
        assert impatient.cancelled()
        late.set()
        assert await client.call(wire.Flush()) == wire.Flushed(2, 0)


async def test_without_a_connection_nothing_is_sent(tmp_path: Path) -> None:
    """A push to nobody is nothing; a call to nobody is an error; nobody to connect to is the system's error."""
    client = KeeperClient(tmp_path / "nobody", Tasks())
    client.push(wire.Journaled())
    with pytest.raises(KeeperError, match="not up"):
        await client.call(wire.Status())
    with pytest.raises(KeeperError, match="not up"):
        await anext(client.load(ADA))
    with pytest.raises(FileNotFoundError):
        await client.connect()


def test_a_short_path_stays_in_the_data_directory(tmp_path: Path) -> None:
    """The socket lies beside the data, unless its path were too long; equal directories have equal sockets."""
    assert frames.socket_path(tmp_path) == tmp_path.resolve() / "keeper.sock"
    assert frames.socket_path(tmp_path / "x" / "..") == frames.socket_path(tmp_path)


def test_long_paths_have_short_sockets_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long paths get names of their own in a private folder, the same each time."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one, other = (tmp_path / ("x" * 120) / name for name in ("one", "other"))
    assert frames.socket_path(one) == frames.socket_path(one) != frames.socket_path(other)
    assert frames.socket_path(one).parent.parent == tmp_path


@pytest.mark.parametrize("kind", ["open to others", "a link"])
def test_a_folder_of_somebody_elses_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """In a shared folder for temporary files somebody may have made ours before us."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = frames.socket_path(tmp_path / ("x" * 120)).parent
    if kind == "a link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.chmod(0o755)
    with pytest.raises(KeeperError, match="set data_dir to a shorter path"):
        frames.socket_path(tmp_path / ("x" * 120))
