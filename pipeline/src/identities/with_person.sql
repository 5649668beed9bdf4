-- Ids that stand for themselves are not in `identities`, so that the joins are small however many sessions there are.
-- A session without a user id finds its visitor id's span of time; spans do not overlap.
select
    unidentified.*,
    coalesce(
        users.person_id,
        case when unidentified.user_id is not null then 'u:' || unidentified.user_id end,
        visitors.person_id,
        'v:' || unidentified.visitor_id
    ) as person_id
from unidentified
left join (select id, person_id from identities where id_type = 'user') as users
    on users.id = unidentified.user_id
left join (select id, person_id, valid_from, valid_to from identities where id_type = 'visitor') as visitors
    on visitors.id = unidentified.visitor_id
    and unidentified.user_id is null
    and (visitors.valid_from is null or visitors.valid_from <= unidentified.started_at)
    and (visitors.valid_to is null or visitors.valid_to > unidentified.started_at)
