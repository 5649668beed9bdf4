-- Where the client's id decides, a device's sessions of several ids may overlap, and those of one do not; elsewhere none of
-- a device's do. So at most one of those that came spans the beginning of one that went.
with
went as (select * from changes where _change_type = 'delete'),
came as (select * from changes where _change_type = 'insert')
select
    went.session_id,
    successor.session_id as replaced_by
from went
left join came as successor
    on successor.is_bot = went.is_bot
    and coalesce('v' || successor.visitor_id, 'u' || successor.user_id)
        = coalesce('v' || went.visitor_id, 'u' || went.user_id)
    and successor.started_at <= went.started_at
    and successor.ended_at >= went.started_at
    and (
        not cast($client_decides as boolean)
        or successor.client_session_id is not distinct from went.client_session_id
    )
where not exists (select 1 from came where came.session_id = went.session_id)
