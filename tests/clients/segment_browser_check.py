"""Segment's client for browsers, as published, in a real browser, with and without faults.

Arguments: a folder `node_modules` with it, and Chromium.
"""

import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]

from chromium import Chromium
from clients import (CLOCK_AHEAD, FIREFOX, Client, Page, Plan, Run, browse, check_requests, check_stored, check_times,
                     plans)
from faults import Exchange
from pages import BROWSER_FLAGS
from segment_family import ids_of, sent_items
from touchline import Checks, Touchline

TARGET = "/pricing?utm_source=google&utm_medium=cpc&utm_campaign=spring%20sale&gclid=g-1"
REFERRER = "https://www.google.com/"
ONE_BY_ONE = Client("@segment/analytics-next 1.84.3", (), frozenset(f"/v1/{kind}" for kind in "pitsga"),
                    key_kind="publishable", obeys_wrong_clock=True)
BATCHED = Client("@segment/analytics-next 1.84.3 in batches, with our settings", (), frozenset({"/v1/b"}),
                 key_kind="publishable", obeys_wrong_clock=True)
EVENTS = 6


def main(node_modules: str, chromium: str) -> int:
    checks = Checks("Segment's client for browsers")
    library = Path(node_modules) / "@segment/analytics-next/dist/umd/index.js"
    with Touchline(checks) as touchline, Chromium(chromium, *BROWSER_FLAGS, f"--user-agent={FIREFOX}") as browser:
        runs = [tell(touchline, browser, planned, library) for planned in plans(touchline, [ONE_BY_ONE, BATCHED])]
        touchline.wait_drained()
        for run in runs:
            check_requests(checks, run, ids_of)
            check_settings(checks, run)
            check_page_times(checks, run, check_stored(checks, touchline, run, story_as_stored(run)))
    return checks.finish()


def tell(touchline: Touchline, browser: Chromium, planned: Plan, library: Path) -> Run:
    is_batched = planned.client is BATCHED
    setup = {"fetchSettings": is_batched, "batching": is_batched}
    files = {"analytics.js": library, "segment_page.js": HERE / "segment_page.js"}
    page = Page("Prices", TARGET, REFERRER, setup, files, ("analytics.js", "segment_page.js"), is_told)
    return browse(touchline, browser, planned, page)


def is_told(exchanges: list[Exchange]) -> bool:
    answered = [exchange for exchange in exchanges if exchange.method == "POST" and exchange.status == 200]
    return sum(len(ids_of(exchange)) for exchange in answered) >= EVENTS


def check_settings(checks: Checks, run: Run) -> None:
    asked = [(exchange.path, exchange.status) for exchange in run.exchanges if exchange.method == "GET"]
    wanted = [(f"/v1/projects/{run.plan.key.secret}/settings", 200)] if run.client is BATCHED else []
    checks.equal(f"{run.name}: settings that were asked for", asked, wanted)


def story_as_stored(run: Run) -> list[dict]:
    sent = sent_items(run)
    # The page tells who reads it when it sends, and by then that is known.
    everywhere = {"visitor_id": run.told["anonymousId"], "user_id": "user-1", "url": run.told["origin"] + TARGET,
                  "path": "/pricing", "host": "shop.example", "title": "Prices", "referrer": REFERRER,
                  "utm_source": "google", "utm_medium": "cpc", "utm_campaign": "spring sale", "gclid": "g-1",
                  "user_agent": FIREFOX, "ip": "127.0.0.0", "is_bot": False, "source": "segment"}
    story = [
        {"event_type": "page_view", "properties": {"category": "Docs", "name": "Pricing"}},
        {"event_type": "$identify", "properties": {"traits": {"email": "jane@shop.example", "plan": "pro"}}},
        {"event_type": "Order Completed", "revenue": Decimal("99.99"), "currency": "EUR",
         "properties": {"order_id": "O-1", "coupons": ["ten", "more"]}},
        {"event_type": "screen_view", "properties": {"name": "Checkout"}},
        {"event_type": "$group", "properties": {"group_id": "acme", "traits": {"employees": 11}}},
        {"event_type": "$alias", "properties": {"previous_id": "user-0"}},
    ]
    return [{**everywhere, **part, "event_id": sent[part["event_type"]]["messageId"]} for part in story]


def check_page_times(checks: Checks, run: Run, rows: list[dict]) -> None:
    sent = sent_items(run)
    told = {name: datetime.fromisoformat(item["timestamp"]) - CLOCK_AHEAD * run.plan.clock_is_wrong
            for name, item in sent.items()}
    check_times(checks, run, rows, told, {name: item["sentAt"] for name, item in sent.items()})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
