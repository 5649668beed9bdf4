"""A proxy between a client and the server: it fails requests as asked, passes on the rest, and remembers all."""

import gzip
import json
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.client import HTTPException

from serving import QuietHandler, Serving
from wire import Response, exchange

UPSTREAM_TIMEOUT_S = 30
# Of the connection, not of the message; each of our connections to the server carries one exchange.
HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Fault:
    """What becomes of a request: another answer, and it is not passed on; or (`lost`) it is, and there is no answer."""

    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0
    lost: bool = False


@dataclass
class Exchange:
    """One request, and what its client was told."""

    # By a clock of our own.
    at_s: float
    method: str
    # Path and query.
    target: str
    # Names in lower case.
    headers: dict[str, str]
    # As it was sent.
    body: bytes
    # None: there is no answer, or not yet.
    status: int | None = None
    answer: bytes = b""
    reached_server: bool = False
    # Whether the client has been told all that it will be.
    is_over: bool = False

    @property
    def path(self) -> str:
        return self.target.split("?")[0]

    @property
    def is_gzip(self) -> bool:
        return self.headers.get("content-encoding") == "gzip"

    def json(self) -> object:
        return json.loads(gzip.decompress(self.body) if self.is_gzip else self.body)


class FaultProxy(Serving):
    """Each request that can fail takes the next of `faults`, if there is one. While the server is away, it hangs up."""

    # Whether a client may use a connection again. One that it uses again it may try again on by itself.
    keeps_connections = False
    exchange_type = Exchange

    def __init__(self, upstream_port: int):
        self.upstream = ("127.0.0.1", upstream_port)
        self.exchanges: list[Exchange] = []
        self.faults: deque[Fault] = deque()
        self.lock = threading.Lock()

    class handler(QuietHandler):
        def do_any(self) -> None:
            proxy: FaultProxy = self.server.owner
            if not proxy.keeps_connections:
                self.close_connection = True
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = proxy.exchange_type(time.monotonic(), self.command, self.path, headers, self.body())
            response = proxy.relay(seen, list(self.headers.items()))
            if response is None:
                self.close_connection = True
                return
            kept = {name: value for name, value in response.headers.items() if name not in HOP_HEADERS}
            closing = {"Connection": "close"} if self.close_connection else {}
            self.answer(response.status, kept | closing, response.body)

        do_GET = do_HEAD = do_OPTIONS = do_POST = do_any

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def can_fail(self, seen: Exchange) -> bool:
        """What carries events. Everything else (preflights, settings) is passed on."""
        return seen.method == "POST"

    def relay(self, seen: Exchange, headers: list[tuple[str, str]]) -> Response | None:
        """What the client is told; None: nothing."""
        with self.lock:
            self.exchanges.append(seen)
            fault = self.faults.popleft() if self.can_fail(seen) and self.faults else None
        response = self.outcome(seen, fault, headers)
        seen.answer = response.body if response else b""
        told = None if fault and fault.lost else response
        seen.status = told.status if told else None
        seen.is_over = True
        return told

    def outcome(self, seen: Exchange, fault: Fault | None, headers: list[tuple[str, str]]) -> Response | None:
        if "transfer-encoding" in seen.headers:
            return refusal(Fault(501), seen)
        if fault and not fault.lost:
            time.sleep(fault.delay_s)
            return refusal(fault, seen)
        try:
            response = self.ask_server(seen, headers)
        except (OSError, HTTPException):
            return None
        seen.reached_server = True
        return response

    def ask_server(self, seen: Exchange, headers: list[tuple[str, str]]) -> Response:
        kept = [(name, value) for name, value in headers if name.lower() not in HOP_HEADERS]
        kept.append(("Connection", "close"))
        if seen.body or seen.method == "POST":
            kept.append(("Content-Length", str(len(seen.body))))
        return exchange(self.upstream, seen.method, seen.target, kept, seen.body, UPSTREAM_TIMEOUT_S)


def refusal(fault: Fault, seen: Exchange) -> Response:
    """In the form of the server's own refusals, legible for pages of other origins, too."""
    why = "asked to fail"
    said = {"status": fault.status, "title": why, "error": why, "code": "fault", "message": why}
    headers = {"content-type": "application/problem+json"} | fault.headers
    if "origin" in seen.headers:
        headers |= {"access-control-allow-origin": "*", "access-control-expose-headers": "Retry-After"}
    return Response(fault.status, headers, json.dumps(said).encode())
