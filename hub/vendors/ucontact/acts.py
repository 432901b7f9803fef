"""What ``trunkline vendor call`` runs of uContact's functions: values by the vendor's names, given to the client."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from hub.errors import ConfigurationError, Permanent
from hub.vendors.ucontact.bases import read_base
from hub.vendors.ucontact.client import UContact
from hub.vendors.ucontact.cti import CHANGEABLE, Respool, from_cti
from hub.vendors.ucontact.uploading import upload
from hub.vendors.values import decode_text

Run = Callable[[UContact, Mapping[str, Any]], Awaitable[Any]]


async def agent_call(client: UContact, given: Mapping[str, Any]) -> Any:
    """AgentCall."""
    values = dict(given)
    return await client.agent_call(values.pop("destination"), **values)


async def agent_login(client: UContact, given: Mapping[str, Any]) -> Any:
    """AgentLogin."""
    agent, password = given["agent"], given["password"]
    return await client.agent_login(agent, password, message=given["message"], force=given["force"])


def agent_state(function: str) -> Run:
    """AgentPause and its like."""

    async def run(client: UContact, given: Mapping[str, Any]) -> Any:
        agent, interface, motive = given["agent"], given["interface"], given.get("motive", "")
        return await client.agent_state(function, agent, interface, message=given["message"], motive=motive)

    return run


async def disposition(client: UContact, given: Mapping[str, Any]) -> Any:
    """DispositionCall."""
    values = dict(given)
    return await client.disposition(values.pop("guid"), values.pop("disposition"), **values)


async def dialer_task(client: UContact, given: Mapping[str, Any]) -> Any:
    """DialerTask, in one of its modes."""
    values = dict(given)
    mode = values.pop("mode")
    if mode not in ("priority", "click", "scheduled", "dialer"):
        raise ConfigurationError(
            f"DialerTask: found the mode {mode[:40]!r}; expected priority, click, scheduled, dialer"
        )
    return await client.dialer_task(mode, **_timed(values))


async def schedule(client: UContact, given: Mapping[str, Any]) -> Any:
    """ScheduleDialerCall."""
    return await client.schedule_call(**_timed(given))


def _timed(given: Mapping[str, Any]) -> dict[str, Any]:
    """By our names: the vendor's is ``calldate``."""
    return {"at" if name == "calldate" else name: value for name, value in given.items()}


async def respool(client: UContact, given: Mapping[str, Any]) -> Any:
    """A contact as its CTI object has it, with what is to change."""
    contact = _contact(given)
    return {"answer": await client.respool(contact), "respool": contact.shown()}


async def convert(_: UContact, given: Mapping[str, Any]) -> Any:
    """The respool object; nothing is sent."""
    return _contact(given).shown()


def _contact(given: Mapping[str, Any]) -> Respool:
    if not isinstance(given["cti"], Mapping):
        raise ConfigurationError("cti: found no object; expected the CTI object, or its dialer part")
    contact = from_cti(given["cti"])
    if given["promote"]:
        contact = contact.promoted()
    changes = given["change"] or {}
    if not isinstance(changes, Mapping):
        raise ConfigurationError(f"change: found no object; expected {', '.join(CHANGEABLE)}")
    if "alternatives" in changes:
        changes = {**changes, "alternatives": tuple(changes["alternatives"])}
    return contact.changed(**changes)


def blacklist(*, remove: bool) -> Run:
    """Adding to the blacklist, or removing."""

    async def run(client: UContact, given: Mapping[str, Any]) -> Any:
        numbers = given["numbers"] if "numbers" in given else [given["number"]]
        return await client.blacklist(numbers, campaign=given["campaign"], remove=remove)

    return run


def upload_base(*, timezones: bool) -> Run:
    """A list, checked whole before anything is sent."""

    async def run(client: UContact, given: Mapping[str, Any]) -> Any:
        rows = str(given["rows"])
        if not (rows.isascii() and rows.isdecimal() and int(rows)):
            raise ConfigurationError(f"rows: found {rows[:20]!r}; expected a number, 1 or more")
        text, state = read_file(given["file"]), client.state_variable
        base = read_base(text, campaign=given["campaign"], timezones=timezones, state=state)
        progress = await upload(
            client,
            base,
            name=given["name"],
            campaign=given["campaign"],
            username=given["username"],
            timezones=timezones,
            part=int(rows),
        )
        if progress.problem is not None:
            raise progress.problem
        return progress.shown()

    return run


def read_file(path: Path) -> str:
    """A list's file as text, UTF-8 or ISO-8859-1. Raises ConfigurationError."""
    try:
        return decode_text(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"file: found {str(path)!r}; expected a file of CSV: {error.strerror}") from None


async def webhook(client: UContact, given: Mapping[str, Any]) -> Any:
    """A flow of the customer's."""
    method = given["method"].upper()
    if method not in ("GET", "POST", "PUT", "DELETE"):
        raise ConfigurationError(f"webhook: found the method {method[:20]!r}; expected GET, POST, PUT, DELETE")
    return await client.webhook(given["name"], given["body"] or {}, method=method)


async def fresh_leads(client: UContact, given: Mapping[str, Any]) -> Any:
    """Fresh leads."""
    contacts, at = listed(given["list"]), given["date"]
    return await client.automation.fresh_leads(given["hub"], given["filename"], contacts, at=at)


async def list_state(client: UContact, given: Mapping[str, Any]) -> Any:
    """A list's state, now or once it has loaded."""
    text = str(given["within"])
    if not (text.isascii() and text.isdecimal() and len(text) < 6):  # noqa: PLR2004
        raise ConfigurationError(f"within: found {text[:20]!r}; expected seconds, 0 or more")
    if int(text):
        return await client.automation.loaded(given["hub"], given["filename"], within=float(text))
    return await client.automation.list_state(given["hub"], given["filename"])


def listed(contacts: Any) -> list[Any]:
    """An array of contacts. Raises Permanent."""
    if not isinstance(contacts, list):
        raise Permanent("list: found no array; expected one of contacts")
    return contacts


def send_sms(version: Any) -> Run:
    """SendSMS, or SendSMSv2."""

    async def run(client: UContact, given: Mapping[str, Any]) -> Any:
        return await client.send_sms({name: str(value) for name, value in given.items()}, version=version)

    return run
