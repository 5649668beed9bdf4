"""The snippet in a real Chromium: what pages say arrives in the lake, once, and nothing that nobody agreed to."""

import gzip
import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

from chromium import Chromium, Page
from sites import Fault, Relay, Site, Sites
from touchline import Checks, Key, Touchline, now, wait_until

# The events that a request's answer acknowledged are in the lake at once, so that the test need not wait.
CONFIG = "[log]\nsegment_age_ms = 50\n"
# As a browser of people: Chromium without a window calls itself a bot.
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
FLAGS = (f"--user-agent={AGENT}", "--host-resolver-rules=MAP *.example 127.0.0.1")
MAX_PACKED_BYTES = 4_096
# A page leaves alone for 10 s what another may be sending, and waits up to 64 s after several failures.
ARRIVAL_S = 40
READY = "window.touchline && !!window.touchline.track"
STORED = "JSON.stringify([Object.keys(localStorage), Object.keys(sessionStorage), document.cookie])"
NOTHING = json.dumps([[], [], ""], separators=(",", ":"))
# What a browser says whose owner objects to being followed.
OBJECTS = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { value: true })"


@dataclass
class Setting:
    """What all checks work with."""

    checks: Checks
    touchline: Touchline
    reader: Key
    writer: Key
    browser: Chromium
    sites: Sites
    relay: Relay
    pages: list[Page]

    def site(self, name: str, attributes: str = "", before: str = "", policy: str = "") -> str:
        """The origin of a new site."""
        host = f"{name}.example"
        attributes = f'data-key="{self.writer.secret}" {attributes}'
        self.sites.hosts[host] = Site(attributes, before, policy)
        return self.sites.origin(host)

    def open(self, url: str, before: str = "") -> Page:
        """`url` in a new tab of a person who was never here."""
        page = self.browser.person().page(url, before)
        page.wait(READY)
        self.pages.append(page)
        return page

    def beside(self, page: Page, url: str) -> Page:
        """`url` in a new tab of the same person."""
        opened = page.person.page(url)
        opened.wait(READY)
        self.pages.append(opened)
        return opened

    def rows(self, sql: str) -> list[dict]:
        return self.touchline.post("/api/v1/sql", {"sql": sql}, self.reader).json()["data"]

    def events(self, name: str) -> list[dict]:
        """What the lake has of a site, by the browser's clock: the server's correction is that of each request."""
        sent_at = {message["messageId"]: message["timestamp"] for message in self.relay.messages(f"{name}.example")}
        rows = self.rows(f"SELECT * FROM events WHERE host = '{name}.example'")
        return sorted(rows, key=lambda row: sent_at[row["event_id"]])

    def arrive(self, what: str, name: str, types: list[str]) -> list[dict]:
        """Waits until as many events of a site are there, and checks their types; returns them."""
        events: list[dict] = []

        def are_there() -> bool:
            events[:] = self.events(name)
            return len(events) >= len(types)

        try:
            wait_until(what, are_there, ARRIVAL_S, pause_s=0.2)
        except TimeoutError:
            pass
        self.checks.equal(what, [event["event_type"] for event in events], types)
        return events


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def served(setting: Setting) -> None:
    checks, touchline = setting.checks, setting.touchline
    packed = touchline.request("GET", "/t.js", headers=[("Accept-Encoding", "gzip")])
    plain = touchline.get("/t.js")
    checks.true(f"/t.js has {len(packed.body):,} bytes compressed, at most {MAX_PACKED_BYTES:,} "
                f"({len(plain.body):,} as they are)", packed.status == 200 and len(packed.body) <= MAX_PACKED_BYTES)
    checks.equal("compressed it is the same", gzip.decompress(packed.body), plain.body)
    known = [("Accept-Encoding", "gzip"), ("If-None-Match", packed.headers["etag"])]
    checks.equal("who has it gets 304", touchline.request("GET", "/t.js", headers=known).status, 304)


def page_views(setting: Setting) -> None:
    checks = setting.checks
    early = "window.touchline = window.touchline || []; touchline.push(['track', 'early', { at: 'once' }]);"
    shop = setting.site("views", before=early)
    news = setting.sites.origin("news.example")
    page = setting.browser.person().page(f"{news}/story")
    setting.pages.append(page)
    landing = f"{shop}/lamps?utm_source=news&utm_medium=email"
    page.run(f"void (location.href = '{landing}#top')")
    page.wait(f"location.pathname == '/lamps' && {READY}")
    page.run("history.pushState({}, '', '/lamps/7'); document.title = 'Lamp 7'")
    page.run("history.replaceState({ seen: true }, '', '/lamps/7'); history.replaceState({}, '', '/lamps/7#price')")
    page.run("history.replaceState({}, '', '/lamps/7?color=red'); document.title = 'Red lamp'")
    page.run("void (location.hash = 'reviews')")
    page.run("history.pushState({}, '', '/basket'); document.title = 'Basket'; touchline.track('basket_opened')")
    page.run("history.back()")
    page.wait("location.hash == '#reviews'")
    page.run("touchline.page({ title: 'By hand', part: 2 })")
    types = ["page_view", "early", "page_view", "page_view", "page_view", "basket_opened", "page_view", "page_view"]
    events = setting.arrive("page views of navigation arrive, one for each address", "views", types)
    lamp, red = f"{shop}/lamps/7", f"{shop}/lamps/7?color=red"
    expected = [
        (landing, "Page /lamps", f"{news}/", "news"),
        (landing, "Page /lamps", f"{news}/", "news"),
        (lamp, "Lamp 7", landing, None),
        (red, "Red lamp", lamp, None),
        (f"{shop}/basket", "Basket", red, None),
        (f"{shop}/basket", "Basket", red, None),
        (red, "Basket", f"{shop}/basket", None),
        (red, "By hand", f"{shop}/basket", None),
    ]
    columns = ("url", "title", "referrer", "utm_source")
    for place, (event, row) in enumerate(zip(events, expected)):
        checks.equal(f"address, title, referrer, campaign of event {place + 1}",
                     tuple(event[column] for column in columns), row)
    checks.equal("one visitor, one session", len({(event["visitor_id"], event["session_id"]) for event in events}), 1)
    checks.equal("properties are kept", [json.loads(events[place]["properties"] or "{}").get(name)
                                         for place, name in ((1, "at"), (7, "part"))], ["once", 2])
    checks.equal("nothing is taken for a bot", {event["is_bot"] for event in events}, {False})
    page.reload()
    page.wait(READY)
    events = setting.arrive("a reload is a page view", "views", types + ["page_view", "early"])
    checks.equal("of the same visitor", len({event["visitor_id"] for event in events}), 1)


def manual(setting: Setting) -> None:
    page = setting.open(setting.site("manual", 'data-auto="false"') + "/a")
    page.run("history.pushState({}, '', '/b'); touchline.track('opened')")
    page.run("touchline.page()")
    setting.arrive("without data-auto only what is called is counted", "manual", ["opened", "page_view"])


def back_and_forth(setting: Setting) -> None:
    shop = setting.site("back")
    page = setting.open(f"{shop}/first")
    setting.arrive("the first page arrives", "back", ["page_view"])
    page.run("addEventListener('pageshow', event => { window.wasKept = event.persisted; })")
    page.go(f"{setting.sites.origin('news.example')}/away")
    page.run("history.back()")
    page.wait(f"location.pathname == '/first' && {READY}")
    setting.checks.true("the browser kept the page", page.run("window.wasKept") is True)
    setting.arrive("a page that comes back from the browser's cache is viewed again", "back", ["page_view"] * 2)


def hidden(setting: Setting) -> None:
    """A tab that opens in the background."""
    before = """
        window.isHidden = true;
        Object.defineProperty(Document.prototype, 'visibilityState', { get: () => isHidden ? 'hidden' : 'visible' });
    """
    page = setting.open(setting.site("hidden") + "/behind", before)
    page.run("touchline.track('worked')")
    setting.arrive("a page that nobody sees is not viewed", "hidden", ["worked"])
    page.run("isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    setting.arrive("it is when it is shown", "hidden", ["worked", "page_view"])


def prerendered(setting: Setting) -> None:
    """A page that the browser prepares, and that is gone to when it is ready."""
    shop = setting.site("prerender", before="""
        window.touchline = window.touchline || [];
        if (location.pathname == '/start') {
            const rules = document.createElement('script');
            rules.type = 'speculationrules';
            rules.textContent = JSON.stringify({ prerender: [{ urls: ['/prepared'], eagerness: 'immediate' }] });
            document.head.append(rules);
            addEventListener('storage', event => { if (event.key == 'ready') location.href = '/prepared'; });
        } else {
            touchline.push(['track', 'ran', { prerendering: document.prerendering }]);
            addEventListener('load', () => localStorage.setItem('ready', 1));
        }
    """)
    setting.browser.person().unwatched(f"{shop}/start")
    types = ["page_view", "page_view", "ran"]
    events = setting.arrive("a page that was prerendered is viewed once", "prerender", types)
    setting.checks.equal("when it is shown", [event["path"] for event in events], ["/start", "/prepared", "/prepared"])
    setting.checks.equal("it was prerendered", json.loads(events[-1]["properties"])["prerendering"], True)


def people(setting: Setting) -> None:
    checks = setting.checks
    page = setting.open(setting.site("people") + "/login")
    page.run("touchline.track('before')")
    page.run("touchline.identify('anna', { plan: 'pro' })")
    page.run("touchline.track('after', { revenue: 12.5, currency: 'EUR' })")
    page.run("touchline.reset()")
    page.run("touchline.track('stranger')")
    types = ["page_view", "before", "$identify", "after", "stranger"]
    events = setting.arrive("tracked and identified events arrive", "people", types)
    if len(events) != len(types):
        return
    checks.equal("their users", [event["user_id"] for event in events], [None, None, "anna", "anna", None])
    visitors = [event["visitor_id"] for event in events]
    checks.true("one visitor, and another after reset", len(set(visitors[:4])) == 1 and visitors[4] != visitors[0])
    checks.equal("traits are kept", json.loads(events[2]["properties"])["traits"], {"plan": "pro"})
    checks.equal("revenue is", (float(events[3]["revenue"]), events[3]["currency"]), (12.5, "EUR"))
    setting.touchline.command("jobs", "run", "identities")
    found = setting.rows("SELECT person_id, id FROM identities")
    checks.equal("visitor and user are one person", found, [{"person_id": "u:anna", "id": visitors[0]}])


def closed_tab(setting: Setting) -> None:
    page = setting.open(setting.site("closed") + "/")
    setting.arrive("the page arrives", "closed", ["page_view"])
    page.run("touchline.track('last')")
    page.close()
    setting.arrive("what was tracked right before its tab was closed arrives", "closed", ["page_view", "last"])
    last = setting.relay.batches("closed.example")[-1]
    setting.checks.equal("by a beacon", last.headers.get("sec-fetch-mode"), "no-cors")
    page = setting.open(setting.site("large") + "/")
    setting.arrive("another page arrives", "large", ["page_view"])
    page.run("touchline.track('large', { text: 'x'.repeat(70000) }); touchline.track('behind')")
    page.close()
    setting.arrive("what no beacon can take is in nobody's way", "large", ["page_view", "behind"])


def broken_fetch(setting: Setting) -> None:
    """Something else on the page has put a function in the place of `fetch` that throws, once."""
    replaced = "{ const original = fetch; window.fetch = () => { window.fetch = original; throw new Error('mine'); }; }"
    page = setting.open(setting.site("replaced") + "/", replaced)
    page.run("touchline.track('after')")
    setting.arrive("a fetch that throws is tried again", "replaced", ["page_view", "after"])


def outage(setting: Setting) -> None:
    """The server is killed under four people: one waits, one reloads, one closes the tab, one is very busy."""
    checks, touchline = setting.checks, setting.touchline
    names = ("waits", "reloads", "closes", "busy")
    waits, reloads, closes, busy = (setting.open(setting.site(name) + "/") for name in names)
    for name in names:
        setting.arrive(f"before the outage a view of {name} arrives", name, ["page_view"])
    touchline.kill()
    before = len(setting.relay.sent)
    waits.run("touchline.track('waited')")
    second = setting.beside(waits, setting.sites.origin("waits.example") + "/second")
    second.run("touchline.track('waited_too')")
    reloads.run("touchline.track('before_reload')")
    reloads.reload()
    reloads.wait(READY)
    reloads.run("touchline.track('after_reload')")
    closes.run("touchline.track('before_close')")
    closes.close()
    busy.run("for (let i = 0; i < 1100; i++) touchline.track('busy', { i, more: 'ü'.repeat(200) })")
    queued = busy.run("Object.keys(localStorage).filter(name => name.startsWith('touchline.queue.')).length")
    checks.equal("a queue keeps the newest 1,000", queued, 1_000)
    wait_until("somebody tried", lambda: len(setting.relay.batches("waits.example")) > 1, ARRIVAL_S)
    statuses = {sent.status for sent in setting.relay.sent[before:] if sent.messages()}
    checks.equal("nobody got an answer", statuses, {None})
    touchline.start()
    later = setting.beside(closes, setting.sites.origin("closes.example") + "/later")
    events = setting.arrive("after it, what two pages had waiting", "waits",
                            ["page_view", "waited", "page_view", "waited_too"])
    checks.equal("of one visitor", len({event["visitor_id"] for event in events}), 1)
    setting.arrive("what was waiting when a page was reloaded", "reloads",
                   ["page_view", "before_reload", "page_view", "after_reload"])
    events = setting.arrive("what was waiting when a tab was closed", "closes",
                            ["page_view", "before_close", "page_view"])
    checks.equal("all of it from one visitor", len({event["visitor_id"] for event in events}), 1)
    events = setting.arrive("and a long queue", "busy", ["page_view"] + ["busy"] * 1_000)
    said = [json.loads(event["properties"]) for event in events[1:]]
    checks.equal("of which the oldest are missing", [one["i"] for one in said], list(range(100, 1_100)))
    checks.equal("and counted", max((one.get("context_dropped", 0) for one in said), default=0), 100)
    for page in (waits, second, reloads, later, busy):
        page.wait("!Object.keys(localStorage).some(name => name.startsWith('touchline.queue.'))")
    largest = max(len(sent.body) for sent in setting.relay.batches("busy.example"))
    checks.true(f"no request is larger than 64 KiB (largest {largest:,} bytes)", largest <= 65_536)


def consent(setting: Setting) -> None:
    checks = setting.checks
    shop = setting.site("consent", 'data-consent="required"')
    page = setting.open(f"{shop}/ask")
    page.run("touchline.track('asked'); touchline.identify('berta')")
    page.run("history.pushState({}, '', '/asking')")
    # What others send meanwhile arrives, so this would have.
    witness = setting.open(setting.site("witness") + "/")
    setting.arrive("another page's view arrives", "witness", ["page_view"])
    checks.equal("before consent nothing is stored", page.run(STORED), NOTHING)
    checks.equal("and nothing sent", setting.relay.messages("consent.example"), [])
    page.run("touchline.consent(true)")
    types = ["page_view", "asked", "$identify", "page_view"]
    events = setting.arrive("with consent arrives what had waited", "consent", types)
    checks.equal("with the addresses of then", [event["path"] for event in events], ["/ask"] * 3 + ["/asking"])
    page.reload()
    page.wait(READY)
    types.append("page_view")
    setting.arrive("consent is remembered", "consent", types)
    page.run("touchline.track('unsent'); touchline.consent(false)")
    page.run("touchline.track('refused')")
    checks.equal("without it only the refusal stays", page.run(STORED), '[["touchline.consent"],[],""]')
    page.reload()
    page.wait(READY)
    page.run("touchline.track('still_refused')")
    witness.run("touchline.track('seen')")
    setting.arrive("another page's event arrives", "witness", ["page_view", "seen"])
    setting.arrive("a refusal is remembered, and nothing more arrives", "consent", types)
    checks.equal("or was sent", {message.get("event") for message in setting.relay.messages("consent.example")},
                 {None, "asked"})


def privacy_control(setting: Setting) -> None:
    checks = setting.checks
    shop = setting.site("privacy")
    page = setting.open(f"{shop}/one", OBJECTS)
    checks.true("the browser objects", page.run("navigator.globalPrivacyControl") is True)
    page.run("touchline.track('seen'); touchline.identify('clara')")
    setting.arrive("with globalPrivacyControl events arrive", "privacy", ["page_view", "seen", "$identify"])
    checks.equal("nothing is in the browser", page.run(STORED), NOTHING)
    checks.equal("no database either", page.run("indexedDB.databases().then(found => found.length)"), 0)
    page.go(f"{shop}/two")
    page.wait(READY)
    events = setting.arrive("and those of the next page", "privacy", ["page_view", "seen", "$identify", "page_view"])
    visitors = [event["visitor_id"] for event in events]
    checks.true("which are another visitor's", len(set(visitors)) == 2 and visitors[3] != visitors[0], visitors)
    checks.equal("and nobody's that is known", events[-1]["user_id"], None)
    checks.equal("nothing is in the browser still", page.run(STORED), NOTHING)
    page.run("touchline.consent(false)")
    checks.equal("of a refusal only that is kept", page.run(STORED), '[["touchline.consent"],[],""]')
    page.go(f"{shop}/three")
    page.wait(READY)
    page.run("touchline.track('refused')")
    # What others send meanwhile arrives, so this would have.
    setting.open(setting.site("bystander") + "/")
    setting.arrive("another page's view arrives", "bystander", ["page_view"])
    setting.arrive("and nothing more of who has refused", "privacy", ["page_view", "seen", "$identify", "page_view"])


def without_storage(setting: Setting) -> None:
    page = setting.open(setting.site("sandbox", policy="sandbox allow-scripts") + "/")
    denied = "(() => { try { return !localStorage } catch (error) { return error.name } })()"
    setting.checks.equal("storage is denied", page.run(denied), "SecurityError")
    page.run("touchline.track('still')")
    events = setting.arrive("events of a page without storage arrive", "sandbox", ["page_view", "still"])
    setting.checks.equal("of one visitor", len({event["visitor_id"] for event in events}), 1)


def other_tries(setting: Setting) -> None:
    checks, relay = setting.checks, setting.relay
    page = setting.open(setting.site("tries") + "/")
    types = ["page_view"]
    setting.arrive("the page arrives", "tries", types)
    for name, fault, tries, pause_s in (
        ("busy", Fault(503, {"Retry-After": "3"}), 2, 3),
        ("limited", Fault(429, {"Retry-After": "3"}), 2, 3),
        ("broken", Fault(500), 2, 1),
        # The browser itself tries this once more, and at once.
        ("lost", Fault(lost=True), 2, 0),
        ("wrong", Fault(400), 1, 0),
        ("unknown", Fault(401), 1, 0),
    ):
        relay.faults.append(fault)
        page.run(f"touchline.track('{name}')")
        wait_until(f"{name} is answered", lambda: not relay.faults, ARRIVAL_S)
        if tries > 1:
            types.append(name)
        said = "a lost answer" if fault.lost else fault.status
        setting.arrive(f"after {said} it is {'' if tries > 1 else 'not '}tried again", "tries", types)
        page.wait("!Object.keys(localStorage).some(name => name.startsWith('touchline.queue.'))")
        sent = [one for one in relay.batches("tries.example") if any(m.get("event") == name for m in one.messages())]
        checks.equal(f"{name} was sent so often", len(sent), tries)
        ids = {message["messageId"] for one in sent for message in one.messages() if message.get("event") == name}
        checks.equal("with one id", len(ids), 1)
        if tries > 1:
            waited_s = sent[1].at_s - sent[0].at_s
            checks.true(f"after {waited_s:.1f} s, at least {pause_s}", waited_s >= pause_s)


def quiet(setting: Setting) -> None:
    """What happens while an answer is awaited does not shorten the pause that it asks for."""
    page = setting.open(setting.site("quiet") + "/")
    setting.arrive("the page arrives", "quiet", ["page_view"])
    setting.relay.faults.append(Fault(429, {"Retry-After": "3"}, delay_s=0.3))
    page.run("touchline.track('first')")
    wait_until("the first is on its way", lambda: not setting.relay.faults, ARRIVAL_S)
    page.run("touchline.track('second')")
    setting.arrive("after a pause both arrive", "quiet", ["page_view", "first", "second"])
    _, refused, taken = setting.relay.batches("quiet.example")
    waited_s = taken.at_s - refused.at_s
    setting.checks.true(f"that is after {waited_s:.1f} s, at least 3", waited_s >= 3)


def misuse(setting: Setting) -> None:
    page = setting.open(setting.site("misuse") + "/")
    page.run("""
        const circle = {}; circle.circle = circle;
        touchline.track('circle', circle); touchline.track(); touchline.identify();
        touchline.push('nonsense', null, [], ['unknown', 1], ['track', 'pushed']); history.pushState({}, '', '/next');
        touchline.track('large', { text: 'ü'.repeat(100000) }); touchline.track('after');
        void 0
    """)
    setting.arrive("nonsense is left out, and what is too large is refused", "misuse",
                   ["page_view", "pushed", "page_view", "after"])


def wrong_clock(setting: Setting) -> None:
    """A computer whose clock is two hours behind."""
    behind = """
        const RightDate = Date, now = () => RightDate.now() - 7.2e6;
        Date = class extends RightDate { constructor(...given) { super(...(given.length ? given : [now()])); } };
        Date.now = now;
    """
    setting.open(setting.site("behind") + "/", behind)
    events = setting.arrive("a page on a computer whose clock is wrong is viewed", "behind", ["page_view"])
    off_s = [abs((now() - instant(event["occurred_at"])).total_seconds()) for event in events]
    setting.checks.true("at the right time", all(off < ARRIVAL_S for off in off_s), off_s)


def totals(setting: Setting) -> None:
    checks, relay = setting.checks, setting.relay
    stored = setting.rows("SELECT host, event_id FROM events")
    counts = Counter(row["event_id"] for row in stored)
    twice = [event_id for event_id, times in counts.items() if times > 1]
    checks.equal(f"each of {len(stored):,} events is stored once", twice, [])
    sent = [message["messageId"] for one in relay.sent for message in one.messages()]
    print(f"      {len(sent):,} messages were sent, {len(sent) - len(set(sent)):,} of them again", flush=True)
    checks.equal("no request needed a preflight", [one.path for one in relay.sent if one.method == "OPTIONS"], [])
    checks.equal("nothing was asked for but the snippet and the way in", {one.path for one in relay.sent},
                 {"/t.js", "/v1/batch"})
    checks.equal("nothing was thrown in a page", [thrown for page in setting.pages for thrown in page.thrown], [])


SCENES = (served, page_views, manual, back_and_forth, hidden, prerendered, people, closed_tab, broken_fetch, consent,
          privacy_control, without_storage, other_tries, quiet, misuse, wrong_clock, outage, totals)


def main() -> int:
    checks = Checks("the snippet in a real browser")
    with (
        Touchline(checks, CONFIG) as touchline,
        Relay(touchline.port) as relay,
        Sites(relay.address) as sites,
        Chromium(os.environ["CHROMIUM"], *FLAGS) as browser,
    ):
        reader = touchline.key("shop", scopes=("can_view_reports",))
        writer = touchline.key("shop", scopes=("ingest",), kind="publishable")
        setting = Setting(checks, touchline, reader, writer, browser, sites, relay, [])
        for scene in SCENES:
            started = time.monotonic()
            print(f"-- {scene.__name__.replace('_', ' ')}", flush=True)
            scene(setting)
            print(f"      {time.monotonic() - started:.1f} s", flush=True)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
