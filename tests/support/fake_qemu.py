# SPDX-License-Identifier: GPL-3.0-or-later
"""A QEMU that boots at once, or fails as a test wants: see ``FAKE_QEMU`` in the environment.

It takes the arguments of the real one, opens the control socket and the forwarded port, and
answers with the banner of an SSH server.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

WISH = os.environ.get("FAKE_QEMU", "")
ARGV = " ".join(sys.argv)
SERIAL = Path(re.search(r"-serial file:(\S+)", ARGV)[1])  # type: ignore[index]
QMP_SOCKET = re.search(r"-qmp unix:([^ ,]+)", ARGV)[1]  # type: ignore[index]
PORT = int(re.search(r"hostfwd=tcp:127.0.0.1:(\d+)", ARGV)[1])  # type: ignore[index]
THREAD = threading.get_native_id()
STATE = {"status": "running"}
ANSWERS: dict[str, Any] = {
    "query-cpus-fast": [{"cpu-index": 0, "thread-id": THREAD}],
    "query-iothreads": [{"id": "disk-io0", "thread-id": THREAD}],
}


def reply(command: str) -> dict[str, Any]:
    """Return the answer to a command, and change state as it says."""
    if command in {"stop", "cont"}:
        STATE["status"] = "paused" if command == "stop" else "running"
    return {"return": STATE if command == "query-status" else ANSWERS.get(command, {})}


def serve_qmp(server: socket.socket) -> None:
    """Serve one client after the other, as QEMU does."""
    while True:
        client, _ = server.accept()
        with client:
            client.sendall(b'{"QMP": {}}\r\n')
            for line in client.makefile("rb"):
                request = json.loads(line)
                if WISH == "full" and request["execute"] == "query-status":
                    data = {"node-name": "node-disk", "nospace": True}
                    event = {"event": "BLOCK_IO_ERROR", "data": data}
                    client.sendall(json.dumps(event).encode() + b"\r\n")
                answer = {**reply(request["execute"]), "id": request["id"]}
                client.sendall(json.dumps(answer).encode() + b"\r\n")
                if request["execute"] == "quit":
                    os._exit(0)


def serve_ssh(server: socket.socket) -> None:
    """Say the banner to everybody."""
    while True:
        client, _ = server.accept()
        with client:
            client.sendall(b"SSH-2.0-fake\r\n")


def main() -> None:
    """Run until told to quit."""
    if WISH == "dies":
        sys.exit("qemu-fake: something is wrong")
    ssh = socket.socket()
    try:
        ssh.bind(("127.0.0.1", PORT))
    except OSError:
        sys.exit(f"qemu-fake: Could not set up host forwarding rule 'tcp:127.0.0.1:{PORT}-:22'")
    ssh.listen()
    qmp = socket.socket(socket.AF_UNIX)
    qmp.bind(QMP_SOCKET)
    qmp.listen()
    SERIAL.write_text("[    0.1] booting\n")
    threading.Thread(target=serve_qmp, args=(qmp,), daemon=True).start()
    if WISH == "panic":
        with SERIAL.open("a") as log:
            log.write("[    0.2] Kernel panic - not syncing: no root\n[    0.3] trace\n")
        sys.exit(1)
    if WISH in {"io-error", "paused"}:
        STATE["status"] = WISH
    elif WISH != "silent":
        serve_ssh(ssh)
    time.sleep(600)


if __name__ == "__main__":
    main()
