"""The mbuzz client for Python, oldest and newest: driven as published, and replayed from recordings.

Arguments: the interpreters of environments with one release of mbuzz each. What the clients and the recordings sent is
then looked up: in the lake by event id, in the reports as JSON and as CSV.
"""

import json
import math
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

import polars as pl

import lake
import reference
from reference import UTM_COLUMNS, Event
from touchline import Checks, Key, Touchline, around_now, now, rows_differ
from wire import Response

RECORDINGS = sorted((HERE.parent / "data" / "wire-captures").glob("mbuzz-*.jsonl"))
DRIVE_TIMEOUT_S = 60
STATUS = {"events": 202, "sessions": 202, "conversions": 201, "identify": 200}
# Replaced, or for the connection alone.
OWN_HEADERS = {"host", "content-length", "connection", "authorization"}
LOOKUP_COLUMNS = ("event_type", "visitor_id", "user_id", "session_id", "url")
CLIENT_UTM = {"utm_source": "google", "utm_medium": "cpc", "utm_campaign": "spring sale",
              "utm_content": None, "utm_term": None}


def main(interpreters: list[str]) -> int:
    checks = Checks("the mbuzz client for Python")
    with Touchline(checks) as touchline:
        driven = {interpreter: drive(checks, touchline, interpreter, f"client-{place}")
                  for place, interpreter in enumerate(interpreters)}
        replayed = {path: replay(checks, touchline, path) for path in RECORDINGS}
        touchline.wait_drained()
        touchline.run_jobs()
        for key, told in driven.values():
            check_driven(checks, touchline, key, told)
        for key, items in replayed.values():
            check_replayed(checks, touchline, key, items)
    checks.true("both releases and both recordings were there", len(driven) == 2 and len(replayed) == 2)
    return checks.finish()


# The client itself


def drive(checks: Checks, touchline: Touchline, interpreter: str, slug: str) -> tuple[Key, dict]:
    key = touchline.key(slug, "live")
    command = [interpreter, HERE / "mbuzz_drive.py", f"http://127.0.0.1:{touchline.port}", key.secret]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DRIVE_TIMEOUT_S, env=touchline.environment)
    if done.returncode != 0:
        raise RuntimeError(f"the client failed: {done.stderr[-2_000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    whose = f"mbuzz {told['version']}"
    checks.equal(f"{whose}: tracks twice, converts, identifies", told["direct"]["successes"], [True] * 4)
    checks.equal(f"{whose}: the conversion's attribution", told["direct"]["attribution"], {"status": "pending"})
    checks.true(f"{whose}: tracks from a page", told["web"]["success"], told["web"])
    return key, told


def check_driven(checks: Checks, touchline: Touchline, key: Key, told: dict) -> None:
    whose, direct, web = f"mbuzz {told['version']}", told["direct"], told["web"]
    ids = [*direct["event_ids"], web["event_id"]]
    rows = lake.table(touchline.data_dir, "events", touchline.account_id(key), key.environment)
    found = rows.filter(pl.col("event_id").is_in(ids)).select("event_id", "event_type", "visitor_id").collect().rows()
    types = ["page_view", "add_to_cart", "purchase", "page_view"]
    visitors = [direct["visitor_id"]] * 3 + [web["visitor_id"]]
    checks.equal(f"{whose}: the ids it was told are in the lake", Counter(found), Counter(zip(ids, types, visitors)))
    session = the_session(checks, touchline, key, whose, direct["visitor_id"])
    check_columns(checks, f"{whose}: the session of its calls", session, {
        "session_id": direct["event_ids"][0], "event_count": 3, "page_view_count": 1, "conversion_count": 1,
        "revenue": Decimal("99.99"), "is_bounce": False, "is_engaged": True, "channel": "paid_search",
        "entry_page": "/page", "exit_page": "/page", **CLIENT_UTM,
    })
    # Today's middleware opens a session when it makes the visitor, and one with the page.
    starts = 1 if told["version"] == "0.1.0" else 2
    session = the_session(checks, touchline, key, whose, web["visitor_id"])
    check_columns(checks, f"{whose}: the session of its page", session, {
        "event_count": starts + 1, "page_view_count": 1, "conversion_count": 0, "is_bounce": True,
        "entry_page": "/pricing", "exit_page": "/pricing", "referrer": "https://t.co/abc", **CLIENT_UTM,
    })


def the_session(checks: Checks, touchline: Touchline, key: Key, whose: str, visitor: str) -> dict:
    """The only session of a visitor, from the JSON; the CSV must have the same."""
    query = {"filter[visitor_id]": visitor}
    rows = touchline.report(key, "sessions", *around_now(2), **query)
    csv_rows = touchline.report_csv(key, "sessions", *around_now(2), **query)
    checks.equal(f"{whose}: sessions of {visitor[:20]}", [row["visitor_id"] for row in rows], [visitor])
    checks.equal(f"{whose}: CSV rows are the JSON rows", rows_differ(rows, csv_rows), "")
    return rows[0] if rows else {}


def check_columns(checks: Checks, name: str, row: dict, expected: dict) -> None:
    actual = {column: plain(column, row.get(column, "no such column")) for column in expected}
    checks.equal(name, actual, expected)


def plain(column: str, value: object) -> object:
    """A report's value as the type that the reference has."""
    if column in ("started_at", "ended_at") and value:
        return datetime.fromisoformat(value)
    if column == "revenue":
        return Decimal(value or 0)
    return value


# The recordings


@dataclass
class Item:
    """An event as the recording says it, before the server has added its part."""

    event_type: str
    fields: dict
    timestamp: str | None
    properties: dict

    @property
    def lookup(self) -> tuple:
        """By these columns it is found again in the lake; no recording has two alike."""
        everything = {**self.fields, "event_type": self.event_type, "url": self.properties.get("url")}
        return tuple(everything.get(column) or None for column in LOOKUP_COLUMNS)


def replay(checks: Checks, touchline: Touchline, path: Path) -> tuple[Key, list[Item]]:
    """Sends a recording's requests again, in order, with their headers and bytes; only key and host are new."""
    requests = [json.loads(line) for line in path.read_text().splitlines()]
    key = touchline.key(path.stem.replace(".", "-"), "test")
    items, delay = [], days_ahead(requests)
    if delay:
        print(f"      the clock is behind {path.name}: its times are moved {delay.days} days back", flush=True)
    for request in requests:
        body = wire_body(request, delay)
        endpoint = request["path"].rsplit("/", 1)[1]
        headers = [(name, value) for name, value in request["headers"] if name.lower() not in OWN_HEADERS]
        answer = touchline.request(request["method"], request["path"], body, headers, key)
        whose = f"{path.stem}: {endpoint}"
        checks.true(f"{whose}: as many bytes as recorded", len(body) == request["body_len"], len(body))
        checks.equal(f"{whose}: status", answer.status, STATUS[endpoint])
        sent = items_of(endpoint, json.loads(body))
        checks.equal(f"{whose}: answer", answer_fault(endpoint, answer, sent), "")
        items += sent
        # Ids that the server assigns grow by the millisecond; events of one moment are ordered by them.
        time.sleep(0.005)
    return key, items


def days_ahead(requests: list[dict]) -> timedelta:
    """Whole days by which the recording must be moved so that nothing in it is in the future."""
    times = [item.timestamp for request in requests
             for item in items_of(request["path"].rsplit("/", 1)[1], request["json"]) if item.timestamp]
    latest = max(datetime.fromisoformat(time) for time in times)
    return timedelta(days=max(0, math.ceil((latest - now()) / timedelta(days=1))))


def wire_body(request: dict, delay: timedelta) -> bytes:
    """The bytes that the client sent: Python's own JSON, with its times moved if need be."""
    body = json.loads(json.dumps(request["json"]))
    for part in (*body.get("events", ()), *filter(None, [body.get("session")])):
        for name in ("timestamp", "started_at"):
            if delay and part.get(name):
                day, clock = part[name].split("T")
                part[name] = f"{datetime.fromisoformat(day).date() - delay}T{clock}"
    return json.dumps(body).encode()


def items_of(endpoint: str, body: dict) -> list[Item]:
    if endpoint == "events":
        return [Item(event["event_type"], event, event.get("timestamp"), event.get("properties") or {})
                for event in body["events"]]
    if endpoint == "sessions":
        session = body["session"]
        return [Item("$session_start", session, session.get("started_at"), session)]
    if endpoint == "conversions":
        conversion = body.get("conversion", body)
        return [Item(conversion["conversion_type"], conversion, conversion.get("timestamp"), conversion["properties"])]
    return [Item("$identify", body, None, {})]


def answer_fault(endpoint: str, answer: Response, sent: list[Item]) -> str:
    """Empty when the body says of each item that it was taken."""
    body = answer.json()
    if endpoint == "identify":
        return "" if body == {"success": True} else str(body)
    if endpoint == "conversions":
        right = body["conversion"]["id"] and body["attribution"] == {"status": "pending"}
        return "" if right else str(body)
    if endpoint == "sessions":
        return "" if isinstance(body, dict) else str(body)
    told = [(item["event_type"], item["status"]) for item in body["events"]]
    counts = (body["accepted"], body["duplicates"], body["rejected"])
    right = told == [(item.event_type, "accepted") for item in sent] and counts == (len(sent), 0, [])
    return "" if right and all(item["id"] for item in body["events"]) else str(body)


def check_replayed(checks: Checks, touchline: Touchline, key: Key, items: list[Item]) -> None:
    rows = lake.table(touchline.data_dir, "events", touchline.account_id(key), key.environment)
    kept = rows.select(*LOOKUP_COLUMNS, "event_id", "received_at", "is_bot").collect().to_dicts()
    lookups = [tuple(row[column] for column in LOOKUP_COLUMNS) for row in kept]
    wanted = Counter(item.lookup for item in items)
    checks.equal(f"{key.slug}: each recorded item is in the lake once", Counter(lookups), wanted)
    found = dict(zip(lookups, kept))
    events = [event_of(item, found[item.lookup]) for item in items if item.lookup in found]
    check_replayed_sessions(checks, touchline, key, reference.cut(events))
    people = reference.cut(event for event in events if not event.is_bot)
    for column in UTM_COLUMNS:
        rows = touchline.report(key, "first-touch", *report_range(events), by=column)
        actual = {row[column]: (row["visitors"], row["sessions"], row["page_views"]) for row in rows}
        checks.equal(f"{key.slug}: first touch by {column}", actual, reference.first_touch(people, column))


def event_of(item: Item, row: dict) -> Event:
    """Everything from the recording but the server's part: id, bot flag, and the time where the client gave none."""
    return Event(
        event_type=item.event_type,
        person=item.fields.get("visitor_id") or item.fields["user_id"],
        occurred_at=datetime.fromisoformat(item.timestamp) if item.timestamp else row["received_at"],
        event_id=row["event_id"],
        session_id=item.fields.get("session_id"),
        url=item.properties.get("url"),
        referrer=item.properties.get("referrer") or None,
        revenue=Decimal(str(item.fields["revenue"])) if item.fields.get("revenue") is not None else None,
        is_bot=row["is_bot"],
        is_conversion="conversion_type" in item.fields,
    )


def report_range(events: list[Event]) -> tuple[datetime, datetime]:
    day = timedelta(days=1)
    return min(event.occurred_at for event in events) - day, max(event.occurred_at for event in events) + day


def check_replayed_sessions(checks: Checks, touchline: Touchline, key: Key, sessions: list[list[Event]]) -> None:
    span = report_range([event for session in sessions for event in session])
    rows = touchline.report(key, "sessions", *span, bots="include")
    csv_rows = touchline.report_csv(key, "sessions", *span, bots="include")
    checks.equal(f"{key.slug}: CSV rows are the JSON rows", rows_differ(rows, csv_rows), "")
    checks.equal(f"{key.slug}: sessions", len(rows), len(sessions))
    actual = {(row["visitor_id"] or row["user_id"], datetime.fromisoformat(row["started_at"])): row for row in rows}
    for session in sessions:
        first = session[0]
        row = actual.get((first.person, first.occurred_at), {})
        check_columns(checks, f"{key.slug}: session of {first.person[:8]} at {first.occurred_at:%H:%M:%S}", row,
                      reference.summary(session))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
