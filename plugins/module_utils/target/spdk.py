# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPDK's nvmf_tgt (vfio-user) and vhost (vhost-user-blk) as storage targets.

What an export asks for becomes a configuration of the same form as the module ``spdk_config``
takes, and is applied by the same code. Source: SPDK v25.05, doc/jsonrpc.md; app.c.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.serial_number import serial_number
from ansible_collections.nvmelab.bench.plugins.module_utils.target import (
    nvme_taking,
    spdk_config,
    spdk_host,
    unix_socket,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import BDEVS
from ansible_collections.nvmelab.bench.plugins.module_utils.target.running import (
    RunningTarget,
    TargetError,
    stopped_on_error,
    unit_of,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_objects import (
    Item,
    asked_items,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_rpc import (
    SpdkRpc,
    SpdkRpcError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# What an idle target took (368 MiB) and room for its queues; bdevs in memory come on top.
_BASE_MIB = 512
# On a busy machine 58 s were seen.
_READY_S = 180.0
_POLL_S = 0.05
_NQN = "nqn.2019-07.io.spdk:{}"


def start_nvmf_tgt(
    spec: Mapping[str, Any], directory: Path, capabilities: Mapping[str, Any]
) -> RunningTarget:
    """Return a running nvmf_tgt, an NVMe controller over vfio-user for each export.

    The target listens in a folder an export; what QEMU connects to is ``cntrl`` in it.
    """
    program = _program(spec, capabilities, "nvmf_tgt")
    folder = directory / "vfio-user"
    sockets = {e["name"]: str(folder / e["name"] / "cntrl") for e in spec["exports"]}
    return _start(spec, directory, [program], sockets)


def start_vhost(
    spec: Mapping[str, Any], directory: Path, capabilities: Mapping[str, Any]
) -> RunningTarget:
    """Return a running SPDK vhost, a vhost-user-blk controller for each export."""
    program = _program(spec, capabilities, "vhost")
    folder = directory / "vhost"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sockets = {export["name"]: str(folder / export["name"]) for export in spec["exports"]}
    return _start(spec, directory, [program, "-S", str(folder)], sockets)


def configuration(spec: Mapping[str, Any], sockets: Mapping[str, str]) -> dict[str, Any]:
    """Return what the exports of a plan's target ask of SPDK, as ``spdk_config`` takes it; pure.

    Raises:
        BadInputError: a backend that SPDK does not have.
    """
    exports = list(enumerate(spec["exports"]))
    bdevs = [_bdev(export, number) for number, export in exports]
    if spec["kind"] == "spdk-vhost":
        made = [_vhost(spec, export, number) for number, export in exports]
        return {"bdevs": bdevs, "vhost_controllers": made}
    subsystems = [
        {
            "nqn": nqn_of(export["name"]),
            "serial_number": serial_number(re.sub(r"[^\w-]", "", export["name"])),
            "allow_any_host": True,
            "namespaces": [{"bdev": _bdev_name(export, number)}],
            "listeners": [str(Path(sockets[export["name"]]).parent)],
        }
        for number, export in exports
    ]
    # Doorbells in mapped memory wake nobody: one who sleeps has to be told of each.
    options = {"disable_mappable_bar0": True} if spec.get("interrupt_mode") else {}
    transport = {"trtype": "VFIOUSER", "options": options}
    return {"transports": [transport], "bdevs": bdevs, "subsystems": subsystems}


def nqn_of(export: str) -> str:
    """Return the NQN of an export's subsystem."""
    return _NQN.format(export)


def _bdev(export: Mapping[str, Any], number: int) -> dict[str, Any]:
    backend = export["backend"]
    if backend["kind"] not in BDEVS:
        raise BadInputError(
            f"export {export['name']}: SPDK has no backend {backend['kind']!r}; wanted one of "
            f"{', '.join(BDEVS)}"
        )
    kept = {key: backend.get(key) for key in ("size_mib", "bdf")}
    return {"name": f"bdev{number}", "kind": BDEVS[backend["kind"]], **kept}


def _bdev_name(export: Mapping[str, Any], number: int) -> str:
    """Return the name of an export's bdev: a namespace of its controller, for a real device."""
    return bdev_name(export["backend"], f"bdev{number}")


def bdev_name(backend: Mapping[str, Any], name: str) -> str:
    """Return how SPDK calls the bdev of a backend whose bdev or controller was given ``name``."""
    is_real = backend["kind"] == nvme_taking.KIND
    return f"{name}n{backend.get('nsid') or 1}" if is_real else name


def _vhost(spec: Mapping[str, Any], export: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return one controller; several reactors share them by turns, and not as SPDK likes."""
    cpus = parse_cpu_list(spec["cpus"]) if spec.get("cpus") else []
    mask = hex(1 << cpus[number % len(cpus)]) if len(cpus) > 1 else None
    return {"name": export["name"], "bdev": _bdev_name(export, number), "cpumask": mask}


def _program(spec: Mapping[str, Any], capabilities: Mapping[str, Any], which: str) -> str:
    program = (capabilities.get("spdk") or {}).get(which)
    if not program:
        raise TargetError(
            f"{spec['name']}: no SPDK {which} was found; next: name spdk in nvmelab_builds, or an "
            "SPDK build in capabilities_spdk_directory (in role storage_target: "
            "storage_target_spdk_directory), or leave out the stacks that need it"
        )
    return str(program)


def _start(
    spec: Mapping[str, Any], directory: Path, command: list[str], sockets: dict[str, str]
) -> RunningTarget:
    asked = asked_items(configuration(spec, sockets))
    rpc = directory / f"{spec['name']}.rpc"
    _require_host(spec)
    for path in (*sockets.values(), str(rpc)):
        # A stale cntrl makes a target refuse to listen. All these lie in our run directory.
        unix_socket.require_usable(Path(path), removable=True, wanted_by=spec["name"])
    target = _launch(spec, directory, command, sockets, rpc)
    with stopped_on_error(target), _await_rpc(target, rpc) as connection:
        _configure(target, connection, asked)
    return target


def _launch(
    spec: Mapping[str, Any],
    directory: Path,
    command: list[str],
    sockets: dict[str, str],
    rpc: Path,
) -> RunningTarget:
    """Return the target as a process, to be asked by ``rpc``; it serves nothing yet."""
    name, unit = spec["name"], unit_of(spec, directory)
    sleeping = ["--interrupt-mode"] if spec.get("interrupt_mode") else []
    # From when the target runs, its end gives them back.
    with nvme_taking.taken(nvme_taking.addresses_of(spec["exports"]), directory):
        process = processes.start(
            [*command, "-r", str(rpc), *_memory_arguments(spec), *_core_arguments(spec), *sleeping],
            name=name,
            log_path=directory / "logs" / f"{name}.log",
            record_dir=directory / "processes",
            # Without its configuration file OpenSSL does not start, and SPDK not without OpenSSL.
            env={"OPENSSL_CONF": os.environ.get("OPENSSL_CONF", os.devnull)},
            unit=unit,
        )
    return RunningTarget(
        process=process,
        directory=directory,
        sockets=sockets,
        spec=dict(spec),
        leftovers=(str(rpc), f"{rpc}.lock", *spdk_host.left_behind(command[0], process.pid)),
        unit=unit,
    )


def _configure(target: RunningTarget, connection: SpdkRpc, asked: list[Item]) -> None:
    """Have it serve what is asked."""
    try:
        spdk_config.converge(
            connection, asked, own_directory=target.directory, system=nvme_taking.SYSTEM
        )
    except NvmelabError as error:
        if processes.exit_reason(target.process):
            target.check()  # raises: that it died is the cause
        raise TargetError(f"{target.name}: {target.kind}: {error}") from error
    target.check()


def _require_host(spec: Mapping[str, Any]) -> None:
    """Refuse what SPDK would refuse in words of its own, or only when it runs."""
    name = spec["name"]
    if spec.get("cpus") and not spec.get("shares_cores"):
        spdk_host.require_cores(name, parse_cpu_list(spec["cpus"]))
    if spec.get("hugepages", True):
        spdk_host.require_hugepages(name, _memory_mib(spec))


def _memory_arguments(spec: Mapping[str, Any]) -> list[str]:
    """Return how much memory, and whether it may be plain: enough to serve guests, not to judge."""
    plain = [] if spec.get("hugepages", True) else ["--no-huge"]
    return [*plain, "-s", str(_memory_mib(spec))]


def _core_arguments(spec: Mapping[str, Any]) -> list[str]:
    """Return the reactors' cores, and whether they are shared with whoever is there."""
    is_shared = not spec.get("cpus") or spec.get("shares_cores")
    cores = f"[{','.join(map(str, reactor_cpus(spec)))}]"
    return ["-m", cores, *(["--disable-cpumask-locks"] if is_shared else [])]


def reactor_cpus(spec: Mapping[str, Any]) -> list[int]:
    """Return the CPUs that a target polls on: as asked, else the last one, or last ``cores``."""
    if spec.get("cpus"):
        return parse_cpu_list(spec["cpus"])
    return sorted(os.sched_getaffinity(0))[-int(spec.get("cores") or 1) :]


def _memory_mib(spec: Mapping[str, Any]) -> int:
    in_memory = [e["backend"] for e in spec["exports"] if e["backend"]["kind"] == "bdev_malloc"]
    return _BASE_MIB + sum(int(backend["size_mib"]) for backend in in_memory)


def _await_rpc(target: RunningTarget, path: Path) -> SpdkRpc:
    """Return the connection once the target answers: its socket exists before it does."""
    end = time.monotonic() + _READY_S
    last = "no socket yet"
    while time.monotonic() < end:
        if not processes.is_alive(target.process):
            raise TargetError(
                f"{target.name}: {target.kind} {processes.exit_reason(target.process)} before it "
                f"was ready: {processes.log_end(target.process.log, 8)}",
                log=target.process.log,
            )
        try:
            rpc = SpdkRpc(path)
            rpc.call("framework_wait_init", deadline_s=max(1.0, end - time.monotonic()))
        except SpdkRpcError as error:
            last = str(error)
            time.sleep(_POLL_S)
        else:
            return rpc
    raise TargetError(
        f"{target.name}: {target.kind} runs, but was not ready after {_READY_S:g} s: {last}",
        log=target.process.log,
    )
