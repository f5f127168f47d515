# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold where a stack has several devices, guests, or cores of its target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.nvmelab.bench.plugins.module_utils.client import workload
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import (
    format_cpu_list,
    parse_cpu_list,
)
from nvmelab.experiment.located_yaml import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nvmelab.experiment.fio_options import Sweep, Value
    from nvmelab.experiment.located_yaml import Path
    from nvmelab.experiment.model import Experiment, Stack

# fio would drive one device after the other.
_ONE_BY_ONE = ("stonewall", "wait_for")
_CPUS = "cpus_allowed"


def size_faults(stack: Stack) -> Iterator[Fault]:
    """Everything in ``stack`` that its sizes do not go with."""
    if stack.devices > 1 and stack.device.model == "none":
        message = f"found {stack.devices}, but model is none; for several jobs write numjobs"
        yield Fault(("devices",), message)
    for key, value in (("devices", stack.devices), ("guests", stack.guests)):
        if value > 1 and stack.runs_on == "host":
            yield Fault((key,), f"found {value} with runs_on: host; allowed: 1 (it has no guest)")
        elif value > 1 and stack.client != workload.FIO:
            message = f"found {value} with client: {stack.client}; allowed: 1 (only fio is summed)"
            yield Fault((key,), message)
    if stack.server_cores is not None:
        yield from _cores_faults(stack)


def _cores_faults(stack: Stack) -> Iterator[Fault]:
    cores = stack.server_cores
    if not stack.server.startswith("spdk-"):
        message = f"found {cores}, but server: {stack.server} polls no core; remove it"
        yield Fault(("server_cores",), message)
    elif stack.server_cpus is not None:
        message = f"found {cores} beside server_cpus: {stack.server_cpus!r}; keep one of them"
        yield Fault(("server_cores",), message)


def experiment_size_faults(experiment: Experiment) -> Iterator[Fault]:
    """Everything outside of a stack that its sizes do not go with."""
    guest = experiment.guest
    for name, stack in experiment.stacks.items():
        wanted = stack.guests * guest.vcpus
        if stack.guests > 1 and guest.cpus and len(parse_cpu_list(guest.cpus)) < wanted:
            message = (
                f"found {stack.guests}, but guest.cpus {guest.cpus!r} has not the {wanted} CPUs "
                f"of as many guests with {guest.vcpus} vCPUs each; name more, or leave it out"
            )
            yield Fault(("stacks", name, "guests"), message)
        options = {key for one in experiment.workloads for key in experiment.options(stack, one)}
        for option in _ONE_BY_ONE:
            if stack.devices > 1 and option in options:
                message = f"found {stack.devices} with fio's {option}: they are driven at once"
                yield Fault(("stacks", name, "devices"), message)
    yield from _vcpu_faults(experiment)


def _vcpu_faults(experiment: Experiment) -> Iterator[Fault]:
    """CPUs for fio that its guest has not: fio would refuse each point once the guest is up."""
    vcpus = experiment.guest.vcpus
    there = format_cpu_list(range(vcpus))
    for path, values in dict(_allowed_cpus(experiment)).items():
        for value in values:
            if _last_cpu(value) >= vcpus:
                message = f"found {value!r}, but guest.vcpus is {vcpus}: its CPUs are {there}"
                yield Fault(path, message)


def _allowed_cpus(experiment: Experiment) -> Iterator[tuple[Path, list[Value]]]:
    """Where points in guests have their cpus_allowed from, and its values there."""
    for number, one in enumerate(experiment.workloads):
        for name, stack in experiment.stacks.items():
            if stack.runs_on != "guest" or stack.client != workload.FIO:
                continue
            places: tuple[tuple[Path, Mapping[str, Sweep]], ...] = (
                (("stacks", name, "engine"), stack.engine),
                (("workloads", number), one.options),
                (("fio",), experiment.fio),
            )
            for path, options in places:
                if _CPUS in options:
                    found = options[_CPUS]
                    yield (*path, _CPUS), found if isinstance(found, list) else [found]
                    break


def _last_cpu(value: Value) -> int:
    """The highest CPU of a list; -1 of what is none, which is fio's to say."""
    try:
        return parse_cpu_list(str(value))[-1]
    except BadInputError:
        return -1
