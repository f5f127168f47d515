# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of an experiment file, from which the JSON Schema for editors is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ansible_collections.nvmelab.bench.plugins.module_utils.client import (
    workload as client_workload,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from nvmelab.experiment import (
    fio_options,
    qemu_properties,
    size_rules,
)
from nvmelab.experiment import (
    rules as experiment_rules,
)
from nvmelab.experiment.located_yaml import Fault
from nvmelab.experiment.rules import Faults
from nvmelab.experiment.values import CpuList, FioOptions, Properties, Size, checked_options

SCHEMA_VERSION = 1  # 1: issue 2

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
# QEMU wants ids that begin with a letter, and unix socket paths hold 107 characters.
STACK_PATTERN = r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$"


# Those of the guest's kernel, then those that leave the device to a program there.
Driver = Literal["nvme", "virtio_blk", "virtio_scsi", "uio_pci_generic", "vfio-pci", "none"]


class Part(BaseModel):
    """A part of an experiment: unknown keys refused, types as written, never changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Backend(Part):
    """What holds the data: ``null-co``, ``ram``, ``raw-file`` (QEMU), ``bdev_*`` (SPDK).

    Which real device ``bdev_nvme`` is, each host's inventory says (nvmelab_nvme_devices).
    """

    kind: Literal["null-co", "ram", "raw-file", "bdev_null", "bdev_malloc", "bdev_nvme", "none"] = (
        "none"
    )
    size_mib: int | None = Field(default=None, ge=1, description="Size of the device in MiB.")
    nsid: int | None = Field(
        default=None, ge=1, le=0xFFFFFFFE, description="Namespace of a real device; else its first."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if faults := list(experiment_rules.backend_faults(self)):
            raise Faults(faults)
        return self


class Device(Part):
    """The device that the guest sees."""

    model: Literal["nvme", "virtio-blk", "virtio-scsi", "vhost-user-blk", "vfio-user-pci", "none"]
    properties: Properties = Field(
        default={},
        description="QEMU's own property names; for virtio-scsi those of the controller.",
    )
    iothreads: int = Field(default=0, ge=0, le=16, description="IOThreads that serve the device.")

    @field_validator("properties")
    @classmethod
    def _properties_known(cls, properties: Properties, info: ValidationInfo) -> Properties:
        model = info.data.get("model", "none")  # a wrong model is reported by itself
        faults = [
            Fault((name,), complaint)
            for name in properties
            if model != "none" and (complaint := qemu_properties.fault(model, name))
        ]
        if faults:
            raise Faults(faults)
        return properties


class Stack(Part):
    """One path from application to device."""

    description: str | None = None
    backend: Backend = Backend()
    server: Literal["qemu", "qemu-storage-daemon", "spdk-nvmf-tgt", "spdk-vhost", "none"] = "none"
    server_cpus: CpuList | None = Field(default=None, description="CPUs of the storage target.")
    server_cores: Size | None = Field(
        default=None, ge=1, le=256, description="How many cores the storage target polls."
    )
    server_hugepages: bool = Field(
        default=True,
        description="Whether SPDK takes hugepages; without them it serves, but slower.",
    )
    server_interrupt_mode: bool = Field(
        default=False, description="Whether SPDK sleeps until there is work instead of polling."
    )
    transport: Literal["emulated", "vhost-user", "vfio-user", "none"] = "none"
    device: Device = Device(model="none")
    driver: Driver = "none"
    devices: Size = Field(
        default=1, ge=1, le=24, description="So many such devices in each guest, driven at once."
    )
    guests: Size = Field(
        default=1, ge=1, le=64, description="So many guests with these devices, driven at once."
    )
    engine: FioOptions = Field(default={}, description="fio options of this stack; they win.")
    client: Literal["fio", "bdevperf", "spdk_nvme_perf"] = Field(
        default="fio", description="What drives the I/O."
    )
    client_cpus: CpuList | None = Field(default=None, description="CPUs of a client on the host.")
    runs_on: Literal["guest", "host"] = Field(default="guest", description="Where it runs.")
    ceiling: bool = Field(default=False, description="Parts of the path are taken away.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if faults := [*experiment_rules.stack_faults(self), *size_rules.size_faults(self)]:
            raise Faults(faults)
        return self


class Guest(Part):
    """The virtual machine of every guest stack."""

    vcpus: int = Field(default=2, ge=1, le=256)
    memory_mib: int = Field(default=1024, ge=256)
    hugepages: bool = Field(
        default=False,
        description="Whether its memory lies in hugepages; always, where SPDK's vhost serves one.",
    )
    cpus: CpuList | None = Field(
        default=None, description="Host CPUs, one for each vCPU, in order."
    )
    iothread_cpus: CpuList | None = Field(default=None, description="Host CPUs of the IOThreads.")
    poll_queues: int = Field(
        default=0, ge=0, le=64, description="Queues of each NVMe device that are polled, for hipri."
    )

    @model_validator(mode="after")
    def _enough_cpus(self) -> Self:
        if self.cpus and len(parse_cpu_list(self.cpus)) < self.vcpus:
            message = f"found {self.cpus!r}: fewer CPUs than vcpus: {self.vcpus}"
            raise Faults([Fault(("cpus",), message)])
        return self


class Workload(BaseModel):
    """A name and fio's own options; lists are swept."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    name: Annotated[str, Field(pattern=NAME_PATTERN, max_length=60)]

    @model_validator(mode="before")
    @classmethod
    def _fio(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        named = {"name": data["name"]} if "name" in data else {}
        try:
            return named | checked_options({k: v for k, v in data.items() if k != "name"})
        except Faults as error:
            if not named:  # the options' faults would hide it
                error.faults.append(Fault((), "key 'name' is missing"))
            raise

    @property
    def options(self) -> dict[str, fio_options.Sweep]:
        """The workload's fio options, its name left out."""
        return dict(self.model_extra or {})


class Compare(Part):
    """What the report sets the stacks against."""

    baseline: str


class Experiment(Part):
    """Stacks, workloads and repetitions; every combination is measured."""

    schema_version: Literal[1] = Field(alias="schema", description="Version of this format.")
    name: str = Field(pattern=NAME_PATTERN, max_length=40)
    description: str = Field(min_length=1, description="One sentence, shown in the report.")
    seed: int | None = Field(default=None, ge=0, lt=2**63, description="Order of the points.")
    repetitions: int = Field(ge=1, le=1000)
    layout: Literal["shared-guest", "guest-per-stack"] = "shared-guest"
    guest: Guest = Guest()
    fio: FioOptions = Field(default={}, description="Defaults of every workload.")
    workloads: list[Workload] = Field(min_length=1)
    stacks: dict[Annotated[str, Field(pattern=STACK_PATTERN)], Stack] = Field(min_length=1)
    compare: Compare | None = None
    point_margin_s: int = Field(
        default=60, ge=1, description="How much longer than expected fio may take, in seconds."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        found = experiment_rules.experiment_faults(self)
        if faults := [*found, *size_rules.experiment_size_faults(self)]:
            raise Faults(faults)
        return self

    def options(self, stack: Stack, workload: Workload) -> dict[str, fio_options.Sweep]:
        """Options of one stack and workload: the stack's win, then the workload's.

        Of a client that is no fio, those that mean something to it.
        """
        options = {**self.fio, **workload.options, **stack.engine}
        return options if stack.client == client_workload.FIO else client_workload.taken(options)

    def document(self) -> dict[str, Any]:
        """The whole experiment, defaults filled in, as plain JSON data."""
        return self.model_dump(mode="json", by_alias=True)
