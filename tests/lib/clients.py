"""Unmodified client libraries tell the same story, with and without faults between them and the server.

A script of tests/clients names its clients and what must be stored; this drives them, each run with an account of its
own, and compares.
"""

import json
import subprocess
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import lake
from chromium import Chromium
from faults import Exchange, Fault, FaultProxy
from pages import Site
from touchline import Checks, Key, Touchline, wait_until

# By their names. A client that honours `Retry-After` waits for a second.
FAULTS = {
    "429": Fault(429, {"retry-after": "1"}),
    "503": Fault(503, {"retry-after": "1"}),
    "lost answer": Fault(lost=True),
}
# So many requests meet the fault. Two, so that a second try is seen to fail, too.
FAULTY_REQUESTS = 2
DRIVE_TIMEOUT_S = 100
PARALLEL_RUNS = 3
# `wrong_clock.js`: a machine whose clock is ahead.
CLOCK_AHEAD = timedelta(hours=2)
WRONG_CLOCK = Path(__file__).resolve().parents[1] / "clients" / "wrong_clock.js"
# What a time may be off by: the way from the client to us, and the retries of a client that says only when it sent the
# event for the first time.
SKEW_TOLERANCE = timedelta(seconds=5)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass(frozen=True)
class Client:
    """A library in one of its settings, and the program that uses it: URL and KEY are appended to its arguments."""

    name: str
    command: tuple[str, ...]
    # The addresses that it requests.
    paths: frozenset[str]
    gzip: bool = False
    # Whether its times have microseconds; else they have milliseconds.
    microseconds: bool = False
    # Whether `wrong_clock.js` is loaded into it.
    obeys_wrong_clock: bool = False
    key_kind: str = "secret"
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """One run: which client, and what goes wrong."""

    client: Client
    # One of `FAULTS`.
    fault_name: str | None
    clock_is_wrong: bool
    key: Key

    @property
    def fault(self) -> Fault | None:
        return FAULTS[self.fault_name] if self.fault_name else None

    @property
    def failures(self) -> Counter:
        """The requests that fail, by what the client is told."""
        return Counter({None if self.fault.lost else self.fault.status: FAULTY_REQUESTS} if self.fault else {})

    @property
    def arrives(self) -> bool:
        """Whether also what meets the fault reaches the server."""
        return self.fault is None or self.fault.lost

    @property
    def name(self) -> str:
        trouble = "wrong clock" if self.clock_is_wrong else self.fault_name or "no fault"
        return f"{self.client.name}, {trouble}"

    @property
    def clock_ahead_ms(self) -> int:
        return int(CLOCK_AHEAD / timedelta(milliseconds=1)) if self.clock_is_wrong else 0


@dataclass(frozen=True)
class Run:
    """What a client sent, was told, and says itself."""

    plan: Plan
    exchanges: list[Exchange]
    told: dict

    @property
    def client(self) -> Client:
        return self.plan.client

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def posts(self) -> list[Exchange]:
        return [exchange for exchange in self.exchanges if exchange.method == "POST"]


def plans(touchline: Touchline, clients: list[Client]) -> list[Plan]:
    """Each client undisturbed, with each fault, and with a wrong clock where it can have one."""
    troubles = [(client, fault, False) for client in clients for fault in (None, *FAULTS)]
    troubles += [(client, None, True) for client in clients if client.obeys_wrong_clock]
    return [Plan(*trouble, new_key(touchline, trouble[0].key_kind)) for trouble in troubles]


def new_key(touchline: Touchline, kind: str) -> Key:
    """Of an account of its own."""
    return touchline.key(f"run-{len(touchline.slugs) + 1}", scopes=("ingest",), kind=kind)


def drive_all(touchline: Touchline, clients: list[Client]) -> list[Run]:
    with ThreadPoolExecutor(PARALLEL_RUNS) as pool:
        return list(pool.map(lambda planned: drive(touchline, planned), plans(touchline, clients)))


def proxy_of(touchline: Touchline, planned: Plan) -> FaultProxy:
    proxy = FaultProxy(touchline.port)
    proxy.faults.extend([planned.fault] * FAULTY_REQUESTS if planned.fault else [])
    return proxy


def drive(touchline: Touchline, planned: Plan) -> Run:
    """Runs a client's program to its end."""
    environment = touchline.environment | planned.client.environment | {"CLOCK_AHEAD_MS": str(planned.clock_ahead_ms)}
    with proxy_of(touchline, planned) as proxy:
        command = [*planned.client.command, proxy.url, planned.key.secret]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DRIVE_TIMEOUT_S, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{planned.name}: the client failed: {done.stderr[-2_000:]}")
    return Run(planned, proxy.exchanges, json.loads(done.stdout.splitlines()[-1]))


@dataclass(frozen=True)
class Page:
    """A page that tells the story, and sets `window.told` when it has."""

    title: str
    # Path and query of its address.
    target: str
    referrer: str
    setup: dict
    files: dict[str, Path]
    scripts: tuple[str, ...]
    # Whether these requests have told all of it.
    is_told: Callable[[list[Exchange]], bool]


def browse(touchline: Touchline, chromium: Chromium, planned: Plan, page: Page) -> Run:
    """Somebody comes to the page from its referrer, and stays until its events are there."""
    with ExitStack() as stack:
        proxy = stack.enter_context(proxy_of(touchline, planned))
        setup = {**page.setup, "url": proxy.url, "key": planned.key.secret, "clockAheadMs": planned.clock_ahead_ms}
        files = {"wrong_clock.js": WRONG_CLOCK, **page.files}
        site = stack.enter_context(Site(page.title, setup, files, ("wrong_clock.js", *page.scripts)))
        tab = chromium.person().page()
        link = {"referrer": page.referrer, "referrerPolicy": "unsafeUrl"}
        tab.call("Page.navigate", url=site.origin + page.target, **link)
        tab.wait("window.told !== undefined")
        is_told = lambda: page.is_told([exchange for exchange in list(proxy.exchanges) if exchange.is_over])
        wait_until(f"{planned.name}: all events have arrived", is_told, DRIVE_TIMEOUT_S)
        told = tab.run("window.told") | {"origin": site.origin, "errors": tab.thrown}
        tab.close()
    return Run(planned, proxy.exchanges, told)


# Checks


def check_requests(checks: Checks, run: Run, ids_of: Callable[[Exchange], list[str]]) -> None:
    """Tried again after a fault, and never after a success; to where it should be, and packed as it should be."""
    failed = Counter(exchange.status for exchange in run.posts if exchange.status != 200)
    checks.equal(f"{run.name}: requests that failed", failed, run.plan.failures)
    answered = Counter(event_id for exchange in run.posts if exchange.status == 200 for event_id in ids_of(exchange))
    tried = {event_id for exchange in run.posts for event_id in ids_of(exchange)}
    checks.equal(f"{run.name}: each event is in one request that is answered 200", answered, Counter(tried))
    checks.equal(f"{run.name}: addresses", {exchange.path for exchange in run.posts}, run.client.paths)
    checks.equal(f"{run.name}: packed", {exchange.is_gzip for exchange in run.posts}, {run.client.gzip})
    checks.equal(f"{run.name}: the client reports no error", run.told["errors"], [])


def check_tried_once(checks: Checks, run: Run, sent: int) -> None:
    """The library does not try again: what met a fault is gone, unless only the answer was lost."""
    failed = Counter(exchange.status for exchange in run.posts if exchange.status is None or exchange.status >= 300)
    checks.equal(f"{run.name}: requests, none of them again", (len(run.posts), failed), (sent, run.plan.failures))
    checks.equal(f"{run.name}: addresses", {exchange.path for exchange in run.posts}, run.client.paths)


def check_stored(checks: Checks, touchline: Touchline, run: Run, expected: list[dict]) -> list[dict]:
    """All that a run stored are these events, told apart by their type, with these columns. Returns the rows.

    Of `properties` only the members that are named are compared.
    """
    rows, refused = (rows_of(touchline, run.plan.key, table) for table in ("events", "rejected_events"))
    checks.equal(f"{run.name}: nothing is refused", [(row["event_type"], row["code"]) for row in refused], [])
    types = Counter(row["event_type"] for row in rows)
    checks.equal(f"{run.name}: each event is stored once", types, Counter(wanted["event_type"] for wanted in expected))
    by_type = {row["event_type"]: row for row in rows}
    for wanted in (wanted for wanted in expected if wanted["event_type"] in by_type):
        found = as_named_in(wanted, by_type[wanted["event_type"]])
        checks.equal(f"{run.name}: {wanted['event_type']}", *differing(found, wanted))
    return rows


def as_named_in(wanted: dict, row: dict) -> dict:
    found = {column: row[column] for column in wanted}
    if "properties" in wanted:
        properties = json.loads(row["properties"] or "{}")
        found["properties"] = {name: properties.get(name) for name in wanted["properties"]}
    return found


def differing(found: dict, wanted: dict) -> tuple[dict, dict]:
    """Both, without the columns in which they agree."""
    columns = [column for column in wanted if found[column] != wanted[column]]
    return {column: found[column] for column in columns}, {column: wanted[column] for column in columns}


def rows_of(touchline: Touchline, key: Key, table: str) -> list[dict]:
    """A table's rows of a run's account, as they lie in the lake."""
    return lake.table(touchline.data_dir, table, touchline.account_id(key), key.environment).collect().to_dicts()


def client_times(run: Run, story: dict[str, str]) -> dict[str, datetime]:
    """The times of the story, by event type, as the client passes them on."""
    times = {name: datetime.fromisoformat(text) for name, text in story.items()}
    if run.client.microseconds:
        return times
    return {name: time.replace(microsecond=time.microsecond // 1_000 * 1_000) for name, time in times.items()}


def check_times(checks: Checks, run: Run, rows: list[dict], told: dict[str, datetime],
                sent_at: dict[str, datetime]) -> None:
    """Times are the client's, moved to the microsecond by what its clock is off: by when it sent and we received.

    `told` has the right times. That they come out, but for the way from the client to us, shows that a clock may be
    wrong. `sent_at` is by the client's clock, of the first request that reached the server.
    """
    ahead = CLOCK_AHEAD * run.plan.clock_is_wrong
    for row in (row for row in rows if row["event_type"] in told):
        name = row["event_type"]
        corrected = told[name] + ahead + (row["received_at"] - sent_at[name])
        checks.equal(f"{run.name}: {name} is as old as it was when it was sent", row["occurred_at"], corrected)
        off = row["occurred_at"] - told[name]
        checks.true(f"{run.name}: {name} has its time", abs(off) <= SKEW_TOLERANCE, off)
