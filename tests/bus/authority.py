"""A certificate authority of the tests' own, made with openssl."""

from pathlib import Path
from typing import Final

from tests.servers.processes import run

_DAYS: Final = "2"
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin"}


class Authority:
    """Signs certificates; whoever trusts ``file`` trusts them."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self.file, self._key = directory / f"{name}.pem", directory / f"{name}.key"
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", _DAYS, "-subj", f"/CN={name}"),
            *("-keyout", self._key, "-out", self.file),
        )

    def certify(self, host: str, key: Path, days: str = _DAYS) -> Path:
        """A certificate of that host for a key, made where there is none; with less than no days it has expired."""
        request, extensions = key.with_suffix(".csr"), key.with_suffix(".extensions")
        certificate = key.with_name(f"{key.stem}{days}.pem")
        extensions.write_text(f"subjectAltName=DNS:{host}\n")
        if not key.exists():
            new = ("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}", "-keyout", key, "-out", request)
            self._openssl(*new)
        self._openssl(
            *("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self._key, "-CAcreateserial"),
            *("-days", days, "-extfile", extensions, "-out", certificate),
        )
        return certificate

    def _openssl(self, *arguments: str | Path) -> None:
        run(["openssl", *map(str, arguments)], directory=self._directory, env=_ENVIRONMENT)
