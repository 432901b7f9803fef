"""``python orders.py PORT``: a customer's service that knows every order and takes 50 ms for each, until killed."""

import asyncio
import sys
from typing import Final

import uvloop
from aiohttp import web

LATENCY: Final = 0.05  # seconds
_BACKLOG: Final = 1024


async def _resolve(request: web.Request) -> web.Response:
    await request.read()
    await asyncio.sleep(LATENCY)
    return web.json_response({"variables": {"PEDIDO": "2"}})


async def main(port: int) -> None:
    """Serves for ever."""
    app = web.Application()
    app.router.add_post("/resolve", _resolve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=_BACKLOG).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
