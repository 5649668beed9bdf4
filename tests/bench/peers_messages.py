"""DuckDB counting messages by day, message, variant and channel, in both calendars, over the lake's own Parquet files.

    peers_messages.py FILES [--times N]

FILES lists the files of the table `events`, one path a line: those that the Delta log names, as `bench_messages files`
prints them. Two threads. It counts ten of the columns that our pass counts, of which the rest would cost it more. One
line of JSON on standard output: the seconds of each pass, the numbers that both engines must agree on, and the most
memory that the process held.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import duckdb

THREADS = 2

SQL = """
with facts as (
    select delivery_id, event_type, occurred_at, is_bot, user_id, message_id, variant, channel,
        case when event_type = '$message_clicked' then json_extract_string(properties, '$.element') end as element
    from read_parquet($files)
    where event_type in ('$message_sent', '$message_delivered', '$message_viewed', '$message_clicked')
),
deliveries as (
    select delivery_id,
        any_value(user_id) as user_id, any_value(message_id) as message_id,
        any_value(variant) as variant, any_value(channel) as channel,
        min(occurred_at) filter (event_type = '$message_sent') as sent_at,
        min(occurred_at) filter (event_type <> '$message_sent') as delivered_at,
        min(occurred_at) filter (event_type in ('$message_viewed', '$message_clicked')) as viewed_at,
        min(occurred_at) filter (event_type = '$message_clicked') as clicked_at
    from facts
    group by delivery_id
    having sent_at is not null
),
elements as (
    select delivery_id, min(occurred_at) as at
    from facts where event_type = '$message_clicked'
    group by delivery_id, element
),
things as (
    select delivery_id, sent_at as at, 'sent' as what from deliveries
    union all select delivery_id, delivered_at, 'delivered' from deliveries where delivered_at is not null
    union all select delivery_id, viewed_at, 'unique_views' from deliveries where viewed_at is not null
    union all select delivery_id, clicked_at, 'unique_clicks' from deliveries where clicked_at is not null
    union all select delivery_id, at, 'elements' from elements
    union all select delivery_id, occurred_at, 'views' from facts where event_type = '$message_viewed'
    union all select delivery_id, occurred_at, 'human_views' from facts where event_type = '$message_viewed' and not is_bot
    union all select delivery_id, occurred_at, 'clicks' from facts where event_type = '$message_clicked'
),
placed as (
    select calendar, case when calendar = 'cohort' then sent_at else at end::date as day,
        message_id, variant, channel, user_id, what
    from things join deliveries using (delivery_id), (values ('cohort'), ('event')) as calendars(calendar)
),
counted as (
    select calendar, day, message_id, variant, channel,
        count(*) filter (what = 'sent') as sent,
        count(*) filter (what = 'delivered') as delivered,
        count(*) filter (what = 'views') as views,
        count(*) filter (what = 'human_views') as human_views,
        count(*) filter (what = 'unique_views') as unique_views,
        count(distinct user_id) filter (what = 'unique_views') as unique_viewers,
        count(*) filter (what = 'clicks') as clicks,
        count(*) filter (what = 'unique_clicks') as unique_clicks,
        count(distinct user_id) filter (what = 'unique_clicks') as unique_clickers,
        count(*) filter (what = 'elements') as unique_element_clicks
    from placed
    group by calendar, day, message_id, variant, channel
)
select count(*), sum(sent), sum(delivered), sum(views), sum(human_views), sum(unique_views), sum(unique_viewers),
    sum(clicks), sum(unique_clicks), sum(unique_clickers), sum(unique_element_clicks)
from counted
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
