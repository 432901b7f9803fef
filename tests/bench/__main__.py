"""``make bench``: performance, as ratios within one run. The table has no rows yet; ``volume`` measures the whole."""

from rich.console import Console
from rich.table import Table

if __name__ == "__main__":
    Console().print(Table("row", "ratio", "at least", "aim", title="no rows yet: see python -m tests.bench.volume"))
