"""``python -m workers NAME…`` is ``trunkline worker NAME…``."""

import sys

from hub.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["worker"]
    main()
