"""Other engines cutting 30-minute sessions over the lake's own Parquet files.

    peers_sessions.py ENGINE DATA_DIR [--times N]

ENGINE is chdb, duckdb or polars. Each reads the event files of the data directory in their hive-style folders, puts
every visitor's events in order of time and id, begins a session after more than 30 minutes, and takes of each session
its start, end, events, page views and first campaign source. Two threads. One line of JSON on standard output: the
seconds of each pass, the four numbers that every engine must agree on, and the most memory that the process held.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

THREADS = 2
Answer = tuple[int, int, int, int]

DUCKDB_SQL = """
with ordered as (
    select account_id, environment, visitor_id, occurred_at, event_id, event_type, utm_source,
           lag(occurred_at) over visitor as previous_at
    from read_parquet(?, hive_partitioning = true)
    window visitor as (partition by account_id, environment, visitor_id order by occurred_at, event_id)
),
numbered as (
    select *, count(*) filter (where previous_at is null or occurred_at - previous_at > interval 30 minutes)
              over (partition by account_id, environment, visitor_id order by occurred_at, event_id) as session_number
    from ordered
),
sessions as (
    select account_id, environment, visitor_id, session_number, min(occurred_at) as started_at,
           max(occurred_at) as ended_at, count(*) as events, count(*) filter (where event_type = 'page_view') as views,
           arg_min(utm_source, (occurred_at, event_id)) filter (where utm_source is not null) as first_source
    from numbered
    group by all
)
select count(*), sum(events), sum(views), count(first_source) from sessions
"""

# One array of events for each visitor, sorted, and split where the gap is too long: no window is needed.
CHDB_SQL = """
with visitors as (
    select account_id, environment, visitor_id,
           arraySort(groupArray((
               toUnixTimestamp64Micro(assumeNotNull(occurred_at)), event_id, event_type, utm_source
           ))) as sorted_events
    from file('{files}', Parquet)
    group by account_id, environment, visitor_id
),
sessions as (
    select arrayJoin(arraySplit((event, gap_us) -> gap_us > 1800000000, sorted_events,
                                arrayDifference(arrayMap(event -> event.1, sorted_events)))) as events,
           events[1].1 as started_at, events[-1].1 as ended_at,
           arrayCount(event -> event.3 = 'page_view', events) as views,
           arrayFirst(event -> event.4 is not null, events).4 as first_source
    from visitors
)
select count(), sum(length(events)), sum(views), count(first_source) from sessions
settings max_threads = {threads}, use_hive_partitioning = 1
"""


def duckdb_pass(files: str) -> Callable[[], Answer]:
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"set threads = {THREADS}")
    return lambda: connection.execute(DUCKDB_SQL, [files]).fetchone()


def chdb_pass(files: str) -> Callable[[], Answer]:
    import chdb

    sql = CHDB_SQL.format(files=files, threads=THREADS)
    return lambda: tuple(int(number) for number in chdb.query(sql, "CSV").data().strip().split(","))


def polars_pass(files: str) -> Callable[[], Answer]:
    import polars as pl

    visitor = ["account_id", "environment", "visitor_id"]

    def run() -> Answer:
        events = pl.scan_parquet(files, hive_partitioning=True)
        ordered = events.select(*visitor, "occurred_at", "event_id", "event_type", "utm_source")
        ordered = ordered.sort(*visitor, "occurred_at", "event_id")
        other_visitor = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in visitor)
        long_gap = pl.col("occurred_at") - pl.col("occurred_at").shift(1) > pl.duration(minutes=30)
        numbered = ordered.with_columns(session_number=(other_visitor | long_gap).fill_null(True).cum_sum())
        sessions = numbered.group_by("session_number").agg(
            *(pl.col(name).first() for name in visitor),
            started_at=pl.col("occurred_at").min(),
            ended_at=pl.col("occurred_at").max(),
            events=pl.len(),
            views=(pl.col("event_type") == "page_view").sum(),
            first_source=pl.col("utm_source").drop_nulls().first(),
        )
        totals = sessions.select(pl.len(), pl.col("events", "views").sum(), pl.col("first_source").count())
        return totals.collect(engine="streaming").row(0)

    return run


PASSES = {"chdb": chdb_pass, "duckdb": duckdb_pass, "polars": polars_pass}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("engine", choices=PASSES)
    arguments.add_argument("data_dir", type=Path)
    arguments.add_argument("--times", type=int, default=3)
    chosen = arguments.parse_args()
    folders = Path("lake", "events", "account_id=*", "environment=*", "event_date=*")
    run = PASSES[chosen.engine](str(chosen.data_dir.resolve() / folders / "*.parquet"))
    seconds = []
    for _ in range(chosen.times):
        started = time.monotonic()
        answer = run()
        seconds.append(round(time.monotonic() - started, 3))
    print(json.dumps({
        "engine": chosen.engine,
        "seconds": seconds,
        "answer": [int(number) for number in answer],
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }))


if __name__ == "__main__":
    main()
