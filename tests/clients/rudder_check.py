"""RudderStack's clients for Python and Node, as published, with and without faults.

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
    checks = Checks("RudderStack's clients for Python and Node")
    in_python = (python, str(HERE / "segment_drive.py"), "rudderstack.analytics")
    in_node = ("node", "--require", str(WRONG_CLOCK), str(HERE / "segment_drive.js"), "rudder")
    environment = {"NODE_PATH": node_modules}
    clients = [
        Client("rudder-sdk-python 2.1.9", (*in_python, "plain"), PATHS, microseconds=True),
        Client("rudder-sdk-python 2.1.9 gzip", (*in_python, "gzip"), PATHS, gzip=True, microseconds=True),
        Client("@rudderstack/rudder-sdk-node 3.0.13", (*in_node, "plain"), PATHS, obeys_wrong_clock=True,
               environment=environment),
        Client("@rudderstack/rudder-sdk-node 3.0.13 gzip", (*in_node, "gzip"), PATHS, gzip=True,
               obeys_wrong_clock=True, environment=environment),
    ]
    with Touchline(checks) as touchline:
        run_and_check(checks, touchline, clients)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
