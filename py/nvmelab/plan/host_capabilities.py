# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab host can do, as nvmelab.bench.capabilities_info found it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from nvmelab.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMA_VERSION = 1


class CapabilitiesError(BadInputError):
    """Capabilities that are unreadable, incomplete or of another version."""


class _Part(BaseModel):
    """A part of the capabilities; keys that the plan does not use are let through."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Qemu(_Part):
    """QEMU's binary: its version and what it lists on ``-device help`` and the like."""

    version: str
    devices: dict[str, frozenset[str]]
    objects: frozenset[str] = frozenset()
    block_drivers: frozenset[str] = frozenset()


class StorageDaemon(_Part):
    """qemu-storage-daemon."""

    version: str
    exports: frozenset[str] = frozenset()


class FioPlugin(_Part):
    """SPDK's NVMe engine for fio, and a fio that loads it."""

    path: str
    fio_path: str
    fio_version: str


class Spdk(_Part):
    """Paths of SPDK's programs; None where there is none."""

    nvmf_tgt: str | None = None
    vhost: str | None = None
    bdevperf: str | None = None
    spdk_nvme_perf: str | None = None
    fio_plugin: FioPlugin | None = None


class Fio(_Part):
    """fio on the host."""

    version: str
    engines: frozenset[str] = frozenset()


class GuestImage(_Part):
    """The image that guests boot."""

    name: str
    fio_version: str | None = None
    fio_engines: frozenset[str] = frozenset()
    kernel_release: str | None = None
    boot: str | None = None
    pci_drivers: frozenset[str] | None = None


class GuestProgram(_Part):
    """A client that guests get; ``cpu_flags`` it may not do without, and TCG does not emulate."""

    path: str
    target_arch: str | None = None
    cpu_flags: tuple[str, ...] = ()


class GuestPayload(_Part):
    """Builds of the host that its guests get."""

    fio: Fio | None = None
    programs: dict[str, GuestProgram] = {}


class Namespace(_Part):
    """One namespace of a real NVMe device."""

    nsid: int


class NvmeDevice(_Part):
    """A real NVMe device that the host's inventory names; refusal: why it cannot be had."""

    address: str
    namespaces: tuple[Namespace, ...] | None = None
    refusal: str | None = None


class Accelerator(_Part):
    """What guests run under: ``kvm`` where a guest really boots under it, else ``tcg``."""

    name: str


class Capabilities(_Part):
    """Everything that decides which stacks a host can run."""

    cpu_count: int
    cpus: str | None = None
    memory_mib: int
    qemu: Qemu | None = None
    qemu_storage_daemon: StorageDaemon | None = None
    spdk: Spdk | None = None
    fio: Fio | None = None
    guest_image: GuestImage | None = None
    guest_payload: GuestPayload | None = None
    nvme_devices: tuple[NvmeDevice, ...] = ()
    accelerator: Accelerator | None = None


def capabilities_from(data: Mapping[str, Any], *, source: str = "capabilities") -> Capabilities:
    """``data`` checked; raises CapabilitiesError with every fault, ``source`` named."""
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        raise CapabilitiesError(
            f"{source}: schema_version: found {version!r}, wanted {SCHEMA_VERSION}; "
            "use the same nvmelab on the control node and for the lab hosts' collection"
        )
    try:
        return Capabilities.model_validate(data)
    except ValidationError as error:
        raise CapabilitiesError(
            "\n".join(
                f"{source}: {'.'.join(map(str, fault['loc']))}: found {fault['input']!r}; "
                f"{fault['msg']}"
                for fault in error.errors()
            )
        ) from error


def read_host(path: Path) -> tuple[dict[str, Any], Any]:
    """The capabilities in ``path``, and what is there under ``cpu_layout``, or None.

    Either the object that the module returned, or one that has it under ``capabilities``. ``-`` is
    standard input.
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
        data = json.loads(text)
    except (OSError, ValueError) as error:
        raise CapabilitiesError(f"{path}: cannot read the capabilities: {error}") from error
    layout = None
    if isinstance(data, dict) and isinstance(data.get("capabilities"), dict):
        data, layout = data["capabilities"], data.get("cpu_layout")
    if not isinstance(data, dict):
        raise CapabilitiesError(f"{path}: found a {type(data).__name__}, wanted a JSON object")
    return data, layout
