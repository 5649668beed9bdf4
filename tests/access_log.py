"""A real web server's access log: imported twice, then its sessions computed a second time from the text alone."""

import gzip
import re
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

import polars as pl

import lake
import reference
from reference import Event
from touchline import Checks, Key, Touchline, rows_differ

LOG = HERE / "data" / "access-log" / "apache_logs.gz"
LINES = 10_000
RANGE = datetime(2015, 5, 17, tzinfo=timezone.utc), datetime(2015, 5, 21, tzinfo=timezone.utc)
# One line is cut off inside its user agent, so the closing quote may be missing.
LINE = re.compile(r'(\S+) \S+ \S+ \[([^\]]+)\] "\S+ (\S+)[^"]*" \d+ \S+ "([^"]*)" "([^"\n]*)"?')
NONE = "-"


def main() -> int:
    checks = Checks("a real access log")
    with Touchline(checks) as touchline:
        key = touchline.key("semicomplete")
        check_imports(checks, touchline, key)
        events = check_lake(checks, touchline, key)
        touchline.run_jobs()
        for bots in ("exclude", "only", "include"):
            chosen = [event for event in events if bots == "include" or event.is_bot == (bots == "only")]
            check_sessions(checks, touchline, key, bots, reference.cut(chosen))
        people = [event for event in events if not event.is_bot]
        check_first_touch(checks, touchline, key, reference.cut(people))
    return checks.finish()


def check_imports(checks: Checks, touchline: Touchline, key: Key) -> None:
    command = ("import", "--format", "combined", LOG, "--account", key.slug)
    expected = {"stored": LINES, "duplicates": 0, "rejected": 0}
    checks.equal("the first import stores every line", counts(touchline.command_json(*command)), expected)
    touchline.wait_drained()
    expected = {"stored": 0, "duplicates": LINES, "rejected": 0}
    checks.equal("the second import stores none", counts(touchline.command_json(*command)), expected)
    touchline.wait_drained()
    expected = {"received": 2 * LINES, "stored": LINES, "duplicates": LINES, "rejected": 0}
    checks.equal("the ingest report counts both imports", touchline.ingest_totals(key), expected)


def counts(summary: dict) -> dict:
    return {name: summary.get(name) for name in ("stored", "duplicates", "rejected")}


def check_lake(checks: Checks, touchline: Touchline, key: Key) -> list[Event]:
    """The log's events, read from the text; only the bot flag comes from the lake."""
    rows = lake.table(touchline.data_dir, "events", touchline.account_id(key), key.environment)
    totals = rows.select(pl.len().alias("rows"), ids=pl.col("event_id").n_unique()).collect().row(0)
    checks.equal("the lake has every line once", totals, (LINES, LINES))
    events = list(read_log(bots_of(rows)))
    bots = sum(event.is_bot for event in events)
    checks.equal("the text has as many lines", len(events), LINES)
    checks.true("about a quarter of the requests are bots'", 2_000 <= bots <= 2_800, bots)
    with_utm = rows.filter(pl.col("utm_source").is_not_null()).select(pl.len()).collect().item()
    checks.equal("as many events carry a campaign", with_utm, sum(bool(event.utm) for event in events))
    print(f"      {bots} requests by bots, {with_utm} with a campaign", flush=True)
    return events


def bots_of(rows: pl.LazyFrame) -> dict[str, bool]:
    """Whether a user agent is a bot's; a user agent that the lake does not know is an error later."""
    flags = rows.select(pl.col("user_agent").fill_null(NONE), "is_bot").unique().collect().rows()
    if len(dict(flags)) != len(flags):
        raise ValueError("one user agent is a bot on one line and none on another")
    return dict(flags)


def read_log(bots: dict[str, bool]) -> Iterator[Event]:
    with gzip.open(LOG, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            address, time, target, referrer, user_agent = LINE.match(line).groups()
            # The lake keeps addresses masked to /24: people behind one such network and browser are one visitor.
            network = address.rsplit(".", 1)[0]
            yield Event(
                event_type=reference.PAGE_VIEW,
                person=f"{network}|{user_agent}",
                occurred_at=datetime.strptime(time, "%d/%b/%Y:%H:%M:%S %z"),
                url=target,
                referrer=None if referrer == NONE else referrer,
                is_bot=bots[user_agent],
            )


def check_sessions(checks: Checks, touchline: Touchline, key: Key, bots: str, expected: list[list[Event]]) -> None:
    rows = touchline.report(key, "sessions", *RANGE, bots=bots)
    checks.equal(f"bots={bots}: sessions", len(rows), len(expected))
    spans = Counter(
        (datetime.fromisoformat(row["started_at"]), datetime.fromisoformat(row["ended_at"]), row["event_count"])
        for row in rows
    )
    wanted = Counter((session[0].occurred_at, session[-1].occurred_at, len(session)) for session in expected)
    checks.true(
        f"bots={bots}: start, end and event count of each",
        spans == wanted,
        f"only in the report {list(spans - wanted)[:3]}, only in the text {list(wanted - spans)[:3]}",
    )
    visitors = len({row["visitor_id"] for row in rows})
    checks.equal(f"bots={bots}: visitors of the sessions", visitors, len({s[0].person for s in expected}))
    pages = touchline.report(key, "sessions", *RANGE, bots=bots, limit=137)
    checks.true(f"bots={bots}: pages of 137 sessions are the same rows", pages == rows, (len(pages), len(rows)))
    csv_rows = touchline.report_csv(key, "sessions", *RANGE, bots=bots)
    checks.equal(f"bots={bots}: CSV rows are the JSON rows", rows_differ(rows, csv_rows), "")
    csv_pages = touchline.report_csv(key, "sessions", *RANGE, bots=bots, limit=137)
    checks.true(f"bots={bots}: so are pages of CSV", csv_pages == csv_rows, (len(csv_pages), len(csv_rows)))


def check_first_touch(checks: Checks, touchline: Touchline, key: Key, expected: list[list[Event]]) -> None:
    """Bots are nobody's first touch."""
    rows = touchline.report(key, "first-touch", *RANGE, by="utm_source")
    actual = {row["utm_source"]: (row["visitors"], row["sessions"], row["page_views"]) for row in rows}
    checks.equal("first touch by utm_source", actual, reference.first_touch(expected, "utm_source"))
    rows = touchline.report(key, "first-touch", *RANGE, by="channel")
    totals = [sum(row[column] for row in rows) for column in ("visitors", "sessions")]
    people = len({session[0].person for session in expected})
    checks.equal("visitors and sessions over the channels", totals, [people, len(expected)])
    csv_rows = touchline.report_csv(key, "first-touch", *RANGE, by="channel")
    checks.equal("first touch: CSV rows are the JSON rows", rows_differ(rows, csv_rows), "")


if __name__ == "__main__":
    sys.exit(main())
