"""Refused events are listed, shown, put right and sent again, by command and over the API; each is stored once."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

from touchline import DRAIN_S, Checks, Key, Touchline, wait_until

SHOP = ("--account", "shop")
SCOPES = ("ingest", "can_view_reports", "can_manage_settings")
# Nobody can tell who did these; each names its page by its number.
BAD = 6
# So much of an event is kept, and no more is taken.
CONFIG = "[ingest]\nmax_event_bytes = 4096\nmax_properties_bytes = 4096\n"


def refusals(touchline: Touchline, key: Key) -> dict[str, dict]:
    """Every refused event, by its id."""
    return {row["rejected_id"]: row for row in touchline.get("/api/v1/rejected", key).json()["data"]}


def events(touchline: Touchline, key: Key) -> dict[str, dict]:
    """Every event of the account, by its id."""
    rows = touchline.sql(key, "SELECT event_id, event_type, visitor_id, occurred_at, source FROM events")
    return {row["event_id"]: row for row in rows}


def balanced(checks: Checks, touchline: Touchline, key: Key, received: int, stored: int, duplicates: int) -> None:
    """What was received is what was stored, a duplicate or refused, to the last event."""
    rejected = received - stored - duplicates
    expected = {"received": received, "stored": stored, "duplicates": duplicates, "rejected": rejected}
    def says() -> bool:
        return touchline.ingest_totals(key) == expected
    try:
        wait_until("the ledger has it", says, DRAIN_S)
    except TimeoutError:
        pass
    checks.equal("received = stored + duplicates + rejected", touchline.ingest_totals(key), expected)


def send(touchline: Touchline, key: Key) -> int:
    """Sends what is refused, each kind by its endpoint; returns how many."""
    posts = [
        ("events", {"events": [{"event_type": "page_view", "properties": {"url": f"/{n}", "price": 1.10}} for n in range(BAD)]}),
        ("events", {"events": [{"event_type": "page_view", "visitor_id": "v", "event_id": "own", "timestamp": "soon"}]}),
        ("sessions", {"session": {"url": "https://shop.example/", "session_id": "s1"}}),
        ("identify", {"visitor_id": "v1", "traits": {"plan": "pro"}}),
        ("conversions", {"conversion": {"conversion_type": "purchase", "revenue": "19.90"}}),
        ("events", {"events": [{"event_type": "page_view", "visitor_id": "v", "properties": {"x": "y" * 5_000}}]}),
    ]
    for endpoint, body in posts:
        touchline.post(f"/api/v1/{endpoint}", body, key)
    return BAD + len(posts) - 1


def by_command(checks: Checks, touchline: Touchline, key: Key, sent: int) -> int:
    listed = touchline.command_json("rejected", "list", *SHOP, "--limit", 100)["data"]
    checks.equal("the command lists what was refused", len(listed), sent)
    page = next(row for row in listed if '"url": "/0"' in row["body"])
    shown = touchline.command_json("rejected", "show", page["rejected_id"], *SHOP)
    over_http = touchline.get(f"/api/v1/rejected/{page['rejected_id']}", key).json()
    checks.equal("show says all of one, to the byte", shown["body"], '{"event_type": "page_view", "properties": {"url": "/0", "price": 1.1}}')
    checks.equal("and the API the same", (over_http["body"], over_http["errors"]), (shown["body"], shown["errors"]))
    checks.true("people see its bytes, too", shown["body"] in touchline.command("rejected", "show", page["rejected_id"], *SHOP))

    replay = lambda *more: touchline.command_json("rejected", "replay", *SHOP, *more)
    counts = lambda told: tuple(told[name] for name in ("valid", "stored", "duplicates", "rejected"))
    pages = ("--filter", "code=identity_missing", "--filter", "event_type=page_view", "--set", "visitor_id=v9")
    checks.equal("without a change nothing passes", counts(replay(*pages[:4])), (0, 0, 0, BAD))
    trial = replay(*pages, "--unset", "properties.price", "--dry-run")
    checks.equal("with one all would", counts(trial), (BAD, 0, 0, 0))
    body = next(event["body"] for event in trial["events"] if event["rejected_id"] == page["rejected_id"])
    checks.equal("the trial shows what would be sent", json.loads(body), {"event_type": "page_view", "visitor_id": "v9", "properties": {"url": "/0"}})
    balanced(checks, touchline, key, sent, 0, 0)

    told = replay(*pages)
    checks.equal("the replay stores them, beside the server", counts(told), (0, BAD, 0, 0))
    checks.equal("again stores nothing", counts(replay(*pages)), (0, 0, BAD, 0))
    found = events(touchline, key)
    ids = {f"rejected_{event['rejected_id']}_0" for event in told["events"]}
    checks.equal("each is there once", set(found), ids)
    stored = found[f"rejected_{page['rejected_id']}_0"]
    checks.equal("at the time at which it first arrived", stored["occurred_at"][:26].rstrip("Z"), page["received_at"][:26].rstrip("Z"))
    balanced(checks, touchline, key, sent + 2 * BAD, BAD, BAD)
    return sent + 2 * BAD


def by_api(checks: Checks, touchline: Touchline, key: Key, received: int) -> None:
    refused = refusals(touchline, key)
    of_type = lambda kind, code=None: [id for id, row in refused.items() if row["event_type"] == kind and code in (None, row["code"])]
    replay = lambda body: touchline.post("/api/v1/rejected/replay", body, key)
    counts = lambda answer: tuple(answer.json()[name] for name in ("accepted", "duplicates", "rejected"))
    [session], [conversion], [identification] = of_type("$session_start"), of_type("purchase"), of_type("$identify")
    [dated], [cut] = of_type("page_view", "timestamp_invalid"), of_type("page_view", "event_too_large")

    chosen = {"rejected_ids": [session, conversion], "set": {"visitor_id": "v7"}}
    checks.equal("a trial sends nothing", counts(replay({**chosen, "dry_run": True})), (2, 0, 0))
    checks.equal("a session and a conversion are replayed", counts(replay(chosen)), (2, 0, 0))
    checks.equal("and known when they are again", counts(replay(chosen)), (0, 2, 0))
    checks.equal("an identification needs its user", counts(replay({"rejected_ids": [identification]})), (0, 0, 1))
    checks.equal("and has it", counts(replay({"rejected_ids": [identification], "set": {"user_id": "ada"}})), (1, 0, 0))
    own = replay({"rejected_ids": [dated], "unset": ["timestamp"]})
    checks.equal("an event keeps its own id", (counts(own), own.json()["events"][0]["event_id"]), ((1, 0, 0), "own"))
    touchline.post("/api/v1/events", {"events": [{"event_type": "page_view", "visitor_id": "v", "event_id": "own"}]}, key)
    codes = [error["code"] for error in replay({"rejected_ids": [cut]}).json()["events"][0]["errors"]]
    checks.equal("what was cut is not sent again", codes, ["body_cut"])

    touchline.wait_drained()
    sources = lambda: {row["event_type"]: row["source"] for row in events(touchline, key).values()}
    wait_until("they are in the table", lambda: len(events(touchline, key)) == BAD + 4, DRAIN_S)
    expected = {"page_view": "native", "$session_start": "native", "$identify": "native", "purchase": "conversion"}
    checks.equal("each came by its own endpoint", sources(), expected)
    # The last of them is the client's own repetition.
    balanced(checks, touchline, key, received + 4 + 2 + 1, BAD + 4, BAD + 2 + 1)
    again = touchline.command_json("rejected", "replay", session, conversion, *SHOP, "--set", "visitor_id=v7")
    checks.equal("the command knows what the API stored", (again["stored"], again["duplicates"]), (0, 2))
    balanced(checks, touchline, key, received + 7 + 2, BAD + 4, BAD + 3 + 2)
    checks.equal("nothing was refused a second time", len(refusals(touchline, key)), len(refused))

    entries = touchline.get("/api/v1/audit", key).json()["data"]
    replays = [(entry["actor"].split(":")[0], entry["after"]["events"]) for entry in reversed(entries) if entry["action"] == "rejected.replay"]
    checks.equal("every replay is noted", replays, [("cli", BAD), ("cli", BAD), ("key", 2), ("key", 2), ("key", 1), ("key", 1), ("cli", 2)])
    stranger = touchline.key("other", scopes=SCOPES)
    foreign = touchline.post("/api/v1/rejected/replay", chosen, stranger)
    checks.equal("another account's are nobody's", (foreign.status, foreign.json()["code"]), (422, "not_found"))


def imported(checks: Checks, touchline: Touchline) -> None:
    """What was refused of a file: an event is put right, a line that is none is not."""
    file = touchline.root / "lines.ndjson"
    file.write_text('{"event_type":"page_view","timestamp":"2026-01-01T00:00:00Z"}\nno event\n')
    key = touchline.key("files", scopes=SCOPES)
    touchline.command("import", "--format", "ndjson", file, "--account", "files")
    replay = lambda *more: touchline.command_json("rejected", "replay", "--account", "files", "--filter", "source=import", *more)
    told = replay("--set", "visitor_id=v1")
    checks.equal("a line is put right", (told["stored"], told["rejected"]), (1, 1))
    checks.equal("its id is the import's", [event["event_id"][:5] for event in told["events"] if event["status"] == "stored"], ["line_"])
    checks.equal("what is no event says so", [event["errors"][0]["code"] for event in told["events"] if event["errors"]], ["not_json"])
    balanced(checks, touchline, key, 3, 1, 0)


def erased(checks: Checks, touchline: Touchline, key: Key) -> None:
    """Somebody who was erased does not come back by a replay."""
    touchline.command("erase", *SHOP, "--person", "v9")
    wait_until("the server knows", lambda: touchline.post(
        "/api/v1/events", {"events": [{"event_type": "page_view", "visitor_id": "v9"}]}, key).status == 422, DRAIN_S)
    pages = {"filter": {"code": "identity_missing", "event_type": "page_view"}, "set": {"visitor_id": "v9"}}
    told = touchline.post("/api/v1/rejected/replay", pages, key).json()
    checks.equal("over the API they stay refused", (told["accepted"], told["rejected"]), (0, BAD))
    codes = {error["code"] for event in told["events"] for error in event["errors"]}
    checks.equal("for that reason", codes, {"erased"})
    again = touchline.command_json("rejected", "replay", *SHOP, "--filter", "event_type=page_view", "--filter", "code=identity_missing", "--set", "visitor_id=v9")
    checks.equal("and by command", (again["stored"], again["rejected"]), (0, BAD))


def main() -> int:
    checks = Checks("refused events, replayed")
    with Touchline(checks, config=CONFIG) as touchline:
        key = touchline.key("shop", scopes=SCOPES)
        sent = send(touchline, key)
        wait_until("the refusals are in the lake", lambda: len(refusals(touchline, key)) == sent, DRAIN_S)
        received = by_command(checks, touchline, key, sent)
        by_api(checks, touchline, key, received)
        imported(checks, touchline)
        erased(checks, touchline, key)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
