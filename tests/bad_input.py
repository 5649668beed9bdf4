"""Input that must be refused: each piece gets the specified answer, nothing else is lost, and the server lives on."""

import gzip
import json
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

import brotli
import zstandard

from touchline import Checks, Key, Touchline, around_now, now, rfc3339
from wire import Response

EVENTS = "/api/v1/events"
MEBIBYTE = 1_024 * 1_024
BOMB_BYTES = 512 * MEBIBYTE
# A body may grow to 5 MB; each of the few requests at work may hold that twice.
MEMORY_GROWTH_MB = 64
# A revoked key must be refused this soon.
REVOCATION_S = 5


@dataclass
class Tally:
    """What the answers said, summed, to be compared with the ingest report at the end."""

    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0

    def add(self, sent: int, answer: Response) -> None:
        body = answer.json()
        self.sent += sent
        self.accepted += body["accepted"]
        self.duplicates += body["duplicates"]
        self.rejected += len(body["rejected"])


@dataclass
class Refusal:
    """A request that is refused as a whole."""

    name: str
    body: bytes
    # The status; more than one where the specification leaves the choice.
    status: tuple[int, ...]
    encoding: str | None = None


@dataclass
class BadEvent:
    """An event that is refused beside a good one in the same request."""

    name: str
    event: object
    # The code that the specification names, if it does.
    code: str | None = None


def main() -> int:
    checks = Checks("bad input")
    with Touchline(checks) as touchline:
        key, other = touchline.key("plain", "live"), touchline.key("other", "live")
        pid, tally = touchline.process.pid, Tally()
        check_requests(checks, touchline, key)
        check_bombs(checks, touchline, key)
        check_events(checks, touchline, key, tally)
        check_harmless(checks, touchline, key, tally)
        check_idempotency(checks, touchline, key, tally)
        check_other_endpoints(checks, touchline, key)
        check_keys(checks, touchline, key)
        check_reports(checks, touchline, key)
        check_alive(checks, touchline, key, pid, tally)
        check_tenants(checks, touchline, key, other)
        check_equation(checks, touchline, key, tally)
        check_command(checks, touchline, key, tally)
    return checks.finish()


def event(**fields: object) -> dict:
    return {"event_type": "page_view", "visitor_id": "v1", **fields}


def batch(*events: object) -> bytes:
    """A body of `/events`; events that are bytes go in as they are, for what Python itself will not encode."""
    texts = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in events]
    return b'{"events":[' + b",".join(texts) + b"]}"


def check_problem(checks: Checks, name: str, answer: Response, status: tuple[int, ...]) -> None:
    """An error has the right status, and the body that every error has."""
    problem = answer.status in status and problem_fault(answer)
    said = f"{answer.status}, should be {status}: {answer.text()[:400]}"
    checks.true(f"{name}: {answer.status}", answer.status in status and not problem, problem or said)


def problem_fault(answer: Response) -> str:
    """Empty when the body is problem+json with the three strings that clients look for."""
    if answer.headers.get("content-type", "").split(";")[0] != "application/problem+json":
        return f"content type {answer.headers.get('content-type')!r}: {answer.text()[:200]}"
    body = answer.json()
    missing = [name for name in ("error", "code", "message") if not isinstance(body.get(name), str) or not body[name]]
    if missing:
        return f"no {missing} in {body}"
    return "" if body.get("status") == answer.status else f"its own status is {body.get('status')}"


def check_requests(checks: Checks, touchline: Touchline, key: Key) -> None:
    for refusal in refusals():
        headers = [("Content-Encoding", refusal.encoding)] if refusal.encoding else []
        answer = touchline.post(EVENTS, refusal.body, key, headers)
        check_problem(checks, refusal.name, answer, refusal.status)


def refusals() -> Iterator[Refusal]:
    good = batch(event())
    yield Refusal("no body", b"", (400,))
    yield Refusal("no JSON", b"events", (400,))
    yield Refusal("JSON that breaks off", good[:-3], (400,))
    yield Refusal("JSON with something after it", good + b"}", (400,))
    yield Refusal("JSON with a comma too many", b'{"events":[],}', (400,))
    yield Refusal("not a number", b'{"events":[{"event_type":"x","visitor_id":"v","properties":{"a":NaN}}]}', (400,))
    yield Refusal("a NUL byte in the JSON", good.replace(b"v1", b"v\x001"), (400,))
    yield Refusal("invalid UTF-8 in a text", good.replace(b"v1", b"v\xff\xfe"), (400,))
    yield Refusal("an overlong UTF-8 form", good.replace(b"v1", b"\xc0\xaf"), (400,))
    yield Refusal("UTF-16", good.decode().encode("utf-16"), (400,))
    yield Refusal("an array", b"[]", (400,))
    yield Refusal("a number", b"1", (400,))
    yield Refusal("null", b"null", (400,))
    yield Refusal("no `events`", b'{"event":{}}', (400,))
    yield Refusal("`events` an object", b'{"events":{}}', (400,))
    yield Refusal("`events` a text", b'{"events":"x"}', (400,))
    yield Refusal("`events` null", b'{"events":null}', (400,))
    yield Refusal("100,000 levels in place of the body", b"[" * 100_000, (400,))
    yield Refusal("100,000 levels beside `events`", b'{"x":' + nested(100_000) + b"}", (400,))
    yield Refusal("3,000 events", batch(*[event()] * 3_000), (413,))
    yield Refusal("10 MB", batch(event(properties={"x": "x" * 10_000_000})), (413,))
    yield Refusal("10 MB that are no JSON", b"\x00" * 10_000_000, (413,))
    for encoding in ("compress", "lzma", "gzip2"):
        yield Refusal(f"content encoding {encoding}", good, (415,), encoding)
    for encoding in ("gzip", "zstd", "br", "deflate"):
        yield Refusal(f"{encoding} that is none", b"\x01\x02" + good, (400,), encoding)
    yield Refusal("gzip that breaks off", gzip.compress(good)[:-12], (400,), "gzip")


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def check_bombs(checks: Checks, touchline: Touchline, key: Key) -> None:
    """Small bodies that would grow to half a gigabyte."""
    before_mb = touchline.peak_memory_mb()
    for encoding, body in bombs():
        name = f"{encoding} bomb of {len(body):,} bytes"
        headers = [("Content-Encoding", encoding)]
        started = time.monotonic()
        answer = touchline.post(EVENTS, body, key, headers)
        elapsed_s = time.monotonic() - started
        check_problem(checks, name, answer, (413,))
        checks.true(f"{name}: refused after {elapsed_s * 1_000:.0f} ms", elapsed_s < 2, elapsed_s)
        check_problem(checks, f"{name} without a key", touchline.post(EVENTS, body, None, headers), (401,))
    growth_mb = touchline.peak_memory_mb() - before_mb
    checks.true(f"bombs cost {growth_mb:.0f} MB of memory", growth_mb <= MEMORY_GROWTH_MB, growth_mb)


def bombs() -> Iterator[tuple[str, bytes]]:
    """The beginning of a good body, then spaces without end."""
    gzip_encoder = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield "gzip", blow_up(gzip_encoder.compress, gzip_encoder.flush)
    deflate_encoder = zlib.compressobj(9)
    yield "deflate", blow_up(deflate_encoder.compress, deflate_encoder.flush)
    zstd_encoder = zstandard.ZstdCompressor(level=3).compressobj()
    yield "zstd", blow_up(zstd_encoder.compress, zstd_encoder.flush)
    br_encoder = brotli.Compressor(quality=4)
    yield "br", blow_up(br_encoder.process, br_encoder.finish)


def blow_up(compress, finish) -> bytes:
    block = b" " * MEBIBYTE
    parts = [compress(b'{"events":[')]
    parts += [compress(block) for _ in range(BOMB_BYTES // MEBIBYTE)]
    return b"".join([*parts, compress(b"]}"), finish()])


def check_events(checks: Checks, touchline: Touchline, key: Key, tally: Tally) -> None:
    """A bad event is refused, with a reason, and its good neighbour is stored."""
    for number, bad in enumerate(bad_events()):
        answer = touchline.post(EVENTS, batch(event(event_id=f"neighbour-{number}"), bad.event), key)
        fault = bad_event_fault(answer, bad.code)
        checks.true(f"{bad.name}: 422, its neighbour stored", not fault, fault)
        if answer.status in (202, 422):
            tally.add(2, answer)


def bad_event_fault(answer: Response, code: str | None) -> str:
    if answer.status != 422:
        return f"{answer.status}: {answer.text()[:400]}"
    body = answer.json()
    if (body["accepted"], body["duplicates"], len(body["rejected"]), len(body["events"])) != (1, 0, 1, 1):
        return f"counts: {body}"
    rejected = body["rejected"][0]
    if rejected["index"] != 1 or not rejected["errors"]:
        return f"place or reasons: {rejected}"
    return f"code {rejected['code']}, should be {code}" if code and rejected["code"] != code else ""


def bad_events() -> Iterator[BadEvent]:
    for name in ("event_type", "visitor_id", "user_id", "session_id", "event_id", "timestamp", "ip", "user_agent"):
        for wrong in ({}, [], [1], True):
            yield BadEvent(f"`{name}` {json.dumps(wrong)}", event(**{name: wrong}))
    for wrong in ([1], "x", 1, True):
        yield BadEvent(f"`properties` {json.dumps(wrong)}", event(properties=wrong))
    for wrong in (None, 1, "x", [], True):
        yield BadEvent(f"an event that is {json.dumps(wrong)}", wrong)
    yield BadEvent("an empty event", {})
    yield BadEvent("no event type", {"visitor_id": "v1"})
    yield BadEvent("an empty event type", event(event_type=""))
    yield BadEvent("an event type of 256 characters", event(event_type="x" * 256))
    yield BadEvent("a reserved event type that is none", event(event_type="$made_up"))
    message = {"message_id": "m", "delivery_id": "d", "channel": "email"}
    for name in message:
        lacking = {field: value for field, value in message.items() if field != name}
        click = event(event_type="$message_clicked", properties=lacking)
        yield BadEvent(f"a click without `{name}`", click, "field_missing")
        click = event(event_type="$message_clicked", properties=message | {name: 7})
        yield BadEvent(f"a click whose `{name}` is 7", click, "wrong_type")
    decision = event(event_type="$decision", properties=message | {"outcome": "maybe"})
    yield BadEvent("a decision that is none", decision, "unknown_value")
    yield BadEvent("nobody", {"event_type": "page_view"})
    yield BadEvent("an address without a user agent", {"event_type": "page_view", "ip": "192.0.2.1"})
    for name in ("visitor_id", "user_id", "event_id", "session_id"):
        yield BadEvent(f"`{name}` of 201 characters", event(**{name: "x" * 201}))
        yield BadEvent(f"`{name}` with an escaped NUL", event(**{name: "a\x00b"}))
    yield BadEvent("the year 1970", event(timestamp="1970-01-01T00:00:00Z"), "timestamp_too_old")
    yield BadEvent("the last moment of 1999", event(timestamp="1999-12-31T23:59:59Z"), "timestamp_too_old")
    yield BadEvent("the year 2100", event(timestamp="2100-01-01T00:00:00Z"), "timestamp_in_future")
    for wrong in ("yesterday", "2026-13-01T00:00:00Z", "1763686331", "2026-02-30T00:00:00Z"):
        yield BadEvent(f"time {wrong}", event(timestamp=wrong), "timestamp_invalid")
    yield BadEvent("100 levels", event(properties={"x": json.loads(nested(100))}))
    yield BadEvent("properties of 60 KB", event(properties={"x": "x" * 60_000}))
    yield BadEvent("an event of 70 KB", event(note="x" * 70_000))
    yield BadEvent("100,000 levels in an event", b'{"event_type":"x","visitor_id":"v","x":' + nested(100_000) + b"}")
    yield BadEvent("half of a surrogate pair", b'{"event_type":"x","visitor_id":"\\ud800"}')


def check_harmless(checks: Checks, touchline: Touchline, key: Key, tally: Tally) -> None:
    """Odd, and still an event."""
    odd = [
        event(properties={"title": "a\x00b", "note": "\u202e\ufeff\U0001f600", "quote": "'\"`;--"}),
        event(properties={"url": "http://[::1"}),
        event(properties={"url": "https://e.example/?utm_source=%ff%00&utm_medium=%"}),
        event(properties={"revenue": "1e999"}),
        event(properties={"": {"": [None]}}),
        event(visitor_id="../../etc/passwd", session_id=None, user_id=None),
        event(timestamp=None, properties=None, ip="not an address", user_agent=""),
        event(visitor_id="x" * 200, event_type="x" * 255),
    ]
    answer = touchline.post(EVENTS, batch(*odd), key)
    checks.equal("odd events are events", (answer.status, answer.json().get("accepted")), (202, len(odd)))
    tally.add(len(odd), answer)
    for name, encode in (("gzip", gzip.compress), ("zstd", zstandard.ZstdCompressor().compress),
                         ("br", brotli.compress), ("deflate", zlib.compress)):
        answer = touchline.post(EVENTS, encode(batch(event())), key, [("Content-Encoding", name)])
        checks.equal(f"an honest {name} body is read", (answer.status, answer.json().get("accepted")), (202, 1))
        tally.add(1, answer)
    for scheme in ("bearer", "BEARER"):
        headers = [("Content-Type", "application/json"), ("Authorization", f"{scheme} {key.secret}")]
        answer = touchline.request("POST", EVENTS, batch(event()), headers)
        checks.equal(f"the scheme may be written {scheme}", answer.status, 202)
        tally.add(1, answer)


def check_idempotency(checks: Checks, touchline: Touchline, key: Key, tally: Tally) -> None:
    body = batch(event(), event(event_id="own-id"), event())
    for header in ("X-Idempotency-Key", "Idempotency-Key"):
        # The second event has an id of its own, which the first round has already used the second time.
        first = 3 if header.startswith("X") else 2
        for expected in ((first, 3 - first), (0, 3)):
            answer = touchline.post(EVENTS, body, key, [(header, f"retry-{header}")])
            said = answer.json()
            counts = (answer.status, said.get("accepted"), said.get("duplicates"))
            checks.equal(f"{header}: accepted and duplicates", counts, (202, *expected))
            ids = [item["id"] for item in said["events"]]
            checks.equal(f"{header}: ids", ids, [f"retry-{header}_0", "own-id", f"retry-{header}_2"])
            tally.add(3, answer)


def check_other_endpoints(checks: Checks, touchline: Touchline, key: Key) -> None:
    """Bodies that the three endpoints beside `/events` refuse. What they refuse item by item goes to another key."""
    for path in ("sessions", "conversions", "identify"):
        for body in (b"", b"{", b"[]", b"1", b"\xff"):
            answer = touchline.post(f"/api/v1/{path}", body, key)
            check_problem(checks, f"{path}: {body!r}", answer, (400,))
    separate = touchline.key("plain", "test")
    for path, body in (
        ("sessions", {"session": {}}),
        ("sessions", {"session": {"visitor_id": {}, "url": "https://e.example/"}}),
        ("sessions", {"session": []}),
        ("conversions", {"conversion": {}}),
        ("conversions", {"conversion_type": 1, "visitor_id": "v1"}),
        ("identify", {}),
        ("identify", {"user_id": {}}),
        ("identify", {"visitor_id": "v1"}),
    ):
        answer = touchline.post(f"/api/v1/{path}", body, separate)
        check_problem(checks, f"{path}: {json.dumps(body)}", answer, (400, 422))


def check_keys(checks: Checks, touchline: Touchline, key: Key) -> None:
    body = batch(event(event_type="intruder"))

    def status_of(authorization: str | None) -> Response:
        headers = [("Authorization", authorization)] if authorization is not None else []
        return touchline.request("POST", EVENTS, body, [("Content-Type", "application/json"), *headers])

    check_problem(checks, "no Authorization header", status_of(None), (401,))
    for wrong in ("", "Bearer", "Bearer ", f"Basic {key.secret}", key.secret, f"Bearer {key.secret}x",
                  f"Bearer {key.secret[:-1]}", "Bearer sk_live_" + "0" * 32, "Bearer " + "x" * 5_000, "Bearer \xff"):
        shown = wrong.replace(key.secret[12:], "…")[:40]
        check_problem(checks, f"Authorization: {shown!r}", status_of(wrong), (401,))
    reader = touchline.key("plain", "live", ("can_view_reports",))
    check_problem(checks, "a key that may only read", touchline.post(EVENTS, body, reader), (403,))
    revoked = touchline.key("plain", "live")
    answer = touchline.post(EVENTS, batch(), revoked)
    checks.true("a key works before it is revoked", answer.status not in (401, 403), answer.text())
    touchline.command("key", "revoke", revoked.key_id)
    deadline = time.monotonic() + REVOCATION_S
    while (answer := touchline.get("/api/v1/validate", revoked)).status != 401 and time.monotonic() < deadline:
        time.sleep(0.1)
    check_problem(checks, "validate with a revoked key", answer, (401,))
    check_problem(checks, "events with a revoked key", touchline.post(EVENTS, body, revoked), (401,))


def check_reports(checks: Checks, touchline: Touchline, key: Key) -> None:
    for query in ("from=yesterday", "to=1", "format=xml", "limit=0", "limit=-1", "limit=x", "cursor=%00x",
                  "bots=perhaps", "filter[visitor_id%00]=x", "filter[no_such_column]=x", "%ff=%ff"):
        answer = touchline.request("GET", f"/api/v1/reports/sessions?{query}", key=key)
        check_problem(checks, f"sessions?{query}", answer, (400, 406) if "format" in query else (400,))
    answer = touchline.request("GET", "/api/v1/reports/first-touch?by=password", key=key)
    check_problem(checks, "first-touch?by=password", answer, (400,))
    writer = touchline.key("plain", "live", ("ingest",))
    for name in ("sessions", "first-touch", "traffic", "ingest"):
        answer = touchline.get(f"/api/v1/reports/{name}", None)
        check_problem(checks, f"{name} without a key", answer, (401,))
        answer = touchline.get(f"/api/v1/reports/{name}", writer)
        check_problem(checks, f"{name} with a key that may only write", answer, (403,))
    check_problem(checks, "an address that is none", touchline.get("/api/v1/nothing", key), (404,))
    check_problem(checks, "a method that is none", touchline.request("DELETE", EVENTS, key=key), (405,))


def check_alive(checks: Checks, touchline: Touchline, key: Key, pid: int, tally: Tally) -> None:
    answer = touchline.post(EVENTS, batch(event(event_id="last", timestamp=rfc3339(now()))), key)
    checks.equal("a good event is accepted after all that", answer.status, 202)
    tally.add(1, answer)
    checks.true("it is still the same process", touchline.running() and touchline.process.pid == pid)
    for path in ("/healthz", "/readyz", "/api/v1/health"):
        checks.equal(f"{path} is well", touchline.get(path).status, 200)


def check_tenants(checks: Checks, touchline: Touchline, key: Key, other: Key) -> None:
    """Another account, and the other environment of the same account, see no row and no count."""
    touchline.wait_drained()
    touchline.run_jobs()
    mine = touchline.report(key, "sessions", *around_now(2), **{"filter[visitor_id]": "v1"})
    checks.true("the key sees its own sessions", len(mine) > 0)
    for stranger in (other, touchline.key("other", "test")):
        whose = f"{stranger.slug}/{stranger.environment}"
        for name, query in (("sessions", {}), ("sessions", {"filter[visitor_id]": "v1"}),
                            ("first-touch", {"by": "channel"}), ("traffic", {"by": "channel"})):
            rows = touchline.report(stranger, name, *around_now(2), **query)
            checks.equal(f"{whose} sees nothing in {name} {query or ''}", rows, [])
        expected = {"received": 0, "stored": 0, "duplicates": 0, "rejected": 0}
        checks.equal(f"{whose} sees no count", touchline.ingest_totals(stranger), expected)
    same = touchline.report(touchline.key("plain", "test"), "sessions", *around_now(2), bots="include")
    checks.equal("test keys see no live session", same, [])


def check_equation(checks: Checks, touchline: Touchline, key: Key, tally: Tally) -> None:
    checks.equal(
        "the answers: sent = stored + duplicates + rejected",
        tally.sent,
        tally.accepted + tally.duplicates + tally.rejected,
    )
    expected = {
        "received": tally.sent,
        "stored": tally.accepted,
        "duplicates": tally.duplicates,
        "rejected": tally.rejected,
    }
    checks.equal("the ingest report says the same", touchline.ingest_totals(key), expected)
    rows = touchline.report(key, "ingest", *around_now(2))
    csv_rows = touchline.report_csv(key, "ingest", *around_now(2))
    hours = [row for row in rows if row["received"] != row["stored"] + row["duplicates"] + row["rejected"]]
    checks.equal("it holds in every hour", hours, [])
    checks.equal("its CSV has the same rows", [row["stored"] for row in csv_rows], [str(row["stored"]) for row in rows])


def check_command(checks: Checks, touchline: Touchline, key: Key, tally: Tally) -> None:
    """The command shows beside the server what the server shows."""
    asked = ("--account", key.slug, "--env", key.environment)
    told = touchline.command_json("rejected", "reasons", *asked)["data"]
    checks.equal("the command counts what was refused", sum(row["rejected"] for row in told), tally.rejected)
    checks.equal("by the reasons that the API names", told, touchline.get("/api/v1/rejected/reasons", key).json()["data"])
    code = told[0]["code"]
    for which, arguments, parameters in (("all", (), {}), (code, ("--filter", f"code={code}"), {"filter[code]": code})):
        listed = touchline.command_json("rejected", "list", *asked, "--limit", 50, *arguments)["data"]
        expected = touchline.get("/api/v1/rejected", key, limit=50, **parameters).json()["data"]
        checks.equal(f"the command lists what the API lists: {which}", listed, expected)


if __name__ == "__main__":
    sys.exit(main())
