-- One row per visitor. The touches are single sessions: first their ids are found among few narrow columns, then
-- their rows are looked up. A session's key is text that sorts by time and then by id, because minimum and maximum of
-- text take a fraction of the memory that windows or ordered aggregates do.
with human as (
    select
        coalesce('v' || visitor_id, 'u' || user_id) as device,
        coalesce(
            utm_source, utm_medium, utm_campaign, utm_content, utm_term,
            gclid, gbraid, wbraid, fbclid, msclkid, ttclid, li_fat_id, dclid
        ) is not null as has_utm,
        channel <> 'direct' as is_non_direct,
        lpad(cast(cast(started_at as bigint) as varchar), 20, '0') || session_id as start_key,
        lpad(cast(cast(user_at as bigint) as varchar), 20, '0') || session_id as user_key,
        *
    from sessions
    where not is_bot
),
per_device as (
    select
        max(visitor_id) as visitor_id,
        substr(min(user_key), 21) as user_id_from,
        min(started_at) as first_seen_at,
        max(ended_at) as last_seen_at,
        count(*) as session_count,
        sum(event_count) as event_count,
        sum(page_view_count) as page_view_count,
        sum(conversion_count) as conversion_count,
        sum(revenue) as revenue,
        substr(min(start_key), 21) as first_touch_id,
        substr(min(start_key) filter (where has_utm), 21) as first_utm_touch_id,
        substr(max(start_key), 21) as last_touch_id,
        substr(max(start_key) filter (where is_non_direct), 21) as last_non_direct_touch_id
    from human
    group by device
)
select
    per_device.visitor_id,
    known.user_id,
    per_device.first_seen_at,
    per_device.last_seen_at,
    per_device.session_count,
    per_device.event_count,
    per_device.page_view_count,
    per_device.conversion_count,
    per_device.revenue,
    first_touch.started_at as first_touch_at,
    first_touch.channel as first_touch_channel,
    first_touch.utm_source as first_touch_utm_source,
    first_touch.utm_medium as first_touch_utm_medium,
    first_touch.utm_campaign as first_touch_utm_campaign,
    first_touch.utm_content as first_touch_utm_content,
    first_touch.utm_term as first_touch_utm_term,
    first_touch.referrer as first_touch_referrer,
    first_touch.entry_page as first_touch_landing_page,
    first_utm_touch.started_at as first_utm_touch_at,
    first_utm_touch.channel as first_utm_touch_channel,
    first_utm_touch.utm_source as first_utm_touch_utm_source,
    first_utm_touch.utm_medium as first_utm_touch_utm_medium,
    first_utm_touch.utm_campaign as first_utm_touch_utm_campaign,
    first_utm_touch.utm_content as first_utm_touch_utm_content,
    first_utm_touch.utm_term as first_utm_touch_utm_term,
    first_utm_touch.referrer as first_utm_touch_referrer,
    first_utm_touch.entry_page as first_utm_touch_landing_page,
    last_touch.started_at as last_touch_at,
    last_touch.channel as last_touch_channel,
    last_touch.utm_source as last_touch_utm_source,
    last_touch.utm_medium as last_touch_utm_medium,
    last_touch.utm_campaign as last_touch_utm_campaign,
    last_touch.utm_content as last_touch_utm_content,
    last_touch.utm_term as last_touch_utm_term,
    last_touch.referrer as last_touch_referrer,
    last_touch.entry_page as last_touch_landing_page,
    last_non_direct_touch.started_at as last_non_direct_touch_at,
    last_non_direct_touch.channel as last_non_direct_touch_channel,
    last_non_direct_touch.utm_source as last_non_direct_touch_utm_source,
    last_non_direct_touch.utm_medium as last_non_direct_touch_utm_medium,
    last_non_direct_touch.utm_campaign as last_non_direct_touch_utm_campaign,
    last_non_direct_touch.utm_content as last_non_direct_touch_utm_content,
    last_non_direct_touch.utm_term as last_non_direct_touch_utm_term,
    last_non_direct_touch.referrer as last_non_direct_touch_referrer,
    last_non_direct_touch.entry_page as last_non_direct_touch_landing_page
from per_device
left join sessions as known on known.session_id = per_device.user_id_from
left join sessions as first_touch on first_touch.session_id = per_device.first_touch_id
left join sessions as first_utm_touch on first_utm_touch.session_id = per_device.first_utm_touch_id
left join sessions as last_touch on last_touch.session_id = per_device.last_touch_id
left join sessions as last_non_direct_touch on last_non_direct_touch.session_id = per_device.last_non_direct_touch_id
