"""deploy/setup.sh: makes the configuration and every secret once."""

import stat
import tomllib
from pathlib import Path

import pytest
from yarl import URL

from hub.config import load
from tests.deploy.composition import SERVICES, Host, set_up


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """For the tests that only look."""
    return set_up(tmp_path_factory.mktemp("host"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """Another installation."""
    return set_up(tmp_path_factory.mktemp("other"))


def contents(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


def test_it_makes_what_is_missing_and_keeps_what_is_there(other: Host) -> None:
    first = contents(other.directory)
    assert set(first) == {
        "configuration/trunkline.toml",
        "secrets/postgres_password",
        "secrets/rabbitmq_password",
        "secrets/rabbitmq.conf",
        "secrets/hub/TRUNKLINE_BUS__URL",
        "secrets/hub/TRUNKLINE_STORE__URL",
    }
    assert all(first.values())
    (other.secrets / "rabbitmq.conf").unlink()
    (other.secrets / "hub" / "TRUNKLINE_BUS__URL").write_text("")  # a machine that died while it was written
    again = other.run(SERVICES["setup"], SERVICES["setup"]["command"])
    assert again.returncode == 0, again.stderr
    assert contents(other.directory) == first


def test_two_installations_share_no_secret(made: Host, other: Host) -> None:
    there = contents(other.directory)
    assert [name for name, content in contents(made.directory).items() if there[name] == content] == []


def test_other_users_of_the_volume_can_read_what_is_theirs_and_not_our_tokens(made: Host) -> None:
    for name in ("postgres_password", "rabbitmq.conf"):
        assert stat.S_IMODE((made.secrets / name).stat().st_mode) == 0o644
    assert stat.S_IMODE((made.configuration / "trunkline.toml").stat().st_mode) == 0o600


def test_the_hub_reads_them_as_its_configuration(made: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SERVICES["ingress"]["environment"]:
        monkeypatch.delenv(name, raising=False)
    for name, value in made.environment(SERVICES["migrate"]).items():
        if name.startswith("TRUNKLINE_"):
            monkeypatch.setenv(name, value)
    settings = load()

    [bus] = [URL(url) for url in settings.bus.urls]
    store = URL(settings.store.url.get_secret_value())
    assert (bus.scheme, bus.user, bus.host) == ("amqp", "trunkline", "rabbitmq")
    assert (store.scheme, store.user, store.host, store.path) == ("postgresql", "trunkline", "postgres", "/trunkline")
    assert bus.password == (made.secrets / "rabbitmq_password").read_text()
    assert store.password == (made.secrets / "postgres_password").read_text()
    assert f"default_pass = {bus.password}\n" in (made.secrets / "rabbitmq.conf").read_text()

    table = tomllib.loads((made.configuration / "trunkline.toml").read_text())
    assert settings.admin.token is not None
    assert settings.admin.token.get_secret_value() == table["admin"]["token"]


def test_the_services_hosts_are_those_that_the_urls_name(made: Host) -> None:
    for name in ("TRUNKLINE_BUS__URL", "TRUNKLINE_STORE__URL"):
        assert URL((made.secrets / "hub" / name).read_text()).host in SERVICES
    environment = SERVICES["postgres"]["environment"]
    assert (environment["POSTGRES_USER"], environment["POSTGRES_DB"]) == ("trunkline", "trunkline")
