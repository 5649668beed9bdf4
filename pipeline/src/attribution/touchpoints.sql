-- One row per conversion and touch; one without a touch for conversions that have none.
-- `conversions` and `touches` carry the person and, under the name `started_at`, their own time.
with journeys as (
    select
        conversions.conversion_id,
        conversions.started_at as converted_at,
        conversions.event_type,
        conversions.person_id,
        conversions.visitor_id,
        conversions.user_id,
        conversions.value,
        conversions.currency,
        touches.session_id,
        touches.started_at as touched_at,
        touches.channel,
        touches.utm_source,
        touches.utm_medium,
        touches.utm_campaign,
        touches.utm_content,
        touches.utm_term,
        touches.referrer_host,
        touches.landing_page
    from conversions
    left join touches
        on touches.person_id = conversions.person_id
        and touches.started_at <= conversions.started_at
        and touches.started_at >= conversions.counts_from
)
select
    conversion_id,
    converted_at,
    event_type,
    person_id,
    visitor_id,
    user_id,
    value,
    currency,
    case
        when session_id is null then 0
        else cast(row_number() over (partition by conversion_id order by touched_at, session_id) as bigint)
    end as position,
    count(session_id) over (partition by conversion_id) as touch_count,
    session_id,
    touched_at,
    channel,
    utm_source,
    utm_medium,
    utm_campaign,
    utm_content,
    utm_term,
    referrer_host,
    landing_page
from journeys
order by conversion_id, position
