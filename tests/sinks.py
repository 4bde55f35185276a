"""Real servers on loopback that take what alerts send: SMTP and HTTP."""

from __future__ import annotations

import email
import email.policy
import http.server
import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any


@dataclass
class HttpSink:
    """Takes webhooks and pings; `status` is what it answers, and `hangs` never answers."""

    port: int = 0
    status: int = 200
    hangs: threading.Event | None = None
    posts: list[dict[str, Any]] = field(default_factory=list)
    pings: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"json://hook:verysecret@127.0.0.1:{self.port}/tokentoken"


@contextmanager
def http_sink() -> Iterator[HttpSink]:
    sink = HttpSink()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            # Before the answer: who has it may look at once.
            if sink.status == 200 and sink.hangs is None:
                sink.posts.append(json.loads(body))
            self._answer()

        def do_GET(self) -> None:
            sink.pings.append(self.path)
            self._answer()

        def _answer(self) -> None:
            if sink.hangs is not None:
                sink.hangs.wait(60)
            self.send_response(sink.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Tests say enough."""

    with _serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        sink.port = port
        yield sink


@dataclass
class SmtpSink:
    """Takes mail over SMTP (RFC 5321), without TLS or a login."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"mailto://127.0.0.1:{self.port}?to=on.call@example.org&from=alerts@example.org"


@contextmanager
def smtp_sink() -> Iterator[SmtpSink]:
    sink = SmtpSink()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 sink")
            while line := self.rfile.readline():
                verb = line.decode().strip().upper()
                if verb == "DATA":
                    self._say("354 go on")
                    self._take()
                    self._say("250 taken")
                elif verb == "QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 ok")

        def _take(self) -> None:
            lines: list[bytes] = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
            message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
            assert isinstance(message, EmailMessage)
            sink.mails.append(message)

        def _say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        sink.port = port
        yield sink


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    # A connection that hangs on purpose must not hold up the end of the test.
    server.daemon_threads = True  # pyright: ignore[reportAttributeAccessIssue]
    server.block_on_close = False  # pyright: ignore[reportAttributeAccessIssue]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
