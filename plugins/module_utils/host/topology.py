# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CPUs of a machine as its sysfs tells them: cores, siblings, caches, NUMA nodes, kinds.

Source: the kernel's Documentation/ABI/stable/sysfs-devices-system-cpu, sysfs-devices-node and
testing/sysfs-devices-system-cpu. Nothing is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSFS = Path("/sys")
# Where only cpu_capacity tells (Arm, some hybrid x86): middle cores of three-step designs have
# 0.8 and more of the largest capacity, little ones 0.6 and less.
_EFFICIENCY_BELOW = 0.75
_PCI_ADDRESS = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])", re.IGNORECASE)


class TopologyError(NvmelabError):
    """Sysfs does not tell what every Linux tells."""


@dataclass(frozen=True)
class Cpu:
    """One CPU that is online.

    ``siblings`` (threads of its core) and ``l3`` (CPUs that share its L3 cache; empty where it has
    none) are sorted, hold only CPUs that are online, and the CPU itself. ``kind`` is
    ``performance`` or ``efficiency``, and None on a machine with one kind of core. ``package`` is
    -1 where the firmware does not say.
    """

    number: int
    core_id: int
    package: int
    siblings: tuple[int, ...]
    l3: tuple[int, ...]
    node: int
    kind: Optional[str] = None


@dataclass(frozen=True)
class Topology:
    """A machine's CPUs; ``cpus`` describes those of ``online``, in the same order."""

    possible: tuple[int, ...]
    present: tuple[int, ...]
    online: tuple[int, ...]
    cpus: tuple[Cpu, ...]

    @property
    def offline(self) -> tuple[int, ...]:
        """The CPUs that are there and switched off."""
        return tuple(cpu for cpu in self.present if cpu not in self.online)


def read_topology(sysfs: Path = SYSFS) -> Topology:
    """Return the topology that ``sysfs`` tells.

    Raises:
        TopologyError: the list of online CPUs is missing, or a file holds something else.
    """
    system = sysfs / "devices" / "system"
    online = _cpus(system / "cpu" / "online")
    if not online:
        raise TopologyError(f"{system / 'cpu' / 'online'}: no CPUs in it; is this sysfs?")
    nodes = _nodes(system / "node")
    kinds = _kinds(sysfs / "devices", online)
    return Topology(
        possible=_cpus(system / "cpu" / "possible") or online,
        present=_cpus(system / "cpu" / "present") or online,
        online=online,
        cpus=tuple(_cpu(system / "cpu", number, online, nodes, kinds) for number in online),
    )


def device_node(address: str, sysfs: Path = SYSFS) -> Optional[int]:
    """Return the NUMA node of a PCI device; None where the firmware does not say.

    Raises:
        BadInputError: this is no PCI address, or no device is there.
    """
    match = _PCI_ADDRESS.fullmatch(address.strip())
    if match is None:
        raise BadInputError(f"device {address!r}: no PCI address; wanted one such as 0000:01:00.0")
    device = sysfs / "bus/pci/devices" / f"{match[1] or '0000'}:{match[2]}".lower()
    if not device.exists():
        raise BadInputError(f"device {address}: {device} is not there; see lspci -D")
    node = _integer(device / "numa_node", -1)
    return node if node >= 0 else None


def _cpu(
    folder: Path,
    number: int,
    online: tuple[int, ...],
    nodes: Mapping[int, int],
    kinds: Mapping[int, str],
) -> Cpu:
    own = folder / f"cpu{number}"
    siblings = _cpus(own / "topology" / "thread_siblings_list") or (number,)
    return Cpu(
        number=number,
        core_id=_integer(own / "topology" / "core_id", number),
        package=_integer(own / "topology" / "physical_package_id", -1),
        siblings=tuple(cpu for cpu in siblings if cpu in online),
        l3=tuple(cpu for cpu in _l3(own / "cache") if cpu in online),
        # A kernel without NUMA has no folder of nodes: all its memory is one node.
        node=nodes.get(number, 0),
        kind=kinds.get(number),
    )


def _l3(cache: Path) -> tuple[int, ...]:
    for index in sorted(cache.glob("index*")):
        if _text(index / "level") == "3":
            return _cpus(index / "shared_cpu_list")
    return ()


def _nodes(folder: Path) -> dict[int, int]:
    """Return the node of each CPU."""
    found = {}
    for node in folder.glob("node[0-9]*"):
        found.update(dict.fromkeys(_cpus(node / "cpulist"), int(node.name[len("node") :])))
    return found


def _kinds(devices: Path, online: tuple[int, ...]) -> dict[int, str]:
    """Return the kind of each core's CPUs; empty where all are of one kind.

    Intel's hybrid processors have a PMU for each kind, which names its CPUs; elsewhere
    ``cpu_capacity`` compares the cores.
    """
    efficient = {*_cpus(devices / "cpu_atom/cpus"), *_cpus(devices / "cpu_lowpower/cpus")}
    if not efficient:
        folder = devices / "system" / "cpu"
        capacity = {cpu: _integer(folder / f"cpu{cpu}/cpu_capacity", 0) for cpu in online}
        limit = max(capacity.values()) * _EFFICIENCY_BELOW
        efficient = {cpu for cpu, value in capacity.items() if 0 < value < limit}
    if not efficient.intersection(online) or efficient.issuperset(online):
        return {}
    return {cpu: "efficiency" if cpu in efficient else "performance" for cpu in online}


def _text(path: Path) -> str:
    """Return a file's text; empty where there is none, as sysfs leaves out what is unknown."""
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def _cpus(path: Path) -> tuple[int, ...]:
    text = _text(path)
    try:
        return tuple(parse_cpu_list(text)) if text else ()
    except BadInputError as error:
        raise TopologyError(f"{path}: {error}") from error


def _integer(path: Path, default: int) -> int:
    text = _text(path)
    try:
        return int(text) if text else default
    except ValueError as error:
        raise TopologyError(f"{path}: found {text[:40]!r}, wanted a number") from error
