-- Conversions whose journey may have changed: somebody's session came or went within the look-back, or who is behind an
-- id has changed.
with moved as (
    select person_id, started_at as moved_at from changed_sessions
    union all
    select person_id, null from changed_identities
    union all
    -- Before an id is in the table, and after it has left, it stands for itself.
    select case id_type when 'user' then 'u:' else 'v:' end || id, null from changed_identities
)
select
    known.conversion_id,
    known.converted_at as started_at,
    known.event_type,
    known.visitor_id,
    known.user_id,
    known.value,
    known.currency
from known
left semi join moved
    on moved.person_id = known.person_id
    and (moved.moved_at is null or (moved.moved_at <= known.converted_at and moved.moved_at >= known.counts_from))
