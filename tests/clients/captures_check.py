"""Recorded requests of clients of the Segment family, sent again twice: stored once, as recorded."""

import base64
import gzip
import json
import sys
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

import lake
from clients import differing
from touchline import Checks, Key, Touchline
from wire import Response

RECORDINGS = sorted(path for client in ("segment", "rudder")
                    for path in (HERE.parent / "data" / "wire-captures").glob(f"{client}-*.jsonl"))
# Replaced, or for the connection alone.
OWN_HEADERS = {"host", "content-length", "connection", "authorization"}
UTM = {"utm_source": "source", "utm_medium": "medium", "utm_campaign": "name", "utm_content": "content",
       "utm_term": "term"}
TYPES = {"page": "page_view", "screen": "screen_view", "identify": "$identify", "group": "$group", "alias": "$alias"}


def main() -> int:
    checks = Checks("recorded requests of Segment's and RudderStack's clients")
    with Touchline(checks) as touchline:
        replayed = {path: replay(checks, touchline, path) for path in RECORDINGS}
        touchline.wait_drained()
        for path, (key, bodies) in replayed.items():
            check_stored(checks, touchline, path.stem, key, bodies)
    checks.equal("the recordings were there", len(RECORDINGS), 3)
    return checks.finish()


def replay(checks: Checks, touchline: Touchline, path: Path) -> tuple[Key, list[dict]]:
    """Sends a recording's requests in order, and once more; only key and host are new."""
    requests = [json.loads(line) for line in path.read_text().splitlines()]
    key = touchline.key(path.stem.replace(".", "-"))
    for turn in ("accepted", "duplicates"):
        for request in requests:
            whose = f"{path.stem}: {request['path']}, {turn}"
            if not request["wire_gzip"]:
                checks.equal(f"{whose}: as many bytes as recorded", len(as_sent(request, path)), request["body_len"])
            answer = send(touchline, request, path, key)
            checks.equal(f"{whose}: status", answer.status, 200)
            told = answer.json()
            expected = {"success": True, turn: len(items_of(request["json"]))}
            checks.equal(f"{whose}: answer", {name: told.get(name) for name in expected}, expected)
    return key, [request["json"] for request in requests]


def as_sent(request: dict, path: Path) -> bytes:
    """The body as the client writes JSON."""
    is_browser = "browser" in path.stem
    return json.dumps(request["json"], separators=(",", ":") if is_browser else None).encode()


def send(touchline: Touchline, request: dict, path: Path, key: Key) -> Response:
    recorded = dict(request["headers"])["Authorization"].removeprefix("Basic ")
    user = base64.b64decode(recorded).decode().removesuffix(":")
    body = as_sent(request, path).replace(user.encode(), key.secret.encode())
    headers = [(name, value) for name, value in request["headers"] if name.lower() not in OWN_HEADERS]
    headers.append(("Authorization", f"Basic {base64.b64encode(f'{key.secret}:'.encode()).decode()}"))
    packed = gzip.compress(body) if request["wire_gzip"] else body
    return touchline.request(request["method"], request["path"], packed, headers)


def items_of(body: dict) -> list[dict]:
    return body.get("batch", [body])


def check_stored(checks: Checks, touchline: Touchline, whose: str, key: Key, bodies: list[dict]) -> None:
    rows = lake.table(touchline.data_dir, "events", touchline.account_id(key), key.environment).collect().to_dicts()
    items = {item["messageId"]: (item, body["sentAt"]) for body in bodies for item in items_of(body)}
    stored = Counter(row["event_id"] for row in rows)
    checks.equal(f"{whose}: each recorded event is in the lake once", stored, Counter(list(items)))
    for row in rows:
        item, sent_at = items[row["event_id"]]
        expected = columns_of(item)
        checks.equal(f"{whose}: {expected['event_type']}", *differing(row, expected))
        late = row["occurred_at"] - (row["received_at"] - age_when_sent(item, sent_at))
        checks.equal(f"{whose}: {expected['event_type']} is as old as it was when it was sent", late, timedelta())


def age_when_sent(item: dict, sent_at: str) -> timedelta:
    return datetime.fromisoformat(sent_at) - datetime.fromisoformat(item["timestamp"])


def columns_of(item: dict) -> dict:
    """What an item of the protocol says, in the columns of an event."""
    said, context = item.get("properties") or {}, item["context"]
    page = context.get("page", {})
    url = said.get("url") or page.get("url")
    revenue = said.get("revenue")
    campaign = parse_qs(urlsplit(url).query) if url else {}
    utm = {column: campaign.get(column, [context.get("campaign", {}).get(name)])[0] for column, name in UTM.items()}
    return {
        "event_type": TYPES.get(item["type"]) or item["event"],
        "visitor_id": item.get("anonymousId"),
        "user_id": item.get("userId"),
        "url": url,
        "referrer": said.get("referrer") or page.get("referrer"),
        "title": said.get("title") or page.get("title"),
        "revenue": None if revenue is None else Decimal(str(revenue)),
        "currency": said.get("currency"),
        "user_agent": context.get("userAgent"),
        "gclid": campaign.get("gclid", [None])[0],
        "source": "segment",
        **utm,
    }


if __name__ == "__main__":
    sys.exit(main())
