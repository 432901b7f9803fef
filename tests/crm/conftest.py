"""A first retry that tests can wait for."""

import pytest

from hub import retry


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule itself is held by tests/unit/test_retry.py."""
    monkeypatch.setattr(retry, "_FIRST", 0.2)
    monkeypatch.setattr(retry, "_FACTOR", 1.5)
