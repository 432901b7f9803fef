"""docker-compose.yml and the Dockerfile, read: what they name exists and fits together."""

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft201909Validator

from hub.config import load
from hub.parts import ROLES
from tests.deploy.composition import COMPOSE, OURS, ROOT, SERVICES

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("compose_spec.json").read_text())
VENDORED = {"rabbitmq", "postgres"}


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of that name."""
    joined = DOCKERFILE.replace("\\\n", " ")
    return [line.partition(" ")[2].strip() for line in joined.splitlines() if line.startswith(f"{name} ")]


def copied() -> dict[str, Path]:
    """What the image has in /app, and where that is here."""
    found: dict[str, Path] = {}
    for line in instructions("COPY"):
        *sources, target = shlex.split(line)
        for source in sources:
            name = Path(source).name
            place = target.removeprefix("./") if not target.endswith("/") else f"{target.removeprefix('./')}{name}"
            found[f"/app/{place}"] = ROOT / source
    return found


# --- docker-compose.yml --------------------------------------------------------------------------------------------


def test_the_composition_is_valid_by_the_compose_specification() -> None:
    Draft201909Validator.check_schema(SCHEMA)
    assert list(Draft201909Validator(SCHEMA).iter_errors(COMPOSE)) == []


def test_the_schema_sees_a_misspelt_key() -> None:
    """So that the test above proves something."""
    wrong = yaml.safe_load((ROOT / "docker-compose.yml").read_text().replace("healthcheck:", "healthchek:"))
    assert list(Draft201909Validator(SCHEMA).iter_errors(wrong)) != []


def test_every_service_volume_and_condition_that_is_named_exists() -> None:
    named = set(COMPOSE["volumes"])
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES
            assert other != name
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
            if how["condition"] == "service_completed_successfully":
                assert SERVICES[other]["restart"] == "no"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in named or (ROOT / source).is_dir(), volume


def test_every_service_but_the_vendored_ones_is_built_here() -> None:
    assert set(SERVICES) - set(OURS) == VENDORED
    for service in OURS.values():
        assert (ROOT / service["build"]["dockerfile"]).is_file()


def test_every_role_is_a_service() -> None:
    commands = [service["command"] for service in OURS.values()]
    assert [["trunkline", "worker", role] in commands for role in ROLES] == [True] * len(ROLES)


def test_nothing_is_published_beyond_this_machine() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:8080:8080"]


def test_the_ingress_starts_without_the_broker() -> None:
    """It accepts without it, so it must not wait for it."""
    waits = set(SERVICES["ingress"]["depends_on"])
    while more := {other for name in waits for other in SERVICES[name].get("depends_on", {})} - waits:
        waits |= more
    assert "rabbitmq" not in waits


def test_what_must_survive_a_container_lies_in_a_volume() -> None:
    mounted = {name: [volume.split(":")[1] for volume in service["volumes"]] for name, service in SERVICES.items()}
    outbox = SERVICES["ingress"]["environment"]["TRUNKLINE_OUTBOX__PATH"]
    assert str(Path(outbox).parent) in mounted["ingress"]
    for name in ("ingress", "recordings"):  # one serves what the other keeps
        assert SERVICES[name]["environment"]["TRUNKLINE_RECORDINGS__URL"].removeprefix("file://") in mounted[name]
    assert "/var/lib/rabbitmq" in mounted["rabbitmq"]
    assert SERVICES["rabbitmq"]["hostname"], "the broker's data lie in a directory of its name"
    assert "/var/lib/postgresql/data" in mounted["postgres"]


def test_every_file_that_a_command_or_a_health_check_names_is_in_the_image() -> None:
    words = [
        word
        for service in OURS.values()
        for word in (*service["command"], *service.get("healthcheck", {}).get("test", []))
    ]
    named = {word for word in words if word.startswith("/app/")}
    assert named == {"/app/deploy/setup.sh", "/app/deploy/healthy.py"}
    assert named <= set(copied())


def test_every_variable_is_a_key_of_the_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("TRUNKLINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    for service in OURS.values():
        for name, value in service["environment"].items():
            if name not in ("TRUNKLINE_CONFIG", "TRUNKLINE_SECRETS_DIR"):
                monkeypatch.setenv(name, str(value))
    settings = load()
    assert (settings.http.host, settings.worker.port, settings.log.format) == ("0.0.0.0", 8081, "json")


# --- Dockerfile ----------------------------------------------------------------------------------------------------


def test_everything_that_is_copied_into_the_image_exists_and_is_not_ignored() -> None:
    assert copied()
    ignored = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    for source in copied().values():
        assert source.exists(), source
        assert f"!{source.relative_to(ROOT).parts[0]}" in ignored


def test_the_scripts_that_are_run_may_be_run() -> None:
    for name in ("setup.sh", "rabbitmq/policies.sh", "test-servers.sh"):
        assert os.access(ROOT / "deploy" / name, os.X_OK), name


def test_the_image_has_every_package_that_the_distribution_names() -> None:
    table = (ROOT / "pyproject.toml").read_text()
    [packages] = re.findall(r"^packages = \[(.*)\]$", table, re.MULTILINE)
    for package in shlex.split(packages.replace(",", " ")):
        assert f"/app/{package}" in copied()
    [readme] = re.findall(r'^readme = "(.*)"$', table, re.MULTILINE)
    assert f"/app/{readme}" in copied()
    assert "/app/LICENSE" in copied()


def test_the_image_runs_as_a_user_of_its_own_in_a_directory_that_is_the_users() -> None:
    """``trunkline up`` writes its configuration and its data into the working directory."""
    [user] = instructions("USER")
    assert user == "trunkline"
    *_, where = instructions("WORKDIR")
    [commands] = [line for line in instructions("RUN") if "chown" in line]
    [owned] = re.findall(rf"chown {user} (.*)", commands)
    assert where in owned.split()
    assert DOCKERFILE.index(f"WORKDIR {where}") > DOCKERFILE.index(f"USER {user}")


def test_the_command_of_the_image_is_the_hub_whole() -> None:
    """``trunkline up`` itself is run, and drained, by tests/cli."""
    [command] = instructions("CMD")
    assert json.loads(command) == ["trunkline", "up"]
