"""DuckDB counting sessions and distinct visitors by day and campaign source, over the lake's own Parquet files.

    peers_traffic.py FILES [--times N]

FILES lists the files of the table `sessions`, one path a line: those that the Delta log names, as `bench_traffic files`
prints them. The day is taken from the files' folders, so DuckDB need not compute it. Two threads. One line of JSON on
standard output: the seconds of each pass, the three numbers that both engines must agree on, and the most memory that
the process held.
"""

import duckdb_passes

SQL = """
with counted as (
    select session_date, utm_source, count(*) as sessions, count(distinct coalesce(visitor_id, user_id)) as visitors
    from read_parquet($files, hive_partitioning = true)
    where not is_bot
    group by session_date, utm_source
)
select count(*), sum(sessions), sum(visitors) from counted
"""


if __name__ == "__main__":
    duckdb_passes.main(__doc__, SQL)
