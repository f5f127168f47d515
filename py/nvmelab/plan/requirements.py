# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a lab host can run a stack: pure, a stack and capabilities in, the reason out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.client import workload
from ansible_collections.nvmelab.bench.plugins.module_utils.client.command import SPDK_ENGINE
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import USER_SPACE_DRIVERS
from nvmelab.experiment import qemu_properties
from nvmelab.experiment.located_yaml import Fault
from nvmelab.plan import real_devices, sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nvmelab.experiment.model import Guest, Stack
    from nvmelab.plan.host_capabilities import Capabilities, Qemu

# For the reader of a skip only; what counts is what the binary lists.
_UPSTREAM_SINCE = {"vfio-user-pci": "10.1", "iothread-vq-mapping": "9.0"}
# The way out of a skip, by variables of the inventory.
_NEWER_QEMU = "in qemu_suite: trixie-backports"
_SPDK = "nvmelab_builds: spdk, or capabilities_spdk_directory"
_SPDK_ENGINE = "nvmelab_builds: spdk, xnvme, fio"
# Engines that the fio of the role has, and that of an image may lack.
_BUILT_ENGINES = {
    "xnvme": "nvmelab_builds: xnvme, fio",
    "io_uring_cmd": "nvmelab_builds: xnvme, fio",
}
_IN_MEMORY = ("ram", "bdev_malloc")
_SHARED_MEMORY = ("vhost-user", "vfio-user")
_BLOCK_DRIVERS = {"null-co": "null-co", "ram": "file", "raw-file": "file"}


def skip_reason(
    stack: Stack, guest: Guest, engines: frozenset[str], capabilities: Capabilities
) -> str | None:
    """Why the host cannot run ``stack``, every reason joined by ``; ``, or None when it can.

    ``engines`` are the fio engines that the stack's points use.
    """
    reasons = list(_reasons(stack, guest, engines, capabilities))
    return "; ".join(reasons) if reasons else None


def property_faults(stack: Stack, capabilities: Capabilities) -> list[Fault]:
    """Properties that look like slips beside those of the host's own QEMU."""
    model = stack.device.model
    present = _properties(stack, capabilities.qemu) if capabilities.qemu else frozenset()
    return [
        Fault(("device", "properties", name), message)
        for name in stack.device.properties
        if model != "none" and (message := qemu_properties.fault(model, name, present=present))
    ]


def memory_mib(stack: Stack) -> int:
    """The host's memory that the backends of all the stack's devices fill, in MiB."""
    filled = stack.backend.size_mib or 0 if stack.backend.kind in _IN_MEMORY else 0
    return filled * sizes.count(stack)


def _reasons(
    stack: Stack, guest: Guest, engines: frozenset[str], capabilities: Capabilities
) -> Iterator[str]:
    if stack.runs_on == "host":
        yield from _host_client(stack, engines, capabilities)
        yield from _server(stack, capabilities)
        wanted_mib = memory_mib(stack)
    else:
        yield from _guest(stack, guest, engines, capabilities)
        yield from _device(stack, capabilities.qemu)
        yield from _server(stack, capabilities)
        wanted_mib = guest.memory_mib * stack.guests + memory_mib(stack)
    if cause := real_devices.reason(stack, capabilities):
        yield cause
    if wanted_mib > capabilities.memory_mib:
        yield f"needs {wanted_mib} MiB of memory, the host has {capabilities.memory_mib}"
    if (stack.server_cores or 0) > capabilities.cpu_count:
        yield f"server_cores: {stack.server_cores}, but the host has {capabilities.cpu_count} CPUs"
    for name, cpus in (("server_cpus", stack.server_cpus), *_pins(stack, guest)):
        yield from _cpus(name, cpus, capabilities)


def _pins(stack: Stack, guest: Guest) -> tuple[tuple[str, str | None], ...]:
    if stack.runs_on == "host":
        return (("client_cpus", stack.client_cpus),)
    return (("guest.cpus", guest.cpus), ("guest.iothread_cpus", guest.iothread_cpus))


def _cpus(name: str, cpus: str | None, capabilities: Capabilities) -> Iterator[str]:
    there = capabilities.cpus or f"0-{capabilities.cpu_count - 1}"
    if cpus is not None and not set(parse_cpu_list(cpus)).issubset(parse_cpu_list(there)):
        yield f"{name}: {cpus}, but the host has CPUs {there}"


def _host_client(
    stack: Stack, engines: frozenset[str], capabilities: Capabilities
) -> Iterator[str]:
    """Yield what lacks of the client; SPDK's engine comes with a fio that loads it."""
    spdk = capabilities.spdk
    if stack.client == workload.BDEVPERF and not (spdk and spdk.bdevperf):
        yield f"no SPDK bdevperf on the host ({_SPDK})"
    elif stack.client == workload.NVME_PERF and not (spdk and spdk.spdk_nvme_perf):
        yield f"no SPDK spdk_nvme_perf on the host ({_SPDK})"
    elif SPDK_ENGINE in engines and not (spdk and spdk.fio_plugin):
        yield f"no SPDK engine on the host that a fio there loads ({_SPDK_ENGINE})"
    elif stack.client == workload.FIO and SPDK_ENGINE not in engines:
        yield from _host_fio(engines, capabilities)


def _host_fio(engines: frozenset[str], capabilities: Capabilities) -> Iterator[str]:
    if capabilities.fio is None:
        yield "no fio on the host"
        return
    yield from _engines(engines, capabilities.fio.engines, f"fio {capabilities.fio.version}", {})


def _guest(
    stack: Stack, guest: Guest, engines: frozenset[str], capabilities: Capabilities
) -> Iterator[str]:
    if capabilities.accelerator is None:
        yield "no accelerator was found to run a guest"
    image = capabilities.guest_image
    if image is None:
        yield "no guest image on the host"
        return
    payload = capabilities.guest_payload
    built = payload.fio if payload else None
    present = built.engines if built else image.fio_engines
    version = built.version if built else image.fio_version
    ways_out = {} if built else _BUILT_ENGINES
    yield from _engines(engines, present, f"fio {version} in the guest", ways_out)
    if stack.client != workload.FIO:
        yield from _guest_client(stack.client, capabilities)
    if guest.poll_queues and image.boot == "firmware":
        yield "guest.poll_queues: the guest image boots by itself, without kernel arguments"
    # An image that was made otherwise does not tell: then the guest itself does.
    drivers = USER_SPACE_DRIVERS if image.pci_drivers is None else image.pci_drivers
    if stack.driver in USER_SPACE_DRIVERS and stack.driver not in drivers:
        yield f"the guest's kernel {image.kernel_release} has no driver {stack.driver}"


def _guest_client(client: str, capabilities: Capabilities) -> Iterator[str]:
    """Yield what lacks of a client other than fio in the guest."""
    payload, accelerator = capabilities.guest_payload, capabilities.accelerator
    program = payload.programs.get(client) if payload else None
    if program is None:
        yield f"no {client} for the guest; build SPDK (nvmelab_builds) or set spdk_guest_prefix"
    elif program.cpu_flags and accelerator and accelerator.name == "tcg":
        yield (
            f"{client} is built for a CPU with {', '.join(program.cpu_flags)} "
            f"(spdk_target_arch: {program.target_arch}), which TCG does not emulate; have one "
            "built for guests: spdk_guest_target_arch: x86-64-v2"
        )


def _engines(
    wanted: frozenset[str], present: frozenset[str], where: str, ways_out: Mapping[str, str]
) -> Iterator[str]:
    for engine in sorted(wanted - present):
        if not engine.startswith("external:"):
            way_out = f" ({ways_out[engine]})" if engine in ways_out else ""
            yield f"{where} has no engine {engine}{way_out}"


def _device(stack: Stack, qemu: Qemu | None) -> Iterator[str]:
    if qemu is None:
        yield "no qemu-system-x86_64 on the host"
        return
    name = f"QEMU {qemu.version}"
    missing = [d for d in qemu_properties.QEMU_DEVICES[stack.device.model] if d not in qemu.devices]
    for device in missing:
        yield f"{name} has no device {device}{_since(device)}"
    if missing:
        return
    properties = _properties(stack, qemu)
    for wanted in (*stack.device.properties, *_iothread_property(stack)):
        if properties and wanted not in properties:
            yield f"{name}: device {stack.device.model} has no property {wanted}{_since(wanted)}"
    for wanted in sorted(_objects(stack) - qemu.objects):
        yield f"{name} has no object {wanted}"
    driver = _BLOCK_DRIVERS.get(stack.backend.kind) if stack.server == "qemu" else None
    if driver and driver not in qemu.block_drivers:
        yield f"{name} has no block driver {driver}"


def _properties(stack: Stack, qemu: Qemu) -> frozenset[str]:
    devices = qemu_properties.QEMU_DEVICES[stack.device.model][:1]
    return frozenset(name for device in devices for name in qemu.devices.get(device, ()))


def _iothread_property(stack: Stack) -> tuple[str, ...]:
    if not stack.device.iothreads:
        return ()
    return ("iothread",) if stack.device.iothreads == 1 else ("iothread-vq-mapping",)


def _objects(stack: Stack) -> frozenset[str]:
    shared = {"memory-backend-memfd"} if stack.transport in _SHARED_MEMORY else set()
    return frozenset(shared | ({"iothread"} if stack.device.iothreads else set()))


def _since(name: str) -> str:
    since = _UPSTREAM_SINCE.get(name)
    return f" (upstream since {since}, {_NEWER_QEMU})" if since else ""


def _server(stack: Stack, capabilities: Capabilities) -> Iterator[str]:
    daemon, spdk = capabilities.qemu_storage_daemon, capabilities.spdk
    if stack.server == "qemu-storage-daemon":
        if daemon is None:
            yield "no qemu-storage-daemon on the host"
        elif "vhost-user-blk" not in daemon.exports:
            yield f"qemu-storage-daemon {daemon.version} has no export vhost-user-blk"
    if stack.server == "spdk-nvmf-tgt" and not (spdk and spdk.nvmf_tgt):
        yield f"no SPDK nvmf_tgt on the host ({_SPDK})"
    if stack.server == "spdk-vhost" and not (spdk and spdk.vhost):
        yield f"no SPDK vhost on the host ({_SPDK})"
