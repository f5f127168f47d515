# SPDX-License-Identifier: GPL-3.0-or-later
"""Which parts of a stack go together, and what must hold across an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.client import workload
from nvmelab.experiment import client_rules, device_rules, fio_options
from nvmelab.experiment.located_yaml import Fault
from nvmelab.experiment.suggest import not_allowed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nvmelab.experiment.model import Backend, Experiment, Stack


class Faults(ValueError):  # noqa: N818 (several faults of one part, not one error)
    """Faults found by a validator, their paths relative to the part that it validates."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("; ".join(fault.message for fault in self.faults))


@dataclass(frozen=True)
class _Server:
    """What goes with one kind of storage target."""

    transport: str
    backends: tuple[str, ...]
    models: tuple[str, ...]


_QEMU_BACKENDS = ("null-co", "ram", "raw-file")
REAL_DEVICE = "bdev_nvme"
_SPDK_BACKENDS = ("bdev_malloc", "bdev_null", REAL_DEVICE)
SERVERS: dict[str, _Server] = {
    "qemu": _Server("emulated", _QEMU_BACKENDS, ("nvme", "virtio-blk", "virtio-scsi")),
    "qemu-storage-daemon": _Server("vhost-user", _QEMU_BACKENDS, ("vhost-user-blk",)),
    "spdk-nvmf-tgt": _Server("vfio-user", _SPDK_BACKENDS, ("vfio-user-pci",)),
    "spdk-vhost": _Server("vhost-user", _SPDK_BACKENDS, ("vhost-user-blk",)),
}
_BARE = {"guest": _Server("none", ("none",), ("none",))}
_BARE["host"] = _Server("none", ("none", "ram", "raw-file"), ("none",))
_IN_PROCESS = _Server("none", _SPDK_BACKENDS, ("none",))
_VM_LESS = _Server("vfio-user", _SPDK_BACKENDS, ("none",))

DRIVERS = {
    "nvme": "nvme",
    "vfio-user-pci": "nvme",
    "virtio-blk": "virtio_blk",
    "vhost-user-blk": "virtio_blk",
    "virtio-scsi": "virtio_scsi",
    "none": "none",
}
_IOTHREAD_MODELS = ("virtio-blk", "virtio-scsi")


def backend_faults(backend: Backend) -> Iterator[Fault]:
    """Everything in ``backend`` that its kind has no use for, or misses."""
    is_sized = backend.kind not in {"none", REAL_DEVICE}
    if is_sized and backend.size_mib is None:
        yield Fault((), f"size_mib is missing: kind {backend.kind} needs a size in MiB")
    if not is_sized and backend.size_mib is not None:
        why = "has its own" if backend.kind == REAL_DEVICE else "is none"
        yield Fault(("size_mib",), f"found a size, but kind {why}; remove it")
    if backend.kind != REAL_DEVICE and backend.nsid is not None:
        message = f"found {backend.nsid}, but kind {backend.kind} has no namespaces; remove it"
        yield Fault(("nsid",), message)


def stack_faults(stack: Stack) -> Iterator[Fault]:
    """Everything in ``stack`` that does not go with the rest of it."""
    on_host = stack.runs_on == "host"
    if on_host and stack.server not in {"none", client_rules.VM_LESS_SERVER}:
        message = f"found {stack.server!r} with runs_on: host; allowed: none, "
        yield Fault(
            ("server",), f"{message}{client_rules.VM_LESS_SERVER} (the others need a guest)"
        )
        return
    rule = _rule(stack)
    why = f"with server: {stack.server}"
    if stack.server == "none" or on_host:
        why += f" and runs_on: {stack.runs_on}"
    if stack.client == workload.BDEVPERF:
        why += f" and client: {stack.client}"
    yield from _unless(stack.transport, (rule.transport,), ("transport",), why)
    yield from _unless(stack.backend.kind, rule.backends, ("backend", "kind"), why)
    yield from _unless(stack.device.model, rule.models, ("device", "model"), why)
    driver = device_rules.drivers_of(stack.device.model, DRIVERS[stack.device.model])
    yield from _unless(stack.driver, driver, ("driver",), f"with model: {stack.device.model}")
    yield from _extras(stack)
    yield from client_rules.client_faults(stack)


def _rule(stack: Stack) -> _Server:
    if stack.client == workload.BDEVPERF:
        return _IN_PROCESS
    if client_rules.is_vm_less(stack):
        return _VM_LESS
    return _BARE[stack.runs_on] if stack.server == "none" else SERVERS[stack.server]


def _extras(stack: Stack) -> Iterator[Fault]:
    model = stack.device.model
    if stack.device.iothreads and model not in _IOTHREAD_MODELS:
        message = f"found {stack.device.iothreads}; allowed: 0 with model: {model}"
        if model == "nvme":
            message += " (no released QEMU has an IOThread for nvme)"
        yield Fault(("device", "iothreads"), message)
    if stack.device.properties and model == "none":
        yield Fault(("device", "properties"), "found properties of a device, but model is none")
    queues = stack.device.properties.get("num-queues", 1)
    if not isinstance(queues, int) or queues < 1:
        message = f"found {queues!r}; wanted a whole number from 1"
        yield Fault(("device", "properties", "num-queues"), message)
    if stack.server == "none" and not stack.ceiling:
        message = "found false with server: none; wanted true: such a path is a ceiling"
        yield Fault(("ceiling",), message)
    if stack.server_cpus is not None and stack.server in {"none", "qemu"}:
        message = (
            f"found {stack.server_cpus!r}, but server: {stack.server} is no process of its own"
        )
        yield Fault(("server_cpus",), message)
    yield from _real_device(stack)
    if not stack.server_hugepages and not stack.server.startswith("spdk-"):
        message = f"found false, but server: {stack.server} takes no hugepages; remove it"
        yield Fault(("server_hugepages",), message)
    if stack.server_interrupt_mode and not stack.server.startswith("spdk-"):
        message = f"found true, but server: {stack.server} never polls as SPDK does; remove it"
        yield Fault(("server_interrupt_mode",), message)


def _real_device(stack: Stack) -> Iterator[Fault]:
    """A device reaches only memory that is pinned, and was seen to work only when polled."""
    if stack.backend.kind != REAL_DEVICE:
        return
    if not stack.server_hugepages:
        message = f"found false with kind: {REAL_DEVICE}, which reaches no other memory; remove it"
        yield Fault(("server_hugepages",), message)
    if stack.server_interrupt_mode:
        message = f"found true with kind: {REAL_DEVICE}, which SPDK polls here; remove it"
        yield Fault(("server_interrupt_mode",), message)


def _unless(
    found: str, allowed: tuple[str, ...], path: tuple[str, ...], why: str
) -> Iterator[Fault]:
    if found not in allowed:
        yield Fault(path, f"{not_allowed(found, allowed)} ({why})")


def experiment_faults(experiment: Experiment) -> Iterator[Fault]:
    """Everything that is wrong between the parts of ``experiment``."""
    names = [one.name for one in experiment.workloads]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Fault(("workloads", index, "name"), f"found {name!r} a second time")
    baseline = experiment.compare.baseline if experiment.compare else None
    if baseline is not None and baseline not in experiment.stacks:
        message = not_allowed(baseline, experiment.stacks)
        yield Fault(("compare", "baseline"), f"no stack of this file: {message}")
    for stack_name, stack in experiment.stacks.items():
        yield from _engine_faults(experiment, stack_name, stack)
        yield from client_rules.engine_faults(experiment, stack_name, stack)
    yield from client_rules.workload_faults(experiment)
    yield from device_rules.device_faults(experiment)
    for index, one in enumerate(experiment.workloads):
        if "runtime" not in experiment.fio | one.options:
            message = "no runtime here or under fio: a sweep must know when a point ends"
            yield Fault(("workloads", index), message)


def _engine_faults(experiment: Experiment, name: str, stack: Stack) -> Iterator[Fault]:
    """Whether fio's engine reaches for a device exactly when the stack has one."""
    path = ("stacks", name, "engine")
    if stack.client != workload.FIO:
        return
    for one in experiment.workloads:
        merged = experiment.options(stack, one)
        engines = {str(point.get("ioengine", "psync")) for point in fio_options.expand(merged)}
        idle = engines & fio_options.NO_DEVICE_ENGINES
        if stack.backend.kind == "none" and (engines - idle or "size" not in merged):
            wanted = '{ioengine: "null", size: 1g}'
            yield Fault(path, f"backend: none leaves fio no device; wanted engine: {wanted}")
            return
        if stack.backend.kind != "none" and idle:
            yield Fault(path, f"found ioengine {min(idle)!r}, which never reaches the device")
            return
