"""Exit codes of wrong usage, and the ways to call the commands."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import clean_environment, trunkline
from tests.cli.served import ROOT
from tests.servers.ports import free_port, release_port

COMMANDS = (
    *("up", "ingress", "worker", "init", "simulate", "calls", "explain", "doctor"),
    *("dead list", "dead show", "dead requeue", "dead discard"),
    "replay",
    *("quarantine list", "quarantine show", "quarantine retry", "quarantine discard"),
    *("vendor url", "vendor verify", "vendor test", "config show", "config schema", "db upgrade"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    said = trunkline(*command.split(), "--help", at=tmp_path)
    assert (said.status, said.err) == (0, "")
    assert said.lines[0].startswith(f"Usage: trunkline {command}")
    assert len(said.lines) > 3


@pytest.mark.parametrize(
    "words",
    [
        *("bogus", "--bogus calls", "calls --bogus", "vendor bogus", "config bogus", "db bogus", "worker", "simulate"),
        *("calls --limit 0", "calls --limit x", "explain", "ingress --processes 0", "vendor url"),
        *("simulate all --count 0", "simulate all --duplicate 2", "simulate all --seed x"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_line(words: str, home: Path) -> None:
    said = trunkline(*words.split(), at=home)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("trunkline: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            "worker nope",
            "worker: found 'nope'; expected one of crm, dial, persistence, poll, recordings, respool, watch",
        ),
        ("simulate nope", "scenario 'nope' is not known; expected one of: all, infocaller, focalscope, "),
        ("simulate all --rate 0", "--rate: found 0.0; expected more than 0"),
        ("vendor url nope", "sources: found 'nope'; expected one of: line-900, desk"),
        ("vendor url line-900 --event nope", "--event: found 'nope'; expected one of inicio, desvio_correcto, "),
        ("vendor url line-900 --event nope --bare", "--event: found 'nope'; expected one of inicio, "),
        ("calls nope", "'nope' is no call id; expected a UUID"),
    ],
)
def test_what_does_not_exist_ends_with_2_and_one_line(words: str, complaint: str, home: Path) -> None:
    said = trunkline(*words.split(), at=home)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"trunkline: {complaint}")
    assert said.err.count("\n") == 1


def test_without_a_command_the_commands_are_listed(tmp_path: Path) -> None:
    said = trunkline(at=tmp_path)
    assert said.status == 2
    for command in COMMANDS:
        assert f"\n  {command.partition(' ')[0]} " in said.out + said.err


TAKEN = {"ingress": "http", "ingress --processes 2": "http", "up": "admin", "worker persistence": "worker"}


def test_a_port_that_is_taken_is_wrong_configuration(home: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        for words, key in TAKEN.items():
            ports = {"TRUNKLINE_HTTP__PORT": "0", f"TRUNKLINE_{key.upper()}__PORT": str(port)}
            said = trunkline(*words.split(), at=home, stdin=b"", **ports)
            assert said.status == 2
            [line] = [line for line in said.err.splitlines() if line.startswith("trunkline: ")]
            assert line == f"trunkline: {key}.port: found {port}; cannot listen on 127.0.0.1: Address already in use"
    release_port(port)


def test_python_m_workers_name_is_trunkline_worker_name(tmp_path: Path) -> None:
    """The script itself is run by tests/docs, ``python -m hub`` by the hub of these tests."""
    told = subprocess.run(
        [sys.executable, "-m", "workers", "persistence", "--help"],
        cwd=tmp_path,
        env=clean_environment({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("Usage: python -m workers worker")
    assert "persistence" in told.stdout
