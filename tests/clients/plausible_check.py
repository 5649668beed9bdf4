"""Plausible's clients for browsers, the older and the newer, as published, in a real browser, with and without faults.

Arguments: a folder `node_modules` with both, and Chromium.
"""

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]

from chromium import Chromium
from clients import FAULTY_REQUESTS, FIREFOX, Client, Page, Plan, Run, browse, check_stored, check_tried_once, plans
from faults import Exchange
from pages import BROWSER_FLAGS
from touchline import Checks, Touchline

TARGET = "/pricing?utm_source=google&utm_medium=cpc&utm_campaign=spring%20sale&gclid=g-1"
REFERRER = "https://www.google.com/"
OLDER, NEWER = "plausible-tracker", "@plausible-analytics/tracker"
CLIENTS = [
    Client(f"{OLDER} 0.3.9", (OLDER,), frozenset({"/api/event"})),
    Client(f"{NEWER} 0.4.6", (NEWER,), frozenset({"/api/event"})),
]
# The newer one tells how long a page was looked at when it is left: no part of the story, and no interaction.
ENGAGEMENT, STORED_AS = "engagement", "$page_leave"


def main(node_modules: str, chromium: str) -> int:
    checks = Checks("Plausible's clients for browsers")
    with Touchline(checks) as touchline, Chromium(chromium, *BROWSER_FLAGS, f"--user-agent={FIREFOX}") as browser:
        runs = [tell(touchline, browser, planned, Path(node_modules)) for planned in plans(touchline, CLIENTS)]
        touchline.wait_drained()
        for run in runs:
            check(checks, touchline, run)
    return checks.finish()


def tell(touchline: Touchline, browser: Chromium, planned: Plan, node_modules: Path) -> Run:
    domain = f"{planned.key.slug}.example"
    touchline.command("account", "settings", planned.key.slug, f"tracked_domains={domain}")
    older = node_modules / "plausible-tracker/build/module"
    files = {
        "plausible-tracker/index.js": older / "index.js",
        # Imported without their suffix.
        "plausible-tracker/lib/tracker": older / "lib/tracker.js",
        "plausible-tracker/lib/request": older / "lib/request.js",
        "plausible.js": node_modules / NEWER / "plausible.js",
        "plausible_page.js": HERE / "plausible_page.js",
    }
    setup = {"domain": domain, "library": planned.client.command[0]}
    is_told = lambda exchanges: len(story_posts(exchanges)) == 3
    page = Page("Prices", TARGET, REFERRER, setup, files, ("plausible_page.js",), is_told)
    return browse(touchline, browser, planned, page)


def story_posts(exchanges: list[Exchange]) -> list[Exchange]:
    return [exchange for exchange in exchanges
            if exchange.method == "POST" and exchange.json()["n"] != ENGAGEMENT]


def check(checks: Checks, touchline: Touchline, run: Run) -> None:
    told = story_posts(run.exchanges)
    check_tried_once(checks, replace(run, exchanges=told), len(told))
    if run.client.command[0] == NEWER:
        statuses = [exchange.status for exchange in told]
        checks.equal(f"{run.name}: the page may read the answers", run.told["answers"], statuses)
    arrived = story_as_stored(run) if run.plan.arrives else story_as_stored(run)[FAULTY_REQUESTS:]
    rest = [{"event_type": STORED_AS} for exchange in run.posts if exchange not in told]
    rows = check_stored(checks, touchline, run, arrived + rest)
    visitors = {row["visitor_id"] for row in rows}
    is_one = len(visitors) == 1 and next(iter(visitors)).startswith("fp_")
    checks.true(f"{run.name}: all is the same visitor's, who is known by address and user agent", is_one, visitors)
    late = [row["event_type"] for row in rows if row["occurred_at"] != row["received_at"]]
    checks.equal(f"{run.name}: the client gives no times, those of arrival stand", late, [])


def story_as_stored(run: Run) -> list[dict]:
    page = {"url": run.told["origin"] + TARGET, "path": "/pricing", "host": "shop.example", "referrer": REFERRER,
            "utm_source": "google", "utm_medium": "cpc", "utm_campaign": "spring sale", "gclid": "g-1",
            "user_agent": FIREFOX, "ip": "127.0.0.0", "is_bot": False, "user_id": None, "source": "plausible",
            "properties": {"plan": "pro"}}
    # The older client has no revenue.
    paid = {"revenue": Decimal("99.99"), "currency": "EUR"} if run.client.command[0] == NEWER else {"revenue": None}
    return [{**page, "event_type": "page_view"}, {**page, "event_type": "Signup"},
            {**page, "event_type": "Order Completed", **paid}]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
