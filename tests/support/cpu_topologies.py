# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines for tests: the fixtures of tests/fixtures/topologies as a sysfs tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import (
    format_cpu_list,
    parse_cpu_list,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.topology import (
    Topology,
    read_topology,
)

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "topologies"
MACHINES = sorted(path.stem for path in FOLDER.glob("*.yml"))


def machine(name: str) -> dict[str, Any]:
    """Return a fixture's content."""
    content: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yml").read_text("utf-8"))
    return content


def make_sysfs(root: Path, spec: dict[str, Any]) -> Path:
    """Write below ``root`` what sysfs of this machine would hold; return ``root``."""
    cpus = root / "devices" / "system" / "cpu"
    online = parse_cpu_list(spec["online"])
    for name in ("present", "online"):
        _write(cpus / name, spec[name])
    _write(cpus / "possible", spec.get("possible", spec["present"]))
    for group in spec["cores"]:
        _write_group(root, group, online)
    for shared in spec["l3"]:
        for cpu in _on(shared, online):
            _write_cache(cpus / f"cpu{cpu}" / "cache", cpu, _on(shared, online))
    for node, text in spec["nodes"].items():
        shown = format_cpu_list(_on(text, online))
        _write(root / f"devices/system/node/node{node}/cpulist", shown)
    for address, node in spec.get("devices", {}).items():
        _write(root / "bus/pci/devices" / address / "numa_node", node)
    return root


def load_topology(root: Path, name: str) -> Topology:
    """Return the topology of a fixture, through a sysfs tree below ``root``."""
    return read_topology(make_sysfs(root, machine(name)))


def _write_group(root: Path, group: dict[str, Any], online: list[int]) -> None:
    threads = [parse_cpu_list(text) for text in group["threads"]]
    core_ids = parse_cpu_list(group["core_ids"])
    for core_id, core in zip(core_ids, zip(*threads, strict=True), strict=True):
        siblings = [cpu for cpu in core if cpu in online]
        for cpu in siblings:
            folder = root / "devices" / "system" / "cpu" / f"cpu{cpu}" / "topology"
            _write(folder / "core_id", core_id)
            _write(folder / "physical_package_id", group["package"])
            _write(folder / "thread_siblings_list", format_cpu_list(siblings))
    if "kind" in group:
        every = format_cpu_list(cpu for row in threads for cpu in row)
        _write(root / "devices" / f"cpu_{group['kind']}" / "cpus", every)


def _write_cache(folder: Path, cpu: int, shared: list[int]) -> None:
    for index, (level, cpus) in enumerate(((1, [cpu]), (2, [cpu]), (3, shared))):
        _write(folder / f"index{index}" / "level", level)
        _write(folder / f"index{index}" / "shared_cpu_list", format_cpu_list(cpus))


def _on(text: str, online: list[int]) -> list[int]:
    return [cpu for cpu in parse_cpu_list(str(text)) if cpu in online]


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n", encoding="ascii")
