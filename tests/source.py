"""Our own source, for tests that hold names and text together."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


def lines_with(text: str) -> list[str]:
    """Every line of the product that contains a text."""
    files = (path for folder in ("hub", "workers") for path in (ROOT / folder).rglob("*.py"))
    return [line for path in files for line in path.read_text().splitlines() if text in line]
