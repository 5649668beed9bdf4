"""HTTP over a bare socket: what goes out is exactly what the test says, and an answer that comes early is read."""

import json
import select
import socket
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPResponse

CHUNK_BYTES = 64 * 1_024


@dataclass(frozen=True)
class Response:
    status: int
    # Names in lower case.
    headers: dict[str, str]
    body: bytes

    def text(self) -> str:
        return self.body.decode(errors="replace")

    def json(self) -> object:
        """The body; amounts keep their digits."""
        return json.loads(self.body, parse_float=Decimal)

    def expect(self, status: int) -> "Response":
        """Itself, for what a test builds on: another status than this is no failed check, but its end."""
        if self.status != status:
            raise RuntimeError(f"answered {self.status}, not {status}: {self.text()[:1_000]}")
        return self


def exchange(address: tuple[str, int], method: str, target: str, headers: list[tuple[str, str]], body: bytes,
             timeout_s: float) -> Response:
    """Sends one request and reads the answer, also one that comes before the body is out."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    with socket.create_connection(address, timeout=timeout_s) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        send_until_answered(connection, body, timeout_s)
        answer = HTTPResponse(connection, method=method)
        answer.begin()
        return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def send_until_answered(connection: socket.socket, body: bytes, timeout_s: float) -> None:
    """A server may refuse a body by its length and close: then the rest cannot be sent, and need not be."""
    rest = memoryview(body)
    try:
        while rest:
            readable, writable, _ = select.select([connection], [connection], [], timeout_s)
            if readable:
                return
            if not writable:
                raise TimeoutError("the server takes no more of the body")
            rest = rest[connection.send(rest[:CHUNK_BYTES]):]
    except (BrokenPipeError, ConnectionResetError):
        return
