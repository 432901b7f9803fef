"""The hub that these tests start goes with them, however they end."""

import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Final

import psutil

from tests.servers.guard import wait_until_ended

DOOMED: Final = """
from tests.cli.served import up
from tests.servers.processes import new_directory

directory = new_directory("doomed")
with up(directory) as hub:
    print(directory, flush=True)
    input()
"""


def test_nothing_of_it_is_left_when_the_tests_themselves_are_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DOOMED], cwd=Path(__file__).parents[2], stdin=PIPE, stdout=PIPE, text=True
    ) as doomed:
        assert doomed.stdout is not None
        directory = Path(doomed.stdout.readline().strip())
        assert (directory / "trunkline.toml").exists()
        started = psutil.Process(doomed.pid).children(recursive=True)
        assert any("hub" in process.cmdline() for process in started)
        doomed.kill()
    assert wait_until_ended(started, timeout=60) == []
    assert not directory.exists()
