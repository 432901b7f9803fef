"""What a client sees of an ingress that is told to stop."""

import asyncio

from tests.hub import DESK_TOKEN, Hub, until


async def test_a_connection_that_is_kept_alive_gets_one_more_answer_that_ends_it(hub: Hub) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.process.port)

    async def ask(number: int) -> bytes:
        path = f"/callbacks/desk/{DESK_TOKEN}?Event=pickup&RequestID={number}&CallID=6"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: hub\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"}")
        return head

    assert b"200 OK" in (first := await ask(71))
    assert b"Connection: close" not in first
    hub.process.stop()
    await until(lambda: _refused(hub))
    last = await ask(72)
    assert b"200 OK" in last
    assert b"Connection: close" in last
    assert await reader.read() == b""
    writer.close()


async def _refused(hub: Hub) -> bool:
    """Whether nobody listens any more: it drains."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", hub.process.port)
    except OSError:  # refused; or reset, where the kernel had taken it and the hub had not
        return True
    writer.close()
    return False
