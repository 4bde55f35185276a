"""The web UI, started as an operator starts it, serves the files and still is the web UI."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster_webserver.app
import pytest
from dagster_webserver.webserver import DagsterWebserver

from analytics_platform import webserver
from analytics_platform.lake.files import FileStore, StoredFile

START_SECONDS = 120
STOP_SECONDS = 20
HTML = b"<!DOCTYPE html><script>document.title = 'drift'</script>"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
DEFINITIONS = """
import dagster as dg

@dg.asset
def report():
    return None

defs = dg.Definitions(assets=[report])
"""


@dataclass
class Server:
    port: int
    prefix: str
    store: FileStore

    def request(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            # http.client sends the path as it is, dots and all, where a browser would tidy it.
            connection.request(method, self.prefix + path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(folder: Path, prefix: str) -> Iterator[Server]:
    (folder / "definitions.py").write_text(DEFINITIONS)
    (folder / "workspace.yaml").write_text("load_from:\n  - python_file: definitions.py\n")
    (folder / "dagster").mkdir()
    (folder / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    home = folder / "home"
    server = Server(free_port(), prefix, FileStore(home / "files"))
    environment = os.environ | {
        "AP_HOME": str(home),
        "DAGSTER_HOME": str(folder / "dagster"),
        "PYTHONPATH": str(Path(webserver.__file__).parents[1]),
    }
    command = [sys.executable, "-m", "analytics_platform.webserver"]
    options = ["-h", "127.0.0.1", "-p", str(server.port), "-w", "workspace.yaml"]
    options += ["--path-prefix", prefix] if prefix else []
    log = folder / "webserver.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *options],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until_up(server, process, log)
            yield server
        finally:
            # The server ends its own code server when it is asked to stop.
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)


def wait_until_up(server: Server, process: subprocess.Popen, log: Path) -> None:
    refused: OSError | None = None
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"The web server ended with {process.returncode}:\n{log.read_text()}")
        try:
            if server.request("/server_info")[0] == 200:
                return
        except OSError as error:
            refused = error
        time.sleep(0.2)
    pytest.fail(
        f"The web server was not up after {START_SECONDS} s ({refused}):\n{log.read_text()}"
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    yield from start(tmp_path_factory.mktemp("webserver"), prefix="")


@pytest.fixture(scope="module")
def report(server: Server) -> StoredFile:
    return server.store.put(HTML, "week 7.html")


@pytest.mark.parametrize(
    ("name", "content", "content_type"),
    [
        ("drift.html", HTML, "text/html; charset=utf-8"),
        ("DRIFT.HTML", HTML, "text/html; charset=utf-8"),
        ("plot.png", PNG, "image/png"),
        ("note.txt", "späť".encode(), "text/plain; charset=utf-8"),
        ("model.pkl", b"\x80\x04.", "application/octet-stream"),
        ("html", HTML, "application/octet-stream"),
    ],
)
def test_a_stored_file_is_served_as_what_it_is(server, name, content, content_type):
    status, headers, body = server.request(FileStore.ui_path(server.store.put(content, name)))

    assert (status, body) == (200, content)
    assert headers["Content-Type"] == content_type
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "immutable" in headers["Cache-Control"]


def test_a_report_may_run_scripts_but_reach_nothing(server, report):
    _, headers, _ = server.request(FileStore.ui_path(report))
    policy = dict(
        directive.strip().partition(" ")[::2]
        for directive in headers["Content-Security-Policy"].split(";")
    )

    assert policy["sandbox"].split() == ["allow-scripts", "allow-downloads"]
    assert policy["default-src"] == "'none'"
    assert "connect-src" not in policy
    assert policy["script-src"] == "'unsafe-inline'"
    assert policy["form-action"] == "'none'"


@pytest.mark.parametrize(
    "path",
    [
        "/files/",
        "/files/" + "0" * 64 + "/week_7.html",
        "/files/{sha}",
        "/files/{sha}/",
        "/files/{sha}/other.html",
        "/files/{sha}/week_7.html/",
        "/files/{sha}/.incoming-1",
        "/files/{sha}/../{sha}/week_7.html",
        "/files/../secret.txt",
        "/files/..%2fsecret.txt",
        "/files/%2e%2e/secret.txt",
        "/files/{sha}/..%2f..%2f..%2fsecret.txt",
        "/files/{sha}/%2e%2e%2f%2e%2e%2f%2e%2e%2fsecret.txt",
        "/files//etc/passwd",
        "/files/%2fetc%2fpasswd",
        "/files/{sha}/week_7.html%00",
    ],
)
def test_no_other_path_below_files_gives_anything(server, report, path):
    (server.store.root.parent / "secret.txt").write_text("secret")

    status, _, body = server.request(path.format(sha=report.sha256))

    assert (status, body) == (404, b"No such file in the store.")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_files_are_read_only(server, report, method):
    status, _, _ = server.request(FileStore.ui_path(report), method, b"changed")

    assert status == 405
    assert server.store.get(report.sha256, report.name) == HTML


def test_a_damaged_file_is_not_served(server):
    stored = server.store.put(b"true", "damaged.txt")
    stored.path.chmod(0o644)
    stored.path.write_bytes(b"false")

    status, _, body = server.request(FileStore.ui_path(stored))

    assert status == 500
    assert b"damaged" in body
    assert b"false" not in body


def test_the_ui_and_its_graphql_are_dagsters(server):
    status, headers, page = server.request("/assets/report")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"Dagster" in page

    query = json.dumps({"query": "{ assetNodes { assetKey { path } } }"}).encode()
    headers = {"Content-Type": "application/json"}
    status, _, answer = server.request("/graphql", "POST", query, **headers)
    assert status == 200
    assert json.loads(answer) == {"data": {"assetNodes": [{"assetKey": {"path": ["report"]}}]}}


def test_files_are_below_the_path_prefix_of_the_ui(tmp_path):
    for server in start(tmp_path, prefix="/platform"):
        stored = server.store.put(HTML, "drift.html")
        assert server.request(FileStore.ui_path(stored))[::2] == (200, HTML)
        assert server.request("/files/nothing")[0] == 404


def test_a_dagster_that_builds_its_server_elsewhere_is_refused(monkeypatch):
    monkeypatch.delattr(dagster_webserver.app, "DagsterWebserver")
    with pytest.raises(RuntimeError, match=r"expected `dagster_webserver\.app` to make"):
        webserver.main()
    assert DagsterWebserver not in vars(dagster_webserver.app).values()
