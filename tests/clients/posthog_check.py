"""PostHog's clients for Python and Node, as published, with and without faults.

Arguments: the interpreter of an environment with the one, and a folder `node_modules` with the other.
"""

import json
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]

from clients import (CLOCK_AHEAD, WRONG_CLOCK, Client, Run, check_requests, check_stored, check_times, client_times,
                     drive_all)
from faults import Exchange
from touchline import Checks, Touchline

STORY = json.loads((HERE / "posthog_story.json").read_text())
PATHS = frozenset({"/batch/"})
# What the drivers tell besides, in the words of their libraries.
GROUP = {"event_type": "$group", "user_id": "user-1"}
ALIAS = {"event_type": "$alias", "visitor_id": None}
STORED_AS = {"$pageview": "page_view", "$screen": "screen_view", "$identify": "$identify",
             "$groupidentify": "$group", "$create_alias": "$alias"}


def main(python: str, node_modules: str) -> int:
    checks = Checks("PostHog's clients for Python and Node")
    in_python = (python, str(HERE / "posthog_drive.py"))
    in_node = ("node", "--require", str(WRONG_CLOCK), str(HERE / "posthog_drive.js"))
    environment = {"NODE_PATH": node_modules}
    clients = [
        Client("posthog 7.91.1", (*in_python, "plain"), PATHS, microseconds=True),
        Client("posthog 7.91.1 gzip", (*in_python, "gzip"), PATHS, gzip=True, microseconds=True),
        Client("posthog-node 5.70.0", (*in_node, "plain"), PATHS, obeys_wrong_clock=True, environment=environment),
        Client("posthog-node 5.70.0 gzip", (*in_node, "gzip"), PATHS, gzip=True, obeys_wrong_clock=True,
               environment=environment),
    ]
    with Touchline(checks) as touchline:
        runs = drive_all(touchline, clients)
        touchline.wait_drained()
        for run in runs:
            check_requests(checks, run, ids_of)
            rows = check_stored(checks, touchline, run, story_as_stored(run))
            check_story_times(checks, run, rows)
            check_alias(checks, run, rows)
    return checks.finish()


def ids_of(exchange: Exchange) -> list[str]:
    return [item["uuid"] for item in exchange.json()["batch"]]


def sent_items(run: Run) -> dict[str, dict]:
    """What was sent, by event type as stored, with the `sent_at` of the first request that reached the server."""
    items = {}
    for body in (exchange.json() for exchange in run.posts if exchange.reached_server):
        for item in body["batch"]:
            sent_at = datetime.fromisoformat(body["sent_at"])
            items.setdefault(STORED_AS.get(item["event"], item["event"]), {**item, "sent_at": sent_at})
    return items


def story_as_stored(run: Run) -> list[dict]:
    sent = sent_items(run)
    expected = [*(part["stored"] for part in STORY), GROUP, ALIAS]
    return [as_stored(stored, sent[stored["event_type"]]) for stored in expected]


def as_stored(stored: dict, item: dict) -> dict:
    columns = {**stored, "event_id": item["uuid"], "source": "posthog"}
    if "revenue" in columns:
        columns["revenue"] = Decimal(columns["revenue"])
    return columns


def check_story_times(checks: Checks, run: Run, rows: list[dict]) -> None:
    story = {part["stored"]["event_type"]: part["with"]["timestamp"] for part in STORY}
    # Not all calls take a time.
    by_clock = {name: datetime.fromisoformat(item["timestamp"]) - CLOCK_AHEAD * run.plan.clock_is_wrong
                for name, item in sent_items(run).items()}
    sent_at = {name: item["sent_at"] for name, item in sent_items(run).items()}
    check_times(checks, run, rows, by_clock | client_times(run, story), sent_at)


def check_alias(checks: Checks, run: Run, rows: list[dict]) -> None:
    """The clients disagree which id is the older one; both are joined all the same."""
    pairs = [{row["user_id"], json.loads(row["properties"])["previous_id"]} for row in rows
             if row["event_type"] == "$alias"]
    checks.equal(f"{run.name}: the two ids of the alias", pairs, [{"user-0", "user-1"}])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
