"""Where outgoing requests may go: directly, by redirect, by name. Canaries are real listeners that hear nothing."""

import asyncio
from contextlib import suppress
from ipaddress import ip_address, ip_network

import pytest
from aiohttp import web
from yarl import URL

from hub.errors import Forbidden, NotSent, TrunklineError
from hub.outgoing import Request, Tempo
from hub.outgoing.guard import Blocked, Guard
from tests.outgoing.neighbours import FAST, LOOPBACK, Names, http, outgoing, raw

INSIDE = (
    *("127.0.0.1", "127.1.2.3", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("192.0.0.9", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "224.0.0.1", "239.1.1.1"),
    *("240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::"),
    *("2001::1", "3fff::1", "5f00::1", "100::1"),
)
PUBLIC = ("1.1.1.1", "8.8.8.8", "185.199.108.153", "2606:4700:4700::1111", "2a00:1450:4001:800::200e")

# Ways to write 127.0.0.1, or to seem to mean somebody else.
DISGUISES = (
    *("http://127.0.0.1:{0}/", "http://localhost:{0}/", "http://127.1:{0}/", "http://2130706433:{0}/"),
    *("http://0x7f000001:{0}/", "http://0x7f.0.0.1:{0}/", "http://0177.0.0.1:{0}/", "http://017700000001:{0}/"),
    *("http://①②⑦.⓪.⓪.①:{0}/", "http://127。0。0。1:{0}/", "http://0:{0}/", "http://0.0.0.0:{0}/"),
    *("http://[::1]:{0}/", "http://[::]:{0}/", "http://[::ffff:127.0.0.1]:{0}/", "http://[::ffff:7f00:1]:{0}/"),
    *("http://[0:0:0:0:0:0:0:1]:{0}/", "http://1.1.1.1@127.0.0.1:{0}/", "http://user:pass@127.0.0.1:{0}/"),
    *("http://127.0.0.1.:{0}/", "http://LOCALHOST:{0}/", "https://127.0.0.1:{0}/", "http://127.0.0.1:{0}#@1.1.1.1/"),
    *("http://127.0.0.1:{0}\\@1.1.1.1/", "http://[::1%25lo]:{0}/"),
)


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_is_not_public_is_not_connected_to(address: str) -> None:
    guard = Guard()
    assert not guard.allows(ip_address(address))
    family = 10 if ":" in address else 2
    with pytest.raises(Blocked):
        guard.socket((family, 1, 6, "", (address, 443, 0, 0)[: 4 if ":" in address else 2]))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is(address: str) -> None:
    assert Guard().allows(ip_address(address))
    Guard().check(URL.build(scheme="https", host=address, path="/"))


def test_a_network_that_is_allowed_opens_itself_and_nothing_else() -> None:
    guard = Guard([ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5"):
        assert guard.allows(ip_address(address)), address
    for address in ("10.2.0.1", "127.0.0.1", "fd00:2::5", "::ffff:10.2.0.1"):
        assert not guard.allows(ip_address(address)), address


@pytest.mark.parametrize("port", [0, 1, 21, 22, 23, 25, 53, 110, 143, 445, 993, 3306, 5432, 5672, 6379, 11211, 27017])
def test_ports_of_other_protocols_are_refused_also_where_the_network_is_allowed(port: int) -> None:
    guard = Guard(LOOPBACK)
    with pytest.raises(Forbidden, match="port"):
        guard.check(URL(f"http://127.0.0.1:{port}/"))
    with pytest.raises(Blocked):
        guard.socket((2, 1, 6, "", ("127.0.0.1", port)))


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "gopher://127.0.0.1:70/_x", "ftp://1.1.1.1/x", "data:text/plain,x", "javascript:1"),
        *("unix:///run/x.sock", "ws://1.1.1.1/", "//1.1.1.1/", "/path", "", "http://", "http:///x", "https://[::1/"),
        *("http://1.1.1.1:99999/", "http://1.1.1.1:abc/"),
    ],
)
async def test_what_is_not_http_to_a_host_is_refused(url: str) -> None:
    async with outgoing() as client:
        lane = client.lane("crm.a", rate=100, concurrency=2)
        with pytest.raises(Forbidden):
            await lane.ask(Request("GET", url))
        assert lane.state().counts == {"forbidden": 1}


@pytest.mark.parametrize("url", DISGUISES)
async def test_a_canary_inside_hears_nothing_whatever_it_is_called(url: str) -> None:
    async with raw() as canary, outgoing(allow=()) as client:
        lane = client.lane("crm.a", rate=100, concurrency=2)
        with pytest.raises((Forbidden, NotSent)):  # not sent: where the system knows no such name
            await lane.ask(Request("GET", url.format(canary.port)))
        assert canary.connections == 0


async def test_the_canary_would_hear_if_the_guard_let_it() -> None:
    async with raw() as canary, outgoing(allow=LOOPBACK) as client:
        lane = client.lane("crm.a", rate=100, concurrency=2, timeout=0.3)
        with suppress(TrunklineError):
            await lane.ask(Request("GET", f"http://localhost:{canary.port}/x"))
        assert canary.connections == 1
        assert canary.heard.startswith(b"GET /x HTTP/1.1\r\n")


@pytest.mark.parametrize("url", [*DISGUISES, "file:///etc/passwd", "gopher://127.0.0.1:{0}/_x", "http://127.0.0.1:22/"])
async def test_a_redirect_leads_no_canary_into_hearing_anything(url: str) -> None:
    async with raw(host="127.0.0.2") as canary:
        there = url.replace("127.0.0.1", "127.0.0.2").replace("[::1]", "127.0.0.2").format(canary.port)

        async def leads(_: web.Request) -> web.Response:
            return web.Response(status=302, headers={"Location": there})

        async with http(leads) as base, outgoing(allow=[ip_network("127.0.0.1/32")]) as client:
            lane = client.lane("rec.a", rate=100, concurrency=2, timeout=2)
            with pytest.raises(TrunklineError):
                async with lane.stream(Request("GET", f"{base}/audio")):
                    pass
            assert canary.connections == 0


async def test_a_name_that_stands_for_an_address_inside_is_not_followed() -> None:
    async with raw() as canary:
        for addresses in (["127.0.0.1"], ["::ffff:127.0.0.1"], ["127.0.0.1", "127.0.0.1"], ["::1", "127.0.0.1"]):
            names = Names({"crm.example": [addresses]})
            async with outgoing(allow=(), resolver=lambda _, names=names: names) as client:
                lane = client.lane("crm.a", rate=100, concurrency=2)
                with pytest.raises(Forbidden, match=r"crm\.example: not a public address"):
                    await lane.ask(Request("GET", f"http://crm.example:{canary.port}/"))
        assert canary.connections == 0


async def test_a_name_that_stands_for_another_address_the_next_time_is_looked_at_again() -> None:
    """Rebinding: first an address that is allowed, then one that is not."""

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello", headers={"Connection": "close"})

    async with http(hello) as base:
        port = URL(base).port
        names = Names({"crm.example": [["127.0.0.1"], ["127.0.0.2"]]})
        allow = [ip_network("127.0.0.1/32")]
        async with outgoing(allow=allow, resolver=lambda _: names) as client:
            lane = client.lane("crm.a", rate=100, concurrency=2)
            request = Request("GET", f"http://crm.example:{port}/")
            assert (await lane.ask(request)).body == b"hello"
            lane._wire._opened().connector.clear_dns_cache()  # type: ignore[union-attr]  # as time does
            with pytest.raises(Forbidden):
                await lane.ask(request)
        assert names.asked == ["crm.example"] * 2


async def test_of_addresses_inside_and_outside_only_the_latter_is_tried() -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    async with http(hello) as base:
        names = Names({"crm.example": [["127.0.0.2", "127.0.0.1"]]})
        async with outgoing(allow=[ip_network("127.0.0.1/32")], resolver=lambda _: names) as client:
            lane = client.lane("crm.a", rate=100, concurrency=2)
            assert (await lane.ask(Request("GET", f"http://crm.example:{URL(base).port}/"))).status == 200


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    async with raw() as canary, http(hello) as base, outgoing() as client:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, canary.url)
        answer = await client.lane("crm.a", rate=100, concurrency=2).ask(Request("GET", base))
        assert (answer.body, canary.connections) == (b"hello", 0)


async def test_a_name_server_that_hangs_holds_up_its_own_lane_only(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket as module  # noqa: PLC0415
    from threading import Event  # noqa: PLC0415

    release, real = Event(), module.getaddrinfo

    def slow(host: str, *rest: object, **more: object) -> object:
        if host == "hangs.example":
            release.wait(20)
            raise module.gaierror(module.EAI_AGAIN, "again")
        return real(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "getaddrinfo", slow)

    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    tempo = Tempo(connect=0.5, read=FAST.read, probe_every=30)
    async with http(hello) as base, outgoing(tempo=tempo) as client:
        hangs = client.lane("crm.hangs", rate=1000, concurrency=40)
        sound = client.lane("crm.sound", rate=1000, concurrency=2)
        asking = [asyncio.create_task(hangs.ask(Request("GET", "http://hangs.example/"))) for _ in range(40)]
        try:
            url = base.replace("127.0.0.1", "localhost")
            assert (await asyncio.wait_for(sound.ask(Request("GET", url)), 5)).body == b"hello"
            problems = await asyncio.gather(*asking, return_exceptions=True)
            assert {type(problem) for problem in problems} <= {NotSent}
        finally:
            release.set()
