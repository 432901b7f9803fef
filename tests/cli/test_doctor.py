"""``trunkline doctor``: one line for each part, and 1 where any is bad."""

from pathlib import Path

import pytest

from hub.cli import checks
from tests.cli.command import Said, edited, trunkline
from tests.cli.served import Served

PARTS = ["configuration", "broker", "database", "bindings", "disk"]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for five seconds for a broker that is away."""
    monkeypatch.setattr(checks, "_PATIENCE", 0.2)


def verdicts(said: Said) -> dict[str, str]:
    """``ok`` or ``bad`` of each part."""
    told = [line.split()[:2] for line in said.lines]
    assert [part for _, part in told] == PARTS
    return {part: verdict for verdict, part in told}


def bad(said: Said) -> dict[str, str]:
    """The line of each bad part, without its verdict and its name."""
    assert set(verdicts(said)) == set(PARTS)
    return {line.split()[1]: line[21:] for line in said.lines if line.startswith("bad")}


def test_a_sound_hub_is_ok_in_every_part_and_exits_0(served: Served) -> None:
    said = served.trunkline("doctor")
    assert (said.status, said.err) == (0, "")
    assert set(verdicts(said).values()) == {"ok"}
    assert "2 sources that call back: line-900, desk" in said.lines[0]
    assert "trunkline.persistence: " in said.lines[3]


def test_before_the_first_start_the_database_and_the_queue_are_missing(home: Path) -> None:
    said = trunkline("doctor", at=home)
    assert said.status == 1
    assert set(bad(said)) == {"database", "bindings"}
    assert "trunkline db upgrade" in bad(said)["database"]
    assert bad(said)["bindings"] == (
        "there is no queue trunkline.persistence; the ingress and the workers make it when they start"
    )


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("tokens = [", "tokens = []\n# ", "sources.line-900.tokens: found none; nobody can call it"),
        ("token = ", "# ", "admin.token: missing; nobody can read /v1"),
    ],
)
def test_a_configuration_that_nobody_can_use_is_bad(served: Served, old: str, new: str, line: str) -> None:
    with edited(served.directory / "trunkline.toml", old, new) as path:
        said = served.trunkline("--config", str(path), "doctor")
    assert (said.status, bad(said)) == (1, {"configuration": line})


def test_a_configuration_without_sources_is_bad(tmp_path: Path) -> None:
    said = trunkline("doctor", at=tmp_path)
    assert said.status == 1
    assert bad(said)["configuration"] == "no source calls back; expected at least one table [sources.NAME]"


def test_a_broker_that_is_away_is_bad(home: Path) -> None:
    said = trunkline("doctor", at=home, TRUNKLINE_BUS__URL="amqp://user:CANARY@127.0.0.1:1/")
    assert said.status == 1
    assert {"broker", "bindings"} <= set(bad(said))
    assert bad(said)["broker"]
    assert "CANARY" not in said.out + said.err


def test_a_database_that_is_away_is_bad(served: Served) -> None:
    with edited(
        served.directory / "trunkline.toml",
        'url = "sqlite:///data/store.db"',
        'url = "postgresql://u:CANARY@127.0.0.1:1/db"',
    ) as path:
        said = served.trunkline("--config", str(path), "doctor")
    assert (said.status, set(bad(said))) == (1, {"database"})
    assert "CANARY" not in said.out + said.err


def test_a_disk_with_too_little_room_for_the_outbox_is_bad(served: Served) -> None:
    with edited(served.directory / "trunkline.toml", "[outbox]", f"[outbox]\nmax_bytes = {1 << 60}") as path:
        said = served.trunkline("--config", str(path), "doctor")
    assert (said.status, set(bad(said))) == (1, {"disk"})
    assert bad(said)["disk"].startswith("outbox.path: ")
    assert bad(said)["disk"].endswith(", expected room for the outbox")


def test_a_place_for_the_outbox_that_is_no_directory_is_bad(served: Served) -> None:
    with edited(served.directory / "trunkline.toml", 'path = "data/outbox.db"', 'path = "trunkline.toml/o.db"') as path:
        said = served.trunkline("--config", str(path), "doctor")
    assert (said.status, set(bad(said))) == (1, {"disk"})
