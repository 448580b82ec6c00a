"""``client.realtime.connect`` of the official Python client: a WebSocket through the proxy is one without it."""

import asyncio
import base64
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from tests.sdk.room import Rooms

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOUND = base64.b64encode(bytes(range(256)) * 2000).decode()


async def test_a_conversation(rooms: Rooms) -> None:
    """Events both ways, half a megabyte of sound in one of them; headers, query and subprotocol arrive."""

    async def steps(base_url: str) -> object:
        async with AsyncOpenAI(base_url=base_url, api_key="sk-test") as client:
            options: Any = {"subprotocols": ["v1", "realtime"]}
            async with client.realtime.connect(
                model="gpt-realtime", extra_headers={"X-App": "chat"}, websocket_connection_options=options
            ) as connection:
                created = await connection.recv()
                await connection.session.update(session={"type": "realtime", "instructions": "Sei nett – ja?"})
                await connection.input_audio_buffer.append(audio=SOUND)
                return [created, await connection.recv(), await connection.recv_bytes()]

    got = await rooms.compare(steps)
    assert got[0].type == "session.created"
    assert rooms.far_end.asked[0][0] == "/v1/realtime?model=gpt-realtime"
    assert SOUND in str(rooms.far_end.heard[1])


# openai 3.54 opens its synchronous connection in a way that websockets 17 finds old-fashioned.
@pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager:DeprecationWarning")
async def test_without_an_event_loop(rooms: Rooms) -> None:
    """The synchronous client's connection."""

    def talk(base_url: str) -> object:
        with (
            OpenAI(base_url=base_url, api_key="sk-test") as client,
            client.realtime.connect(model="m") as connection,
        ):
            created = connection.recv()
            connection.response.create()
            return [created, connection.recv()]

    got = await rooms.compare(lambda url: asyncio.to_thread(talk, url))
    assert got[1].type == "response.done"


async def test_the_server_hangs_up(rooms: Rooms) -> None:
    """Its close code and reason are what the client raises."""

    async def steps(base_url: str) -> object:
        async with (
            AsyncOpenAI(base_url=base_url, api_key="sk-test") as client,
            client.realtime.connect(model="m") as connection,
        ):
            await connection.recv()
            await connection.response.cancel()
            with pytest.raises(ConnectionClosedError) as caught:
                await connection.recv()
            return caught.value.rcvd, str(caught.value)

    got = await rooms.compare(steps)
    assert (got[0].code, got[0].reason) == (4001, "enough – bye")


async def test_a_refused_handshake(rooms: Rooms) -> None:
    """Upstream's own answer reaches the client, with its status and body."""

    async def steps(base_url: str) -> object:
        async with AsyncOpenAI(base_url=base_url, api_key="sk-wrong") as client:
            with pytest.raises(InvalidStatus) as caught:
                async with client.realtime.connect(model="refuse"):
                    pass
            return caught.value.response.status_code, caught.value.response.body

    assert await rooms.compare(steps) == (401, b'{"error":{"message":"No.","code":"bad_key"}}')
