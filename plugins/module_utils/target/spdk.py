# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPDK's nvmf_tgt (vfio-user) and vhost (vhost-user-blk) as storage targets.

Its error codes are coarse (one for four causes), so what can be checked is checked before, and
every error carries the end of the target's log. Source: SPDK v25.05, doc/jsonrpc.md; app.c.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qmp import check_socket_path
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_rpc import (
    SpdkRpc,
    SpdkRpcError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.storage_target import (
    RunningTarget,
    TargetError,
    stopped_on_error,
)

_MIB = 1 << 20
_BLOCK_BYTES = 512
# What an idle target took (368 MiB) and room for its queues; bdevs in memory come on top.
_BASE_MIB = 512
# On a busy machine 58 s were seen.
_READY_S = 180.0
_POLL_S = 0.05
_NQN = "nqn.2019-07.io.spdk:{}"

Exporter = Callable[[SpdkRpc, Mapping[str, Any], str, Path], None]


def start_nvmf_tgt(
    spec: Mapping[str, Any], directory: Path, capabilities: Mapping[str, Any]
) -> RunningTarget:
    """Return a running nvmf_tgt, an NVMe controller over vfio-user for each export.

    The target listens in a folder an export; what QEMU connects to is ``cntrl`` in it.
    """
    program = _program(spec, capabilities, "nvmf_tgt")
    folders = {e["name"]: directory / "vfio-user" / e["name"] for e in spec["exports"]}
    for folder in folders.values():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sockets = {name: str(folder / "cntrl") for name, folder in folders.items()}
    target = _start(spec, directory, [program], sockets)
    with stopped_on_error(target):
        _configure(target, _export_vfio_user, [("nvmf_create_transport", {"trtype": "VFIOUSER"})])
    return target


def start_vhost(
    spec: Mapping[str, Any], directory: Path, capabilities: Mapping[str, Any]
) -> RunningTarget:
    """Return a running SPDK vhost, a vhost-user-blk controller for each export."""
    program = _program(spec, capabilities, "vhost")
    folder = directory / "vhost"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    sockets = {export["name"]: str(folder / export["name"]) for export in spec["exports"]}
    target = _start(spec, directory, [program, "-S", str(folder)], sockets)
    with stopped_on_error(target):
        _configure(target, _export_vhost, [])
    return target


def _program(spec: Mapping[str, Any], capabilities: Mapping[str, Any], which: str) -> str:
    program = (capabilities.get("spdk") or {}).get(which)
    if not program:
        raise TargetError(
            f"{spec['name']}: no SPDK {which} was found; set nvmelab_spdk_directory to an SPDK "
            "build, or leave out the stacks that need it"
        )
    return str(program)


def _start(
    spec: Mapping[str, Any], directory: Path, command: list[str], sockets: dict[str, str]
) -> RunningTarget:
    name = spec["name"]
    memory_mib = _memory_mib(spec)
    _require_hugepages(name, memory_mib)
    rpc = directory / f"{name}.rpc"
    for path in (*sockets.values(), str(rpc)):
        # A stale cntrl makes a target refuse to listen. All these lie in our run directory.
        Path(check_socket_path(path)).unlink(missing_ok=True)
    argv = [*command, "-r", str(rpc), "-s", str(memory_mib), *_core_arguments(spec)]
    process = processes.start(
        argv,
        name=name,
        log_path=directory / "logs" / f"{name}.log",
        record_dir=directory / "processes",
    )
    return RunningTarget(
        name=name,
        kind=spec["kind"],
        process=process,
        directory=directory,
        sockets=sockets,
        spec=dict(spec),
        leftovers=(str(rpc), f"{rpc}.lock"),
    )


def _core_arguments(spec: Mapping[str, Any]) -> list[str]:
    """Return the reactors' cores: as asked, else the last one, shared with whoever is there."""
    if spec.get("cpus"):
        cpus = parse_cpu_list(spec["cpus"])
        return ["-m", f"[{','.join(map(str, cpus))}]"]
    return ["-m", f"[{max(os.sched_getaffinity(0))}]", "--disable-cpumask-locks"]


def _memory_mib(spec: Mapping[str, Any]) -> int:
    in_memory = [e["backend"] for e in spec["exports"] if e["backend"]["kind"] == "bdev_malloc"]
    return _BASE_MIB + sum(int(backend["size_mib"]) for backend in in_memory)


def _require_hugepages(name: str, memory_mib: int) -> None:
    """Refuse what SPDK's environment layer would refuse in six lines of its own words."""
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    fields = dict(re.findall(r"^(HugePages_Free|Hugepagesize):\s+(\d+)", text, re.MULTILINE))
    size_kib = int(fields.get("Hugepagesize", 2048))
    free_mib = int(fields.get("HugePages_Free", 0)) * size_kib // 1024
    if free_mib < memory_mib:
        pages = -(-memory_mib * 1024 // size_kib)
        raise TargetError(
            f"{name}: SPDK needs {memory_mib} MiB of hugepages, {free_mib} MiB are free; reserve "
            f"{pages} pages of {size_kib} KiB: sysctl vm.nr_hugepages={pages}"
        )
    mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    if not any(line.split()[2] == "hugetlbfs" for line in mounts):
        raise TargetError(
            f"{name}: hugepages are reserved, but no hugetlbfs is mounted: "
            "mount -t hugetlbfs nodev /dev/hugepages"
        )


def _configure(
    target: RunningTarget, export_one: Exporter, before: list[tuple[str, dict[str, Any]]]
) -> None:
    """Make bdevs and exports over one connection, then require every socket."""
    with _await_rpc(target) as rpc:
        try:
            for method, params in before:
                rpc.call(method, params)
            for number, export in enumerate(target.spec["exports"]):
                bdev = _create_bdev(rpc, export, number)
                export_one(rpc, export, bdev, Path(target.sockets[export["name"]]))
        except SpdkRpcError as error:
            said = processes.log_tail(target.process.log, 5)
            raise TargetError(
                f"{target.name}: {target.kind}: {error}; its log ends: {said}",
                log=target.process.log,
            ) from error
    target.check()


def _await_rpc(target: RunningTarget) -> SpdkRpc:
    """Return the connection once the target answers: its socket exists before it does."""
    end = time.monotonic() + _READY_S
    rpc_path = target.leftovers[0]
    last = "no socket yet"
    while time.monotonic() < end:
        if not processes.is_alive(target.process):
            raise TargetError(
                f"{target.name}: {target.kind} {processes.exit_reason(target.process)} before it "
                f"was ready: {processes.log_tail(target.process.log, 8)}",
                log=target.process.log,
            )
        try:
            rpc = SpdkRpc(rpc_path)
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


def _create_bdev(rpc: SpdkRpc, export: Mapping[str, Any], number: int) -> str:
    """Return the name of the block device made for an export."""
    kind = export["backend"]["kind"]
    methods = {"bdev_null": "bdev_null_create", "bdev_malloc": "bdev_malloc_create"}
    if kind not in methods:
        raise BadInputError(
            f"export {export['name']}: SPDK has no backend {kind!r}; wanted one of "
            f"{', '.join(methods)}"
        )
    blocks = export["backend"]["size_mib"] * _MIB // _BLOCK_BYTES
    name = f"bdev{number}"
    rpc.call(methods[kind], {"name": name, "num_blocks": blocks, "block_size": _BLOCK_BYTES})
    return name


def _export_vfio_user(rpc: SpdkRpc, export: Mapping[str, Any], bdev: str, path: Path) -> None:
    nqn = _NQN.format(export["name"])
    serial = re.sub(r"[^\w-]", "", export["name"])[:20]
    rpc.call("nvmf_create_subsystem", {"nqn": nqn, "allow_any_host": True, "serial_number": serial})
    rpc.call("nvmf_subsystem_add_ns", {"nqn": nqn, "namespace": {"bdev_name": bdev}})
    address = {"trtype": "VFIOUSER", "traddr": str(path.parent), "trsvcid": "0"}
    rpc.call("nvmf_subsystem_add_listener", {"nqn": nqn, "listen_address": address})


def _export_vhost(rpc: SpdkRpc, export: Mapping[str, Any], bdev: str, path: Path) -> None:
    del export
    rpc.call("vhost_create_blk_controller", {"ctrlr": path.name, "dev_name": bdev})
