"""Python processes that start at once: forked from one that has imported torch and the rest.

A program of this repository imports for longer than it works on a test's data. `forked_python()` is
the path of a stand-in for `sys.executable`: `[forked_python(), "eval.py", ...]` runs the same code
in a process of its own, with its own session, and so do the other ranks that it starts. Tests of
the start itself (imports, `--help`, `make`'s set-up) use `sys.executable`.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
IMPORTED = (
    "torch",
    "torch._dynamo",
    "torchvision",
    "pytorch_lightning",
    "transformers.models.roberta.modeling_roberta",
    "timm",
    "rvos.app.evaluation",
    "rvos.app.training",
    "rvos.coarse.grounded",
    "rvos.coarse.segment",
    "rvos.coarse.stage",
    "rvos.masklets.flow",
    "rvos.tracking.instances",
    "rvos.masklets.keyframe",
    "rvos.tracking.sam2",
    "rvos.mutr.build",
    "rvos.report.html",
    "rvos.report.plots",
    "rvos.score.evaluate",
)
SHARED = "RVOS_FORKED_PYTHON"  # variable with the path, where another process has the server


@cache
def forked_python() -> str:
    """Starts the server of this process, the first time; its clients wait until it is ready."""
    if SHARED in os.environ:
        return os.environ[SHARED]
    folder = Path(tempfile.mkdtemp(prefix="rvos_fork_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    address, python = folder / "socket", folder / "python"
    client = [sys.executable, "-IS", str(HERE / "fork_client.py"), str(address)]
    python.write_text(f'#!/bin/sh\nexec {shlex.join(client)} "$@"\n')
    python.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, str(address), str(python)],
        stdin=subprocess.PIPE,  # ends when this process does, and the server with it
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *_python_path()])},
    )
    assert server.stdin is not None
    atexit.register(server.stdin.close)
    return str(python)


def _python_path() -> list[str]:
    return [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]


def serve(address: str) -> tuple[dict[str, Any], list[int]] | None:
    """Fork for each job; returns the job in the process that is to do it, None at the end."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen()
    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    jobs: dict[int, socket.socket] = {}  # process -> its client
    while True:
        ready, _, _ = select.select([0, ended, listener, *jobs.values()], [], [])
        if 0 in ready:  # nothing is ever written: whom it serves has ended
            for pid in jobs:
                _kill(pid)
            return None
        if ended in ready:
            os.read(ended, 1000)
        while jobs and (found := os.waitpid(-1, os.WNOHANG))[0]:
            client = jobs.pop(found[0])
            with contextlib.suppress(OSError):  # the client may have been killed
                client.send(str(os.waitstatus_to_exitcode(found[1])).encode())
            client.close()
        for pid, client in jobs.items():
            if client in ready:  # killed
                _kill(pid)
        if listener in ready:
            client, _ = listener.accept()
            message, files, _, _ = socket.recv_fds(client, 1 << 20, 3)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (listener, client, *jobs.values()):
                    other.close()
                os.close(ended)
                os.close(wake)
                return json.loads(message), files
            for file in files:
                os.close(file)
            client.send(str(pid).encode())
            jobs[pid] = client


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        os.killpg(pid, signal.SIGKILL)


def do(job: dict[str, Any], files: list[int], python: str) -> None:
    """What `python` does with the arguments of a job."""
    os.setsid()
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.executable = python  # other ranks are forked too
    first, *rest = job["arguments"]
    sys.path[:0] = [*_python_path()]
    if first == "-m":
        sys.path.insert(0, job["folder"])
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.path.insert(0, job["folder"])
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.path.insert(0, str(Path(first).resolve().parent))
        sys.argv = [first, *rest]
        runpy.run_path(first, run_name="__main__")


def end_of(program: Callable[[], None]) -> int:
    """Run it; its exit status, as Python's, when all that waits for the end of a program is done.

    What Python would do after that, to take its modules apart, lasts for two seconds here.
    """
    try:
        program()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return status


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    sys.path.remove(str(HERE))
    gc.freeze()  # a forked process would copy what its collector marks
    received = serve(sys.argv[1])
    os._exit(end_of(partial(do, *received, python=sys.argv[2])) if received else 0)
