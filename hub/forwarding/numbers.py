"""The spellings under which a CRM may know a telephone number. Pure."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import phonenumbers

_LONGEST: Final = 40


def spellings(party: Mapping[str, Any] | None) -> tuple[str, ...]:
    """E.164 first, then national digits, then as it was sent; nothing for one that is withheld or not a number."""
    if not party or party.get("withheld"):
        return ()
    e164, sent = party.get("e164"), party.get("number")
    found = [*(_of_e164(e164) if isinstance(e164, str) else ())]
    if isinstance(sent, str) and 0 < len(sent) <= _LONGEST and any(map(str.isdigit, sent)):
        found.append(sent)
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=4096)
def _of_e164(e164: str) -> tuple[str, ...]:
    try:
        parsed = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return ()
    national = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.NATIONAL)
    digits = "".join(filter(str.isdigit, national))
    return (e164, digits, phonenumbers.national_significant_number(parsed))
