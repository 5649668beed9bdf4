"""What clients of the Segment family send, and what must be stored of it."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from clients import Client, Run, check_requests, check_stored, check_times, client_times, drive_all
from faults import Exchange
from touchline import Checks, Touchline

STORY = json.loads(Path(__file__).with_name("segment_story.json").read_text())


def run_and_check(checks: Checks, touchline: Touchline, clients: list[Client]) -> None:
    runs = drive_all(touchline, clients)
    touchline.wait_drained()
    for run in runs:
        check_requests(checks, run, ids_of)
        check_story_times(checks, run, check_stored(checks, touchline, run, story_as_stored(run)))


def items_of(exchange: Exchange) -> list[dict]:
    """A batch, or one event that is the whole body."""
    body = exchange.json()
    return body.get("batch", [body])


def ids_of(exchange: Exchange) -> list[str]:
    return [item["messageId"] for item in items_of(exchange)]


def sent_items(run: Run) -> dict[str, dict]:
    """What was sent, by event type as stored, with the `sentAt` of the first request that reached the server."""
    items = {}
    for exchange in run.posts:
        for item in items_of(exchange) if exchange.reached_server else ():
            sent_at = item.get("sentAt") or exchange.json()["sentAt"]
            items.setdefault(type_of(item), {**item, "sentAt": datetime.fromisoformat(sent_at)})
    return items


def type_of(item: dict) -> str:
    names = {"page": "page_view", "screen": "screen_view", "track": item.get("event")}
    return names.get(item["type"], f"${item['type']}")


def story_as_stored(run: Run) -> list[dict]:
    sent = sent_items(run)
    return [as_stored(part, sent[part["stored"]["event_type"]]) for part in STORY]


def as_stored(part: dict, item: dict) -> dict:
    columns = {**part["stored"], "event_id": item["messageId"], "source": "segment"}
    if "revenue" in columns:
        columns["revenue"] = Decimal(columns["revenue"])
    return {**columns, "properties": {**part["kept"], "context_library": item["context"]["library"]}}


def check_story_times(checks: Checks, run: Run, rows: list[dict]) -> None:
    story = {part["stored"]["event_type"]: part["with"]["timestamp"] for part in STORY}
    sent_at = {name: item["sentAt"] for name, item in sent_items(run).items()}
    check_times(checks, run, rows, client_times(run, story), sent_at)
