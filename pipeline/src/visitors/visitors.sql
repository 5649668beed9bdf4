-- One row per visitor. The touches are single sessions, found by rank; `max … filter` reads their columns.
with human as (
    select
        coalesce('v' || visitor_id, 'u' || user_id) as device,
        coalesce(
            utm_source, utm_medium, utm_campaign, utm_content, utm_term,
            gclid, gbraid, wbraid, fbclid, msclkid, ttclid, li_fat_id, dclid
        ) is not null as has_utm,
        channel <> 'direct' as is_non_direct,
        *
    from sessions
    where not is_bot
),
ranked as (
    select
        *,
        row_number() over (partition by device order by started_at, session_id) as first_rank,
        row_number() over (partition by device order by started_at desc, session_id desc) as last_rank,
        case when has_utm then
            row_number() over (partition by device, has_utm order by started_at, session_id)
        end as utm_rank,
        case when is_non_direct then
            row_number() over (partition by device, is_non_direct order by started_at desc, session_id desc)
        end as non_direct_rank
    from human
)
select
    max(visitor_id) as visitor_id,
    max(user_id) filter (where first_user_rank = 1) as user_id,
    min(started_at) as first_seen_at,
    max(ended_at) as last_seen_at,
    count(*) as session_count,
    sum(event_count) as event_count,
    sum(page_view_count) as page_view_count,
    sum(conversion_count) as conversion_count,
    sum(revenue) as revenue,
    max(started_at) filter (where first_rank = 1) as first_touch_at,
    max(channel) filter (where first_rank = 1) as first_touch_channel,
    max(utm_source) filter (where first_rank = 1) as first_touch_utm_source,
    max(utm_medium) filter (where first_rank = 1) as first_touch_utm_medium,
    max(utm_campaign) filter (where first_rank = 1) as first_touch_utm_campaign,
    max(utm_content) filter (where first_rank = 1) as first_touch_utm_content,
    max(utm_term) filter (where first_rank = 1) as first_touch_utm_term,
    max(referrer) filter (where first_rank = 1) as first_touch_referrer,
    max(entry_page) filter (where first_rank = 1) as first_touch_landing_page,
    max(started_at) filter (where utm_rank = 1) as first_utm_touch_at,
    max(channel) filter (where utm_rank = 1) as first_utm_touch_channel,
    max(utm_source) filter (where utm_rank = 1) as first_utm_touch_utm_source,
    max(utm_medium) filter (where utm_rank = 1) as first_utm_touch_utm_medium,
    max(utm_campaign) filter (where utm_rank = 1) as first_utm_touch_utm_campaign,
    max(utm_content) filter (where utm_rank = 1) as first_utm_touch_utm_content,
    max(utm_term) filter (where utm_rank = 1) as first_utm_touch_utm_term,
    max(referrer) filter (where utm_rank = 1) as first_utm_touch_referrer,
    max(entry_page) filter (where utm_rank = 1) as first_utm_touch_landing_page,
    max(started_at) filter (where last_rank = 1) as last_touch_at,
    max(channel) filter (where last_rank = 1) as last_touch_channel,
    max(utm_source) filter (where last_rank = 1) as last_touch_utm_source,
    max(utm_medium) filter (where last_rank = 1) as last_touch_utm_medium,
    max(utm_campaign) filter (where last_rank = 1) as last_touch_utm_campaign,
    max(utm_content) filter (where last_rank = 1) as last_touch_utm_content,
    max(utm_term) filter (where last_rank = 1) as last_touch_utm_term,
    max(referrer) filter (where last_rank = 1) as last_touch_referrer,
    max(entry_page) filter (where last_rank = 1) as last_touch_landing_page,
    max(started_at) filter (where non_direct_rank = 1) as last_non_direct_touch_at,
    max(channel) filter (where non_direct_rank = 1) as last_non_direct_touch_channel,
    max(utm_source) filter (where non_direct_rank = 1) as last_non_direct_touch_utm_source,
    max(utm_medium) filter (where non_direct_rank = 1) as last_non_direct_touch_utm_medium,
    max(utm_campaign) filter (where non_direct_rank = 1) as last_non_direct_touch_utm_campaign,
    max(utm_content) filter (where non_direct_rank = 1) as last_non_direct_touch_utm_content,
    max(utm_term) filter (where non_direct_rank = 1) as last_non_direct_touch_utm_term,
    max(referrer) filter (where non_direct_rank = 1) as last_non_direct_touch_referrer,
    max(entry_page) filter (where non_direct_rank = 1) as last_non_direct_touch_landing_page
from (
    select
        *,
        case when user_id is not null then
            row_number() over (partition by device, user_id is not null order by user_at, session_id)
        end as first_user_rank
    from ranked
)
group by device
