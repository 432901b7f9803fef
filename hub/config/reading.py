"""How it is read: the file, over it the secrets directory, over that the environment."""

import os
import tomllib
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import SettingsError

from hub.config.settings import Settings
from hub.config.values import Part
from hub.configured import SCHEMA, complaint
from hub.environment import PREFIX, secret_files
from hub.errors import ConfigurationError

FILE: Final = "trunkline.toml"


def named_file(option: Path | None = None) -> Path | None:
    """The file that ``--config`` names, else ``TRUNKLINE_CONFIG``, whether or not it is there; None without either."""
    variable = os.environ.get(f"{PREFIX}CONFIG")
    return option or (Path(variable) if variable else None)


def find(named: Path | None = None) -> Path | None:
    """The configuration file: named, else ``TRUNKLINE_CONFIG``, else in the working directory; None without one.

    Raises:
        ConfigurationError: a file was named and is not there.
    """
    told = named_file(named)
    if told is not None:
        if not told.is_file():
            raise ConfigurationError(f"configuration file {told}: not found; expected a TOML file")
        return told
    here = Path(FILE)
    return here if here.is_file() else None


def load(named: Path | None = None) -> Settings:
    """The settings, complete and checked.

    Raises:
        ConfigurationError: with one line: the key, what was found, what is expected.
    """
    path = find(named)
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: not TOML: {error}") from None
        except OSError as error:
            raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    _known_names(table)
    try:
        return Settings(**table)
    except ValidationError as error:
        raise ConfigurationError(complaint(error, _secret_keys())) from None
    except SettingsError as error:
        table_name, key = str(error).split('"')[1], str(error.__cause__)
        place = key if key == table_name else f"{table_name}.{key}"
        raise ConfigurationError(f"{place}: found no JSON; expected a list or a table as JSON") from None


def _known_names(table: dict[str, Any]) -> None:
    """A misspelt variable or file would be ignored in silence; a misspelt key is an error, so these are too."""
    for name in table:
        if name not in Settings.model_fields:  # pydantic-settings takes `_env_prefix` and its like for its own
            raise ConfigurationError(f"{name}: unknown key; expected one of {SCHEMA}")
    tables = set(Settings.model_fields)
    variables = {
        name: tables | {"config", "secrets_dir", "test", "failpoints"}
        for name in os.environ
        if name.upper().startswith(PREFIX)
    }
    files = dict.fromkeys((path.name for path in secret_files()), tables)
    for where, names in (("environment", variables), ("secrets directory", files)):
        for name, known in names.items():
            if name[len(PREFIX) :].lower().partition("__")[0] not in known:
                raise ConfigurationError(f"{where}: {name}: unknown key; expected {PREFIX}TABLE__KEY")


def _secret_keys() -> frozenset[str]:
    """The names of every key that is a secret or holds some."""
    every = [Part]
    for part in every:
        every += part.__subclasses__()
    fields = ((name, field) for part in every for name, field in part.model_fields.items())
    return frozenset(name for name, field in fields if "SecretStr" in str(field.annotation))
