# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a guest's specification to its first login, every wait with a deadline and a witness."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.guest import running as guest
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.preflight import require_startable
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qemu_command import (
    GuestFiles,
    qemu_argv,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qmp import Qmp, QmpError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.running import (
    GuestError,
    RunningGuest,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.ssh_target import (
    BannerWatch,
    SshError,
    SshTarget,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.threads import (
    pin_threads,
    process_cpus,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.watch import find_trouble
from ansible_collections.nvmelab.bench.plugins.module_utils.image.lab_keys import LabKeys
from ansible_collections.nvmelab.bench.plugins.module_utils.target import backends

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import Backend

_PORT_TRIES = 5
_PORT_TAKEN = "Could not set up host forwarding rule"
_POLL_S = 0.05
_STATUS_EVERY_S = 0.5


@dataclass
class Boot:
    """One start of one guest."""

    spec: Mapping[str, Any]
    directory: Path
    image: Mapping[str, Any]
    qemu: Mapping[str, Any]
    accelerator: str
    sockets: dict[str, str]

    @property
    def name(self) -> str:
        """The guest's name, as every message begins."""
        return str(self.spec["name"])

    def launch(self, deadline_s: float) -> tuple[RunningGuest, float]:
        """Return the guest as soon as its QEMU runs, and when that was started (monotonic)."""
        require_startable(self.spec, self.directory, self.image, self._keys, self.sockets)
        made: dict[str, Backend] = {}
        try:
            for device in self.spec["devices"]:
                if device.get("backend"):
                    made[device["name"]] = backends.create(
                        device["backend"],
                        name=f"{self.name}-{device['name']}",
                        directory=self.directory,
                    )
            return self._launch(made, deadline_s)
        except BaseException:
            for backend in made.values():
                backends.remove(backend)
            raise

    @property
    def _keys(self) -> LabKeys:
        """The lab's keys: ``<root>/keys``, where the image is ``<root>/images/<name>``."""
        return LabKeys(Path(self.image["directory"]).parent.parent / "keys")

    def _launch(self, made: dict[str, Backend], deadline_s: float) -> tuple[RunningGuest, float]:
        for _ in range(_PORT_TRIES):
            port = free_port()
            started = time.monotonic()
            running = self._start_qemu(made, port)
            try:
                if self._await_qmp(running, started, deadline_s):
                    if running.qmp is not None:
                        running.threads = pin_threads(self.spec, running.qmp)
                    return running, started
            except BaseException:
                running.stop()
                raise
            running.stop()
        raise GuestError(
            f"{self.name}: {_PORT_TRIES} times another process took the port that was free just "
            f"before (last: {port}); see net.ipv4.ip_local_port_range and what listens: ss -ltn",
            log=running.process.log,
        )

    def _start_qemu(self, made: dict[str, Backend], port: int) -> RunningGuest:
        log_path = self.directory / "logs" / f"{self.name}.qemu.log"
        files = self._fresh_files(made, log_path)
        argv = qemu_argv(
            self.spec, qemu=self.qemu, accelerator=self.accelerator, files=files, ssh_port=port
        )
        process = processes.start(
            argv,
            name=self.name,
            log_path=log_path,
            record_dir=self.directory / "processes",
            cpus=process_cpus(self.spec),
            # The snapshot of the root disk is a file without a name in this folder.
            env={"TMPDIR": str(self.directory)},
        )
        key, known_hosts = str(self._keys.private_key), str(self._keys.known_hosts)
        return RunningGuest(
            name=self.name,
            process=process,
            ssh=SshTarget("127.0.0.1", port, "root", key, known_hosts),
            boot_s=0.0,
            directory=self.directory,
            spec=dict(self.spec),
            accelerator=self.accelerator,
            backends=made,
        )

    def _fresh_files(self, made: dict[str, Backend], log_path: Path) -> GuestFiles:
        """Return the guest's paths, with nothing of an earlier boot under them."""
        serial_log = guest.serial_log_path(self.directory, self.name)
        qmp_socket = guest.qmp_socket_path(self.directory, self.name)
        serial_log.parent.mkdir(parents=True, exist_ok=True)
        for log in (serial_log, log_path):
            _keep_older(log)
        qmp_socket.unlink(missing_ok=True)
        return GuestFiles(
            disk=self.image["disk"],
            kernel=self.image.get("kernel"),
            initrd=self.image.get("initrd"),
            kernel_cmdline=self.image.get("kernel_cmdline") or "",
            serial_log=str(serial_log),
            qmp_socket=str(qmp_socket),
            backends=made,
            sockets=self.sockets,
        )

    def _await_qmp(self, running: RunningGuest, started: float, deadline_s: float) -> bool:
        """Return True with the control session open; False when the port was taken."""
        for _ in self._until(running, started, deadline_s, "QEMU's control socket"):
            try:
                self.require_no_trouble(running)
            except GuestError:
                if _PORT_TAKEN in processes.log_tail(running.process.log):
                    return False
                raise
            with contextlib.suppress(QmpError):
                running.qmp = Qmp(running.qmp_socket)
                return True
            time.sleep(_POLL_S)
        raise AssertionError("unreachable")

    def finish(self, running: RunningGuest, started: float, deadline_s: float) -> RunningGuest:
        """Return the guest once a login has worked."""
        self._await_banner(running, started, deadline_s)
        self._log_in(running, started, deadline_s)
        running.boot_s = round(time.monotonic() - started, 3)
        running.save()
        return running

    def _await_banner(self, running: RunningGuest, started: float, deadline_s: float) -> None:
        looked = time.monotonic()
        with BannerWatch(running.ssh.host, running.ssh.port) as watch:
            for _ in self._until(running, started, deadline_s, "the guest's SSH banner"):
                if watch.seen(_POLL_S):
                    return
                if time.monotonic() - looked >= _STATUS_EVERY_S:
                    self.require_no_trouble(running)
                    looked = time.monotonic()

    def _log_in(self, running: RunningGuest, started: float, deadline_s: float) -> None:
        left = max(1.0, deadline_s - (time.monotonic() - started))
        try:
            running.ssh.login(left)
        except SshError as error:
            self.require_no_trouble(running)
            raise GuestError(self._with_logs(running, str(error))) from error

    def _until(
        self, running: RunningGuest, started: float, deadline_s: float, awaited: str
    ) -> Iterator[None]:
        """Yield until the deadline, then raise with all that is known."""
        while time.monotonic() - started < deadline_s:
            yield
        self.require_no_trouble(running)
        waited = time.monotonic() - started
        raise GuestError(
            self._with_logs(running, f"waited {waited:.0f} s in vain for {awaited}; QEMU runs")
        )

    def require_no_trouble(self, running: RunningGuest) -> None:
        """Raise the GuestError of a guest with which something is wrong."""
        trouble = find_trouble(running.process, running.qmp, running.serial_log)
        if trouble:
            raise GuestError(self._with_logs(running, trouble))

    def _with_logs(self, running: RunningGuest, message: str) -> str:
        last = processes.log_tail(running.serial_log, 1)
        console = f"the console's last line: {last!r}" if last else "the console stayed silent"
        return (
            f"{self.name}: {message}; accelerator {self.accelerator}; {console}; "
            f"console: {running.serial_log}; QEMU's log: {running.process.log}"
        )


def free_port() -> int:
    """Return a TCP port that is free on 127.0.0.1 now. Another process may still be quicker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _keep_older(log: Path) -> None:
    """Move the log of an earlier boot of the same guest aside: ``x.log`` to ``x.1.log``."""
    if not log.exists():
        return
    number = 1
    while (older := log.with_name(f"{log.stem}.{number}{log.suffix}")).exists():
        number += 1
    log.rename(older)
