#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program that is to its callers what SPDK's nvmf_tgt or vhost is, without SPDK's needs.

It speaks JSON-RPC as they do (spdk_model.py) and serves every vfio-user listener with the NVMe
controller of nvme_controller.py, which a real QEMU attaches. Like the real one it listens before
it answers, removes its sockets on SIGTERM and leaves them on SIGKILL.

usage: as nvmf_tgt or, with -S FOLDER, as vhost; environment FAKE_SPDK makes it misbehave:
  dies            before it is ready
  METHOD          this method is refused
  segfaults       on SIGTERM, after removing its sockets
  error:AFTER, silence:AFTER, die:AFTER  its devices, from the AFTERth read or write on;
                  NAME=KIND:AFTER,…  only the device whose listener's folder is NAME
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from nvme_controller import Fault, NvmeController
from spdk_model import Refusal, Spdk
from vfio_user_server import Server, listen

# Whether the reader is quick or slow, a request comes in pieces.
PIECE_BYTES = 7
WISH = os.environ.get("FAKE_SPDK", "")
MADE: set[Path] = set()


def say(text: str) -> None:
    """Write a line to the log."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def option(name: str) -> str | None:
    """Return the value of a command line option."""
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None


def fault_of(name: str) -> Fault:
    """Return what shall go wrong with a device."""
    for word in WISH.split(","):
        whose, _, wish = word.rpartition("=")
        kind, _, after = wish.partition(":")
        if after and whose in {"", name}:
            return Fault(kind, int(after))
    return Fault()


def serve_device(path: Path, bdev: dict[str, Any]) -> None:
    """Serve a bdev as a controller to QEMU; as a bare socket where no guest will come."""
    listener = listen(path)
    MADE.add(path)
    size = bdev["num_blocks"] * bdev["block_size"] if bdev else 0
    if path.name != "cntrl":
        return
    server = Server()
    name = path.parent.name
    controller = NvmeController(server, size, fault_of(name), serial=name)
    threading.Thread(target=server.serve_at, args=(listener, controller), daemon=True).start()


def forget(path: Path) -> None:
    """Remove a socket of ours."""
    path.unlink(missing_ok=True)
    MADE.discard(path)


def end(_number: int, _frame: object) -> None:
    """Leave as the real ones do: without a trace; or with a SIGSEGV, as also seen."""
    for path in list(MADE):
        forget(path)
    if WISH == "segfaults":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    os._exit(0)


def answer(spdk: Spdk, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to one request."""
    method, params = request["method"], request.get("params", {})
    say(json.dumps([method, params]))
    try:
        said: dict[str, Any] = {"result": spdk.call(method, params)}
    except Refusal as refusal:
        if refusal.log:
            say(refusal.log)
        said = {"error": {"code": refusal.code, "message": refusal.message}}
    return {"jsonrpc": "2.0", "id": request["id"], **said}


def converse(spdk: Spdk, client: socket.socket) -> None:
    """Answer one client until it leaves."""
    decoder, text = json.JSONDecoder(), ""
    while data := client.recv(PIECE_BYTES):
        text += data.decode()
        try:
            request, length = decoder.raw_decode(text)
        except ValueError:
            continue
        text = text[length:]
        client.sendall(json.dumps(answer(spdk, request)).encode())


def main() -> None:
    """Serve one client after the other until a signal comes."""
    if "-v" in sys.argv:
        sys.exit(say("SPDK v25.05 git sha1 665a10525b"))
    if WISH == "dies":
        sys.exit("EAL: No free 2048 kB hugepages reported on node 0")
    rpc, folder = Path(option("-r") or "/var/tmp/spdk.sock"), option("-S")
    is_refused = WISH if "_" in WISH else ""
    spdk = Spdk(serve_device, forget, Path(folder) if folder else None, is_refused)
    signal.signal(signal.SIGTERM, end)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(rpc))
    MADE.add(rpc)
    time.sleep(0.2)  # the real socket, too, is there before anybody listens
    server.listen()
    while True:
        client, _ = server.accept()
        with client:
            converse(spdk, client)


if __name__ == "__main__":
    main()
