-- Edges of the same kind, pair and day are one.
select
    kind, left_type, left_id, right_type, right_id,
    min(first_at) as first_at,
    max(last_at) as last_at
from edges
group by kind, left_type, left_id, right_type, right_id, date_trunc('day', first_at)
