# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes with a stack that SPDK's own clients drive, or that is served without a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.client import workload
from ansible_collections.nvmelab.bench.plugins.module_utils.client.command import SPDK_ENGINE
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import USER_SPACE_DRIVERS
from nvmelab.experiment import fio_options
from nvmelab.experiment.located_yaml import Fault
from nvmelab.experiment.suggest import not_allowed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nvmelab.experiment.model import Experiment, Stack, Workload

# The only storage target that a client on the host can reach without a guest.
VM_LESS_SERVER = "spdk-nvmf-tgt"


def client_faults(stack: Stack) -> Iterator[Fault]:
    """Everything in ``stack`` that its client cannot be."""
    yield from _place(stack)
    if stack.client_cpus is not None:
        yield from _cpus(stack)
    if stack.client != workload.FIO and stack.engine:
        message = f"found fio's options, but client: {stack.client} is no fio; remove them"
        yield Fault(("engine",), message)
    if is_vm_less(stack) and not stack.ceiling:
        message = "found false, but no guest takes part; wanted true: such a path is a ceiling"
        yield Fault(("ceiling",), message)


def is_vm_less(stack: Stack) -> bool:
    """Whether a storage target serves a client on the host, without any guest."""
    return stack.runs_on == "host" and stack.server != "none"


def _place(stack: Stack) -> Iterator[Fault]:
    if stack.client == workload.BDEVPERF:
        why = "client: bdevperf has the bdev in its own process"
        yield from _unless(stack.runs_on, ("host",), ("runs_on",), why)
        yield from _unless(stack.server, ("none",), ("server",), why)
    elif stack.client == workload.NVME_PERF and stack.runs_on == "host":
        why = "client: spdk_nvme_perf drives a target's device"
        yield from _unless(stack.server, (VM_LESS_SERVER,), ("server",), why)
    elif stack.client == workload.NVME_PERF:
        why = "client: spdk_nvme_perf drives the device itself"
        yield from _unless(stack.driver, USER_SPACE_DRIVERS, ("driver",), why)


def _cpus(stack: Stack) -> Iterator[Fault]:
    path = ("client_cpus",)
    if stack.runs_on != "host":
        yield Fault(path, "found CPUs of the host, but runs_on: guest; wanted guest: {cpus: …}")
    elif stack.client != workload.FIO and len(parse_cpu_list(str(stack.client_cpus))) > 1:
        message = f"found {stack.client_cpus!r}; client: {stack.client} runs one job on one CPU"
        yield Fault(path, message)


def _unless(
    found: str, allowed: tuple[str, ...], path: tuple[str, ...], why: str
) -> Iterator[Fault]:
    if found not in allowed:
        yield Fault(path, f"{not_allowed(found, allowed)} ({why})")


def workload_faults(experiment: Experiment) -> Iterator[Fault]:
    """Every option of a workload that a client of some stack cannot do, where it is written."""
    clients = {stack.client for stack in experiment.stacks.values()} - {workload.FIO}
    for client in sorted(clients):
        for index, one in enumerate(experiment.workloads):
            yield from _workload_faults(experiment, index, one, client)


def _workload_faults(
    experiment: Experiment, index: int, one: Workload, client: str
) -> Iterator[Fault]:
    for key, values in {**experiment.fio, **one.options}.items():
        where = ("workloads", index, key) if key in one.options else ("fio", key)
        for value in values if isinstance(values, list) else [values]:
            if complaint := workload.fault(client, key, value):
                yield Fault(where, complaint)


def engine_faults(experiment: Experiment, name: str, stack: Stack) -> Iterator[Fault]:
    """Whether fio uses SPDK's engine exactly where it meets a target without a guest."""
    if stack.client != workload.FIO:
        return
    path = ("stacks", name, "engine")
    for one in experiment.workloads:
        merged = experiment.options(stack, one)
        engines = {str(point.get("ioengine", "psync")) for point in fio_options.expand(merged)}
        if is_vm_less(stack) and engines != {SPDK_ENGINE}:
            wanted = f"{{ioengine: {SPDK_ENGINE}}}"
            yield Fault(path, f"found ioengine {min(engines)!r} without a guest; wanted {wanted}")
            return
        if SPDK_ENGINE in engines and not is_vm_less(stack):
            message = f"found ioengine {SPDK_ENGINE!r}: it needs runs_on: host and "
            yield Fault(path, f"{message}server: {VM_LESS_SERVER}")
            return
