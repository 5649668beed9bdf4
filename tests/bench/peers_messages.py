"""DuckDB counting messages by day, message, variant and channel, in both calendars, over the lake's own Parquet files.

    peers_messages.py FILES [--times N]

FILES lists the files of the table `events`, one path a line: those that the Delta log names, as `bench_messages files`
prints them. Two threads. It counts ten of the columns that our pass counts, of which the rest would cost it more. One
line of JSON on standard output: the seconds of each pass, the numbers that both engines must agree on, and the most
memory that the process held.
"""

import duckdb_passes

# Attempts are grouped once. Their counts on the day of the attempt are sums over them; on the day of each thing, sums
# over their times and over the single events of those that were sent.
SQL = """
with facts as materialized (
    select delivery_id, event_type, occurred_at, is_bot, user_id, message_id, variant, channel,
        case when event_type = '$message_clicked' then json_extract_string(properties, '$.element') end as element
    from read_parquet($files)
    where event_type in ('$message_sent', '$message_delivered', '$message_viewed', '$message_clicked')
),
deliveries as materialized (
    select delivery_id,
        any_value(user_id) as user_id, any_value(message_id) as message_id,
        any_value(variant) as variant, any_value(channel) as channel,
        min(occurred_at) filter (event_type = '$message_sent') as sent_at,
        min(occurred_at) filter (event_type <> '$message_sent') as delivered_at,
        min(occurred_at) filter (event_type in ('$message_viewed', '$message_clicked')) as viewed_at,
        min(occurred_at) filter (event_type = '$message_clicked') as clicked_at,
        count(*) filter (event_type = '$message_viewed') as views,
        count(*) filter (event_type = '$message_viewed' and not is_bot) as human_views,
        count(*) filter (event_type = '$message_clicked') as clicks,
        count(distinct element) filter (event_type = '$message_clicked') as elements
    from facts
    group by delivery_id
    having sent_at is not null
),
of_cohorts as (
    select 'cohort' as calendar, sent_at::date as day, message_id, variant, channel,
        count(*) as sent, count(delivered_at) as delivered, sum(views) as views, sum(human_views) as human_views,
        count(viewed_at) as unique_views, count(distinct user_id) filter (viewed_at is not null) as unique_viewers,
        sum(clicks) as clicks, count(clicked_at) as unique_clicks,
        count(distinct user_id) filter (clicked_at is not null) as unique_clickers, sum(elements) as elements
    from deliveries
    group by all
),
events_of_sent as materialized (
    select occurred_at, event_type, is_bot, delivery_id, element, message_id, variant, channel
    from facts semi join deliveries using (delivery_id)
    where event_type in ('$message_viewed', '$message_clicked')
),
things as (
    select sent_at as happened_at, 'sent' as what, user_id, message_id, variant, channel from deliveries
    union all
    select delivered_at, 'delivered', user_id, message_id, variant, channel
    from deliveries where delivered_at is not null
    union all
    select viewed_at, 'unique_views', user_id, message_id, variant, channel from deliveries where viewed_at is not null
    union all
    select clicked_at, 'unique_clicks', user_id, message_id, variant, channel
    from deliveries where clicked_at is not null
    union all
    select min(occurred_at), 'elements', null, any_value(message_id), any_value(variant), any_value(channel)
    from events_of_sent where event_type = '$message_clicked'
    group by delivery_id, element
    union all
    select occurred_at,
        case when event_type = '$message_clicked' then 'clicks' when is_bot then 'bot_views' else 'views' end, null, message_id, variant, channel
    from events_of_sent
),
of_events as (
    select 'event' as calendar, happened_at::date as day, message_id, variant, channel,
        count(*) filter (what = 'sent') as sent,
        count(*) filter (what = 'delivered') as delivered,
        count(*) filter (what in ('views', 'bot_views')) as views,
        count(*) filter (what = 'views') as human_views,
        count(*) filter (what = 'unique_views') as unique_views,
        count(distinct user_id) filter (what = 'unique_views') as unique_viewers,
        count(*) filter (what = 'clicks') as clicks,
        count(*) filter (what = 'unique_clicks') as unique_clicks,
        count(distinct user_id) filter (what = 'unique_clicks') as unique_clickers,
        count(*) filter (what = 'elements') as elements
    from things
    group by all
)
select count(*), sum(sent), sum(delivered), sum(views), sum(human_views), sum(unique_views), sum(unique_viewers),
    sum(clicks), sum(unique_clicks), sum(unique_clickers), sum(elements)
from (from of_cohorts union all from of_events)
"""


if __name__ == "__main__":
    duckdb_passes.main(__doc__, SQL)
