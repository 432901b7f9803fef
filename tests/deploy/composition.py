"""docker-compose.yml, read; and what it runs, run here with the places of a container replaced by places of a test."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cli.command import clean_environment

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
OURS: Final = {name: service for name, service in SERVICES.items() if "build" in service}


@dataclass(frozen=True)
class Host:
    """Where the volumes of the composition are on this machine, and which port stands for which."""

    directory: Path
    ports: Mapping[int, int]

    @property
    def configuration(self) -> Path:
        return self.directory / "configuration"

    @property
    def secrets(self) -> Path:
        return self.directory / "secrets"

    @property
    def outbox(self) -> Path:
        return self.directory / "outbox"

    def here(self, text: str) -> str:
        """A word of a command or of the environment, with our places and ports."""
        places = {
            "/etc/trunkline": self.configuration,
            "/run/trunkline": self.secrets,
            "/data": self.outbox,
            "/app": ROOT,
            "0.0.0.0": "127.0.0.1",
        }
        for container, place in places.items():
            text = text.replace(container, str(place))
        for inside, port in self.ports.items():
            text = text.replace(f":{inside}/", f":{port}/")
        return text

    def environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        """What the service's process would find in its environment."""
        told = {name: self.here(str(value)) for name, value in service["environment"].items()}
        for name in ("TRUNKLINE_HTTP__PORT", "TRUNKLINE_WORKER__PORT"):
            if name in told:
                told[name] = str(self.ports[int(told[name])])
        if "ports" in service:
            told["TRUNKLINE_HTTP__PORT"] = str(self.ports[8080])
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # python and trunkline, as in the image
        return clean_environment({"PATH": path, "PYTHONPATH": str(ROOT), **told})

    def words(self, words: Sequence[str]) -> list[str]:
        return [self.here(word) for word in words]

    def run(self, service: Mapping[str, Any], words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """A command to its end."""
        return subprocess.run(
            self.words(words),
            cwd=self.directory,
            env=self.environment(service),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def healthy(self, service: Mapping[str, Any]) -> "subprocess.CompletedProcess[str]":
        """The service's health check, run."""
        kind, *words = service["healthcheck"]["test"]
        assert kind == "CMD"
        return self.run(service, words)

    def spawn(self, service: Mapping[str, Any], log: Path) -> "subprocess.Popen[bytes]":
        """The service's command, running; what it says goes to a file."""
        with log.open("wb") as said:
            return subprocess.Popen(
                self.words(service["command"]),
                cwd=self.directory,
                env=self.environment(service),
                stdout=said,
                stderr=said,
            )


def set_up(directory: Path, ports: Mapping[int, int] | None = None) -> Host:
    """A host on which the ``setup`` service has run."""
    host = Host(directory, ports or {})
    for place in (host.configuration, host.secrets, host.outbox):
        place.mkdir()
    done = host.run(SERVICES["setup"], SERVICES["setup"]["command"])
    assert done.returncode == 0, done.stderr
    return host
