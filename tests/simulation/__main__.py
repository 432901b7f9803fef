"""``python -m tests.simulation``: as many seeds as one likes, or one of them step by step.

python -m tests.simulation --seeds 1000000 --from 10000     the first that fails is told at the end, with all others
python -m tests.simulation --seed 31 --trace                what happened, with virtual times
"""

import argparse
import os
import sys

from tests.simulation.campaign import MUST_HAPPEN, campaign, once_failed, traced

_ENOUGH = 10_000


def main() -> int:
    """0 where every promise held; 1 where one did not, or a fault never happened in ten thousand seeds."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them (default 0)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one a processor")
    parser.add_argument("--seed", type=int, help="play this one alone")
    parser.add_argument("--trace", action="store_true", help="with --seed: tell every step")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return _one(arguments.seed, told=arguments.trace)
    report = campaign([*once_failed(), *range(arguments.first, arguments.first + arguments.seeds)], arguments.processes)
    for line in report.lines():
        sys.stdout.write(f"{line}\n")
    missing = sorted(MUST_HAPPEN - report.happened.keys()) if arguments.seeds >= _ENOUGH else []
    if missing:
        sys.stdout.write(f"never happened: {', '.join(missing)}\n")
    return 1 if report.broken or missing else 0


def _one(seed: int, *, told: bool) -> int:
    outcome = traced(seed)
    for line in outcome.trace if told or outcome.broken else []:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"seed {seed}: {outcome.broken or 'every promise held'}\n")
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
