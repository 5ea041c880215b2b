"""Stands in for `python`: a process forked by fork_server.py runs the command, this one waits.

    python -IS fork_client.py SOCKET script.py ...     or     SOCKET -m module ...

Input, output, folder, environment, signals and exit status are passed on. Whoever kills this
process kills that one, with all that it started.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import time

server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
for _ in range(1200):  # two minutes: the server may still be importing
    with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
        server.connect(sys.argv[1])
        break
    time.sleep(0.1)
else:
    sys.exit("no fork server; its own message says why")
job = {"arguments": sys.argv[2:], "folder": os.getcwd(), "environment": dict(os.environ)}
socket.send_fds(server, [json.dumps(job).encode()], [0, 1, 2])
pid = int(server.recv(100))
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, lambda number, frame: os.kill(pid, number))
status = int(server.recv(100))
if status < 0:  # ended by a signal
    signal.signal(-status, signal.SIG_DFL) if -status != signal.SIGKILL else None
    os.kill(os.getpid(), -status)
sys.exit(status)
