"""Sessions once more, in plain Python and straight from the definition, to compare the reports with."""

import re
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

SESSION_TIMEOUT = timedelta(minutes=30)
ENGAGED_AFTER = timedelta(seconds=10)
UTM_COLUMNS = ("utm_source", "utm_medium", "utm_campaign", "utm_content", "utm_term")
CONVERSION_TYPES = {"purchase", "signup"}
PAGE_VIEW = "page_view"
SESSION_START = "$session_start"


@dataclass
class Event:
    event_type: str
    # The visitor, or else the user.
    person: str
    occurred_at: datetime
    event_id: str = ""
    session_id: str | None = None
    url: str | None = None
    referrer: str | None = None
    revenue: Decimal | None = None
    is_bot: bool = False
    is_conversion: bool = False
    utm: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.utm = self.utm or utm_of(self.url)
        self.is_conversion = self.is_conversion or self.event_type in CONVERSION_TYPES

    @property
    def is_reserved(self) -> bool:
        return self.event_type.startswith("$")


def utm_of(url: str | None) -> dict[str, str]:
    """The campaign parameters of an address: decoded, trimmed, empty ones absent."""
    query = dict(reversed(urllib.parse.parse_qsl(urllib.parse.urlsplit(url or "").query)))
    return {name: query[name].strip() for name in UTM_COLUMNS if query.get(name, "").strip()}


def path_of(url: str | None) -> str | None:
    """The path of an address in its normal form."""
    if not url:
        return None
    path = urllib.parse.urlsplit(url).path
    if path and not path.startswith("/"):
        return path
    path = re.sub(r"%[0-9A-Fa-f]{2}", lambda escape: unescaped(escape[0]), path)
    path = re.sub(r"(?i);jsessionid(=[^;/]*)?(?=[;/]|$)", "", path)
    return re.sub(r"//+", "/", "/" + path).rstrip("/") or "/"


def unescaped(escape: str) -> str:
    """An escape of a letter, a digit or one of `-._~` as that; any other with capital digits."""
    character = chr(int(escape[1:], 16))
    return character if re.fullmatch(r"[A-Za-z0-9._~-]", character) else escape.upper()


def is_external(event: Event) -> bool:
    """Whether an event came from another site. That a site may have several hosts does not occur in our data."""
    host = host_of(event.referrer)
    return host is not None and host != host_of(event.url)


def host_of(url: str | None) -> str | None:
    host = urllib.parse.urlsplit(url or "").hostname
    return host.removeprefix("www.") if host else None


def cut(events: Iterable[Event]) -> list[list[Event]]:
    """Sessions as lists of events in order: per person, bots apart, a new one after more than 30 minutes."""
    counted = [event for event in events if not event.is_reserved or event.event_type == SESSION_START]
    counted.sort(key=lambda event: (event.person, event.is_bot, event.occurred_at, event.event_id))
    sessions: list[list[Event]] = []
    for event in counted:
        previous = sessions[-1][-1] if sessions else None
        if previous is None or starts_anew(previous, event):
            sessions.append([])
        sessions[-1].append(event)
    return sessions


def starts_anew(previous: Event, event: Event) -> bool:
    return (
        (previous.person, previous.is_bot) != (event.person, event.is_bot)
        or event.occurred_at - previous.occurred_at > SESSION_TIMEOUT
    )


def summary(session: list[Event]) -> dict[str, object]:
    """The columns of `/reports/sessions` that follow from the events alone."""
    views = [event for event in session if event.event_type == PAGE_VIEW]
    others = [event for event in session if event.event_type != PAGE_VIEW and not event.is_reserved]
    conversions = sum(event.is_conversion for event in session)
    length = session[-1].occurred_at - session[0].occurred_at
    utm = next((event.utm for event in session if event.utm), {})
    return {
        "client_session_id": next((event.session_id for event in session if event.session_id), None),
        "started_at": session[0].occurred_at,
        "ended_at": session[-1].occurred_at,
        "duration_s": length // timedelta(seconds=1),
        "event_count": len(session),
        "page_view_count": len(views),
        "conversion_count": conversions,
        "revenue": sum((event.revenue or Decimal(0) for event in session), Decimal(0)),
        "is_bounce": len(views) == 1 and not others,
        "is_engaged": length > ENGAGED_AFTER or conversions > 0 or len(views) >= 2,
        "entry_page": path_of(views[0].url) if views else None,
        "exit_page": path_of(views[-1].url) if views else None,
        "referrer": next((event.referrer for event in session if is_external(event)), None),
        **{name: utm.get(name) for name in UTM_COLUMNS},
    }


def first_touch(sessions: list[list[Event]], column: str) -> dict[str | None, tuple[int, int, int]]:
    """By a campaign column of each person's first session: visitors, sessions, page views."""
    people: dict[str, list[list[Event]]] = {}
    for session in sessions:
        people.setdefault(session[0].person, []).append(session)
    rows: dict[str | None, tuple[int, int, int]] = {}
    for theirs in people.values():
        touch = summary(min(theirs, key=lambda session: session[0].occurred_at))[column]
        views = sum(event.event_type == PAGE_VIEW for session in theirs for event in session)
        visitors, count, page_views = rows.get(touch, (0, 0, 0))
        rows[touch] = (visitors + 1, count + len(theirs), page_views + views)
    return rows
