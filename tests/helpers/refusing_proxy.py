"""A tracking server that refuses some requests: a proxy before a real one."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP_BY_HOP = {"transfer-encoding", "connection", "content-length", "content-encoding"}


@contextmanager
def refusing_proxy(server: str, refused: set[str]) -> Iterator[str]:
    """The URI of a proxy that answers 403 wherever a path contains one of the given parts."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if any(part in self.path for part in refused):
                self.reply(
                    403, json.dumps({"error_code": "PERMISSION_DENIED", "message": "Permission denied"}).encode()
                )
                return
            headers = {k: v for k, v in self.headers.items() if k.lower() not in {"host", "accept-encoding"}}
            request = urllib.request.Request(server + self.path, body or None, headers, method=self.command)
            try:
                with urllib.request.urlopen(request, timeout=30) as response:
                    self.reply(response.status, response.read(), dict(response.headers))
            except urllib.error.HTTPError as error:
                self.reply(error.code, error.read(), dict(error.headers))

        def reply(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(code)
            for name, value in (headers or {"Content-Type": "application/json"}).items():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *args: object) -> None:
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()
