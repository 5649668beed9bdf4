"""Segment's clients for Python and Node, as published, with and without faults.

Arguments: the interpreter of an environment with the one, and a folder `node_modules` with the other.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]

from clients import WRONG_CLOCK, Client
from segment_family import run_and_check
from touchline import Checks, Touchline

PATHS = frozenset({"/v1/batch"})


def main(python: str, node_modules: str) -> int:
    checks = Checks("Segment's clients for Python and Node")
    in_python = (python, str(HERE / "segment_drive.py"), "segment.analytics")
    in_node = ("node", "--require", str(WRONG_CLOCK), str(HERE / "segment_drive.js"), "segment")
    clients = [
        Client("segment-analytics-python 2.4.0", (*in_python, "plain"), PATHS),
        Client("segment-analytics-python 2.4.0 gzip", (*in_python, "gzip"), PATHS, gzip=True),
        Client("@segment/analytics-node 3.1.0", (*in_node, "plain"), PATHS, obeys_wrong_clock=True,
               environment={"NODE_PATH": node_modules}),
    ]
    with Touchline(checks) as touchline:
        run_and_check(checks, touchline, clients)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
