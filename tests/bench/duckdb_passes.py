"""DuckDB over the lake's own Parquet files: what the peers of our passes have in common."""

import argparse
import json
import resource
import time
from pathlib import Path

import duckdb

THREADS = 2


def main(description: str, statement: str) -> None:
    """Reads `FILES [--times N]` from the command line, and prints one line of JSON about as many passes."""
    arguments = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("files", type=Path)
    arguments.add_argument("--times", type=int, default=3)
    chosen = arguments.parse_args()
    files = chosen.files.read_text().split()
    connection = duckdb.connect()
    connection.execute(f"set threads = {THREADS}")
    connection.execute("set timezone = 'UTC'")
    seconds = []
    for _ in range(chosen.times):
        started = time.monotonic()
        answer = connection.execute(statement, {"files": files}).fetchone()
        seconds.append(round(time.monotonic() - started, 3))
    print(json.dumps({
        "engine": "duckdb",
        "seconds": seconds,
        "answer": [int(number) for number in answer],
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }))
