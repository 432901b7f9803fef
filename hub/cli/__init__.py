"""The command line. Exit codes: 0 done, 1 the thing asked for failed, 2 wrong usage or configuration."""

from hub.cli.app import main

__all__ = ["main"]
