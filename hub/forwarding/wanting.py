"""Which events a destination wants: patterns over their names, a filter over their fields. Pure.

The filter is a table: a path of names with dots, and what is expected there. All of them must hold::

    where = { disposition = "answered", "caller.e164" = { present = true },
              duration_seconds = { min = 10, max = 600 }, source = ["line-900", "desk"], queue = { not = "test" } }
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

_WORD: Final = r"(?:[a-z0-9_]+|\*)"
_PATTERN: Final = re.compile(rf"{_WORD}\.{_WORD}(?:\.{_WORD})?|#")
_THREE: Final = 2  # dots in a whole routing key
_TESTS: Final = ("present", "min", "max", "in", "not")
Plain = str | int | float | bool
MISSING: Final = object()

Condition = Callable[[Any], bool]
"""Whether what stands in the field, or ``MISSING``, is as wanted."""


def binding(pattern: str) -> str:
    """The binding for what the configuration calls an event.

    ``call.sealed`` is ``call.*.sealed``, ``call.*`` is ``call.*.*``; three words and ``#`` stay as they are.

    Raises:
        ValueError: it is none of these.
    """
    if not _PATTERN.fullmatch(pattern):
        raise ValueError(
            "expected the type of an event, for instance call.sealed, or a pattern: call.*, call.infocaller.sealed, #"
        )
    if pattern == "#" or pattern.count(".") == _THREE:
        return pattern
    noun, verb = pattern.split(".")
    return f"{noun}.*.{verb}"


def at(data: Any, path: str) -> Any:
    """What stands at ``caller.e164``, ``legs.0.number``; ``MISSING`` where nothing does, or null."""
    for step in path.split("."):
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, Sequence) and not isinstance(data, str) and step.isdigit() and int(step) < len(data):
            data = data[int(step)]
        else:
            return MISSING
        if data is None:
            return MISSING
    return data


class Where:
    """A filter, checked and ready.

    Raises:
        ValueError: a condition is of no known shape; the message names its path.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._conditions = [(path, _condition(path, wanted)) for path, wanted in _flat(table)]

    def __call__(self, data: Mapping[str, Any]) -> bool:
        """Whether every condition holds."""
        return all(holds(at(data, path)) for path, holds in self._conditions)


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested tables are paths: TOML writes ``caller.e164 = …`` as one."""
    found: list[tuple[str, Any]] = []
    for name, wanted in table.items():
        if isinstance(wanted, Mapping) and wanted and not set(wanted) & set(_TESTS):
            found += _flat(wanted, f"{prefix}{name}.")
        else:
            found.append((prefix + name, wanted))
    return found


def _condition(path: str, wanted: Any) -> Condition:
    if not all(path.split(".")):
        raise ValueError(f"{path!r}: expected names with dots between them")
    if isinstance(wanted, list | tuple):
        return _one_of(path, wanted)
    if isinstance(wanted, Mapping):
        return _tests(path, wanted)
    if isinstance(wanted, Plain):
        return lambda found: _same(found, wanted)
    raise ValueError(f"{path}: found {type(wanted).__name__}; expected a value, a list of values, or a table of tests")


def _tests(path: str, wanted: Mapping[str, Any]) -> Condition:
    if not wanted or set(wanted) - set(_TESTS):
        raise ValueError(f"{path}: found {', '.join(sorted(wanted)) or 'nothing'}; expected any of {', '.join(_TESTS)}")
    made = [_test(path, name, value) for name, value in wanted.items()]
    return lambda found: all(holds(found) for holds in made)


def _test(path: str, name: str, value: Any) -> Condition:
    match name:
        case "present":
            if not isinstance(value, bool):
                raise ValueError(f"{path}.present: found {value!r}; expected true or false")  # noqa: TRY004
            return lambda found: (found is not MISSING) is value
        case "in":
            return _one_of(f"{path}.in", value)
        case "not":
            same = _condition(f"{path}.not", value)
            return lambda found: not same(found)
        case _:
            limit = _comparable(value)
            if limit is None:
                raise ValueError(f"{path}.{name}: found {value!r}; expected a number or a time")
            return _range(limit, lowest=name == "min")


def _range(limit: float | datetime, *, lowest: bool) -> Condition:
    def holds(found: Any) -> bool:
        value = _comparable(found)
        if isinstance(value, datetime) and isinstance(limit, datetime):
            return value >= limit if lowest else value <= limit
        if isinstance(value, float) and isinstance(limit, float):
            return value >= limit if lowest else value <= limit
        return False

    return holds


def _one_of(path: str, wanted: Any) -> Condition:
    if not isinstance(wanted, list | tuple) or not wanted or not all(isinstance(one, Plain) for one in wanted):
        raise ValueError(f"{path}: expected a list of values, at least one")
    return lambda found: any(_same(found, one) for one in wanted)


def _same(found: Any, wanted: Plain) -> bool:
    """Equal, and of one kind: TOML's true is not 1. In a list of words it is enough to be one of them."""
    if isinstance(found, list):
        return any(_same(one, wanted) for one in found)
    return isinstance(found, bool) is isinstance(wanted, bool) and bool(found == wanted)


def _comparable(value: Any) -> float | datetime | None:
    """A number, also one written as text, as money is; or an aware time."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, datetime):
        return value if value.tzinfo is not None else None
    if isinstance(value, str):
        for read in (float, datetime.fromisoformat):
            try:
                made = read(value)
            except ValueError:
                continue
            return made if not isinstance(made, datetime) or made.tzinfo is not None else None
    return None
