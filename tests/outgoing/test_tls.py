"""TLS is verified, always: a certificate authority of the tests' own signs good and bad certificates."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from hub.errors import NotSent
from hub.outgoing import Outgoing, Request
from tests.outgoing.neighbours import LOOPBACK, Names, http, outgoing


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


async def asked(context: ssl.SSLContext, tls: ssl.SSLContext | None, host: str = "crm.example") -> bytes:
    names = Names({"crm.example": [["127.0.0.1"]]})
    async with http(hello, ssl_context=context) as base, outgoing(tls=tls, resolver=lambda _: names) as client:
        lane = client.lane("crm.a", rate=100, concurrency=2)
        return (await lane.ask(Request("POST", base.replace("127.0.0.1", host), body=b"x"))).body


async def test_a_certificate_of_the_right_name_is_accepted(authority: trustme.CA, trusted: ssl.SSLContext) -> None:
    assert await asked(serving(authority.issue_cert("crm.example")), trusted) == b"hello"


async def test_a_certificate_of_another_name_is_not(authority: trustme.CA, trusted: ssl.SSLContext) -> None:
    with pytest.raises(NotSent, match=r"TLS: .*crm\.example"):
        await asked(serving(authority.issue_cert("other.example")), trusted)


async def test_a_certificate_that_expired_is_not(authority: trustme.CA, trusted: ssl.SSLContext) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with pytest.raises(NotSent, match=r"TLS: .*expired"):
        await asked(serving(authority.issue_cert("crm.example", not_after=yesterday)), trusted)


async def test_a_certificate_that_nobody_signed_is_not() -> None:
    with pytest.raises(NotSent, match="TLS: "):
        await asked(serving(trustme.CA().issue_cert("crm.example")), None)


async def test_a_certificate_of_a_name_does_not_stand_for_its_address(
    authority: trustme.CA, trusted: ssl.SSLContext
) -> None:
    with pytest.raises(NotSent, match="TLS: "):
        await asked(serving(authority.issue_cert("crm.example")), trusted, "127.0.0.1")


async def test_an_old_version_of_the_protocol_is_not_spoken(authority: trustme.CA, trusted: ssl.SSLContext) -> None:
    old = serving(authority.issue_cert("crm.example"))
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(NotSent):
        await asked(old, trusted)


async def test_a_context_that_verifies_nothing_is_not_taken(authority: trustme.CA, tmp_path: Path) -> None:
    naive = ssl.create_default_context()
    naive.check_hostname = False
    with pytest.raises(ValueError, match="verifies nothing"):
        Outgoing(LOOPBACK, tls=naive)
    naive.verify_mode = ssl.CERT_NONE
    with pytest.raises(ValueError, match="verifies nothing"):
        Outgoing(LOOPBACK, tls=naive)
    await asyncio.sleep(0)
