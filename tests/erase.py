"""A person is erased: out of every byte of the data directory, for good, and nobody else's numbers change.

Two canaries have ids that stand nowhere else. They view pages, buy, are identified, stand in addresses and properties,
in refused bodies, in an import, and in somebody else's referrer. Jobs run in between, so that there are old versions,
merged files and derived rows. Then one is erased beside the running server and the other after it was killed. Each of
three more has a device and a user id that an event links, and is erased by one id of one kind. Two more are erased over
HTTP, the second of them though the server is killed while it does it.
"""

import gzip
import json
import random
import sys
import urllib.parse
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

import polars as pl

import lake
from touchline import Checks, Key, Touchline, now, rfc3339, wait_until

VISITOR, USER = "canary-visitor-5d1e77aa", "canary.user.5d1e77aa@mail.example"
LATE_VISITOR = "canary-late-90c2b1f3"
# Somebody else, whose addresses name the canary.
FRIEND, FRIENDS_PAGE = "friend-1", "https://shop.example/?ref="
# By what each is erased: the device, the user that an event links to it, and which name is given.
LINKED = {
    "the user id": ("canary-phone-37aa", "canary-ada-37aa", "canary-ada-37aa"),
    "the visitor id": ("canary-phone-58bb", "canary-bea-58bb", "canary-phone-58bb"),
    "the person id": ("canary-phone-79cc", "canary-cleo-79cc", "u:canary-cleo-79cc"),
}
# Erased over HTTP: the device, and the user that an event links to it.
ASKED = {"is asked for": ("canary-tablet-11dd", "canary-dora-11dd"), "is cut off": ("canary-watch-22ee", "canary-eve-22ee")}
LINKED_IDS = {id for visitor, user, _ in LINKED.values() for id in (visitor, user)}
DAYS, PEOPLE = 3, 25
ERASURES = "/api/v1/erasures"
ERASED_WITHIN_S = 180
CONFIG = "[log]\nsegment_age_ms = 200\n"
EVENTS = "/api/v1/events"
TABLES = ("events", "sessions", "visitors")


def main() -> int:
    checks = Checks("erasing a person")
    with Touchline(checks, CONFIG) as touchline:
        key = touchline.key("shop")
        fill(touchline, key)
        checks.true("the canary is there before", bool(found(touchline.data_dir)))
        before = {name: others(touchline, key, name) for name in TABLES}
        check_dry_run(checks, touchline)
        erase(checks, touchline, VISITOR, USER)
        check_gone(checks, touchline, "after the erasure")
        after = {name: others(touchline, key, name) for name in TABLES}
        for name in TABLES:
            checks.equal(f"{name}: nobody else's rows changed", after[name], before[name])
        check_friend(checks, touchline, key)
        check_refused(checks, touchline, key)
        touchline.wait_drained()
        touchline.run_jobs()
        check_gone(checks, touchline, "after they were sent again")
        check_full_run(checks, touchline, key)
        check_linked(checks, touchline, key)
        check_restart(checks, touchline, key)
        check_asked(checks, touchline, key)
    return checks.finish()


def fill(touchline: Touchline, key: Key) -> None:
    chance = random.Random("erase")
    for round_number in range(2):
        for day in range(DAYS):
            batch = [person_event(chance, day, round_number, place) for place in range(60)]
            expect(touchline, key, {"events": batch + canary_events(day, round_number)}, 202)
        refused = [
            {"event_type": "page_view", "user_id": USER, "timestamp": "never"},
            {"event_type": "", "visitor_id": VISITOR, "properties": {"mail": USER}},
        ]
        expect(touchline, key, {"events": refused}, 422)
        identify = {"user_id": USER, "visitor_id": VISITOR, "traits": {"mail": USER}}
        touchline.post("/api/v1/identify", identify, key).expect(200)
        conversion = {"conversion_type": "purchase", "visitor_id": VISITOR, "user_id": USER, "revenue": 12.5}
        touchline.post("/api/v1/conversions", {"conversion": conversion}, key).expect(201)
        touchline.wait_drained()
        touchline.run_jobs()
        touchline.command("jobs", "run", "compaction", "--full")
    import_canary(touchline)
    expect(touchline, key, {"events": [event for visitor, user, _ in LINKED.values()
                                       for event in linked_events(visitor, user)]}, 202)
    touchline.wait_drained()
    touchline.run_jobs()
    exports = touchline.data_dir / "exports"
    exports.mkdir()
    (exports / "people.csv").write_text(f"id,mail\n1,{USER}\n")
    (exports / "people.csv.gz").write_bytes(gzip.compress(f"id\n{VISITOR}\n".encode()))
    (exports / "others.csv").write_text("id\nnobody\n")


def person_event(chance: random.Random, day: int, round_number: int, place: int) -> dict:
    return {
        "event_id": f"p-{round_number}-{day}-{place}",
        "event_type": chance.choice(("page_view", "page_view", "add_to_cart", "purchase")),
        "visitor_id": f"person-{chance.randrange(PEOPLE)}",
        "timestamp": rfc3339(at(day) + timedelta(minutes=place + 7 * round_number)),
        "properties": {"url": f"https://shop.example/p/{place % 7}", "note": "nothing"},
    }


def canary_events(day: int, round_number: int) -> list[dict]:
    time = rfc3339(at(day) + timedelta(hours=2 + round_number))
    quoted = urllib.parse.quote(USER, safe="")
    own = [
        {"visitor_id": VISITOR, "properties": {"url": f"https://shop.example/?mail={quoted}&id={VISITOR}"}},
        {"visitor_id": VISITOR, "user_id": USER, "properties": {"nested": {"mail": USER}}},
        {"user_id": USER, "properties": {"title": f"Welcome {USER}"}},
    ]
    for place, event in enumerate(own):
        event.update(event_id=f"c-{round_number}-{day}-{place}", event_type="page_view", timestamp=time)
    friend = {"event_id": f"f-{round_number}-{day}", "event_type": "page_view", "visitor_id": FRIEND,
              "timestamp": time, "properties": {"url": FRIENDS_PAGE + VISITOR}}
    return [*own, friend]


def linked_events(visitor: str, user: str) -> list[dict]:
    """One event that links the two ids, and one of each alone."""
    ids = ({"visitor_id": visitor, "user_id": user}, {"visitor_id": visitor}, {"user_id": user})
    times = [rfc3339(at(0) + timedelta(hours=5, minutes=minutes)) for minutes in range(len(ids))]
    return [{**names, "event_type": "page_view", "timestamp": time, "event_id": f"l-{visitor}-{time}"}
            for names, time in zip(ids, times)]


def at(day: int):
    return now().replace(hour=1, minute=0, second=0, microsecond=0) - timedelta(days=day + 1)


def import_canary(touchline: Touchline) -> dict:
    file = touchline.root / "import.ndjson"
    event = {"event_type": "page_view", "visitor_id": VISITOR, "timestamp": rfc3339(at(0)), "event_id": "imported"}
    file.write_text(json.dumps(event) + "\n")
    return touchline.command_json("import", "--format", "ndjson", file, "--account", "shop")


def expect(touchline: Touchline, key: Key, body: dict, status: int) -> dict:
    return touchline.post(EVENTS, body, key).expect(status).json()


def found(data_dir: Path, names: tuple[str, ...] = (VISITOR, USER, LATE_VISITOR)) -> list[str]:
    """Where the canaries stand: in the bytes of any file, and in the cells of any Parquet file."""
    # As they stand in texts, addresses and JSON.
    needles = [form.encode() for name in names for form in (name, urllib.parse.quote(name, safe=""))]
    places = []
    for path in sorted(path for path in data_dir.rglob("*") if path.is_file()):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        if any(needle in data for needle in needles):
            places.append(f"{path}: bytes")
        if path.suffix == ".gz" and any(needle in gzip.decompress(data) for needle in needles):
            places.append(f"{path}: packed")
        if path.suffix == ".parquet" and "checkpoint" not in path.name:
            cells = pl.read_parquet(path, hive_partitioning=False).select(pl.col(pl.String))
            text = "\n".join(cell for column in cells for cell in column.drop_nulls())
            if any(needle.decode() in text for needle in needles):
                places.append(f"{path}: cells")
    return places


def others(touchline: Touchline, key: Key, name: str) -> list[str]:
    """The rows of a table that are not the canary's, as sorted texts."""
    rows = lake.table(touchline.data_dir, name, touchline.account_id(key), key.environment).collect()
    texts = []
    for row in rows.rows(named=True):
        if {row.get("visitor_id"), row.get("user_id")} & {VISITOR, LATE_VISITOR, USER, *LINKED_IDS}:
            continue
        # The friend's address named the canary, and does no longer.
        changed = {"url"} if row.get("visitor_id") == FRIEND else set()
        texts.append(repr({name: cell for name, cell in row.items() if name not in changed}))
    return sorted(texts)


def check_dry_run(checks: Checks, touchline: Touchline) -> None:
    arguments = ("erase", "--account", "shop", "--person", VISITOR, "--person", USER, "--dry-run")
    certificate = touchline.command_json(*arguments)
    rows = {table["table"]: table["rows_removed"] for table in certificate["tables"]}
    # Three a day and round, an identification and a conversion each round, and the import.
    expected = 3 * DAYS * 2 + 2 * 2 + 1
    checks.equal("a dry run counts the events", rows["events"], expected)
    checks.equal("a dry run counts the refusals", rows["rejected_events"], 4)
    checks.true("a dry run changes nothing", bool(found(touchline.data_dir)))


def erase(checks: Checks, touchline: Touchline, *ids: str) -> None:
    file = touchline.root / "certificate.json"
    people = [part for name in ids for part in ("--person", name)]
    answer = touchline.command_json("erase", "--account", "shop", *people, "--certificate", file,
                                    "--requested-by", "ticket 17")
    text = file.read_text()
    checks.equal("the certificate is what was printed", json.loads(text), answer)
    checks.true("it names nobody", not any(name in text for name in (VISITOR, USER)), text)
    verification = answer["verification"]
    checks.equal("its own look finds nothing", (verification["occurrences"], verification["found_in"]), (0, []))
    checks.true("it has looked at the files", verification["files"] > 10, verification)
    checks.equal("it leaves no file unread", answer["unreadable_files"], [])
    checks.equal("it hashes each id", len(answer["id_hashes"]), len(ids))
    checks.true("it took out rows", any(table["rows_removed"] for table in answer["tables"]), answer["tables"])


def check_gone(checks: Checks, touchline: Touchline, when: str) -> None:
    checks.equal(f"{when}: no byte of the data directory holds the canary", found(touchline.data_dir), [])


def check_friend(checks: Checks, touchline: Touchline, key: Key) -> None:
    events = lake.table(touchline.data_dir, "events", touchline.account_id(key), key.environment)
    pages = events.filter(visitor_id=FRIEND).select("url").collect()["url"].to_list()
    checks.equal("the friend's events are all there", len(pages), 2 * DAYS)
    others = [page for page in pages if not page.startswith(f"{FRIENDS_PAGE}erased-")]
    checks.equal("of their addresses only the name is gone", others, [])


def check_refused(checks: Checks, touchline: Touchline, key: Key) -> None:
    good = {"event_type": "page_view", "visitor_id": "person-1", "event_id": "good",
            "timestamp": rfc3339(at(0) - timedelta(minutes=200))}
    events = [
        {"event_type": "page_view", "visitor_id": VISITOR},
        {"event_type": "page_view", "user_id": USER, "visitor_id": "new-device"},
        {"event_type": "page_view", "user_id": USER, "timestamp": "never"},
        {"event_type": "", "visitor_id": VISITOR},
        good,
    ]
    answer = expect(touchline, key, {"events": events}, 422)
    codes = [rejected["code"] for rejected in answer["rejected"]]
    checks.equal("events of the person are refused, whatever else is wrong with them", codes, ["erased"] * 4)
    checks.equal("others' events are taken", [event["id"] for event in answer["events"]], ["good"])
    for path, body in (("identify", {"visitor_id": VISITOR}), ("identify", {"user_id": USER}),
                       ("sessions", {"session": {"visitor_id": VISITOR, "session_id": "s"}}),
                       ("conversions", {"conversion": {"conversion_type": "purchase", "user_id": USER}})):
        answer = touchline.post(f"/api/v1/{path}", body, key)
        checks.true(f"/{path} refuses the person", answer.status == 422 and "erased" in answer.text(), answer.text())
    checks.equal("an import refuses the person", import_canary(touchline)["rejected"], 1)
    touchline.wait_drained()
    refused = lake.table(touchline.data_dir, "rejected_events", touchline.account_id(key), key.environment)
    kept = refused.filter(code="erased").select("body", "event_id", "event_type").collect().rows()
    checks.equal("of a refusal nothing is kept but that it was", kept, [(None, None, None)] * 9)


def check_full_run(checks: Checks, touchline: Touchline, key: Key) -> None:
    incremental = {name: others(touchline, key, name) for name in ("sessions", "visitors")}
    touchline.command("jobs", "run", "sessions", "--full")
    touchline.command("jobs", "run", "visitors", "--full")
    full = {name: others(touchline, key, name) for name in incremental}
    checks.equal("what the jobs make of the rest is what a full run makes of it", incremental, full)


def check_linked(checks: Checks, touchline: Touchline, key: Key) -> None:
    for by, (visitor, user, given) in LINKED.items():
        answer = touchline.command_json("erase", "--account", "shop", "--person", given)
        checks.equal(f"by {by}: both ids are erased", len(answer["id_hashes"]), 2)
        checks.equal(f"by {by}: nothing is left", found(touchline.data_dir, (visitor, user)), [])
        answer = expect(touchline, key, {"events": linked_events(visitor, user)}, 422)
        codes = [rejected["code"] for rejected in answer["rejected"]]
        checks.equal(f"by {by}: both ids are refused", codes, ["erased"] * 3)


def check_restart(checks: Checks, touchline: Touchline, key: Key) -> None:
    event = {"event_type": "page_view", "visitor_id": LATE_VISITOR, "event_id": "late"}
    expect(touchline, key, {"events": [event]}, 202)
    # What was acknowledged is in the log, the lake does not have it yet.
    touchline.kill()
    erase_late(checks, touchline)
    check_gone(checks, touchline, "without a server")
    touchline.start()
    answer = expect(touchline, key, {"events": [event, {"event_type": "page_view", "visitor_id": VISITOR}]}, 422)
    codes = [rejected["code"] for rejected in answer["rejected"]]
    checks.equal("a new server refuses both", codes, ["erased"] * 2)
    touchline.wait_drained()
    check_gone(checks, touchline, "after a restart")


def check_asked(checks: Checks, touchline: Touchline, key: Key) -> None:
    manager = touchline.key("shop", scopes=("can_manage_settings",))
    stranger = touchline.key("other", scopes=("can_manage_settings",))
    expect(touchline, key, {"events": [event for visitor, user in ASKED.values()
                                       for event in linked_events(visitor, user)]}, 202)
    touchline.wait_drained()
    touchline.run_jobs()

    (visitor, user), (other_visitor, other_user) = ASKED.values()
    dry = ask(touchline, manager, visitor, dry_run=True)
    wait_until("the dry run is over", lambda: shown(touchline, manager, dry)["state"] == "done", ERASED_WITHIN_S)
    rows = {table["table"]: table["rows_removed"] for table in shown(touchline, manager, dry)["certificate"]["tables"]}
    checks.equal("a dry run over HTTP counts the events", rows["events"], 3)
    checks.true("a dry run over HTTP changes nothing", bool(found(touchline.data_dir, (visitor, user))))

    elsewhere = ask(touchline, stranger, visitor)
    wait_until("the stranger's is over", lambda: shown(touchline, stranger, elsewhere)["state"] == "done",
               ERASED_WITHIN_S)
    checks.true("nobody erases another account's people", bool(found(touchline.data_dir, (visitor, user))))
    checks.equal("nor sees their erasures", touchline.get(f"{ERASURES}/{dry}", stranger).status, 404)

    asked = ask(touchline, manager, user, requested_by=f"a letter of {user}")
    wait_until("the erasure is over", lambda: shown(touchline, manager, asked)["state"] == "done", ERASED_WITHIN_S)
    check_erased(checks, touchline, key, manager, asked, "asked for over HTTP", (visitor, user))

    cut_off = ask(touchline, manager, other_visitor)
    wait_until("the erasure runs", lambda: shown(touchline, manager, cut_off)["state"] == "running", ERASED_WITHIN_S)
    touchline.kill()
    touchline.start()
    checks.equal("what a crash cut off is listed", shown(touchline, manager, cut_off)["state"], "running")
    wait_until("it is over", lambda: shown(touchline, manager, cut_off)["state"] == "done", ERASED_WITHIN_S)
    check_erased(checks, touchline, key, manager, cut_off, "cut off by a crash", (other_visitor, other_user))
    listed = touchline.get(ERASURES, manager).json()["data"]
    checks.true("all erasures are listed, those of the command too",
                {dry, asked, cut_off} < {row["erasure_id"] for row in listed}, listed)
    checks.true("and all are done", {row["state"] for row in listed} == {"done"}, listed)


def check_erased(checks: Checks, touchline: Touchline, key: Key, manager: Key, erasure: str, how: str,
                 ids: tuple[str, str]) -> None:
    answer = shown(touchline, manager, erasure)
    verification = answer["certificate"]["verification"]
    checks.equal(f"{how}: its own look finds nothing", (verification["occurrences"], verification["found_in"]), (0, []))
    checks.equal(f"{how}: both ids are erased", len(answer["certificate"]["id_hashes"]), 2)
    checks.equal(f"{how}: no byte of the data directory holds them", found(touchline.data_dir, ids), [])
    checks.true(f"{how}: neither does the log", not any(name in touchline.log_text() for name in ids))
    refused = expect(touchline, key, {"events": linked_events(*ids)}, 422)
    checks.equal(f"{how}: both ids are refused", [event["code"] for event in refused["rejected"]], ["erased"] * 3)
    noted = touchline.get("/api/v1/audit", manager).json()["data"]
    actions = [(entry["action"], entry["actor"]) for entry in noted if entry["target"] == erasure]
    actor = f"key:{manager.key_id}"
    checks.equal(f"{how}: it is noted", actions, [("erasure.complete", actor), ("erasure.request", actor)])


def ask(touchline: Touchline, key: Key, *ids: str, **more: object) -> str:
    return touchline.post(ERASURES, {"ids": ids, **more}, key).expect(202).json()["erasure_id"]


def shown(touchline: Touchline, key: Key, erasure: str) -> dict:
    return touchline.get(f"{ERASURES}/{erasure}", key).expect(200).json()


def erase_late(checks: Checks, touchline: Touchline) -> None:
    answer = touchline.command_json("erase", "--account", "shop", "--person", LATE_VISITOR)
    checks.equal("an erasure without a server empties the log", answer["verification"]["occurrences"], 0)


if __name__ == "__main__":
    sys.exit(main())
