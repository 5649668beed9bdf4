"""A proxy between a client and the server: it fails the first requests as asked, passes on the rest, and remembers all.

Only POST requests fail: what carries events. Everything else (preflights, settings) is passed on.
"""

import gzip
import json
import threading
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from wire import Response, exchange

UPSTREAM_TIMEOUT_S = 30
# A client that honours it waits this long.
RETRY_AFTER_S = 1
# Of the connection, not of the message; each of our connections carries one exchange.
HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Fault(Enum):
    """What becomes of a request that fails."""

    # Refused before it reaches the server.
    RATE_LIMITED = "429"
    UNAVAILABLE = "503"
    # The server takes it, and its answer never arrives.
    LOST_ANSWER = "lost answer"


@dataclass(frozen=True)
class Exchange:
    """One request, and what its client was told."""

    method: str
    # Path and query.
    target: str
    # Names in lower case.
    headers: dict[str, str]
    # As it was sent.
    body: bytes
    # None: the connection closed without an answer.
    status: int | None
    answer: bytes
    reached_server: bool

    @property
    def path(self) -> str:
        return self.target.split("?")[0]

    @property
    def is_gzip(self) -> bool:
        return self.headers.get("content-encoding") == "gzip"

    def json(self) -> object:
        return json.loads(gzip.decompress(self.body) if self.is_gzip else self.body)


class FaultProxy:
    """Listens on a free port while the context lasts. The first `times` requests meet the fault."""

    def __init__(self, upstream: tuple[str, int], fault: Fault | None = None, times: int = 0):
        self.upstream = upstream
        self.fault = fault
        self.exchanges: list[Exchange] = []
        self.faults_left = times if fault else 0
        self.lock = threading.Lock()
        self.listener = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.authority = f"127.0.0.1:{self.listener.server_address[1]}"
        self.url = f"http://{self.authority}"

    def __enter__(self) -> "FaultProxy":
        threading.Thread(target=self.listener.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown()
        self.listener.server_close()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def relay(self) -> None:
                proxy.relay(self)

            do_GET = do_HEAD = do_OPTIONS = do_POST = relay

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def relay(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        fault = self.next_fault() if request.command == "POST" else None
        reached_server = fault in (None, Fault.LOST_ANSWER)
        if "transfer-encoding" in request.headers:
            response, reached_server = refusal(501, "chunked bodies are not passed on", request), False
        elif reached_server:
            response = self.ask_server(request, body)
        else:
            response = refusal(int(fault.value), "asked to fail", request)
        told = None if fault is Fault.LOST_ANSWER else response.status
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Exchange(request.command, request.path, headers, body, told, response.body, reached_server)
        with self.lock:
            self.exchanges.append(seen)
        request.close_connection = True
        if told is not None:
            answer(request, response)

    def next_fault(self) -> Fault | None:
        with self.lock:
            if self.faults_left == 0:
                return None
            self.faults_left -= 1
            return self.fault

    def ask_server(self, request: BaseHTTPRequestHandler, body: bytes) -> Response:
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_HEADERS]
        headers.append(("Connection", "close"))
        if body or request.command == "POST":
            headers.append(("Content-Length", str(len(body))))
        return exchange(self.upstream, request.command, request.path, headers, body, UPSTREAM_TIMEOUT_S)


def refusal(status: int, why: str, request: BaseHTTPRequestHandler) -> Response:
    """In the form of the server's own refusals, legible for pages of other origins, too."""
    said = {"status": status, "title": why, "error": why, "code": "fault", "message": why}
    headers = {"content-type": "application/problem+json", "retry-after": str(RETRY_AFTER_S)}
    if "origin" in request.headers:
        headers |= {"access-control-allow-origin": "*", "access-control-expose-headers": "Retry-After"}
    return Response(status, headers, json.dumps(said).encode())


def answer(request: BaseHTTPRequestHandler, response: Response) -> None:
    request.send_response_only(response.status)
    for name, value in response.headers.items():
        if name not in HOP_HEADERS:
            request.send_header(name, value)
    request.send_header("Content-Length", str(len(response.body)))
    request.send_header("Connection", "close")
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(response.body)
