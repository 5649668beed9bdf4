"""Uses the installed mbuzz client as an application would, and prints as JSON what it was told.

Runs in an environment with one release of mbuzz and Flask: URL and KEY are its arguments. Nothing of the client is
changed; 0.1.0 takes the address in `init`, later releases have it in their configuration.
"""

import json
import sys
import threading
import time

import flask
import mbuzz
from mbuzz.config import config
from mbuzz.middleware.flask import init_app

CAMPAIGN = "utm_source=google&utm_medium=cpc&utm_campaign=spring%20sale"
PERSON = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
SEND_TIMEOUT_S = 15


def main(url: str, key: str) -> dict:
    start(url, key)
    visitor = "direct-" + mbuzz.__version__
    told = {"version": mbuzz.__version__, "direct": call_directly(visitor), "web": browse()}
    told["direct"]["visitor_id"] = visitor
    return told


def start(url: str, key: str) -> None:
    if mbuzz.__version__ == "0.1.0":
        mbuzz.init(api_key=key, api_url=f"{url}/api/v1")
    else:
        mbuzz.init(api_key=key)
        config.api_url = f"{url}/api/v1"


def call_directly(visitor: str) -> dict:
    """Track, convert and identify, from code that knows its visitor."""
    viewed = mbuzz.track("page_view", visitor_id=visitor, properties={"url": f"https://shop.example/page?{CAMPAIGN}"})
    added = mbuzz.track("add_to_cart", visitor_id=visitor, properties={"price": 49.99})
    paid = mbuzz.conversion("purchase", visitor_id=visitor, revenue=99.99, properties={"order_id": "ORD-1"})
    known = mbuzz.identify("user-1", visitor_id=visitor, traits={"email": "j@shop.example"})
    return {
        "successes": [viewed.success, added.success, paid.success, known],
        "event_ids": [viewed.event_id, added.event_id, paid.conversion_id],
        "attribution": paid.attribution,
    }


def browse() -> dict:
    """A visit to a Flask application with the client's middleware."""
    application = flask.Flask("shop")
    init_app(application)

    @application.get("/pricing")
    def pricing() -> dict:
        result = mbuzz.event("page_view", plan="pro")
        return {"visitor_id": mbuzz.visitor_id(), "event_id": result.event_id, "success": result.success}

    browser = application.test_client()
    if mbuzz.__version__ != "0.1.0":
        # Today's middleware makes visitors only here; the page itself may come from a cache.
        landing = {"url": f"http://localhost/pricing?{CAMPAIGN}", "referrer": "https://t.co/abc"}
        browser.post("/_mbuzz/session", json=landing, headers=PERSON)
        wait_for_senders()
        # Its session times are whole seconds: the next one must be a later one.
        time.sleep(1.1)
    page = browser.get(f"/pricing?{CAMPAIGN}", headers={**PERSON, "Referer": "https://t.co/abc"}).json
    wait_for_senders()
    return page


def wait_for_senders() -> None:
    """The middleware posts from threads of its own."""
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(SEND_TIMEOUT_S)


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
