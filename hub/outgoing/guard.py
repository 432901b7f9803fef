"""Where outgoing requests may go. Asked for the URL before anything happens, and for the address before each SYN.

The second is what counts: a name may stand for any address and for another one a moment later, an address can be
written in a dozen ways, and a redirect leads anywhere. aiohttp's resolver does not see literal addresses; its socket
factory sees every address that is about to be connected to.
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from yarl import URL

from hub.errors import Forbidden

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]

SCHEMES: Final = frozenset({"http", "https"})

# Of ports below 1024 these two; above it those where other protocols live, which a crafted request might speak.
_LOW_PORTS: Final = frozenset({80, 443})
_FIRST_HIGH: Final = 1024
_LAST: Final = 65535
_NOT_HTTP: Final = frozenset(
    {
        *(1433, 1521, 3306, 5432, 6432, 27017, 27018, 27019, 9042, 50000),  # databases
        *(1883, 8883, 4222, 4369, 5671, 5672, 15671, 15672, 25672, 61613, 61614, 61616, 9092, 9093),  # brokers
        *(2379, 2380, 2181, 6379, 6380, 11211, 26379, 9300),  # what clusters and caches keep
        *(2375, 2376, 6443, 10250, 10255, 8500, 8600),  # what runs containers
        *(2049, 3260, 3389, 5900, 5901, 5985, 5986, 3128, 1080, 4190, 5060, 5061, 6000, 6001, 6667, 6697, 9100),
    }
)

# What `ipaddress` of Python 3.11 takes for public, and is not: it leads to addresses inside, to many, or to nobody.
_NOT_PUBLIC: Final = tuple(
    map(
        ip_network,
        (
            *("192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4"),
            *("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/23", "fec0::/10", "ff00::/8"),
            *("3fff::/20", "5f00::/16", "100::/64", "100:0:0:1::/64", "::/96", "::ffff:0:0:0/96"),
        ),
    )
)


class Blocked(PermissionError):
    """The guard's no, in the only words that pass through aiohttp's search for an address that works."""

    def __init__(self) -> None:
        super().__init__("the guard does not let outgoing requests go there")


class Guard:
    """Public addresses, and what the operator allows besides."""

    def __init__(self, allow: Iterable[Network] = ()) -> None:
        """Args: allow: networks that may be reached though they are not public."""
        self._allow = tuple(allow)

    def check(self, url: URL) -> None:
        """What can be said of a URL without asking for its address. Raises Forbidden."""
        if url.scheme not in SCHEMES:
            raise Forbidden(f"found the scheme {url.scheme[:20]!r}; expected http or https")
        if not url.raw_host:
            raise Forbidden("the URL names no host")
        if not _port_allowed(url.port):
            raise Forbidden(
                f"port {url.port} of {url.host} is not for HTTP; expected 80, 443, or one above 1023 that is"
            )
        literal = _literal(url.raw_host)
        if literal is not None and not self.allows(literal):
            raise Forbidden(forbidden(url))

    def allows(self, address: Address) -> bool:
        """Whether an address may be connected to."""
        return any(address in network for network in self._allow) or self._allows_mapped(address) or is_public(address)

    def socket(self, info: AddrInfo) -> socket.socket:
        """The socket for an address that is about to be connected to. Raises Blocked before there is one."""
        family, kind, protocol, _, where = info
        address = ip_address(str(where[0]).partition("%")[0])
        if not (self.allows(address) and _port_allowed(where[1])):
            raise Blocked
        return socket.socket(family, kind, protocol)

    def _allows_mapped(self, address: Address) -> bool:
        """An IPv4 address in IPv6's clothes goes where IPv4 would."""
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return mapped is not None and self.allows(mapped)


def forbidden(url: URL) -> str:
    """Why a request was not sent, for an operator."""
    return f"{url.host}: not a public address, and no network of egress.allow; nothing was sent"


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, and to one host of it."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return False  # asked for by itself
    return address.is_global and not address.is_multicast and not any(address in network for network in _NOT_PUBLIC)


def _port_allowed(port: int | None) -> bool:
    return port in _LOW_PORTS or (port is not None and _FIRST_HIGH <= port <= _LAST and port not in _NOT_HTTP)


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None  # a name; how else an address can be written is the system's resolver's business
