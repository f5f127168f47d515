# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bdev for an SPDK application that serves nobody: the file it reads at its start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import write_json
from ansible_collections.nvmelab.bench.plugins.module_utils.target import (
    nvme_taking,
    spdk,
    spdk_host,
    spdk_live,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.target.backends import BDEVS
from ansible_collections.nvmelab.bench.plugins.module_utils.target.spdk_objects import asked_items

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NAME = "bdev0"
# What bdevperf takes beside the bdev itself.
_BASE_MIB = 256


def is_bdev(backend: Mapping[str, Any]) -> bool:
    """Whether a plan's backend is a bdev of SPDK, not a file."""
    return backend["kind"] in BDEVS


def write(backend: Mapping[str, Any], *, name: str, directory: Path) -> Path:
    """Return the configuration file with one bdev, the same as a target has.

    A real device is taken from the kernel until :func:`remove`.

    Raises:
        BadInputError: no such kind of bdev, no size, or no device.
        PciError: the device cannot be had.
        TargetError: the host has not the hugepages for it.
    """
    kept = {key: backend.get(key) for key in ("size_mib", "bdf")}
    asked = {"name": _NAME, "kind": BDEVS.get(backend["kind"], backend["kind"]), **kept}
    items = asked_items({"bdevs": [asked]})
    size_mib = backend["size_mib"] if asked["kind"] == "malloc" else 0
    spdk_host.require_hugepages(name, _BASE_MIB + size_mib)
    calls = [spdk_live.add_call(item) for item in items]
    config = [{"method": method, "params": params} for method, params in calls]
    path = directory / "backends" / f"{name}.bdev.json"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    devices = nvme_taking.addresses_of([{"name": name, "backend": backend}])
    with nvme_taking.taken(devices, directory):
        write_json(path, {"subsystems": [{"subsystem": "bdev", "config": config}]}, durable=False)
    return path


def bdev_of(backend: Mapping[str, Any]) -> str:
    """Return what the bdev in such a file is called."""
    return spdk.bdev_name(backend, _NAME)


def remove(backend: Mapping[str, Any], path: Path, *, name: str, directory: Path) -> Optional[str]:
    """Remove the file, and give a real device back; return why that failed."""
    path.unlink(missing_ok=True)
    devices = nvme_taking.addresses_of([{"name": name, "backend": backend}])
    left = nvme_taking.give_back_or_say(directory, devices)
    return f"{name}: {left}" if left else None
