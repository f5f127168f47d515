# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes with the driver of a stack's device: engines that pass NVMe commands, or drive it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.client import workload
from ansible_collections.nvmelab.bench.plugins.module_utils.fio.device_node import (
    BUILT_DRIVER,
    OWN_DRIVERS,
    XNVME,
    passes_through,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import USER_SPACE_DRIVERS
from nvmelab.experiment import fio_options
from nvmelab.experiment.located_yaml import Fault
from nvmelab.experiment.suggest import not_allowed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nvmelab.experiment.model import Experiment, Stack

NVME_MODELS = ("nvme", "vfio-user-pci")
# The heap of a program that drives a device itself, and a guest around it.
USER_SPACE_MEMORY_MIB = 2048
_NSID = 1  # every device here has one namespace


def drivers_of(model: str, kernels_own: str) -> tuple[str, ...]:
    """The drivers that a device of this model may have in the guest."""
    return (kernels_own, *USER_SPACE_DRIVERS) if model in NVME_MODELS else (kernels_own,)


def device_faults(experiment: Experiment) -> Iterator[Fault]:
    """Everything in the stacks' engines that does not go with their drivers."""
    taken = []
    for name, stack in experiment.stacks.items():
        if stack.driver in USER_SPACE_DRIVERS:
            taken.append(name)
        if stack.client == workload.FIO and stack.runs_on == "guest":
            yield from _engine_faults(experiment, name, stack)
    if taken and experiment.guest.memory_mib < USER_SPACE_MEMORY_MIB:
        message = (
            f"found {experiment.guest.memory_mib}; wanted {USER_SPACE_MEMORY_MIB} or more: the "
            f"program that drives the device of {', '.join(taken)} takes 1 GiB in hugepages"
        )
        yield Fault(("guest", "memory_mib"), message)


def _engine_faults(experiment: Experiment, name: str, stack: Stack) -> Iterator[Fault]:
    found = {
        (fault.path, fault.message): fault
        for one in experiment.workloads
        for options in fio_options.expand(experiment.options(stack, one))
        for fault in _faults(options, stack)
    }
    for fault in found.values():
        yield Fault(("stacks", name, *fault.path), fault.message)


def _faults(options: Mapping[str, fio_options.Value], stack: Stack) -> Iterator[Fault]:
    """What is wrong with one point's options; paths below the stack."""
    engine = str(options.get("ioengine", "psync"))
    where = f"driver: {stack.driver}"
    if stack.driver in USER_SPACE_DRIVERS and engine != XNVME:
        message = f"found ioengine {engine!r} with {where}, which takes the device from the kernel;"
        yield Fault(("engine",), f"{message} wanted engine: {{ioengine: {XNVME}}}, or driver: nvme")
    elif passes_through(options) and stack.driver != "nvme":
        message = f"found io_uring_cmd with {where}: only driver: nvme lets NVMe commands through"
        yield Fault(("engine",), message)
    elif engine == XNVME:
        yield from _xnvme(options, stack)


def _xnvme(options: Mapping[str, fio_options.Value], stack: Stack) -> Iterator[Fault]:
    backend = options.get("xnvme_be")
    path = ("engine", "xnvme_be")
    if stack.driver in USER_SPACE_DRIVERS:
        if stack.driver == "vfio-pci" and stack.transport == "vfio-user":
            # Seen with SPDK v25.05: "hit max regions 64", fio: "xnvme_dev_open(), err(22)".
            message = (
                "found vfio-pci with engine xnvme over vfio-user: uPCIe maps its memory in 512"
            )
            yield Fault(("driver",), f"{message} pieces, SPDK takes 64; wanted uio_pci_generic")
        if backend not in (None, BUILT_DRIVER):
            message = f"{not_allowed(str(backend), (BUILT_DRIVER,))} (with driver: {stack.driver}, "
            yield Fault(path, f"{message}as role xnvme builds it)")
    elif backend in OWN_DRIVERS:
        message = f"found {backend!r}, which drives the device itself, with driver: {stack.driver}"
        yield Fault(path, f"{message}; wanted driver: {' or '.join(USER_SPACE_DRIVERS)}")
    wanted = {"thread": 1, "xnvme_dev_nsid": _NSID}
    for name, value in wanted.items():
        if name in options and str(options[name]) != str(value):
            message = f"found {options[name]!r}; nvmelab itself sets {value}, all that xnvme can do"
            yield Fault(("engine", name), f"{message} here; remove it")
