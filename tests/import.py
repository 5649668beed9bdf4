"""Imports: a table with all that tables have, and files whose import is killed (`kill -9`) and goes on.

What must be there is computed in plain Python from the files themselves. KILLS (default 4) is the number of kills of one
import.
"""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

from touchline import COMMAND_TIMEOUT_S, DRAIN_S, Checks, Touchline, wait_until

# The files are too short for more than eight.
KILLS = min(int(os.environ.get("KILLS", "4")), 8)
LINES = 60_000
# Many commits, so that there is something between two of them.
CONFIG = "[log]\nsegment_bytes = 262144\n[ingest]\nmax_events_per_request = 500\n"
START_S = 30


def table(checks: Checks, touchline: Touchline) -> None:
    """A table with quotes, line breaks, commas, a mark, a ragged row."""
    key = touchline.key("table")
    records = [
        ["2026-01-01 10:00:00", "v1", "https://shop.example/a?utm_source=x", "19.90", "plain"],
        ["2026-01-02T00:00:00+01:00", "v2", "https://shop.example/b", "", 'with "quotes", commas\nand lines'],
        ["2026-01-03", "v3", "https://shop.example/ü", "7", ""],
        ["never", "v4", "https://shop.example/c", "", "bad time"],
    ]
    file = touchline.root / "table.csv"
    with file.open("w", encoding="utf-8-sig", newline="") as out:
        writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
        writer.writerow(["When", "Cookie", "Page", "Total", "Note"])
        writer.writerows(records)
        out.write("2026-01-04;v5;too few\r\n")
    command = ("import", "--format", "csv", file, "--account", "table", "--delimiter", ";", "--set", "event_type=purchase",
               "--map", "timestamp=When", "--map", "visitor_id=Cookie", "--map", "url=Page", "--map", "revenue=Total")
    summary = touchline.command_json(*command)
    expected = {"stored": 3, "duplicates": 0, "rejected": 2, "first_line": 1, "last_line": 5}
    checks.equal("a table is imported", summary, expected)
    found = touchline.sql(key, "SELECT visitor_id, occurred_at, url, utm_source, revenue, properties FROM events "
                               "ORDER BY visitor_id")
    notes = [json.loads(row["properties"] or "{}").get("Note", "") for row in found]
    checks.equal("cells keep their quotes, commas and lines", notes, [record[4] for record in records[:3]])
    checks.equal("columns are where they were mapped to", [row["url"] for row in found], [record[2] for record in records[:3]])
    checks.equal("times are UTC", [row["occurred_at"][:19] for row in found],
                 ["2026-01-01T10:00:00", "2026-01-01T23:00:00", "2026-01-03T00:00:00"])
    checks.equal("money and campaigns are read", (float(found[0]["revenue"]), found[1]["revenue"], found[0]["utm_source"]), (19.9, None, "x"))
    refused = {row["code"]: row for row in touchline.get("/api/v1/rejected", key).json()["data"]}
    checks.equal("what was refused is kept", sorted(refused), ["invalid_csv", "timestamp_invalid"])
    checks.equal("a ragged row with its bytes", refused["invalid_csv"]["body"], "2026-01-04;v5;too few")
    # The third record has a line break of its own.
    checks.true("and its line", '"line 7: ' in refused["invalid_csv"]["errors"], refused["invalid_csv"]["errors"])
    again = touchline.command_json(*command)
    checks.equal("again nothing is stored", (again["stored"], again["duplicates"]), (0, 3))


def messages(checks: Checks, touchline: Touchline) -> None:
    """Messages as an export of Segment has them, packed."""
    key = touchline.key("messages")
    common = {"anonymousId": "a1", "sentAt": "2026-01-01T09:00:00.000Z", "timestamp": "2026-01-01T10:00:00.000Z",
              "receivedAt": "2026-01-01T10:00:01.000Z", "context": {"page": {"url": "https://shop.example/?utm_source=x"}}}
    lines = [
        {**common, "type": "page", "messageId": "m1"},
        {**common, "type": "track", "event": "Order Completed", "messageId": "m2", "properties": {"revenue": 12.5}},
        {**common, "type": "identify", "userId": "u1", "messageId": "m3"},
        {**common, "type": "track", "messageId": "m4"},
        # As a client sends it: an import is no arrival by which its clock could be put right.
        {"type": "track", "event": "Sent", "userId": "u1", "messageId": "m5", "timestamp": common["timestamp"],
         "sentAt": common["sentAt"]},
    ]
    file = touchline.root / "messages.json.gz"
    file.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    command = ("import", "--format", "segment", file, "--account", "messages")
    summary = touchline.command_json(*command)
    expected = {"stored": 4, "duplicates": 0, "rejected": 1, "first_line": 1, "last_line": 5}
    checks.equal("messages are imported", summary, expected)
    found = touchline.sql(key, "SELECT event_id, event_type, visitor_id, user_id, occurred_at, utm_source, revenue, "
                               "source FROM events ORDER BY event_id")
    checks.equal("with their ids and types", [(row["event_id"], row["event_type"]) for row in found],
                 [("m1", "page_view"), ("m2", "Order Completed"), ("m3", "$identify"), ("m5", "Sent")])
    checks.equal("with the time that Segment had put right", {row["occurred_at"][:19] for row in found}, {"2026-01-01T10:00:00"})
    checks.equal("people, campaigns and money are read", (found[0]["visitor_id"], found[0]["utm_source"], float(found[1]["revenue"]), found[2]["user_id"]), ("a1", "x", 12.5, "u1"))
    checks.equal("from where they are", {row["source"] for row in found}, {"segment"})
    again = touchline.command_json(*command)
    checks.equal("again nothing is stored", (again["stored"], again["duplicates"]), (0, 4))


def lines_of(path: Path, packed: bool) -> tuple[int, int]:
    """Writes a file of events without ids, many of them alike, and some that are none; returns how many of each."""
    good = bad = 0
    with (gzip.open(path, "wt", compresslevel=1) if packed else path.open("w")) as out:
        for n in range(LINES):
            if n % 1_000 == 999:
                out.write("no event\n")
                bad += 1
            else:
                event = {"event_type": "page_view", "visitor_id": f"v{n % 97}", "timestamp": "2026-02-01T00:00:00Z",
                         "properties": {"url": f"https://shop.example/{n % 3_000}", "filler": "x" * 200}}
                out.write(json.dumps(event) + "\n")
                good += 1
    return good, bad


def commits(touchline: Touchline) -> int:
    return len(list((touchline.data_dir / "lake" / "events" / "_delta_log").glob("*.json")))


def start(touchline: Touchline, command: list[str]) -> subprocess.Popen:
    return touchline.popen(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def killed(checks: Checks, touchline: Touchline, slug: str, packed: bool) -> None:
    """An import that is killed again and again, and at last runs to its end."""
    key = touchline.key(slug)
    file = touchline.root / f"{slug}.ndjson"
    good, bad = lines_of(file, packed)
    command = ["import", "--format", "ndjson", str(file), "--account", slug]
    kills = went_on = 0
    for attempt in range(KILLS):
        before = commits(touchline)
        process = start(touchline, command)
        give_up_at = time.monotonic() + START_S
        while commits(touchline) < before + 3 + attempt and process.poll() is None and time.monotonic() < give_up_at:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        kills += process.returncode == -signal.SIGKILL
        went_on += "was broken off" in said
    checks.equal(f"the import was killed {KILLS} times", kills, KILLS)
    checks.equal("and each time but the first it went on", went_on, KILLS - 1)
    process = start(touchline, [*command, "--json"])
    told, said = process.communicate(timeout=COMMAND_TIMEOUT_S)
    checks.equal("the last attempt succeeds", (process.returncode, said), (0, ""))
    summary = json.loads(told.strip().splitlines()[-1])
    checks.true("it begins behind what was taken", summary["first_line"] > 1, summary)
    checks.equal("and takes the rest", summary["last_line"], good + bad)
    of_rest = summary["last_line"] - summary["first_line"] + 1
    checks.equal("nothing of which was there", (summary["stored"] + summary["rejected"], summary["duplicates"]), (of_rest, 0))

    wait_until("the server sees it", lambda: touchline.ingest_totals(key)["received"] >= good + bad, DRAIN_S)
    expected = {"received": good + bad, "stored": good, "duplicates": 0, "rejected": bad}
    checks.equal("every line is counted once", touchline.ingest_totals(key), expected)
    [found] = touchline.sql(key, "SELECT count(*) AS events, count(DISTINCT event_id) AS ids FROM events")
    checks.equal("every event is there once", (found["events"], found["ids"]), (good, good))
    [reason] = touchline.get("/api/v1/rejected/reasons", key).json()["data"]
    checks.equal("every line that is none is kept once", reason["rejected"], bad)
    again = touchline.command_json(*command)
    checks.equal("the whole again finds all of it", (again["first_line"], again["stored"], again["duplicates"]), (1, 0, good))


def restarted(checks: Checks, touchline: Touchline) -> None:
    """An import that was killed and shall begin anew."""
    touchline.key("anew")
    file = touchline.root / "anew.ndjson"
    good, bad = lines_of(file, packed=False)
    command = ["import", "--format", "ndjson", str(file), "--account", "anew"]
    before = commits(touchline)
    process = start(touchline, command)
    wait_until("something is committed", lambda: commits(touchline) > before + 3 or process.poll() is not None, START_S)
    second = touchline.run(*command)
    is_refused = second.returncode == 1 and "another process" in second.stderr
    checks.true("nobody does the same import meanwhile", is_refused, second.stderr)
    process.kill()
    process.communicate()
    summary = touchline.command_json(*command, "--restart")
    checks.true("--restart begins with the first line", summary["first_line"] == 1 and summary["duplicates"] > 0, summary)
    checks.equal("and stores what is missing", summary["stored"] + summary["duplicates"], good)
    checks.equal("nothing is remembered of imports that have ended", list((touchline.data_dir / "imports").iterdir()), [])


def main() -> int:
    checks = Checks("imports, killed and not")
    with Touchline(checks, config=CONFIG) as touchline:
        table(checks, touchline)
        messages(checks, touchline)
        killed(checks, touchline, "plain", packed=False)
        killed(checks, touchline, "packed", packed=True)
        restarted(checks, touchline)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
