-- Edges of new events: per kind, pair and UTC day the first and the last time.
-- An alias or an unmerge names the other user in its properties; without that it is about its visitor id.
with named as (
    select
        event_type,
        visitor_id,
        user_id,
        occurred_at,
        case when event_type in ('$alias', '$unmerge') then previous_id(properties) end as previous_id
    from events
    where user_id is not null
),
pairs as (
    select
        case
            when event_type = '$unmerge' then 'unmerge'
            when event_type = '$alias' and previous_id is not null then 'alias'
            else 'link'
        end as kind,
        case when previous_id is not null then 'user' else 'visitor' end as left_type,
        -- An alias has no direction.
        case when previous_id is not null then least(previous_id, user_id) else visitor_id end as left_id,
        'user' as right_type,
        case when previous_id is not null then greatest(previous_id, user_id) else user_id end as right_id,
        occurred_at
    from named
)
select
    kind, left_type, left_id, right_type, right_id,
    min(occurred_at) as first_at,
    max(occurred_at) as last_at
from pairs
where left_id is not null and not (left_type = 'user' and left_id = right_id)
group by kind, left_type, left_id, right_type, right_id, date_trunc('day', occurred_at)
