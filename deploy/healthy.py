"""Exits 0 where the URL answers 200, for a container's health check."""

import sys
from urllib.request import ProxyHandler, build_opener

# No proxy: containers often have one in their environment, and it would be asked for our own 127.0.0.1.
try:
    with build_opener(ProxyHandler({})).open(sys.argv[1], timeout=4) as answer:
        sys.exit(answer.status != 200)  # noqa: PLR2004  HTTP's own number
except OSError as error:  # a refused connection, a timeout, another status
    sys.exit(f"{sys.argv[1]}: {error}")
