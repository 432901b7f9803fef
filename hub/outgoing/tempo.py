"""How long outgoing requests may take, and how fast their limits move."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tempo:
    """Seconds, but for ``steps``; tests make them short.

    Attributes:
        connect: for name, connection and TLS handshake together.
        read: without a byte of an answer.
        keepalive: for which an idle connection is kept. Shorter than what servers grant, so that it is seldom they who
            close it while a request is on its way: of that one nobody knows whether it was read.
        probe_every: between two probes while a breaker is open.
        calm: after which a limit that was cut is back where it was cut; from there on it tries more.
        steps: requests that must succeed at the limit as well, before it is back there.
        slow_window: over which a download's speed is measured.
    """

    connect: float = 3.0
    read: float = 10.0
    keepalive: float = 4.0
    probe_every: float = 30.0
    calm: float = 10.0
    steps: int = 300
    slow_window: float = 30.0
