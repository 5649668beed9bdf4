"""Sessions, visitors and traffic computed once more by DuckDB, from the definitions and the same Parquet files: after
many incremental runs of the jobs every row is the same."""

import random
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

import duckdb
from deltalake import DeltaTable

import lake
from touchline import Checks, Key, Touchline, rfc3339

SEED = "duckdb agrees"
ROUNDS = 6
# In Berlin the second of these days has 25 hours.
FIRST_DAY = datetime(2025, 10, 25, tzinfo=timezone.utc)
DAYS = 3
TIME_ZONE = "Europe/Berlin"
# Events and devices of each environment of the account; the ids are the same in both.
SIZES = {"live": (3_000, 150), "test": (400, 30)}
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PAUSES_S = (0, 0.000001, 3, 9.999999, 10, 10.000001, 60, 400, 1_200, 1_799.999999, 1_800, 1_800.000001, 2_400)
TYPES = (*("page_view",) * 9, "add_to_cart", "search", "purchase", "signup", "$session_start", "$message_viewed")
CAMPAIGNS = (
    *("",) * 40,
    "?utm_source=news&utm_medium=email&utm_campaign=october",
    "?utm_source=google&utm_medium=cpc&utm_term=shoes&gclid=g1",
    "?utm_content=footer",
    "?fbclid=f1",
)
REFERRERS = (
    *("",) * 4, "https://www.google.com/", "https://news.ycombinator.com/item?id=1", "https://l.facebook.com/",
    "https://www.example.com/about", "https://blog.example.com/",
)

# What the lake holds is called `l_` and the table's name, what DuckDB computes is called like the table.
READ = "create table l_{table} as select * from read_parquet(?, hive_partitioning = true, hive_types_autocast = false)"

CLICK_IDS = "gclid, gbraid, wbraid, fbclid, msclkid, ttclid, li_fat_id, dclid"
CAMPAIGN = f"utm_source, utm_medium, utm_campaign, utm_content, utm_term, {CLICK_IDS}"

# Events that are somebody's. An id of one kind is not that of the other, even if they read alike.
EVENTS = f"""
create table events as
select *,
    case when visitor_id is not null then 'v:' || visitor_id else 'u:' || user_id end as device,
    event_type = 'page_view' as is_view,
    starts_with(event_type, '$') as is_reserved,
    event_type in ('purchase', 'signup') or source = 'conversion' as is_conversion,
    coalesce({CAMPAIGN}) is not null as has_campaign,
    referrer_host is not null and not coalesce(
        regexp_matches(host, '(^|\\.)example\\.com$') and regexp_matches(referrer_host, '(^|\\.)example\\.com$'), false
    ) as is_external
from l_events
where visitor_id is not null or user_id is not null
"""

# `place` numbers the sessions of a device: how many pauses up to then were too long.
MARKED_EVENTS = """
create table marked_events as
with spaced as (
    select *, occurred_at - lag(occurred_at) over mine > interval 30 minutes as is_after_pause
    from events
    where not is_reserved or event_type = '$session_start'
    window mine as (partition by account_id, environment, device, is_bot order by occurred_at, event_id)
)
select *, sum(coalesce(is_after_pause, false)::int) over (
    partition by account_id, environment, device, is_bot order by occurred_at, event_id
    rows between unbounded preceding and current row
) as place
from spaced
"""


def first(columns: str, where: str = "true") -> str:
    """Of each of the columns the value at the first event that is so."""
    names = (name.strip() for name in columns.split(","))
    return ", ".join(
        f"first({name} order by occurred_at, event_id) filter ({where}) as {name}" for name in names
    )


def source(prefix: str, where: str, end: str = "first") -> str:
    """Time and id of the first or last event that is so."""
    return ", ".join(
        f"{end}({column} order by occurred_at, event_id) filter ({where}) as {prefix}{name}"
        for column, name in (("occurred_at", "_at"), ("event_id", "_event_id"))
    )


SESSIONS = f"""
create table sessions as
with cut as (
    select account_id, environment, device, is_bot,
        first(event_id order by received_at, event_id) as session_id,
        min(received_at) as anchor_received_at,
        {first("visitor_id")},
        {first("user_id", "user_id is not null")}, {source("user", "user_id is not null")},
        first(session_id order by occurred_at, event_id) filter (session_id is not null) as client_session_id,
        {source("client_session", "session_id is not null")},
        min(occurred_at) as started_at,
        max(occurred_at) as ended_at,
        first(event_id order by occurred_at, event_id) as first_event_id,
        last(event_id order by occurred_at, event_id) as last_event_id,
        count(*) as event_count,
        count(*) filter (is_view) as page_view_count,
        count(*) filter (not is_view and not is_reserved) as interaction_count,
        count(*) filter (is_conversion) as conversion_count,
        sum(revenue) as revenue,
        first(path order by occurred_at, event_id) filter (is_view) as entry_page,
        last(path order by occurred_at, event_id) filter (is_view) as exit_page,
        {source("entry", "is_view")}, {source("exit", "is_view", "last")},
        {first(CAMPAIGN, "has_campaign")}, {source("utm", "has_campaign")},
        {first("referrer, referrer_host", "is_external")}, {source("referrer", "is_external")},
        {first("country, device_type, browser, os")}
    from marked_events
    group by account_id, environment, device, is_bot, place
)
select *, started_at::date as session_date,
    datediff('microsecond', started_at, ended_at) // 1000000 as duration_s,
    page_view_count = 1 and interaction_count = 0 as is_bounce,
    ended_at - started_at > interval 10 seconds or conversion_count > 0 or page_view_count >= 2 as is_engaged
from cut
"""

# A session with a user is the user's, else the visitor's at its start; who is in no identity is alone.
PEOPLES_SESSIONS = """
create table peoples_sessions as
select s.*, s.entry_page as landing_page, coalesce(
        i.person_id, case when s.user_id is not null then 'u:' || s.user_id else 'v:' || s.visitor_id end
    ) as person_id
from l_sessions s left join l_identities i
    on i.account_id = s.account_id and i.environment = s.environment
    and i.id_type = case when s.user_id is not null then 'user' else 'visitor' end
    and i.id = coalesce(s.user_id, s.visitor_id)
    and (i.valid_from is null or i.valid_from <= s.started_at)
    and (i.valid_to is null or i.valid_to > s.started_at)
where not s.is_bot
"""

TOUCH_COLUMNS = (
    ("started_at", "at"), ("anchor_received_at", "anchor_received_at"),
    *((name, name) for name in ("session_id", "channel", "utm_source", "utm_medium", "utm_campaign", "utm_content")),
    *((name, name) for name in ("utm_term", "referrer", "landing_page")),
)


def best(column: str, order: str, where: str = "true") -> str:
    """The column of a person's session that is first in an order, of equal ones of that with the older anchor."""
    return f"first({column} order by {order}, anchor_received_at, session_id) filter ({where})"


def touch(prefix: str, order: str, where: str = "true") -> str:
    return ", ".join(f"{best(column, order, where)} as {prefix}_{name}" for column, name in TOUCH_COLUMNS)


VISITORS = f"""
create table visitors as
select account_id, environment, person_id,
    min(started_at)::date as first_seen_date,
    {best("visitor_id", "started_at")} as visitor_id,
    {best("user_id", "user_at", "user_id is not null")} as user_id,
    {best("user_at", "user_at", "user_id is not null")} as user_at,
    {best("session_id", "user_at", "user_id is not null")} as user_session_id,
    {best("anchor_received_at", "user_at", "user_id is not null")} as user_anchor_received_at,
    min(started_at) as first_seen_at,
    max(ended_at) as last_seen_at,
    count(*) as session_count,
    sum(event_count) as event_count,
    sum(page_view_count) as page_view_count,
    sum(conversion_count) as conversion_count,
    sum(revenue) as revenue,
    {touch("first_touch", "started_at")},
    {touch("first_utm_touch", "started_at", f"coalesce({CAMPAIGN}) is not null")},
    {touch("last_touch", "ended_at desc")},
    {touch("last_non_direct_touch", "ended_at desc", "channel <> 'direct'")},
    max(ended_at) filter (channel <> 'direct') as last_non_direct_touch_ended_at
from peoples_sessions
group by account_id, environment, person_id
"""

SESSION_DIMENSIONS = (
    *("channel", "utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term", "referrer_host"),
    *("landing_page", "country", "device_type", "browser", "os"),
)


def values_of(dimensions: dict[str, str]) -> str:
    """A row for each dimension of the row."""
    members = (f"{{'dimension': '{name}', 'value': ({value})::varchar}}" for name, value in dimensions.items())
    return f"unnest([{', '.join(members)}], recursive := true)"


def measures_of_sessions() -> str:
    return """
    count(distinct case when visitor_id is not null then 'v:' || visitor_id else 'u:' || user_id end) as visitors,
    count(*) as sessions, sum(page_view_count) as page_views, sum(event_count) as events,
    count(*) filter (is_bounce) as bounces, count(*) filter (is_engaged) as engaged_sessions,
    sum(duration_s) as duration_s, sum(conversion_count) as conversions, sum(revenue) as revenue
    """


CALENDARS = f"""
create table calendars as select * from (values ('utc', 'UTC'), ('account', '{TIME_ZONE}')) as c(calendar, zone)
"""
DAY_KEYS = """
    account_id, environment, day as rollup_date, day::timestamp at time zone zone as day_at, calendar, dimension, value
"""

TRAFFIC_ROLLUPS = f"""
create table traffic_rollups as
with of_sessions as (
    select s.*, calendar, zone, (started_at at time zone zone)::date as day,
        {values_of({"total": "null"} | {name: name for name in SESSION_DIMENSIONS})}
    from peoples_sessions s cross join calendars
),
of_events as (
    select e.*, calendar, zone, (occurred_at at time zone zone)::date as day,
        {values_of({"page": "path", "event_type": "event_type"})}
    from events e cross join calendars
    where not is_bot
)
select {DAY_KEYS}, {measures_of_sessions()}
from of_sessions group by account_id, environment, day, zone, calendar, dimension, value
union all
select {DAY_KEYS}, count(distinct device), null, count(*) filter (is_view), count(*), null, null, null,
    case when dimension = 'event_type' then count(*) filter (is_conversion) end,
    case when dimension = 'event_type' then sum(revenue) end
from of_events where dimension = 'event_type' or is_view
group by account_id, environment, day, zone, calendar, dimension, value
"""


def main() -> int:
    checks = Checks("sessions, visitors and traffic once more with DuckDB")
    with Touchline(checks) as touchline:
        keys = [touchline.key("north", environment) for environment in SIZES]
        touchline.command("account", "settings", "north", f"time_zone={TIME_ZONE}")
        sent = post_in_rounds(touchline, keys)
        start, end = report_range()
        reports = {by: touchline.report(keys[0], "traffic", start, end, by=by) for by in ("channel", "landing_page")}
        account = touchline.account_id(keys[0])
        checks.equal("the server stops", touchline.stop(), 0)
        lakes = read_lake(touchline.data_dir)
        checks.equal("all events are in the lake", one(lakes, "select count(*) from l_events"), sent)
        for name in ("sessions", "visitors", "traffic_rollups"):
            version = DeltaTable(str(touchline.data_dir / "lake" / name)).version()
            checks.true(f"{name} came about in runs", version >= ROUNDS - 1, f"version {version}")
        check_sessions(checks, lakes)
        check_visitors(checks, lakes)
        check_traffic(checks, lakes)
        for by, rows in reports.items():
            check_report(checks, lakes, account, by, rows)
    return checks.finish()


def report_range() -> tuple[datetime, datetime]:
    """Neither end is the beginning of a day."""
    return FIRST_DAY + timedelta(hours=7, minutes=31), FIRST_DAY + timedelta(days=DAYS, hours=-3)


# Events


def post_in_rounds(touchline: Touchline, keys: list[Key]) -> int:
    """Posts the events with runs of the jobs between; returns how many different ones there are."""
    events = {key: make_rounds(random.Random(f"{SEED} {key.environment}"), *SIZES[key.environment]) for key in keys}
    others = 0
    for number in range(ROUNDS):
        for key in keys:
            post_all(touchline, key, events[key][number])
            others += post_others(touchline, key, number)
        touchline.wait_drained()
        touchline.run_jobs()
    different = {(key, event["event_id"]) for key in keys for posted in events[key] for event in posted}
    return len(different) + others


def make_rounds(chance: random.Random, event_count: int, device_count: int) -> list[list[dict]]:
    """What to post in each round: in the order of time by and large, but some late, some twice, and all shuffled."""
    events = make_scenes()
    while len(events) < event_count:
        events += make_visit(chance, len(events), chance.randrange(device_count))
    rounds: list[list[dict]] = [[] for _ in range(ROUNDS)]
    for event in events:
        passed_s = (datetime.fromisoformat(event["timestamp"]) - FIRST_DAY).total_seconds()
        number = min(int(passed_s / (DAYS * 86_400) * ROUNDS), ROUNDS - 1)
        if chance.random() < 0.25:
            number = chance.randrange(number, ROUNDS)
        rounds[number].append(event)
        if chance.random() < 0.05:
            rounds[chance.randrange(number, ROUNDS)].append(event)
    for posted in rounds:
        chance.shuffle(posted)
    return rounds


def make_scenes() -> list[dict]:
    """What chance brings too seldom."""
    email, alone = "https://www.example.com/?utm_medium=email", "https://www.example.com/"
    scenes = (
        # A session within another of the same person: the last that began is not the last that ended.
        ("10:00", "page_view", {"visitor_id": "laptop", "user_id": "nested"}, email),
        ("10:25", "page_view", {"visitor_id": "laptop", "user_id": "nested"}, email),
        ("10:05", "page_view", {"visitor_id": "phone", "user_id": "nested"}, alone),
        # A device changes hands within a session, then at the very instant at which one begins.
        ("09:00", "$identify", {"visitor_id": "tablet", "user_id": "left"}, alone),
        ("12:00", "page_view", {"visitor_id": "tablet"}, alone),
        ("12:05", "$identify", {"visitor_id": "tablet", "user_id": "right"}, alone),
        ("12:10", "page_view", {"visitor_id": "tablet"}, email),
        ("15:00", "$identify", {"visitor_id": "tablet", "user_id": "third"}, alone),
        ("15:00", "page_view", {"visitor_id": "tablet"}, email),
    )
    day = FIRST_DAY.date().isoformat()
    return [
        {"event_id": f"scene-{place}", "event_type": event_type, "timestamp": f"{day}T{time}:00Z", **ids,
         "properties": {"url": url}}
        for place, (time, event_type, ids, url) in enumerate(scenes)
    ]


def make_visit(chance: random.Random, number: int, device: int) -> list[dict]:
    """Events of one device that follow each other closely, or with pauses around the timeout."""
    at = FIRST_DAY + timedelta(seconds=chance.randrange(DAYS * 86_400))
    identity = make_identity(chance, device)
    agent = BOT if chance.random() < 0.08 else BROWSER
    events = []
    for place in range(chance.randint(1, 7)):
        # Ids in another order than the events, as ties are ordered by id.
        event = {"event_id": f"e{chance.randrange(1_000)}-{number + place}", "timestamp": rfc3339(at)}
        # With the first event the user is not known yet, unless there is no other id.
        shown = identity if place > 0 or len(identity) == 1 else {"visitor_id": identity["visitor_id"]}
        events.append(event | {"user_agent": agent} | shown | make_content(chance))
        at += timedelta(seconds=chance.choice(PAUSES_S))
    if (device < 6 or device % 3 == 0) and chance.random() < 0.25:
        events.append(make_identity_event(chance, device, number + len(events), at))
    return events


def make_identity(chance: random.Random, device: int) -> dict:
    """Every third device is somebody's who has two; the first few have several users; some visits have no device."""
    visitor = {"visitor_id": f"id{device}"}
    if device < 6:
        return visitor | {"user_id": f"shared{chance.randrange(3)}"} if chance.random() < 0.5 else visitor
    if device % 3 == 0:
        # The user ids read like the visitor ids of others.
        user = {"user_id": f"id{device // 6}"}
        return chance.choice((visitor, user, visitor | user, visitor | user))
    return visitor


def make_content(chance: random.Random) -> dict:
    event_type = chance.choice(TYPES)
    properties: dict = {}
    if chance.random() < 0.9:
        host = chance.choice(("www.example.com", "shop.example.com"))
        properties["url"] = f"https://{host}/p/{chance.randrange(12)}{chance.choice(CAMPAIGNS)}"
    if referrer := chance.choice(REFERRERS):
        properties["referrer"] = referrer
    if event_type == "purchase" or chance.random() < 0.02:
        properties["revenue"] = round(chance.uniform(-5, 90), 4)
    if event_type == "$message_viewed":
        properties |= {"message_id": "m1", "delivery_id": "d1", "channel": "site"}
    content = {"event_type": event_type, "properties": properties}
    return content | {"session_id": f"c{chance.randrange(50)}"} if chance.random() < 0.2 else content


def make_identity_event(chance: random.Random, device: int, number: int, at: datetime) -> dict:
    user = f"shared{chance.randrange(3)}" if device < 6 else f"id{device // 6}"
    event = {"event_id": f"i-{number}", "timestamp": rfc3339(at), "user_id": user}
    kind = chance.choice(("$alias", *("$identify",) * 3, *("$unmerge",) * 2))
    if kind == "$alias" or (kind == "$unmerge" and chance.random() < 0.5):
        return event | {"event_type": kind, "properties": {"previous_id": f"id{device // 6 + 1}"}}
    return event | {"event_type": kind, "visitor_id": f"id{device}"}


def post_all(touchline: Touchline, key: Key, events: list[dict]) -> None:
    for start in range(0, len(events), 200):
        touchline.post("/api/v1/events", {"events": events[start : start + 200]}, key).expect(202)


def post_others(touchline: Touchline, key: Key, number: int) -> int:
    """The endpoints beside `/events`, and a conversion that is nobody's; returns how many events they make."""
    at = rfc3339(FIRST_DAY + timedelta(hours=11 * number, minutes=7))
    conversion = {"conversion_type": "subscription", "visitor_id": f"id{number}", "revenue": 12.5, "timestamp": at}
    nobodys = {"conversion_type": "purchase", "event_id": "elsewhere", "revenue": 99, "timestamp": at}
    session = {"visitor_id": f"id{number + 7}", "session_id": f"s{number}", "started_at": at,
               "url": "https://www.example.com/?utm_source=s"}
    person = {"user_id": f"id{number + 1}", "visitor_id": f"id{number + 10}", "timestamp": at}
    requests = (
        ("conversions", conversion, 201),
        ("conversions", nobodys, 201),
        ("sessions", {"session": session}, 202),
        ("identify", person, 200),
    )
    for path, body, status in requests:
        touchline.post(f"/api/v1/{path}", body, key).expect(status)
    return len(requests)


# Comparisons

Connection = duckdb.DuckDBPyConnection


def read_lake(data_dir: Path) -> Connection:
    lakes = duckdb.connect()
    lakes.execute("set TimeZone = 'UTC'")
    for table in ("events", "sessions", "identities", "session_revisions", "visitors", "traffic_rollups"):
        lakes.execute(READ.format(table=table), [lake.files(data_dir, table)])
    for statement in (EVENTS, MARKED_EVENTS, SESSIONS, PEOPLES_SESSIONS, VISITORS, CALENDARS, TRAFFIC_ROLLUPS):
        lakes.execute(statement)
    return lakes


def check_sessions(checks: Checks, lakes: Connection) -> None:
    check_occurs(checks, lakes, {
        "sessions of bots": "l_sessions where is_bot",
        "sessions over midnight": "l_sessions where started_at::date <> ended_at::date",
        "sessions without a visitor id": "l_sessions where visitor_id is null",
        "sessions bridged by late events": "l_session_revisions",
        "sessions whose referrer is not of their first event": "l_sessions where referrer_event_id <> first_event_id",
        "events of nobody": "l_events where visitor_id is null and user_id is null",
        "pauses of exactly the timeout": "(select occurred_at - lag(occurred_at) over (partition by account_id,"
        " environment, device, is_bot order by occurred_at, event_id) as pause from marked_events)"
        " where pause = interval 30 minutes",
    })
    # How channels come about is compared with Google's rules and others elsewhere.
    check_same(checks, lakes, "sessions", leave_out=("channel",))


def check_visitors(checks: Checks, lakes: Connection) -> None:
    check_occurs(checks, lakes, {
        "people with several devices": "(select person_id from peoples_sessions group by all"
        " having count(distinct visitor_id) > 1)",
        "devices with several people": "l_identities where valid_from is not null",
        "aliases": "l_identities where id_type = 'user'",
        "people without a campaign": "l_visitors where first_utm_touch_at is null",
        "people whose first touch is not the one with a campaign": "l_visitors"
        " where first_utm_touch_session_id <> first_touch_session_id",
    })
    check_same(checks, lakes, "visitors")


def check_traffic(checks: Checks, lakes: Connection) -> None:
    check_occurs(checks, lakes, {
        "visitors on several days": "(select device from events group by all"
        " having count(distinct occurred_at::date) > 1)",
        "sessions on another day in Berlin": "l_sessions"
        f" where started_at::date <> (started_at at time zone '{TIME_ZONE}')::date",
        "days without a value": "l_traffic_rollups where dimension = 'page' and value is null",
    })
    for calendar in ("utc", "account"):
        for dimension in ("total", *SESSION_DIMENSIONS, "page", "event_type"):
            check_same(checks, lakes, "traffic_rollups", f"calendar = '{calendar}' and dimension = '{dimension}'")
    known = ", ".join(f"'{name}'" for name in ("total", *SESSION_DIMENSIONS, "page", "event_type"))
    strange = one(lakes, f"select count(*) from l_traffic_rollups where calendar not in ('utc', 'account')"
                         f" or dimension not in ({known})")
    checks.equal("traffic_rollups: no other rows", strange, 0)


def check_report(checks: Checks, lakes: Connection, account: str, by: str, rows: list[dict]) -> None:
    """Visitors of a range are not the sum of its days'."""
    start, end = report_range()
    query = lakes.execute(
        f"select {by}, {measures_of_sessions()} from peoples_sessions where account_id = ? and environment = 'live'"
        " and started_at >= ?::timestamptz and started_at < ?::timestamptz group by all",
        [account, rfc3339(start), rfc3339(end)],
    )
    names = [column[0] for column in query.description]
    expected = {row[0]: dict(zip(names, row)) for row in query.fetchall()}
    actual = {row[by]: row for row in rows}
    checks.true(f"the report traffic by {by} has several rows", len(rows) > 3, rows)
    checks.equal(f"the report traffic by {by} agrees, visitors of the whole range included", actual, expected)


def check_occurs(checks: Checks, lakes: Connection, cases: dict[str, str]) -> None:
    """A comparison says nothing of what is not there."""
    for name, rows in cases.items():
        found = one(lakes, f"select count(*) from {rows}")
        checks.true(f"there are {name}: {found}", found > 0)


def check_same(checks: Checks, lakes: Connection, table: str, where: str = "true",
               leave_out: tuple[str, ...] = ()) -> None:
    """The rows of the lake are those that DuckDB computes, both ways, in every column but `leave_out`."""
    columns = [name for name, *_ in lakes.execute(f"describe l_{table}").fetchall() if name not in leave_out]
    # The partition's name is text; it is a date all the same.
    rows = {
        side: "select " + ", ".join(f"{name}::date as {name}" if name.endswith("_date") else name for name in columns)
        + f" from {side}{table} where {where}"
        for side in ("l_", "")
    }
    count = one(lakes, f"select count(*) from ({rows['l_']})")
    only_lake = difference(lakes, rows["l_"], rows[""])
    only_duckdb = difference(lakes, rows[""], rows["l_"])
    name = f"{table}{'' if where == 'true' else f', {where}'}: {count} rows with {len(columns)} columns agree"
    detail = f"{len(only_lake)} rows of the lake and {len(only_duckdb)} of DuckDB have no partner"
    if not checks.true(name, count > 0 and not only_lake and not only_duckdb, detail):
        for side, found in (("lake", only_lake), ("DuckDB", only_duckdb)):
            for row in sorted(found, key=repr)[:5]:
                shown = {column: value for column, value in zip(columns, row) if value is not None}
                print(f"      only {side}: {shown}", flush=True)


def difference(lakes: Connection, rows: str, others: str) -> list[tuple]:
    return lakes.execute(f"select columns(*)::varchar from ({rows} except all {others})").fetchall()


def one(lakes: Connection, query: str) -> int:
    return lakes.execute(query).fetchone()[0]


if __name__ == "__main__":
    sys.exit(main())
