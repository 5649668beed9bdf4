"""Every report in every format, read by Python's csv and json, by pyarrow and by Polars: the same rows, cell by cell."""

import csv
import io
import json
import sys
import urllib.parse
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from touchline import REPOSITORY, Checks, Key, Touchline, around_now, now, rfc3339, same_cell

REPORTS = "/api/v1/reports/"
# These count whole days of UTC.
WHOLE_DAYS = {"from": f"{now() - timedelta(days=3):%Y-%m-%d}", "to": f"{now() + timedelta(days=3):%Y-%m-%d}"}
# What a report needs to be asked, or to show our texts, and what stands for a part of its address.
NEEDED = {
    "funnel": {"steps": "page_view,purchase"},
    "traffic": {"by": "utm_campaign", "compare": "previous"},
    "first-touch": {"by": "utm_source"},
    "attribution": {"by": "utm_campaign", "model": "linear"},
    "messages": WHOLE_DAYS,
    "messages/reasons": WHOLE_DAYS,
    "messages/site-messages": WHOLE_DAYS,
    "overview": {"interval": "day", "compare": "previous"},
    "realtime": {"by": "event_type"},
}
# Reports whose range the clock decides.
RECENT = ("realtime",)
# Reports that are not read from tables.
WITHOUT_TABLES = ("ingest",)
PARTS = {"{id}": "welcome"}
# What formats stumble over.
TEXTS = (
    "plain", "=1+1", "+49 30", "-5", "@SUM(A1)", "a,b", 'say "hi"', "two\r\nlines\n", "tab\there", "Grüße, 世界 🦀",
    "null", "0012", "back\\slash", "'quoted'", "1e9999", "\u2028 line", "\ufeffmark",
)
MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8; header=present",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
Rows = list[dict[str, object]]


def main() -> int:
    checks = Checks("reports in every format")
    with Touchline(checks) as touchline:
        key = touchline.key("north")
        touchline.command("account", "settings", "north", "goals=bought=purchase")
        late = post_events(touchline, key)
        touchline.wait_drained()
        touchline.run_jobs()
        for report in reports(touchline):
            check_report(checks, touchline, key, report, late)
    return checks.finish()


def reports(touchline: Touchline) -> list[str]:
    """Every report of the table of routes, as the server describes it."""
    paths = touchline.get("/api/openapi.json").json()["paths"]
    names = [path.removeprefix(REPORTS) for path in paths if path.startswith(REPORTS)]
    if len(names) < 8:
        raise LookupError(f"the description has only the reports {names}")
    for part, value in PARTS.items():
        names = [name.replace(part, value) for name in names]
    return names


def post_events(touchline: Touchline, key: Key) -> int:
    """Sessions whose every text is one of ours, conversions of them, and the events of messages and sequences. How many of
    them come when their day is over."""
    events = []
    for place, text in enumerate(TEXTS):
        quoted = urllib.parse.quote(text)
        path = f"/p/{quoted}" if place % 2 else "/"
        campaign = f"?utm_source={quoted}&utm_medium={quoted}&utm_campaign={quoted}" if place % 3 else ""
        for number, event_type in enumerate(("page_view", "purchase")):
            at = now() - timedelta(hours=place, seconds=100 - 60 * number)
            properties = {"url": f"https://shop.example{path}{campaign}", "title": text}
            if event_type == "purchase" and place % 4:
                properties |= {"revenue": 0.1 * place, "currency": "EUR"}
            # Ids take no control characters.
            person = f"{place} {text if text.isprintable() else ''}"
            who = {"visitor_id": person} if place % 5 else {"user_id": person}
            events.append({"event_type": event_type, "timestamp": rfc3339(at), "properties": properties, **who})
    for line in (REPOSITORY / "docs" / "messages.md").read_text().splitlines():
        if line.startswith('{"event_type":"$'):
            events.append({**json.loads(line), "timestamp": rfc3339(now() - timedelta(minutes=5))})
    entered = {"sequence_id": "welcome", "sequence_version": 3, "run_id": "r-6", "arm": "control", "propensity": 0.1}
    events.append({"event_type": "$sequence_entered", "user_id": "u_8", "properties": entered})
    banner = {"message_id": "banner", "delivery_id": "d-99", "channel": "site", "system": "site_message"}
    events.append({"event_type": "$message_sent", "user_id": "u_8", "properties": banner})
    answer = touchline.post("/api/v1/events", {"events": events}, key).expect(202).json()
    if answer["accepted"] != len(events):
        raise RuntimeError(f"not every event is accepted: {answer}")
    return sum(event.get("timestamp", rfc3339(now()))[:10] < rfc3339(now())[:10] for event in events)


def check_report(checks: Checks, touchline: Touchline, key: Key, report: str, late: int) -> None:
    start, end = around_now(3)
    span = {} if report in RECENT else {"from": rfc3339(start), "to": rfc3339(end)}
    parameters = {**span, "raw": 1, **NEEDED.get(report, {})}
    bodies = {}
    for form, media_type in MEDIA_TYPES.items():
        answer = touchline.get(f"{REPORTS}{report}", key, format=form, **parameters)
        if answer.status != 200 or answer.headers["content-type"] != media_type:
            checks.true(f"{report} as {form}", False, f"{answer.status} {answer.headers} {answer.text()[:500]}")
            return
        bodies[form] = answer.body
    expected = json.loads(bodies["json"], parse_float=Decimal)["data"]
    if report not in (*RECENT, *WITHOUT_TABLES):
        checks.equal(f"{report}: late events", json.loads(bodies["json"])["meta"]["late_events"], late)
    checks.true(f"{report} has {len(expected)} rows", len(expected) > 0)
    for reader, rows in READERS.items():
        form = reader.split()[0]
        compare(checks, f"{report}: {reader}", rows(bodies[form]), expected, same_cell if form == "csv" else same_value)
    check_explained(checks, touchline, key, report, parameters, expected)


def check_explained(
    checks: Checks, touchline: Touchline, key: Key, report: str, parameters: dict, expected: Rows
) -> None:
    """What a report says that it asks can be asked by anybody, and gives the report's rows if it says so."""
    answer = touchline.get(f"{REPORTS}{report}", key, explain="sql", **parameters)
    if report in WITHOUT_TABLES:
        checks.equal(f"{report}: has no SQL", answer.status, 400)
        return
    if not checks.equal(f"{report}: is explained", answer.status, 200):
        return
    explained = answer.json()
    checks.true(f"{report}: files", all(file["rows"] > 0 for file in explained["files"]) and explained["files"], explained)
    checks.true(f"{report}: statements", len(explained["statements"]) > 0)
    for number, statement in enumerate(explained["statements"]):
        asked = touchline.post("/api/v1/sql", {"sql": statement["sql"]}, key)
        name = f"{report}: statement {number} gives the {statement['gives']}"
        if not checks.true(name, asked.status == 200, f"{asked.status} {asked.text()[:500]} {statement['sql']}"):
            continue
        if statement["gives"] == "answer" and report not in RECENT:
            rows = json.loads(asked.body, parse_float=Decimal)["data"]
            compare(checks, f"{report}: the rows of its SQL", rows, expected, same_value)


def compare(checks: Checks, name: str, rows: Rows, expected: Rows, same: Callable[[object, object], bool]) -> None:
    if len(rows) != len(expected):
        checks.equal(name, len(rows), len(expected))
        return
    for place, (row, other) in enumerate(zip(rows, expected)):
        if list(row) != list(other):
            checks.equal(f"{name}, columns", list(row), list(other))
            return
        for column, value in other.items():
            if not same(value, row[column]):
                checks.equal(f"{name}, row {place}, {column}", row[column], value)
                return
    checks.true(name, True)


def same_value(expected: object, value: object) -> bool:
    """Whether a typed value is what JSON says. An empty text is no null, and a number has all its digits."""
    if isinstance(value, datetime):
        value = value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    elif isinstance(value, date):
        value = value.isoformat()
    elif isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return type(value) is type(expected) and value == expected
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool) and value == expected


def csv_rows(body: bytes) -> Rows:
    return list(csv.DictReader(io.StringIO(body.decode(), newline=""), strict=True))


def ndjson_rows(body: bytes) -> Rows:
    # Not `splitlines`: it takes other characters for ends of lines, too.
    lines = body.decode().split("\n")
    if lines.pop() != "":
        raise ValueError("the last line has no end")
    return [json.loads(line, parse_float=Decimal) for line in lines]


READERS: dict[str, Callable[[bytes], Rows]] = {
    "csv with csv": csv_rows,
    "ndjson with json": ndjson_rows,
    "parquet with pyarrow": lambda body: pq.read_table(pa.BufferReader(body)).to_pylist(),
    "parquet with Polars": lambda body: pl.read_parquet(io.BytesIO(body)).to_dicts(),
    "arrow with pyarrow": lambda body: pa.ipc.open_stream(body).read_all().to_pylist(),
    "arrow with Polars": lambda body: pl.read_ipc_stream(io.BytesIO(body)).to_dicts(),
}


if __name__ == "__main__":
    sys.exit(main())
