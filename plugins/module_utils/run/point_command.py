# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The argument list of one point, whatever drives its I/O; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.client import command, workload
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.fio import device_node
from ansible_collections.nvmelab.bench.plugins.module_utils.fio import job as fio_job
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import format_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.run import guest_agent

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.run.sweep import Place, Target

# Names of programs in Place.programs, beside those of clients.
FIO_PLUGIN = "fio_plugin"
PLUGIN_FIO = "fio of the plugin"
# fio's option for a command of each job, after its device is open and before its clock starts.
PRERUN = "exec_prerun"


class NoProgramError(NvmelabError):
    """The place has not the program that a point is to be driven by."""


def argv(point: Mapping[str, Any], target: Target, place: Place) -> List[str]:
    """Return the command of a point.

    Raises:
        BadInputError: the client cannot be asked for such a workload.
        NoProgramError: the place lacks the program.
    """
    client = point.get("client", workload.FIO)
    options = point["fio"]
    if client == workload.BDEVPERF:
        return command.bdevperf(
            _program(place, client),
            options,
            config=str(target.filename),
            bdev=str(target.bdev),
            cpu=_cpu(target),
        )
    if client == workload.NVME_PERF:
        return command.spdk_nvme_perf(
            _program(place, client),
            options,
            transport_id=target.transport_id or command.pcie_id(str(target.pci_address)),
            cpu=_cpu(target),
        )
    return _fio(point, target, place)


def _fio(point: Mapping[str, Any], target: Target, place: Place) -> List[str]:
    name = f"{point['stack']}-{point['workload']}"
    options, fio, filename = point["fio"], place.fio, target.filename
    if target.transport_id:
        plugin = _program(place, FIO_PLUGIN)
        options = command.fio_options(options, plugin=plugin)
        fio = _program(place, PLUGIN_FIO)
        filename = command.fio_filename(target.transport_id)
    elif target.node == device_node.ADDRESS:
        filename = target.pci_address
    elif target.pci_address:
        # The agent knows the device's name only when it has found it.
        filename = guest_agent.DEVICE
    if target.cpus:
        options = {**options, "cpus_allowed": format_cpu_list(target.cpus)}
    if target.names:
        paths = [filename, *(_further(number, one) for number, one in enumerate(target.more))]
        devices = {name: str(paths[number]) for number, name in enumerate(target.names)}
        if gated_jobs(point, target):
            options = {**options, PRERUN: guest_agent.AT_GATE}
        return fio_job.argv_of_jobs(options, devices, fio=fio)
    argv = fio_job.argv(options, filename, name=name, fio=fio)
    return command.started(argv) if target.transport_id else argv


def gated_jobs(point: Mapping[str, Any], target: Target) -> int:
    """Return how many jobs of one fio are to begin at once; 0 where there is but one device.

    The place for that in fio is one that a user's own command may have: then it has it.
    """
    if not target.names or PRERUN in point["fio"]:
        return 0
    return len(target.names) * fio_job.count_of(point["fio"].get("numjobs", 1))


def _further(number: int, target: Target) -> Optional[str]:
    if target.sought_address is None:
        return target.pci_address
    return guest_agent.further_device(number)


def _program(place: Place, name: str) -> str:
    path: Optional[str] = place.programs.get(name)
    if not path:
        raise NoProgramError(f"no {name} was found here; give capabilities an SPDK build with it")
    return path


def _cpu(target: Target) -> int:
    """Return the CPU of a client that runs one job: it has no second one."""
    return target.cpus[0] if target.cpus else 0
