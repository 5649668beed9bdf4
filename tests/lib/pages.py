"""A site of one's own: one page for the browser, and the files that it loads."""

import json
import mimetypes
from pathlib import Path

from serving import QuietHandler, Serving

HOST = "shop.example"
# For a browser that finds the site here, and says nothing of being driven: libraries keep silent then.
BROWSER_FLAGS = (f"--host-resolver-rules=MAP {HOST} 127.0.0.1", "--disable-blink-features=AutomationControlled")


class Site(Serving):
    """Serves files by their names, and at every other address one page, which has `setup` and runs `scripts`."""

    def __init__(self, title: str, setup: dict, files: dict[str, Path], scripts: tuple[str, ...]):
        self.files = {f"/{name}": path for name, path in files.items()}
        head = f"<!doctype html><meta charset=utf-8><title>{title}</title><link rel=icon href=data:,>"
        head += f"<script>window.setup = {json.dumps(setup)}</script>"
        self.document = (head + "".join(f'<script src="/{name}"></script>' for name in scripts)).encode()

    class handler(QuietHandler):
        def do_GET(self) -> None:
            site: Site = self.server.owner
            file = site.files.get(self.path)
            body = file.read_bytes() if file else site.document
            self.answer(200, {"Content-Type": mimetypes.guess_type(file)[0] if file else "text/html"}, body)

    @property
    def origin(self) -> str:
        return f"http://{HOST}:{self.port}"
