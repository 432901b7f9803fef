"""Infocaller's signature: which of the source's lines sent this. Source: docs/vendors.md, "Infocaller: signature".

It covers neither the body, nor the event, nor the time: a second lock behind the URL's token, not the first.
"""

from collections.abc import Mapping
from hashlib import md5
from hmac import compare_digest
from typing import Any

from hub.vendors.infocaller.wire import field


def signature(line: str, sequence: str, password: str) -> str:
    """MD5 over the three texts, one after the other, in ISO-8859-1 (the vendor's own vector has an accent); hex."""
    signed = f"{line}{sequence}{password}".encode("iso-8859-1", "replace")
    return md5(signed, usedforsecurity=False).hexdigest()


def is_signed(user: Mapping[str, Any], lines: Mapping[str, str]) -> bool:
    """Whether a UserID section is signed by one of ``lines`` (line number → telephone password).

    An unknown line costs the same time as a wrong signature: neither tells which numbers are configured.
    """
    line = field(user, "LineNumber")
    password = lines.get(line)
    expected = signature(line, field(user, "CallSequence"), password or "")
    given = field(user, "Signature").lower()
    right = compare_digest(given.encode("utf-8", "replace"), expected.encode())
    return right and password is not None
