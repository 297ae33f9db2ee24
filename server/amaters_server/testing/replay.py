"""Runs seeds of the simulation and prints the verdicts: `python -m amaters_server.testing.replay 7`.

replay SEED [SEED...]          these seeds, with their traces when something is wrong
replay --from A --count N      a range of them; stops with status 1 if any failed
"""

import argparse
import sys

from amaters_server.testing.simulation.cluster import SimCluster


def main(arguments: list[str]) -> int:
    """Run what was asked for; the exit status says whether it passed."""
    parser = argparse.ArgumentParser(description="Replay seeds of the cluster simulation.")
    parser.add_argument("seeds", type=int, nargs="*", help="seeds to run")
    parser.add_argument("--from", type=int, default=0, dest="first", help="first seed of a range")
    parser.add_argument("--count", type=int, default=0, help="how many seeds from there")
    parser.add_argument("--trace", action="store_true", help="print elections as they happened")
    asked = parser.parse_args(arguments)
    seeds = asked.seeds or range(asked.first, asked.first + max(asked.count, 1))
    failed = 0
    for seed in seeds:
        cluster = SimCluster(seed)
        verdict = cluster.run()
        failed += bool(verdict.violations)
        if verdict.violations or asked.seeds:
            sys.stdout.write(f"{verdict}\n")
        if asked.trace:
            sys.stdout.write("\n".join(cluster.recorder.trace) + "\n")
    sys.stdout.write(f"{len(seeds)} seeds, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
