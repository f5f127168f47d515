# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""qemu-storage-daemon as a storage target: vhost-user-blk exports.

Source: qemu-storage-daemon(1); docs/interop/qemu-storage-daemon-qmp-ref.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qmp import (
    Qmp,
    QmpError,
    check_socket_path,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.target import backends
from ansible_collections.nvmelab.bench.plugins.module_utils.target.running import (
    RunningTarget,
    TargetError,
    stopped_on_error,
    unit_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import Backend

_READY_S = 30.0
_POLL_S = 0.02


def start(
    spec: Mapping[str, Any], directory: Path, capabilities: Mapping[str, Any]
) -> RunningTarget:
    """Return the running daemon; see storage_target.start_target."""
    name = spec["name"]
    program = _program(name, capabilities)
    sockets = {e["name"]: str(directory / f"{e['name']}.sock") for e in spec["exports"]}
    monitor = directory / f"{name}.qmp"
    for path in (*sockets.values(), str(monitor)):
        Path(check_socket_path(path)).unlink(missing_ok=True)
    made: dict[str, Backend] = {}
    unit = unit_of(spec, directory)
    try:
        for export in spec["exports"]:
            made[export["name"]] = backends.create(
                export["backend"], name=f"{name}-{export['name']}", directory=directory
            )
        process = processes.start(
            daemon_argv(spec, program, made, sockets, monitor),
            name=name,
            log_path=directory / "logs" / f"{name}.log",
            record_dir=directory / "processes",
            cpus=parse_cpu_list(spec["cpus"]) if spec.get("cpus") else None,
            unit=unit,
        )
    except BaseException:
        for backend in made.values():
            backends.remove(backend)
        raise
    target = RunningTarget(
        process=process,
        directory=directory,
        sockets=sockets,
        spec=dict(spec),
        backends=made,
        leftovers=(str(monitor),),
        unit=unit,
    )
    with stopped_on_error(target):
        _await_exports(target, monitor)
    return target


def _program(name: str, capabilities: Mapping[str, Any]) -> str:
    daemon = capabilities.get("qemu_storage_daemon")
    if daemon and "vhost-user-blk" in daemon["exports"]:
        return str(daemon["path"])
    found = f"{daemon['path']} cannot export it" if daemon else "it is not installed"
    raise TargetError(
        f"{name}: wanted a qemu-storage-daemon that exports vhost-user-blk: {found}; install "
        "qemu-system-common (Debian) or a QEMU build with it"
    )


def daemon_argv(
    spec: Mapping[str, Any],
    program: str,
    made: Mapping[str, Backend],
    sockets: Mapping[str, str],
    monitor: Path,
) -> list[str]:
    """Return the daemon's argument list; pure. Each export has an IOThread of its own.

    The monitor comes last: options are worked off in order, so once it answers, all exports
    before it have been made.
    """
    argv = [program]
    for number, export in enumerate(spec["exports"]):
        queues = export.get("num_queues") or os.cpu_count() or 1
        backend, path = made[export["name"]], sockets[export["name"]].replace(",", ",,")
        argv += ["--blockdev", backend.blockdev(f"node{number}")]
        argv += ["--object", f"iothread,id=io{number}"]
        export_text = (
            f"type=vhost-user-blk,id=export{number},node-name=node{number},addr.type=unix,"
            f"addr.path={path},writable=on,num-queues={queues},iothread=io{number}"
        )
        argv += ["--export", export_text]
    argv += ["--chardev", f"socket,id=mon,path={monitor},server=on,wait=off"]
    return [*argv, "--monitor", "chardev=mon"]


def _await_exports(target: RunningTarget, monitor: Path) -> None:
    """Wait until the daemon itself says that it has every export.

    The sockets are not tried: each serves one client, and that is the guest.
    """
    end = time.monotonic() + _READY_S
    wanted = {f"export{number}" for number in range(len(target.sockets))}
    while time.monotonic() < end:
        if not processes.is_alive(target.process):
            target.check()  # raises with the reason
        with contextlib.suppress(QmpError), Qmp(monitor) as qmp:
            found = {export["id"] for export in qmp.execute("query-block-exports")}
            if wanted <= found:
                target.check()
                return
        time.sleep(_POLL_S)
    raise TargetError(
        f"{target.name}: qemu-storage-daemon runs, but had not made its "
        f"{len(wanted)} exports after {_READY_S:g} s",
        log=target.process.log,
    )
