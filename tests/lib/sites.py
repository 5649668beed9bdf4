"""Web sites with the snippet on every page, and the way from their visitors' browsers to the server."""

import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

UPSTREAM_TIMEOUT_S = 30
HOP_BY_HOP = {"connection", "content-length", "host", "transfer-encoding"}


class QuietHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: object) -> None:
        pass

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Serving:
    """A server on a free port. As a context: started, and at the end stopped."""

    handler: type[BaseHTTPRequestHandler]

    def __enter__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler)
        self.server.daemon_threads = True
        self.server.context = self
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


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
            sites: Sites = self.server.context
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


@dataclass
class Sent:
    """A request that a browser has sent."""

    at_s: float
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int | None = None

    def messages(self) -> list[dict]:
        return json.loads(self.body)["batch"] if self.path == "/v1/batch" and self.body else []


@dataclass(frozen=True)
class Fault:
    """What becomes of a batch: another answer without passing it on, or (`lost`) no answer though it was passed on."""

    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0
    lost: bool = False


class Relay(Serving):
    """Passes on what browsers send, and remembers it. While the server is away it hangs up."""

    def __init__(self, upstream_port: int):
        self.upstream_port = upstream_port
        self.sent: list[Sent] = []
        self.faults: deque[Fault] = deque()

    class handler(QuietHandler):
        def do_any(self) -> None:
            relay: Relay = self.server.context
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            sent = Sent(time.monotonic(), self.command, self.path, headers, body)
            relay.sent.append(sent)
            fault = relay.faults.popleft() if sent.messages() and relay.faults else None
            if fault and not fault.lost:
                sent.status = fault.status
                time.sleep(fault.delay_s)
                return self.answer(fault.status, relay.open | fault.headers, b"{}")
            try:
                sent.status, answer_headers, answer = relay.pass_on(sent)
            except (OSError, HTTPException):
                sent.status = None
            if sent.status is None or (fault and fault.lost):
                self.close_connection = True
                return None
            return self.answer(sent.status, answer_headers, answer)

        do_GET = do_POST = do_OPTIONS = do_any

    # So that pages can read the answers: those given in the server's place, and the server's own.
    open = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}

    def pass_on(self, sent: Sent) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection("127.0.0.1", self.upstream_port, timeout=UPSTREAM_TIMEOUT_S)
        headers = {name: value for name, value in sent.headers.items() if name not in HOP_BY_HOP}
        try:
            connection.request(sent.method, sent.path, sent.body or None, headers)
            answer = connection.getresponse()
            kept = {name.title(): value for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP}
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def batches(self, host: str) -> list[Sent]:
        """The requests that carry messages of the pages of `host`."""
        return [sent for sent in list(self.sent) if any(is_of(message, host) for message in sent.messages())]

    def messages(self, host: str) -> list[dict]:
        """All messages of the pages of `host`, each as often as it was sent."""
        return [message for sent in self.batches(host) for message in sent.messages() if is_of(message, host)]


def is_of(message: dict, host: str) -> bool:
    return message["context"]["page"]["url"].startswith(f"http://{host}:")
