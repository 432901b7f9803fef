"""``trunkline simulate``: the simulator against a running hub, and against a server that notes every byte."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic

import pytest

from tests.cli.command import Said, trunkline
from tests.cli.served import Served
from tests.servers.ports import free_port, release_port

Requests = list[tuple[str, str, str | None, bytes]]


class Notebook:
    """A real server that answers every callback with one status and keeps what came, and when."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.requests: Requests = []
        self.times: list[float] = []
        self.url = ""

    def take(self) -> Requests:
        taken, self.requests = self.requests, []
        return taken


@contextmanager
def notebook(status: int = 200) -> Iterator[Notebook]:
    noted = Notebook(status)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            noted.times.append(monotonic())
            noted.requests.append((self.command, self.path, self.headers.get("Content-Type"), body))
            self.send_response(noted.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815  the library's name

        def log_message(self, *_: object) -> None:
            pass

    port = free_port()
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    noted.url = f"http://127.0.0.1:{port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield noted
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        release_port(port)


def simulate(home: Path, noted: Notebook, *words: str) -> Said:
    said = trunkline("simulate", *words, "--url", noted.url, "--concurrency", "1", at=home)
    assert said.status == 0, said.err
    return said


def shown(said: Said, name: str) -> float:
    """A figure of the table."""
    [line] = [line for line in said.lines if f" {name} " in line]
    return float(line.replace("ms", "").split()[-2])


def test_a_hub_accepts_what_is_simulated_and_seals_every_call(served: Served) -> None:
    said = served.trunkline("simulate", "all", "--count", "28", "--seed", "7")
    assert said.status == 0
    assert shown(said, "status 200") == shown(said, "sent")
    served.settled()
    before = len(served.read("/v1/calls?limit=1000")["items"])
    again = served.trunkline(
        "simulate", "all", "--count", "28", "--seed", "7", "--duplicate", "0.5", "--reorder", "0.5"
    )
    assert again.status == 0
    served.settled()
    assert len(served.read("/v1/calls?limit=1000")["items"]) == before, "the same seed is the same calls"


def test_a_truncated_callback_is_quarantined_which_is_an_acceptable_answer(served: Served) -> None:
    said = served.trunkline("simulate", "inbound-answered", "--count", "2", "--seed", "8", "--truncate", "1")
    assert said.status == 0
    assert shown(said, "status 422") == shown(said, "sent") == shown(said, "mutated: truncate")


def test_the_same_seed_gives_the_same_bytes(home: Path) -> None:
    words = ("all", "--count", "14", "--duplicate", "0.3", "--reorder", "0.3", "--drop", "0.1", "--delay", "0.3")
    with notebook() as noted:
        taken = []
        for seed in ("3", "3", "4"):
            simulate(home, noted, *words, "--truncate", "0.1", "--seed", seed)
            taken.append(noted.take())
    assert taken[0] == taken[1] != taken[2]
    assert len(taken[0]) > 14


def test_each_mutator_does_what_it_says(home: Path) -> None:
    words = ("inbound-two-failed-then-answered", "--count", "6", "--seed", "5")
    with notebook() as noted:
        simulate(home, noted, *words)
        plain = noted.take()
        simulate(home, noted, *words, "--duplicate", "1")
        assert sorted(noted.take()) == sorted(plain * 2)
        for mutator in ("--reorder", "--delay"):
            simulate(home, noted, *words, mutator, "0.7")
            changed = noted.take()
            assert sorted(changed) == sorted(plain)
            assert changed != plain
        said = simulate(home, noted, *words, "--drop", "1")
        assert noted.take() == []
        assert shown(said, "sent") == 0
        simulate(home, noted, *words, "--truncate", "1")
        cut = noted.take()
    assert len(cut) == len(plain)
    for (*short, body), (*whole, all_of_it) in zip(cut, plain, strict=True):
        assert short == whole
        assert all_of_it.startswith(body)
        assert 0 < len(body) < len(all_of_it)


def test_callbacks_come_at_the_rate_that_is_asked_for(home: Path) -> None:
    with notebook() as noted:
        simulate(home, noted, "outbound-unanswered", "--count", "21", "--rate", "50")
    taken = noted.times[-1] - noted.times[0]
    assert len(noted.times) == 21
    # Twenty fiftieths of a second, less what the first one took to connect: what was late is caught up with.
    assert taken >= 0.3


@pytest.mark.parametrize("status", [500, 503, 401, 302])
def test_an_answer_that_keeps_nothing_ends_with_1(home: Path, status: int) -> None:
    with notebook(status) as noted:
        said = trunkline("simulate", "outbound-unanswered", "--count", "2", "--url", noted.url, at=home)
    assert said.status == 1
    assert shown(said, f"status {status}") == 2


def test_a_hub_that_is_not_there_ends_with_1(home: Path) -> None:
    port = free_port()
    said = trunkline("simulate", "outbound-unanswered", "--count", "2", at=home, TRUNKLINE_HTTP__PORT=str(port))
    release_port(port)
    assert said.status == 1
    assert shown(said, "error ClientConnectorError") == 2


def test_a_vendor_without_a_source_cannot_be_simulated(tmp_path: Path) -> None:
    (tmp_path / "trunkline.toml").write_text('[sources.desk]\nvendor = "focalscope"\ntokens = ["t"]\n')
    said = trunkline("simulate", "inbound-answered", at=tmp_path)
    assert (said.status, said.out) == (2, "")
    assert "needs a source with vendor = 'infocaller', found none" in said.err
