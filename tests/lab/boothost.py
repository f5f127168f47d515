#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab host that can be rebooted: a QEMU machine that boots by its own GRUB, reached over SSH.

nspawn hosts have no kernel of their own. This one has, and keeps what is written to its disk over
reboots, but not over `down`. ``inventory.yml`` in its folder says how it is reached.

usage: boothost.py up | down
Needs root (to build the disk) and the packages of ../packages.txt. The folder is .cache/boothost
of the checkout.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import boot_image

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.boot import free_port
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.ssh_target import (
    BannerWatch,
    SshTarget,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image import lab_keys

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "boothost"
NAME = "boots-itself"
VCPUS, MEMORY_MIB = 2, 512
# For what TCG has translated. It looks through that at each write to where code was, after a reboot
# nearly everywhere: a boot took 23 s of CPU with the default (1 GiB), 12 s with this, 26 s with 16.
TRANSLATIONS_MIB = 64
# It takes 10 s on an idle machine.
READY_S = 180
POLL_S = 0.1
PORT_TRIES = 3


def argv(disk: Path, serial_log: Path, port: int) -> list[str]:
    """QEMU's command: no kernel is given, and a reboot is a reboot.

    TCG always, for where KVM is nested a guest may hang. Without graphics GRUB and the BIOS write
    to the serial line too. The disk itself is not written to: snapshot keeps that in a file that
    is gone with QEMU.
    """
    drive = f"if=none,id=root,file={disk},format=raw,cache=unsafe,snapshot=on"
    forward = f"user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"
    words = ["qemu-system-x86_64", "-name", NAME, "-nodefaults", "-no-user-config"]
    words += ["-machine", "q35,graphics=off", "-accel"]
    words += [f"tcg,thread=multi,tb-size={TRANSLATIONS_MIB}"]
    words += ["-cpu", "max,la57=off", "-smp", str(VCPUS), "-m", f"{MEMORY_MIB}M"]
    words += ["-display", "none", "-serial", f"file:{serial_log}"]
    words += ["-drive", drive, "-device", "nvme,drive=root,serial=root,bootindex=1"]
    words += ["-netdev", forward, "-device", "virtio-net-pci,netdev=net0,romfile="]
    return words


def up(folder: Path) -> None:
    """Have it running and reachable, from the disk as it was built."""
    down(folder)
    folder.mkdir(parents=True, exist_ok=True)
    keys = lab_keys.lab_keys(folder)
    lab_keys.make(keys)
    disk = boot_image.disk(folder, keys)
    try:
        _write_inventory(folder, keys, _start(folder, disk, keys))
    except BaseException:
        down(folder)
        raise


def _start(folder: Path, disk: Path, keys: lab_keys.LabKeys) -> SshTarget:
    serial_log, log = folder / "serial.log", folder / "qemu.log"
    for _ in range(PORT_TRIES):
        port = free_port()
        serial_log.write_text("", encoding="utf-8")
        log.write_text("", encoding="utf-8")
        qemu = processes.start(
            argv(disk, serial_log, port), name=NAME, log_path=log, record_dir=_records(folder)
        )
        ssh = SshTarget("127.0.0.1", port, "root", str(keys.private_key), str(keys.known_hosts))
        if _wait(qemu, ssh, serial_log):
            return ssh
        if "host forwarding" not in log.read_text(encoding="utf-8"):
            raise NvmelabError(f"QEMU: {processes.exit_reason(qemu)}", log=str(log))
        processes.stop(qemu)
    raise NvmelabError(f"{PORT_TRIES} times another process took the port that was free")


def _wait(qemu: processes.Process, ssh: SshTarget, serial_log: Path) -> bool:
    """Wait for the first login; False when QEMU ended.

    Raises:
        NvmelabError: nobody answered in time; with the end of the serial line.
    """
    deadline = time.monotonic() + READY_S
    # One watch for all the time: on a busy machine a banner comes seconds after the connection.
    with BannerWatch(ssh.host, ssh.port) as watch:
        while processes.is_alive(qemu) and not watch.seen(POLL_S):
            if time.monotonic() > deadline:
                raise NvmelabError(
                    f"{NAME}: no SSH banner within {READY_S} s; its serial line ended:\n"
                    f"{processes.log_tail(serial_log)}"
                )
    if not processes.is_alive(qemu):
        return False
    ssh.login(READY_S)
    return True


def _write_inventory(folder: Path, keys: lab_keys.LabKeys, ssh: SshTarget) -> None:
    """Write inventory.yml; JSON is YAML."""
    options = {
        "UserKnownHostsFile": str(keys.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": lab_keys.HOST_KEY_ALIAS,
        "IdentitiesOnly": "yes",
        "KexAlgorithms": "curve25519-sha256",
    }
    words = ["-F none", *(f"-o {name}={value}" for name, value in options.items())]
    variables = {
        "ansible_host": ssh.host,
        "ansible_port": ssh.port,
        "ansible_user": ssh.user,
        "ansible_ssh_private_key_file": ssh.key_path,
        "ansible_ssh_common_args": " ".join(words),
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    text = json.dumps({"lab": {"hosts": {NAME: variables}}}, indent=1) + "\n"
    (folder / "inventory.yml").write_text(text, encoding="utf-8")


def _records(folder: Path) -> Path:
    records = folder / "processes"
    records.mkdir(exist_ok=True)
    return records


def down(folder: Path) -> None:
    """End it; the disk and the keys stay for the next time."""
    if folder.is_dir():
        processes.stop_recorded(_records(folder))
        (folder / "inventory.yml").unlink(missing_ok=True)


def main() -> int:
    """Run the command; 1 with one line on stderr when it fails."""
    if os.geteuid() != 0:
        print("boothost: needs root", file=sys.stderr)  # noqa: T201
        return 1
    try:
        match sys.argv[1:]:
            case ["up"]:
                up(FOLDER)
            case ["down"]:
                down(FOLDER)
            case words:
                print(f"boothost: {words}: not understood\n{__doc__}", file=sys.stderr)  # noqa: T201
                return 2
    except (OSError, NvmelabError) as error:
        print(f"boothost: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
