"""A site of one's own: one page for the browser, and the files that it loads."""

import json
import mimetypes
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOST = "shop.example"
# For a browser that finds the site here, and says nothing of being driven: libraries keep silent then.
BROWSER_FLAGS = (f"--host-resolver-rules=MAP {HOST} 127.0.0.1", "--disable-blink-features=AutomationControlled")


class Site:
    """Serves files by their names, and at every other address one page, which has `setup` and runs `scripts`."""

    def __init__(self, title: str, setup: dict, files: dict[str, Path], scripts: tuple[str, ...]):
        self.files = {f"/{name}": path for name, path in files.items()}
        head = f"<!doctype html><meta charset=utf-8><title>{title}</title><link rel=icon href=data:,>"
        head += f"<script>window.setup = {json.dumps(setup)}</script>"
        self.document = (head + "".join(f'<script src="/{name}"></script>' for name in scripts)).encode()
        self.listener = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.origin = f"http://{HOST}:{self.listener.server_address[1]}"

    def __enter__(self) -> "Site":
        threading.Thread(target=self.listener.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown()
        self.listener.server_close()

    def handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                file = site.files.get(self.path)
                body = file.read_bytes() if file else site.document
                self.send_response(200)
                self.send_header("Content-Type", mimetypes.guess_type(file)[0] if file else "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
