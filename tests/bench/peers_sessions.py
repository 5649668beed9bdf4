"""Other engines cutting 30-minute sessions over the lake's own Parquet files.

    peers_sessions.py ENGINE DATA_DIR [--times N] [--write]

ENGINE is chdb, duckdb or polars. Each reads the event files of the data directory in their hive-style folders, puts
every visitor's events in order of time and id, begins a session after more than 30 minutes, and takes of each session
its start, end, events, page views and first campaign source. Two threads. One line of JSON on standard output: the
seconds of each pass, the four numbers that every engine must agree on, and the most memory that the process held.
With --write a pass writes the sessions (visitor, start, end, events, page views, first source) to a Parquet file with
zstd, and the four numbers are counted in that file after the clock has stopped.
"""

import argparse
import json
import resource
import tempfile
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
"""
TOTALS = "select count(*), sum(events), sum(views), count(first_source) from "
ROWS = "select visitor_id, started_at, ended_at, events, views, first_source from sessions"

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
    select visitor_id, arrayJoin(arraySplit((event, gap_us) -> gap_us > 1800000000, sorted_events,
                                arrayDifference(arrayMap(event -> event.1, sorted_events)))) as cut,
           fromUnixTimestamp64Micro(cut[1].1, 'UTC') as started_at, fromUnixTimestamp64Micro(cut[-1].1, 'UTC') as ended_at,
           length(cut) as events, arrayCount(event -> event.3 = 'page_view', cut) as views,
           arrayFirst(event -> event.4 is not null, cut).4 as first_source
    from visitors
)
"""


CHDB_SETTINGS = f" settings max_threads = {THREADS}, use_hive_partitioning = 1, output_format_parquet_compression_method = 'zstd'"


def duckdb_pass(files: str, written: Path | None) -> Callable[[], Answer | None]:
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"set threads = {THREADS}")
    if written:
        copy = f"copy ({DUCKDB_SQL}{ROWS}) to '{written}' (format parquet, compression zstd)"
        return lambda: connection.execute(copy, [files]) and None
    return lambda: connection.execute(f"{DUCKDB_SQL}{TOTALS}sessions", [files]).fetchone()


def chdb_pass(files: str, written: Path | None) -> Callable[[], Answer | None]:
    import chdb

    sessions = CHDB_SQL.format(files=files)
    if written:
        insert = f"insert into function file('{written}', Parquet) {sessions}{ROWS}{CHDB_SETTINGS}"
        return lambda: chdb.query(f"{insert}, engine_file_truncate_on_insert = 1") and None
    sql = f"{sessions}{TOTALS}sessions{CHDB_SETTINGS}"
    return lambda: tuple(int(number) for number in chdb.query(sql, "CSV").data().strip().split(","))


def polars_pass(files: str, written: Path | None) -> Callable[[], Answer | None]:
    import polars as pl

    visitor = ["account_id", "environment", "visitor_id"]

    def run() -> Answer | None:
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
        if written:
            rows = sessions.select("visitor_id", "started_at", "ended_at", "events", "views", "first_source")
            rows.sink_parquet(written, compression="zstd")
            return None
        totals = sessions.select(pl.len(), pl.col("events", "views").sum(), pl.col("first_source").count())
        return totals.collect(engine="streaming").row(0)

    return run


def counted(written: Path) -> Answer:
    import duckdb

    return duckdb.execute(f"{TOTALS}read_parquet(?)", [str(written)]).fetchone()


PASSES = {"chdb": chdb_pass, "duckdb": duckdb_pass, "polars": polars_pass}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("engine", choices=PASSES)
    arguments.add_argument("data_dir", type=Path)
    arguments.add_argument("--times", type=int, default=3)
    arguments.add_argument("--write", action="store_true")
    chosen = arguments.parse_args()
    folders = Path("lake", "events", "account_id=*", "environment=*", "event_date=*")
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "sessions.parquet") if chosen.write else None
        run = PASSES[chosen.engine](str(chosen.data_dir.resolve() / folders / "*.parquet"), written)
        for _ in range(chosen.times):
            started = time.monotonic()
            answer = run()
            seconds.append(round(time.monotonic() - started, 3))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        if written:
            answer = counted(written)
    print(json.dumps({
        "engine": chosen.engine,
        "seconds": seconds,
        "answer": [int(number) for number in answer],
        "max_rss_mb": peak_mb,
    }))


if __name__ == "__main__":
    main()
