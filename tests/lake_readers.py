"""The lake read by two strangers, Polars through the Delta log and DuckDB with the files that it names: both agree with the
API, also when files were merged."""

import random
import sys
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

import duckdb
import polars as pl

import lake
from touchline import DRAIN_S, FRESHNESS_S, Checks, Key, Touchline, around_now, now, rfc3339, wait_until

DAYS = 4
BATCHES = 30
BATCH_EVENTS = 40
EVENT_TYPES = ("page_view", "page_view", "page_view", "add_to_cart", "signup", "purchase")
# What was sent to one key: events that must be in the lake by (type, date), and the three outcomes.
Sent = tuple[Counter, dict[str, int]]


def main() -> int:
    checks = Checks("the lake read with Polars and DuckDB")
    with Touchline(checks) as touchline:
        keys = [touchline.key("north", "live"), touchline.key("north", "test"), touchline.key("south", "live")]
        check_freshness(checks, touchline, keys[2])
        sent = {key: post_mix(touchline, key, random.Random(f"mix {place}")) for place, key in enumerate(keys)}
        sent[keys[2]][0]["freshness", now().date()] += 1
        sent[keys[2]][1]["stored"] += 1
        touchline.wait_drained()
        touchline.run_jobs()
        for key in keys:
            check_events(checks, touchline, key, *sent[key])
            check_derived(checks, touchline, key)
        check_no_others(checks, touchline, keys)
    return checks.finish()


def check_freshness(checks: Checks, touchline: Touchline, key: Key) -> None:
    event = {"event_type": "freshness", "visitor_id": "early", "timestamp": rfc3339(now())}
    answer = touchline.post("/api/v1/events", {"events": [event]}, key)
    checks.equal("a first event is accepted", answer.status, 202)
    account = touchline.account_id(key)

    def visible() -> bool:
        # Before the first commit there is no table to read.
        if not list((touchline.data_dir / "lake" / "events" / "_delta_log").glob("*.json")):
            return False
        rows = lake.table(touchline.data_dir, "events", account, key.environment)
        return rows.select(pl.len()).collect().item() == 1

    seconds = wait_until("the event is in the lake", visible, DRAIN_S)
    checks.true(f"it is in the lake {seconds:.1f} s later", seconds <= FRESHNESS_S)


def post_mix(touchline: Touchline, key: Key, chance: random.Random) -> Sent:
    """Good events over some days, the same again, events that must be refused, sessions, conversions, identities."""
    stored: Counter = Counter()
    outcomes = {"stored": 0, "duplicates": 0, "rejected": 0}
    for number in range(BATCHES):
        good = [make_event(f"{number}-{place}", chance) for place in range(BATCH_EVENTS)]
        repeated = chance.sample(good, 5)
        refused = [{"event_type": "", "visitor_id": "v1"}, {"event_type": "page_view"}]
        batch = [*good, *repeated, *refused]
        touchline.post("/api/v1/events", {"events": batch}, key).expect(422)
        stored.update((event["event_type"], date_of(event)) for event in good)
        for outcome, events in (("stored", good), ("duplicates", repeated), ("rejected", refused)):
            outcomes[outcome] += len(events)
    for event_type in post_others(touchline, key):
        stored[event_type, now().date()] += 1
        outcomes["stored"] += 1
    return stored, outcomes


def make_event(number: str, chance: random.Random) -> dict:
    event_type = chance.choice(EVENT_TYPES)
    campaign = chance.choice(("", "?utm_source=news&utm_medium=email", "?utm_source=ads&utm_medium=cpc&gclid=g1"))
    event = {
        "event_id": f"mix-{number}",
        "event_type": event_type,
        "visitor_id": f"v{chance.randrange(60)}",
        "timestamp": rfc3339(now() - timedelta(seconds=chance.uniform(0, DAYS * 86_400))),
        "properties": {"url": f"https://shop.example/p/{chance.randrange(9)}{campaign}"},
    }
    if event_type == "purchase":
        event["properties"]["revenue"] = round(chance.uniform(1, 90), 2)
    return event


def date_of(event: dict) -> date:
    return datetime.fromisoformat(event["timestamp"]).date()


def post_others(touchline: Touchline, key: Key) -> list[str]:
    """The three endpoints beside `/events`; returns the event types that they leave in the lake."""
    session = {"visitor_id": "v1", "session_id": "s1", "url": "https://shop.example/?utm_source=news"}
    conversion = {"conversion_type": "subscription", "visitor_id": "v1", "revenue": 12.5, "currency": "EUR"}
    requests = (
        ("sessions", {"session": session}, 202, "$session_start"),
        ("conversions", {"conversion": conversion}, 201, "subscription"),
        ("identify", {"user_id": "u1", "visitor_id": "v1", "traits": {"plan": "pro"}}, 200, "$identify"),
    )
    for path, body, status, _ in requests:
        touchline.post(f"/api/v1/{path}", body, key).expect(status)
    return [event_type for *_, event_type in requests]


def check_events(checks: Checks, touchline: Touchline, key: Key, stored: Counter, outcomes: dict[str, int]) -> None:
    whose, account = f"{key.slug}/{key.environment}", touchline.account_id(key)
    by_polars = polars_counts(touchline.data_dir, account, key.environment)
    by_duckdb = duckdb_counts(touchline.data_dir, account, key.environment)
    checks.equal(f"{whose}: Polars counts what was sent, by type and date", by_polars, dict(stored))
    checks.equal(f"{whose}: DuckDB counts the same", by_duckdb, by_polars)
    expected = {"received": sum(outcomes.values()), **outcomes}
    checks.equal(f"{whose}: the ingest report counts the same", touchline.ingest_totals(key), expected)
    refused = lake.table(touchline.data_dir, "rejected_events", account, key.environment)
    kept = refused.select(pl.len(), pl.col("body").is_null().sum()).collect().row(0)
    checks.equal(f"{whose}: refused events are kept, with their bytes", kept, (outcomes["rejected"], 0))


def polars_counts(data_dir: Path, account: str, environment: str) -> dict:
    rows = lake.table(data_dir, "events", account, environment)
    by_type = rows.group_by("event_type", "event_date").agg(pl.len(), pl.col("event_id").n_unique().alias("ids"))
    counts = by_type.collect().rows()
    if any(events != ids for *_, events, ids in counts):
        raise ValueError("an event id is in the lake twice")
    return {(event_type, day): events for event_type, day, events, _ in counts}


def duckdb_counts(data_dir: Path, account: str, environment: str) -> dict:
    rows = duckdb.execute(
        "select event_type, event_date::date, count(*) from read_parquet(?, hive_partitioning = true)"
        " where account_id::varchar = ? and environment = ? group by all",
        [lake.files(data_dir, "events"), account, environment],
    )
    return {(event_type, day): events for event_type, day, events in rows.fetchall()}


def check_derived(checks: Checks, touchline: Touchline, key: Key) -> None:
    whose, account = f"{key.slug}/{key.environment}", touchline.account_id(key)
    reported = touchline.report(key, "sessions", *around_now(DAYS + 1), bots="include")
    sessions = lake.table(touchline.data_dir, "sessions", account, key.environment)
    sums = sessions.select(pl.len(), pl.col("event_count", "page_view_count", "conversion_count").sum())
    columns = ("event_count", "page_view_count", "conversion_count")
    expected = (len(reported), *(sum(row[column] for row in reported) for column in columns))
    checks.equal(f"{whose}: sessions in the lake are those of the report", sums.collect().row(0), expected)
    views = lake.table(touchline.data_dir, "events", account, key.environment).filter(event_type="page_view")
    page_views = views.select(pl.len()).collect().item()
    checks.equal(f"{whose}: each page view is in one session", expected[2], page_views)
    visitors = lake.table(touchline.data_dir, "visitors", account, key.environment).select(pl.len()).collect().item()
    touches = touchline.report(key, "first-touch", *around_now(DAYS + 1), by="channel")
    total = sum(row["visitors"] for row in touches)
    checks.equal(f"{whose}: visitors in the lake are those of the first-touch report", visitors, total)


def check_no_others(checks: Checks, touchline: Touchline, keys: list[Key]) -> None:
    rows = pl.scan_delta(str(touchline.data_dir / "lake" / "events"))
    owners = rows.select("account_id", "environment").unique().collect().rows()
    expected = {(touchline.account_id(key), key.environment) for key in keys}
    checks.equal("the lake has rows of these accounts and no others", set(owners), expected)


if __name__ == "__main__":
    sys.exit(main())
