"""A tracking server that fails as told: a proxy before a real one."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Mode = Literal["refuse", "500", "429", "stall", "drop", "deaf", "page"]
MODES: tuple[Mode, ...] = ("refuse", "500", "429", "stall", "drop", "deaf", "page")
HOP_BY_HOP = {"transfer-encoding", "connection", "content-length", "content-encoding", "host", "accept-encoding"}


@dataclass(slots=True)
class Fault:
    """What happens to the next requests whose method and path contain a word.

    ``refuse`` resets the connection, ``500`` and ``429`` answer so, ``stall`` says nothing for some seconds, ``drop``
    passes half of the body on and breaks both connections, ``deaf`` lets the server do its work and loses the answer,
    ``page`` answers 200 with a page of its own, as a firewall does, and passes nothing on.
    """

    mode: Mode
    word: str = ""
    times: int = 1
    seconds: float = 3.0


class FaultyProxy:
    """The proxy: ``faults`` are met first come, first served; ``delay`` holds for every request."""

    def __init__(self, server: str) -> None:
        self.server = urlsplit(server)
        self.faults: list[Fault] = []
        self.met: Counter[str] = Counter()
        self.seen: list[str] = []
        self.delay = 0.0
        self._lock = threading.Lock()
        self._port = 0
        self._listener: ThreadingHTTPServer | None = None
        self.up()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        """Listen, on the same port as before."""
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._listener = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._listener.daemon_threads = True
        self._port = self._listener.server_port
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Do not listen: connections are refused."""
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener = None

    def fault(self, request: str) -> Fault | None:
        """The fault that a request meets."""
        with self._lock:
            self.seen.append(request)
            for fault in self.faults:
                if fault.word in request and fault.times > 0:
                    fault.times -= 1
                    self.met[fault.mode] += 1
                    return fault
        return None


@contextmanager
def faulty_proxy(server: str) -> Iterator[FaultyProxy]:
    """A proxy before a server, gone at the end of the block."""
    proxy = FaultyProxy(server)
    try:
        yield proxy
    finally:
        proxy.down()


class _Handler(BaseHTTPRequestHandler):
    owner: FaultyProxy

    def answer(self) -> None:
        fault = self.owner.fault(f"{self.command} {self.path}")
        mode = fault.mode if fault else None
        time.sleep(self.owner.delay)
        length = int(self.headers.get("Content-Length") or 0)
        if mode == "refuse":
            self.reset()
        elif mode == "drop":
            self.forward(self.rfile.read(length // 2), length)
            self.reset()
        else:
            body = self.rfile.read(length)
            if mode == "500":
                self.reply(500, b"<html>the server failed</html>", {"Content-Type": "text/html"})
            elif mode == "page":
                self.reply(200, b"<html>Request rejected</html>", {"Content-Type": "text/html"})
            elif mode == "429":
                text = json.dumps({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "too many requests"})
                self.reply(429, text.encode(), {"Content-Type": "application/json", "Retry-After": "1"})
            elif mode == "stall":
                time.sleep(fault.seconds)
                self.reset()
            else:
                found = self.forward(body, length)
                if mode == "deaf" or found is None:
                    self.reset()
                else:
                    self.reply(*found)

    def forward(self, body: bytes, length: int) -> tuple[int, bytes, dict[str, str]] | None:
        """Pass a request on; None where less than its whole body is there, or the server does not answer."""
        server = self.owner.server
        connection = http.client.HTTPConnection(server.hostname, server.port, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in HOP_BY_HOP:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(length))
            connection.endheaders(body)
            if len(body) < length:
                return None
            response = connection.getresponse()
            return response.status, response.read(), dict(response.getheaders())
        except OSError:
            return None
        finally:
            connection.close()

    def reply(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reset(self) -> None:
        """Break the connection."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def handle(self) -> None:
        with suppress(OSError, ValueError):  # the connection is broken, as it was to be
            super().handle()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *args: object) -> None:
        pass
