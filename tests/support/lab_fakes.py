# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins for QEMU, SPDK and ssh that behave, or misbehave, as a test wants."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

GREETING = {"QMP": {"version": {}, "capabilities": []}}
Answer = Callable[[dict[str, Any]], list[dict[str, Any]]]


def qemu_capabilities(path: str = "/usr/bin/qemu-system-x86_64") -> dict[str, Any]:
    """Capabilities of a QEMU that has every device and no list of properties."""
    devices = ("nvme", "virtio-blk-pci", "virtio-scsi-pci", "vhost-user-blk-pci", "vfio-user-pci")
    return {
        "path": path,
        "version": "99.1.0",
        "devices": {name: [] for name in (*devices, "pvpanic-pci")},
        "accelerators": ["kvm", "tcg"],
        "panic_actions": ["exit-failure", "pause"],
        "qboot": "/firmware/qboot.rom",
    }


def device(name: str = "disk", slot: int = 16, model: str = "nvme", **more: Any) -> dict[str, Any]:
    """One device as a plan writes it."""
    served = model in {"vhost-user-blk", "vfio-user-pci"}
    return {
        "name": name,
        "slot": slot,
        "model": model,
        "properties": {},
        "iothreads": 0,
        "backend": None if served else {"kind": "null-co", "size_mib": 64},
        "export": name if served else None,
        **more,
    }


def guest_spec(*devices: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One guest as a plan writes it."""
    spec = {"name": "guest-1", "vcpus": 2, "memory_mib": 64, "cpus": None, "iothread_cpus": None}
    return {**spec, "devices": list(devices), **more}


def lab_image(root: Path) -> dict[str, Any]:
    """A guest image that nothing can boot, with the keys beside it."""
    directory = root / "images" / "fake-0123"
    directory.mkdir(parents=True)
    (root / "keys").mkdir()
    for name in ("id_ed25519", "known_hosts"):
        (root / "keys" / name).write_text("fake")
    for name in ("disk.raw", "kernel"):
        (directory / name).write_bytes(bytes(1 << 20))
    return {
        "name": "fake",
        "digest": "0123",
        "directory": str(directory),
        "boot": "direct",
        "disk": str(directory / "disk.raw"),
        "kernel": str(directory / "kernel"),
        "initrd": None,
        "kernel_cmdline": "console=ttyS0 root=/dev/fake",
    }


def program(path: Path, text: str) -> str:
    """Write an executable Python program; return its path."""
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return str(path)


@contextmanager
def unix_server(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    """Serve one client at a time on a unix socket until the end of the block."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def accept() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client, suppress(OSError):
                serve(client)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def qmp_session(answer: Answer, greeting: object = GREETING) -> Callable[[socket.socket], None]:
    """Speak QMP with one client; ``answer`` gives the messages that follow a command."""

    def serve(client: socket.socket) -> None:
        client.sendall(json.dumps(greeting).encode() + b"\r\n")
        for line in client.makefile("rb"):
            command = json.loads(line)
            replies = (
                [{"return": {}}] if command["execute"] == "qmp_capabilities" else answer(command)
            )
            for reply in replies:
                whole = {**reply, "id": command["id"]} if "event" not in reply else reply
                client.sendall(json.dumps(whole).encode() + b"\r\n")

    return serve
