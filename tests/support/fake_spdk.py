# SPDX-License-Identifier: GPL-3.0-or-later
"""An SPDK application that listens for JSON-RPC, and remembers what it was told.

Its RPC socket is there before it answers, as the real one's; ``FAKE_SPDK`` makes it misbehave.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

WISH = os.environ.get("FAKE_SPDK", "")
RPC = sys.argv[sys.argv.index("-r") + 1]


def say(text: str) -> None:
    """Write a line to the log."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def make_socket(params: dict[str, Any]) -> None:
    """Make what QEMU would connect to."""
    if "listen_address" in params:
        path = Path(params["listen_address"]["traddr"], "cntrl")
    else:
        path = Path(sys.argv[sys.argv.index("-S") + 1], params["ctrlr"])
    if path.exists():
        raise FileExistsError(path)
    socket.socket(socket.AF_UNIX).bind(str(path))


def answer(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the answer that tells a result from an error."""
    say(json.dumps([method, params]))
    if method == WISH:
        say("vfio_user.c: something is wrong")
        return {"error": {"code": -32602, "message": "Invalid parameters"}}
    if method in {"nvmf_subsystem_add_listener", "vhost_create_blk_controller"}:
        make_socket(params)
    return {"result": True}


def main() -> None:
    """Serve one client after the other."""
    if WISH == "dies":
        sys.exit("EAL: No free 2048 kB hugepages reported on node 0")
    server = socket.socket(socket.AF_UNIX)
    server.bind(RPC)
    time.sleep(0.2)
    server.listen()
    while True:
        client, _ = server.accept()
        decoder, text = json.JSONDecoder(), ""
        while data := client.recv(7):  # requests come in pieces
            text += data.decode()
            try:
                request, end = decoder.raw_decode(text)
            except ValueError:
                continue
            text = text[end:]
            reply = {"id": request["id"], **answer(request["method"], request.get("params", {}))}
            client.sendall(json.dumps(reply).encode())


if __name__ == "__main__":
    main()
