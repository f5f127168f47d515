# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest that runs: what it is, how it is asked, paused and stopped, and found again."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

from ansible_collections.nvmelab.bench.plugins.module_utils import processes, remembered
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qmp import Qmp, QmpError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.ssh_target import SshTarget
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.watch import find_trouble
from ansible_collections.nvmelab.bench.plugins.module_utils.target import backends

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ansible_collections.nvmelab.bench.plugins.module_utils.processes import Process
    from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import Backend

AnyPath = Union[str, "os.PathLike[str]"]

_QUIT_S = 3.0


class GuestError(NvmelabError):
    """A guest could not be started, or something is wrong with it."""


@dataclass
class RunningGuest:
    """One guest whose SSH login has worked. Not frozen: it can be paused."""

    name: str
    process: Process
    ssh: SshTarget
    boot_s: float  # from QEMU's start to the first login
    directory: Path
    spec: dict[str, Any]
    accelerator: str
    backends: dict[str, Backend] = field(default_factory=dict)
    threads: list[dict[str, Any]] = field(default_factory=list)  # see guest_threads.pin_threads
    qmp: Optional[Qmp] = None
    paused: bool = False

    @property
    def argv(self) -> list[str]:
        """QEMU's whole argument list."""
        return list(self.process.argv)

    @property
    def serial_log(self) -> Path:
        """Where the guest's console is written."""
        return serial_log_path(self.directory, self.name)

    @property
    def qmp_socket(self) -> Path:
        """QEMU's control socket; it serves one client."""
        return qmp_socket_path(self.directory, self.name)

    def device_address(self, name: str) -> str:
        """Return the PCI address of a device inside the guest, e.g. ``0000:00:10.0``."""
        for device in self.spec["devices"]:
            if device["name"] == name:
                return f"0000:00:{device['slot']:02x}.0"
        names = ", ".join(device["name"] for device in self.spec["devices"]) or "none"
        raise GuestError(f"{self.name}: no device {name!r}; it has {names}")

    def check(self) -> None:
        """Return when all is well; takes about a millisecond.

        Raises:
            GuestError: QEMU has ended, the guest's kernel panicked, the guest is held after an
                I/O error, a disk on the lab host is full, or QEMU does not answer.
        """
        with contextlib.suppress(QmpError):  # what that means is found out below
            self.control()
        trouble = find_trouble(self.process, self.qmp, self.serial_log, paused_by_us=self.paused)
        if trouble is None and self.qmp is None:
            trouble = f"QEMU runs (pid {self.process.pid}) but its QMP socket cannot be reached"
        if trouble:
            raise GuestError(
                f"{self.name}: {trouble}; console: {self.serial_log}", log=self.process.log
            )

    def pause(self) -> None:
        """Stop the guest's CPUs, so that it takes no time of the host's."""
        self.control().execute("stop")
        self.paused = True

    def resume(self) -> None:
        """Let a paused guest go on."""
        self.control().execute("cont")
        self.paused = False

    def control(self) -> Qmp:
        """Return the open QMP session, opening it when there is none."""
        if self.qmp is None:
            self.qmp = Qmp(self.qmp_socket)
        return self.qmp

    def stop(self) -> None:
        """End QEMU and remove all that belonged to the guest, but its logs.

        The guest is thrown away, not shut down: its root disk is a snapshot.
        """
        with contextlib.suppress(QmpError):
            if processes.is_alive(self.process):
                self.control().execute("quit", deadline_s=_QUIT_S)
                processes.wait(self.process, deadline_s=_QUIT_S)
        if self.qmp is not None:
            self.qmp.close()
            self.qmp = None
        processes.stop(self.process)
        for backend in self.backends.values():
            backends.remove(backend)
        self.qmp_socket.unlink(missing_ok=True)
        state_path(self.directory, self.name).unlink(missing_ok=True)

    def save(self) -> None:
        """Write down what :func:`load_guest` needs to find this guest again."""
        more = {
            "ssh": asdict(self.ssh),
            "boot_s": self.boot_s,
            "accelerator": self.accelerator,
            "threads": self.threads,
        }
        remembered.keep(
            state_path(self.directory, self.name),
            process=self.process,
            spec=self.spec,
            backends=self.backends,
            more=more,
        )

    def summary(self) -> dict[str, Any]:
        """Return what a play wants to know of a guest, as plain data."""
        return {
            "name": self.name,
            **asdict(self.ssh),
            "pid": self.process.pid,
            "argv": self.argv,
            "accelerator": self.accelerator,
            "boot_s": self.boot_s,
            "threads": self.threads,
            "devices": {d["name"]: self.device_address(d["name"]) for d in self.spec["devices"]},
            "qemu_log": self.process.log,
            "serial_log": str(self.serial_log),
        }


def serial_log_path(directory: AnyPath, name: str) -> Path:
    """Return where a guest's console is written."""
    return Path(directory) / "logs" / f"{name}.serial.log"


def qmp_socket_path(directory: AnyPath, name: str) -> Path:
    """Return where a guest's QEMU listens."""
    return Path(directory) / f"{name}.qmp"


def state_path(directory: AnyPath, name: str) -> Path:
    """Return the file that remembers a running guest."""
    return Path(directory) / "guests" / f"{name}.json"


def load_guest(directory: AnyPath, name: str) -> Optional[RunningGuest]:
    """Return the guest that an earlier session started here; None when none is remembered.

    It may have died since: ask :meth:`RunningGuest.check`.

    Raises:
        GuestError: what was remembered cannot be read.
    """

    def guest(state: Mapping[str, Any], common: Mapping[str, Any]) -> RunningGuest:
        return RunningGuest(
            **common,
            name=name,
            ssh=SshTarget(**state["ssh"]),
            boot_s=state["boot_s"],
            accelerator=state["accelerator"],
            threads=state["threads"],
        )

    return remembered.recall(state_path(directory, name), guest, failed=GuestError, called="QEMU")
