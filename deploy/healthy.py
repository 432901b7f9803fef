"""Exits 0 where the URL answers 200, for a container's health check."""

import sys
from urllib.error import URLError
from urllib.request import urlopen

try:
    with urlopen(sys.argv[1], timeout=4) as answer:  # noqa: S310  our own address
        sys.exit(answer.status != 200)  # noqa: PLR2004  HTTP's own number
except URLError as error:
    sys.exit(f"{sys.argv[1]}: {error}")
