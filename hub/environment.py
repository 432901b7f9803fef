"""Settings from the environment, and from the files of a secrets directory.

A list or a table is written as JSON: ``TRUNKLINE_SOURCES__DESK__TOKENS=["…"]``.
"""

import os
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from hub.errors import ConfigurationError

PREFIX: Final = "TRUNKLINE_"


class Variables(EnvSettingsSource):
    """Environment variables. A list or a table is written as JSON."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """The JSON of a list or a table. Raises ValueError whose message is the key's name, without the value."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            raise ValueError(field_name) from None


class SecretFiles(Variables):
    """Files of a secrets directory, named like the environment variables; one trailing newline is not the secret's."""

    def _load_env_vars(self) -> dict[str, str | None]:
        return {path.name.lower(): _content(path) for path in secret_files()}


def secret_files() -> list[Path]:
    """The files of ``TRUNKLINE_SECRETS_DIR``, else of ``/run/secrets``, that are ours. Raises ConfigurationError."""
    named = os.environ.get(f"{PREFIX}SECRETS_DIR")
    directory = Path(named) if named else Path("/run/secrets")
    if not directory.is_dir():
        if named:
            raise ConfigurationError(f"{PREFIX}SECRETS_DIR: found {named!r}; expected a directory")
        return []
    try:
        every = sorted(directory.iterdir())
    except OSError as error:
        raise ConfigurationError(f"{directory}: cannot be read: {error.strerror}") from None
    return [path for path in every if path.name.upper().startswith(PREFIX) and path.is_file()]


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8; expected a secret as text") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
