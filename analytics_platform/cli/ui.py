"""`ap ui`: the code location, the daemon and the web UI, started and ended together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from dagster import DagsterInstance

from analytics_platform.cli.instance import fail_abandoned_runs, prepare_dagster_home
from analytics_platform.settings import PROJECT_ROOT

HOST = "127.0.0.1"
GRACE_SECONDS = 20


def serve(port: int) -> int:
    """Serve until interrupted or until one of the processes ends; give the exit code."""
    home = prepare_dagster_home()
    with DagsterInstance.get() as instance:
        fail_abandoned_runs(instance, launched_too=True)
    code_port = _free_port()
    environment = os.environ | {"DAGSTER_HOME": str(home)}
    workspace = home / "workspace.served.yaml"
    workspace.write_text(
        "load_from:\n  - grpc_server:\n"
        f"      host: {HOST}\n      port: {code_port}\n      location_name: analytics_platform\n"
    )
    python = sys.executable
    commands = [
        [
            python, "-m", "dagster", "code-server", "start", "-h", HOST, "-p", str(code_port),
            "-m", "analytics_platform.definitions", "-d", str(PROJECT_ROOT),
            "--location-name", "analytics_platform",
        ],
        [
            python, "-m", "analytics_platform.webserver", "-h", HOST, "-p", str(port),
            "-w", str(workspace),
        ],
        [python, "-m", "dagster._daemon", "run", "-w", str(workspace)],
    ]  # fmt: skip
    processes: list[subprocess.Popen[bytes]] = []

    def stop(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        for command in commands:
            processes.append(subprocess.Popen(command, env=environment, cwd=PROJECT_ROOT))
            if len(processes) == 1:
                _wait_until_open(code_port, processes[0])
        sys.stdout.write(f"Dagster UI on http://{HOST}:{port} — Ctrl-C ends it\n")
        sys.stdout.flush()
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
        return next(p.returncode for p in processes if p.returncode is not None) or 0
    except KeyboardInterrupt:
        return 0
    finally:
        _end(processes)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


def _wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.2)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in reversed(processes):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + GRACE_SECONDS
    for process in reversed(processes):
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
