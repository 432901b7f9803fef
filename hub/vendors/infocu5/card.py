"""The one field of INFOCU5's that we never fill, keep or show: the number of a payment card. Pure."""

import re
from typing import Final

NAME: Final = "leadCCNumber"
_CARD: Final = re.compile(r"\s*lead_?cc_?number(?:_?\d+)?\s*", re.IGNORECASE)


def is_card(field: str) -> bool:
    """Whether a field, however its letters are, is the card's: ``leadCCNumber``, ``leadCCNumber_1``."""
    return _CARD.fullmatch(field) is not None
