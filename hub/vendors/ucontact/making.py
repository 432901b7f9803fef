"""A client and a session as the configuration of a source has them."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from hub.config import UContactSource
from hub.errors import ConfigurationError
from hub.outgoing import Lane
from hub.vendors.ucontact.asking import Asking
from hub.vendors.ucontact.client import UContact
from hub.vendors.ucontact.paths import MEANINGS, NAMES, PATHS
from hub.vendors.ucontact.session import Session
from hub.vendors.ucontact.tasks import FIXED


def _now() -> datetime:
    return datetime.now(UTC)


def make(name: str, source: UContactSource, lane: Lane, now: Callable[[], datetime] = _now) -> UContact:
    """A source's client, which ends its session by ``close``.

    Args:
        name: of the source, for what is said of a key.
        source: its configuration.
        lane: to ask by.
        now: the clock.

    Raises:
        ConfigurationError: a key names a function or a parameter that there is none of.
    """
    _known(f"sources.{name}.paths", source.paths, PATHS)
    _known(f"sources.{name}.names", source.names, NAMES)
    _known(f"sources.{name}.answers", source.answers, MEANINGS)
    for mode, keys in source.task_modes.items():
        for key in keys:
            if key in FIXED:
                raise ConfigurationError(
                    f"sources.{name}.task_modes.{mode}: found {key!r}; expected keys that no mode has of its own"
                )
    asking = Asking(
        lane,
        base_url=source.base_url,
        session=make_session(source, lane, now),
        api_token=_clear(source.api_token),
        paths=source.paths,
        names=source.names,
        answers=source.answers,
        timeout=source.timeout,
        now=now,
    )
    return UContact(
        asking,
        zone=ZoneInfo(source.timezone),
        api=source.api,
        modes={str(mode): keys for mode, keys in source.task_modes.items()},
    )


def make_session(source: UContactSource, lane: Lane, now: Callable[[], datetime] = _now) -> Session:
    """A source's session alone, for whoever asks by themselves."""
    return Session(
        lane,
        source.base_url,
        source.user or "",
        _clear(source.password) or "",
        source.paths,
        now=now,
        login=source.login,
        api_key=_clear(source.api_key),
    )


def _clear(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _known(key: str, given: Collection[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise ConfigurationError(f"{key}: found {name[:60]!r}; expected one of {', '.join(known)}")
