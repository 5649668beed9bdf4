"""DuckDB counting sessions and distinct visitors by day and campaign source, over the lake's own Parquet files.

    peers_traffic.py FILES [--times N]

FILES lists the files of the table `sessions`, one path a line: those that the Delta log names, as `bench_traffic files`
prints them. The day is taken from the files' folders, so DuckDB need not compute it. Two threads. One line of JSON on
standard output: the seconds of each pass, the three numbers that both engines must agree on, and the most memory that
the process held.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import duckdb

THREADS = 2

SQL = """
with counted as (
    select session_date, utm_source, count(*) as sessions, count(distinct coalesce(visitor_id, user_id)) as visitors
    from read_parquet($files, hive_partitioning = true)
    where not is_bot
    group by session_date, utm_source
)
select count(*), sum(sessions), sum(visitors) from counted
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("files", type=Path)
    arguments.add_argument("--times", type=int, default=3)
    chosen = arguments.parse_args()
    files = chosen.files.read_text().split()
    connection = duckdb.connect()
    connection.execute(f"set threads = {THREADS}")
    seconds = []
    for _ in range(chosen.times):
        started = time.monotonic()
        answer = connection.execute(SQL, {"files": files}).fetchone()
        seconds.append(round(time.monotonic() - started, 3))
    print(json.dumps({
        "engine": "duckdb",
        "seconds": seconds,
        "answer": [int(number) for number in answer],
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }))


if __name__ == "__main__":
    main()
