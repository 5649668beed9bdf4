"""Web sites with the snippet on every page, and the way from their visitors' browsers to the server."""

import json
from dataclasses import dataclass

from faults import Exchange, Fault, FaultProxy
from serving import QuietHandler, Serving

__all__ = ["Fault", "Relay", "Site", "Sites"]


@dataclass(frozen=True)
class Site:
    """What is written on the pages of a host."""

    # Those of the snippet's element besides `src`.
    attributes: str = ""
    # A script that runs before the snippet.
    before: str = ""
    # More of the pages' Content-Security-Policy.
    policy: str = ""


class Sites(Serving):
    """Every path of every host is a page; its title is `Page <path>`. They let in no script and ask no server but their
    own and the snippet's."""

    def __init__(self, snippet_origin: str):
        self.snippet_origin = snippet_origin
        self.hosts: dict[str, Site] = {}

    class handler(QuietHandler):
        def do_GET(self) -> None:
            sites: Sites = self.server.owner
            site = sites.hosts.get(self.headers["Host"].split(":")[0])
            if site is None:
                return self.answer(200, {"Content-Type": "text/html"}, b"<!doctype html><title>Elsewhere</title>")
            if self.path == "/before.js":
                return self.answer(200, {"Content-Type": "text/javascript"}, site.before.encode())
            origin = sites.snippet_origin
            scripts = f"script-src 'self' {origin} 'inline-speculation-rules'"
            policy = f"default-src 'none'; {scripts}; connect-src {origin}; {site.policy}"
            page = (
                f"<!doctype html><title>Page {self.path.split('?')[0]}</title>"
                f'<script src="/before.js"></script><script async src="{origin}/t.js" {site.attributes}></script>'
            )
            return self.answer(200, {"Content-Type": "text/html", "Content-Security-Policy": policy}, page.encode())

    def origin(self, host: str) -> str:
        return f"http://{host}:{self.port}"


class Sent(Exchange):
    """A request that a browser has sent."""

    def messages(self) -> list[dict]:
        return json.loads(self.body)["batch"] if self.path == "/v1/batch" and self.body else []


class Relay(FaultProxy):
    """The way of what the pages send. What can fail is a batch of messages."""

    keeps_connections = True
    exchange_type = Sent

    @property
    def sent(self) -> list[Sent]:
        return self.exchanges

    @property
    def address(self) -> str:
        return self.url

    def can_fail(self, seen: Sent) -> bool:
        return bool(seen.messages())

    def batches(self, host: str) -> list[Sent]:
        """The requests that carry messages of the pages of `host`."""
        return [sent for sent in list(self.sent) if any(is_of(message, host) for message in sent.messages())]

    def messages(self, host: str) -> list[dict]:
        """All messages of the pages of `host`, each as often as it was sent."""
        return [message for sent in self.batches(host) for message in sent.messages() if is_of(message, host)]


def is_of(message: dict, host: str) -> bool:
    return message["context"]["page"]["url"].startswith(f"http://{host}:")
