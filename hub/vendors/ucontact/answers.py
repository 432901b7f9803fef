"""What uContact's answers of 200 mean, by the function that was asked. Pure.

Source: docs/vendors.md, chapter 4. An error is mostly the text ``0``, and mostly with HTTP 200; for one function it is
success. A page of a proxy's or no text at all says nothing of what was done.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import orjson

from hub.errors import Doubtful, Refused
from hub.outgoing import excerpt
from hub.vendors.values import decode_text

Meaning = Literal["id", "one", "done", "ok", "login", "text", "json"]

MEANINGS: Final[Mapping[Meaning, str]] = {
    "id": "an id, which has a digit, is success, and 0 a refusal",
    "one": "1 is success, and every other text a refusal",
    "done": "1, OK or an id is success, and 0 a refusal",
    "ok": "OK is success, and every other text a refusal",
    "login": "0 and 3 are success, and 1 a refusal",
    "text": "any text is success",
    "json": "JSON is success, and 0 a refusal",
}

FAILURE: Final = "0"
_OK: Final = 200
# A guid, a number, a path of a file: all have a digit, and no word does (Unauthorized, ERROR, null).
_ID: Final = re.compile(r"(?=[^0-9]*[0-9])/?[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}")
_PAGE: Final = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)


def read(function: str, meaning: Meaning, body: bytes) -> Any:
    """What an answer of 200 gives: text without its quotes and spaces, or what the JSON holds.

    Args:
        function: that was asked, for the message.
        meaning: of its answers.
        body: as it came.

    Raises:
        Refused: the vendor said that it was not done.
        Doubtful: it cannot be told from this answer whether it was done.
    """
    text = stripped(body)
    if meaning != "text" and (not text or _PAGE.match(text)):
        what = "nothing" if not text else "a page"
        raise Doubtful(f"{function} was answered with {what}; expected that {MEANINGS[meaning]}")
    if meaning == "json":
        return _json(function, text)
    verdict = _VERDICTS[meaning](text)
    if verdict is None:
        raise Doubtful(f"{function} was answered {excerpt(body, 80)!r}; expected that {MEANINGS[meaning]}")
    if not verdict:
        raise Refused(_OK, f"{function} was answered {excerpt(body, 80)!r}, which means that it was not done")
    return text


def stripped(body: bytes) -> str:
    """A text without the quotes, spaces and newlines that the vendor puts around some."""
    return decode_text(body).strip().strip('"').strip()


def _json(function: str, text: str) -> Any:
    if text in (FAILURE, "false"):
        raise Refused(_OK, f"{function} was answered {text!r}, which means that it was not done")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Doubtful(f"{function} was answered with {len(text)} characters that are not JSON") from None


def _id(text: str) -> bool | None:
    if text == FAILURE:
        return False
    return True if _ID.fullmatch(text) else None


_VERDICTS: Final[Mapping[str, Callable[[str], bool | None]]] = {
    "id": _id,
    "one": lambda text: text == "1",
    "done": lambda text: True if text.upper() == "OK" else _id(text),
    "ok": lambda text: text.upper() == "OK",
    "login": {"0": True, "3": True, "1": False}.get,
    "text": lambda text: True,  # noqa: ARG005  whatever it says
}
"""By the meaning: True where it was done, False where it was not, None where nobody can tell."""
