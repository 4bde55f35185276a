"""The process that fault tests fork their children from, run by `stepper.Stepper`.

It imports what is slow to import once, then forks a child for each request, so that a child costs
milliseconds instead of seconds. Belongs here: forking, arming the shim, calling the action, and
ending what hangs. Does not belong here: actions, and any use of duckdb or polars before the fork,
which would start threads that a forked child does not have. Importing them starts two that do not
matter: polars' cleaner of spilled frames, and the worker of duckdb's default connection, which an
action leaves alone: it opens a connection of its own.
"""

import contextlib
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

# Of <linux/prctl.h>: a child does not outlive the zygote.
PR_SET_PDEATHSIG = 1


def act(request: dict[str, Any], shim: ctypes.CDLL) -> dict[str, Any]:
    """Call the action with the shim armed; runs in a forked child."""
    # What the action starts is killed with it, and is not the shim's business.
    os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.pop("LD_PRELOAD", None)
    os.environ.update(request["env"])
    time.tzset()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    module, _, function = request["action"].partition(":")
    answer: dict[str, Any] = {"steps": 0, "error": "", "result": None}
    try:
        action = getattr(importlib.import_module(module), function)
        settings = sys.modules.get("analytics_platform.settings")
        if settings is not None:
            settings.get_settings.cache_clear()
        error = shim.steps_arm(
            request["root"].encode(),
            request["kill_at"],
            request["fail_at"],
            request["log"].encode(),
        )
        if error:
            raise OSError(error, os.strerror(error), request["root"])
        try:
            answer["result"] = action(**request["args"])
        finally:
            answer["steps"] = shim.steps_count()
            shim.steps_disarm()
        json.dumps(answer["result"])
    except BaseException as error:  # SystemExit too is an end worth reporting
        answer["result"] = None
        answer["error"] = f"{error!r}\n{traceback.format_exc()}"
    return answer


def child(request: dict[str, Any], shim: ctypes.CDLL) -> None:
    """Act, leave the answer in a file, and end without the interpreter's own ending."""
    code = 1
    try:
        answer = act(request, shim)
        Path(request["answer"]).write_text(json.dumps(answer))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(watch: int, seconds: float) -> bool:
    """Whether the process behind a pidfd ended within the time."""
    return bool(select.select([watch], [], [], max(seconds, 0.0))[0])


def serve(channel: socket.socket, shim: ctypes.CDLL) -> None:
    """Fork a child for each line that comes in; answer with how it ended."""
    # Objects made so far are left out of collections, so children share their memory.
    gc.collect()
    gc.freeze()
    with channel.makefile("rwb") as lines:
        for line in lines:
            request = json.loads(line)
            pid = os.fork()
            if pid == 0:
                child(request, shim)
            watch = os.pidfd_open(pid)
            timed_out = not ended(watch, request["timeout"])
            if timed_out:
                # Has the child write down where it stands.
                os.kill(pid, signal.SIGUSR1)
                if not ended(watch, 0.5):
                    os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
            os.close(watch)
            # Nothing that the action started goes on writing after it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            answer = {"timed_out": timed_out, "code": os.waitstatus_to_exitcode(status)}
            lines.write(json.dumps(answer).encode() + b"\n")
            lines.flush()


def main() -> None:
    """Arguments: the project's root, the shim's file, the channel's number, modules to import."""
    root, library, number, *modules = sys.argv[1:]
    sys.path.insert(0, root)
    for module in modules:
        importlib.import_module(module)
    shim = ctypes.CDLL(library)
    shim.steps_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_char_p]
    shim.steps_count.restype = ctypes.c_long
    with socket.socket(fileno=int(number)) as channel:
        channel.sendall(b'{"ready": true}\n')
        serve(channel, shim)


if __name__ == "__main__":
    main()
