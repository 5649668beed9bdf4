"""Limits bite where they are set low and let an honest client through; what was acknowledged meanwhile is stored."""

import json
import re
import socket
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

from touchline import Checks, Key, Touchline, wait_until
from wire import Response

EVENTS = "/api/v1/events"
VALIDATE = "/api/v1/validate"
BURST, FAILURES, RUNNING = 20, 10, 2
LOW = f"""
[server]
trusted_proxies = ["127.0.0.0/8"]
[limits]
ingest_per_key_per_s = 1
ingest_burst_per_key = {BURST}
reading_per_key_per_s = 1
reading_burst_per_key = {BURST}
failures_per_address_per_min = 20
failure_burst_per_address = {FAILURES}
ingest_running_per_key = {RUNNING}
"""
# A quick client: one event per request, on connections that stay open.
CLIENTS, REQUESTS_EACH = 8, 500
ORIGIN = ("Origin", "https://shop.example")


def main() -> int:
    checks = Checks("limits")
    with Touchline(checks, LOW) as touchline:
        reader, acknowledged = touchline.key("shop", scopes=("can_view_reports",)), 0
        acknowledged += too_fast(checks, touchline)
        acknowledged += too_many_at_once(checks, touchline)
        readers(checks, touchline)
        wrong_keys(checks, touchline)
        pages(checks, touchline)
        stored(checks, touchline, reader, acknowledged)
        checks.true("refusals are counted", touchline.metric("touchline_http_limited_total") > 0)
    with Touchline(checks) as touchline:
        quick_client(checks, touchline)
    return checks.finish()


def event() -> dict:
    return {"event_type": "page_view", "visitor_id": "v1", "event_id": str(uuid.uuid4())}


def send(touchline: Touchline, key: Key) -> Response:
    return touchline.post(EVENTS, {"events": [event()]}, key, [ORIGIN])


def validate(touchline: Touchline, secret: str, client: str) -> Response:
    """From behind a proxy that says for whom it asks."""
    return touchline.request("GET", VALIDATE, headers=[("X-Forwarded-For", client)], key=Key("", "", secret, ""))


def is_refusal(answer: Response, code: str, setting: str) -> bool:
    """429, in the words that every error has, naming the setting and when to try again."""
    if answer.status != 429 or answer.headers.get("content-type") != "application/problem+json":
        return False
    body, wait = answer.json(), answer.headers.get("retry-after", "")
    words = all(isinstance(body.get(name), str) and body[name] for name in ("error", "code", "message"))
    left = re.search(r';r=0;t=(\d+)$', answer.headers.get("ratelimit", ""))
    return words and body["code"] == code and setting in body["message"] and left is not None and left[1] == wait


def too_fast(checks: Checks, touchline: Touchline) -> int:
    """Returns how many events were acknowledged."""
    key, other = touchline.key("shop"), touchline.key("shop", "test")
    first = send(touchline, key)
    policy, left = first.headers.get("ratelimit-policy", ""), first.headers.get("ratelimit", "")
    checks.true("an answer says how much there is", policy.startswith(f'"ingest_per_key";q={BURST};w=20'), policy)
    checks.equal("and how much is left", left, f'"ingest_per_key";r={BURST - 1};t=1')
    answers = [first] + [send(touchline, key) for _ in range(3 * BURST)]
    refused = [answer for answer in answers if answer.status == 429]
    taken = [answer for answer in answers if answer.status == 202]
    checks.true("a burst is taken, and what is beyond it refused", len(taken) >= BURST and len(refused) >= BURST)
    checks.equal("and nothing else is answered", len(taken) + len(refused), len(answers))
    spoken = [is_refusal(answer, "rate_limited", "limits.ingest_per_key_per_s") for answer in refused]
    checks.true("a refusal says why, and when to try again", all(spoken), refused[-1].text())
    checks.true("a page can read it", refused[-1].headers.get("access-control-allow-origin") == "*")
    checks.equal("a key for tests has limits of its own", send(touchline, other).status, 202)
    time.sleep(int(refused[-1].headers["retry-after"]))
    checks.equal("who waits as long as it was told is taken", send(touchline, key).status, 202)
    return len(taken) + 1


def too_many_at_once(checks: Checks, touchline: Touchline) -> int:
    """Requests whose bodies do not come. Returns how many events were acknowledged."""
    key, bodies = touchline.key("shop"), [json.dumps({"events": [event()]}).encode() for _ in range(RUNNING)]
    checks.equal("the key is good", touchline.get(VALIDATE, key).status, 200)
    head = [
        f"POST {EVENTS} HTTP/1.1", "Host: x", f"Authorization: Bearer {key.secret}", "Connection: close",
        f"Content-Length: {len(bodies[0])}", "", "",
    ]
    slow = [socket.create_connection(("127.0.0.1", touchline.port), timeout=30) for _ in bodies]
    for connection in slow:
        connection.sendall("\r\n".join(head).encode())
    refused = lambda: is_refusal(touchline.get(VALIDATE, key), "too_many_running", "limits.ingest_running_per_key")
    wait_until("a request beyond those that run is refused", refused, 10, 0.3)
    statuses = []
    for connection, body in zip(slow, bodies):
        connection.sendall(body)
        answer = HTTPResponse(connection)
        answer.begin()
        statuses.append(answer.status)
        connection.close()
    checks.equal("those that run are answered when their bodies come", statuses, [202] * RUNNING)
    wait_until("the key is let in again", lambda: touchline.get(VALIDATE, key).status == 200, 10, 0.3)
    return RUNNING


def readers(checks: Checks, touchline: Touchline) -> None:
    key = touchline.key("shop")
    answers = [touchline.get("/api/v1/reports/ingest", key) for _ in range(2 * BURST)]
    refused = [answer for answer in answers if answer.status != 200]
    spoken = [is_refusal(answer, "rate_limited", "limits.reading_per_key_per_s") for answer in refused]
    checks.true("readers have a limit", bool(refused) and all(spoken), refused and refused[-1].text())
    checks.true("no other page can read that", not any("access-control-allow-origin" in one.headers for one in answers))
    checks.equal("and are not in the way of events", touchline.get(VALIDATE, key).status, 200)


def wrong_keys(checks: Checks, touchline: Touchline) -> None:
    known, new = touchline.key("shop"), touchline.key("shop")
    one, other = "203.0.113.7", "203.0.113.8"
    wrong = lambda client: validate(touchline, f"sk_live_{uuid.uuid4().hex}", client)
    checks.equal("a good key is let in", validate(touchline, known.secret, one).status, 200)
    answers = [wrong(one) for _ in range(3 * FAILURES)]
    told = [answer for answer in answers if answer.status == 401]
    refused = [answer for answer in answers if answer.status == 429]
    checks.true("some wrong keys are told so", FAILURES <= len(told) < 2 * FAILURES, len(told))
    checks.equal("the others are refused unread", len(refused), len(answers) - len(told))
    spoken = [is_refusal(answer, "too_many_failures", "limits.failures_per_address_per_min") for answer in refused]
    checks.true("and learn when to try again", all(spoken), refused[-1].text())
    checks.equal("a good key is let in as before", validate(touchline, known.secret, one).status, 200)
    checks.equal("one that nobody has seen must wait", validate(touchline, new.secret, one).status, 429)
    checks.equal("elsewhere it need not", validate(touchline, new.secret, other).status, 200)
    checks.equal("elsewhere wrong keys are told so", wrong(other).status, 401)
    claimed = validate(touchline, f"sk_live_{uuid.uuid4().hex}", f"198.51.100.1, {one}")
    checks.equal("nobody can claim another address", claimed.status, 429)


def pages(checks: Checks, touchline: Touchline) -> None:
    """What a browser asks before it lets a page send."""
    asked = [
        ORIGIN, ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "authorization,content-type"),
        ("Sec-Fetch-Mode", "cors"), ("User-Agent", "Mozilla/5.0"),
    ]
    answer = touchline.request("OPTIONS", EVENTS, headers=asked)
    allowed = {name: answer.headers.get(f"access-control-allow-{name}", "") for name in ("origin", "methods", "headers")}
    checks.equal("a preflight is answered", (answer.status, answer.body), (200, b""))
    checks.equal("every page may send", allowed["origin"], "*")
    checks.true("by POST", "POST" in allowed["methods"].split(","), allowed)
    checks.equal("with the headers that it asked for", allowed["headers"], "authorization,content-type")
    checks.true("for a while", int(answer.headers.get("access-control-max-age", 0)) > 0)
    closed = touchline.request("OPTIONS", "/api/v1/reports/overview", headers=asked)
    cors = [name for name in closed.headers if name.startswith("access-control")]
    checks.equal("no page may read reports", (closed.status, cors), (405, []))


def stored(checks: Checks, touchline: Touchline, reader: Key, acknowledged: int) -> None:
    touchline.wait_drained()
    checks.equal("what was acknowledged is stored", touchline.ingest_totals(reader)["stored"], acknowledged)


def quick_client(checks: Checks, touchline: Touchline) -> None:
    key = touchline.key("shop")

    def client(_: int) -> list[int]:
        connection = HTTPConnection("127.0.0.1", touchline.port, timeout=60)
        statuses = []
        for _ in range(REQUESTS_EACH):
            headers = {"Authorization": f"Bearer {key.secret}", "Content-Type": "application/json"}
            connection.request("POST", EVENTS, json.dumps({"events": [event()]}), headers)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()
        return statuses

    started = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        statuses = [status for answered in pool.map(client, range(CLIENTS)) for status in answered]
    rate = len(statuses) / (time.monotonic() - started)
    refused = [status for status in statuses if status != 202]
    checks.equal(f"by default nobody is refused at {rate:,.0f} single events a second", refused, [])
    touchline.wait_drained(30)
    checks.equal("and each of them is stored", touchline.ingest_totals(key)["stored"], len(statuses))


if __name__ == "__main__":
    sys.exit(main())
