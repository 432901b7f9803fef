"""A simulated vendor beside commands, which have loops of their own: it runs in a thread."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from pathlib import Path

from hub.simulator.infocu5 import Infocu5, serving


def infocu5(vendor: Infocu5) -> AbstractContextManager[str]:
    """INFOCU5, served; yields its URL."""
    return beside(serving(vendor))


@contextmanager
def beside(serving: AbstractAsyncContextManager[str]) -> Iterator[str]:
    """A vendor, served; yields its URL."""
    loop, ready, urls = asyncio.new_event_loop(), threading.Event(), list[str]()
    stopping = asyncio.Event()

    async def serve() -> None:
        async with serving as url:
            urls.append(url)
            ready.set()
            await stopping.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(20)
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()


def source(vendor: Infocu5, url: str, **more: str) -> str:
    """The lines of a configuration that make it a source."""
    lines = {
        "vendor": "infocu5",
        "base_url": url,
        "affiliate_id": vendor.affiliate_id,
        "affiliate_key": vendor.affiliate_key,
        **more,
    }
    return "\n".join(
        [
            "",
            "[sources.focu5]",
            *(f'{name} = "{value}"' for name, value in lines.items()),
            "rate = 100",
            "poll_seconds = 3600",
            "[egress]",
            'allow = ["127.0.0.0/8"]',
            "",
        ]
    )


def configured(home: Path, vendor: Infocu5, url: str, **more: str) -> Path:
    """The home's configuration with the vendor in it."""
    path = home / "trunkline.toml"
    text = path.read_text()
    path.write_text(text.replace("[egress]", "[egress-of-init]") if "\n[egress]" in text else text)
    path.write_text(path.read_text() + source(vendor, url, **more))
    return path
