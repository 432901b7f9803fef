"""INFOCU5's response codes and what each means for what happens next. Pure.

Source: docs/vendors.md, chapter 3. A code of nothing found is an answer, not a failure; the same number means two
things.
"""

from typing import Final

from hub.errors import Later, Refused, TrunklineError

SUCCESS: Final = 1
EMPTY: Final = {
    ("getCalls", 340): "No Calls found",
    ("getCampaigns", 340): "No Campaigns available",
    ("getAgents", 341): "No Agents available",
}
"""Codes that say: none, by the function that was asked."""

MALFORMED, UNKNOWN_KEY, UNKNOWN_FUNCTION, BROKEN = 80, 100, 800, 900
REFUSALS: Final = {
    MALFORMED: "Improperly formatted request",
    UNKNOWN_KEY: "Invalid ID and Transaction Key combination",
    UNKNOWN_FUNCTION: "Invalid function",
}
"""Permanent: the same request will be refused again."""

_OK: Final = 200  # of HTTP: the pages know no other


def problem(function: str, code: int, message: str) -> TrunklineError | None:
    """None where the function was done, or found nothing; else the error that says what happens next.

    Args:
        function: that was asked, ``getCalls``.
        code: ``responseCode``.
        message: ``responseMessage``, without secrets.

    Returns:
        ``Refused`` for 80, 100, 800 and every code that the pages do not name: permanent. ``Later``, which is a
        ``Doubtful``, for 900: the interface failed, and may have done it all the same.
    """
    if code == SUCCESS or (function, code) in EMPTY:
        return None
    said = f"{function} was answered with code {code}: {message or REFUSALS.get(code, 'no message')}"
    if code == BROKEN:
        return Later(_OK, said)
    hint = "; look at affiliate_id and affiliate_key" if code == UNKNOWN_KEY else ""
    return Refused(_OK, f"{said}{hint}")
