"""A simulated call: what one vendor sends during its life, as requests, and where they are sent."""

from dataclasses import dataclass
from typing import Literal

VendorName = Literal["infocaller", "focalscope", "ucontact"]


@dataclass(frozen=True, slots=True)
class Source:
    """One configured vendor connection of the hub under test, as far as its vendor knows it.

    Attributes:
        name: the source's name in the hub's configuration and in the URL.
        vendor: who calls.
        token: the secret segment of the URL.
        line: the service's main number; for Infocaller one of the source's configured lines.
        password: Infocaller's telephone password of the line.
        country: two letters; what an international form is written with. The numbers are of the Spanish plan.
        epoch: FocalScope's epoch, part of a call's identity.
    """

    name: str
    vendor: VendorName
    token: str
    line: str = "900805089"
    password: str = ""
    country: str = "ES"
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request of a vendor.

    Attributes:
        at: seconds from the call's start.
        method: ``GET`` or ``POST``.
        path: without the host, ``/callbacks/{source}/{token}/inicio``; nothing in it needs encoding.
        query: percent-encoded as the vendor sends it, without the question mark.
        content_type: the header; empty where the vendor sends none.
        body: the bytes; empty for GET.
    """

    at: float
    method: str
    path: str
    query: str
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """One call's whole life.

    Attributes:
        key: the call's id as the hub names it (``/v1/calls/{key}``), made from what the vendor calls it.
        source: name of the source it is sent to.
        vendor: who sends it.
        scenario: what happens in it.
        requests: in the order in which they happen.
    """

    key: str
    source: str
    vendor: VendorName
    scenario: str
    requests: tuple[Request, ...]
