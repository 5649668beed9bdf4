"""Umami's client for Node, as published, with and without faults. Argument: a folder `node_modules` with it."""

import sys
from decimal import Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]

from clients import FAULTY_REQUESTS, FIREFOX, Client, Run, check_stored, check_tried_once, drive_all
from touchline import Checks, Touchline

PAGE = {"title": "Prices", "referrer": "https://www.google.com/", "host": "shop.example"}
STORY = [
    {**PAGE, "event_type": "page_view", "path": "/pricing", "utm_source": "google", "utm_medium": "cpc",
     "utm_campaign": "spring sale", "gclid": "g-1", "revenue": None,
     "url": "https://shop.example/pricing?utm_source=google&utm_medium=cpc&utm_campaign=spring%20sale&gclid=g-1"},
    {**PAGE, "event_type": "Order Completed", "url": "https://shop.example/thanks", "revenue": Decimal("99.99"),
     "currency": "EUR"},
    {"event_type": "Newsletter", "url": None},
    {"event_type": "$identify"},
]


def main(node_modules: str) -> int:
    checks = Checks("Umami's client for Node")
    command = ("node", str(HERE / "umami_drive.js"))
    environment = {"NODE_PATH": node_modules, "USER_AGENT": FIREFOX}
    client = Client("@umami/node 0.4.0", command, frozenset({"/api/send"}), key_kind="publishable",
                    environment=environment)
    with Touchline(checks) as touchline:
        runs = drive_all(touchline, [client])
        touchline.wait_drained()
        for run in runs:
            check(checks, touchline, run)
    return checks.finish()


def check(checks: Checks, touchline: Touchline, run: Run) -> None:
    check_tried_once(checks, run, len(STORY))
    arrived = STORY if run.plan.arrives else STORY[FAULTY_REQUESTS:]
    everywhere = {"source": "umami", "user_agent": FIREFOX, "ip": "127.0.0.0", "is_bot": False}
    expected = [{**columns, **everywhere} for columns in arrived]
    rows = check_stored(checks, touchline, run, expected)
    visitors = {row["visitor_id"] for row in rows}
    is_one = len(visitors) == 1 and visitors.pop().startswith("fp_")
    checks.true(f"{run.name}: all is the same visitor's, who is known by address and user agent", is_one, visitors)
    late = [row["event_type"] for row in rows if row["occurred_at"] != row["received_at"]]
    checks.equal(f"{run.name}: the client gives no times, those of arrival stand", late, [])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
