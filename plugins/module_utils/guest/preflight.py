# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuse, before QEMU starts, what would only show as a guest that never comes up."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest import running as guest
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.qmp import check_socket_path
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.running import GuestError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.free_hugepages import free_mib
from ansible_collections.nvmelab.bench.plugins.module_utils.target import backends

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.nvmelab.bench.plugins.module_utils.image.lab_keys import LabKeys


OVERLAY_MIB = 64
_HUGEPAGE_KIB = 2048


def require_startable(
    spec: Mapping[str, Any],
    directory: Path,
    image: Mapping[str, Any],
    keys: LabKeys,
    sockets: Mapping[str, str],
) -> None:
    """Return when files, memory and sockets of a guest are there.

    Raises:
        BadInputError: a device wants an export that no target serves.
        GuestError: which of them is not there, and what to do.
        QmpError: the run directory's path is too long for a socket.
    """
    _require_files(spec["name"], image, keys)
    _require_memory(spec)
    _require_space(spec["name"], directory)
    for device in spec["devices"]:
        if device.get("export"):
            _require_socket(spec["name"], device, sockets)
    check_socket_path(guest.qmp_socket_path(directory, spec["name"]))


def _require_memory(spec: Mapping[str, Any]) -> None:
    name, wanted = spec["name"], spec["memory_mib"]
    if spec.get("hugepages"):
        free = free_mib().get(_HUGEPAGE_KIB, 0)
        if wanted > free:
            raise GuestError(
                f"{name}: memory_mib {wanted} shall lie in hugepages, of those of 2 MiB {free} MiB "
                f"are free; have {-(-wanted // 2)} free ones: role hugepages, or sysctl "
                "vm.nr_hugepages"
            )
        return
    free = backends.available_memory_bytes() // backends.MIB
    if wanted > free:
        raise GuestError(
            f"{name}: memory_mib {wanted}: this machine has {free} MiB available; give the guest "
            "less"
        )


def _require_space(name: str, directory: Path) -> None:
    """What the guest writes to its root lies beside its logs; without room it dies silently."""
    there = next(one for one in (directory, *directory.absolute().parents) if one.exists())
    free_mib = shutil.disk_usage(there).free // backends.MIB
    if free_mib < OVERLAY_MIB:
        raise GuestError(
            f"{name}: No space left on device: {directory} has {free_mib} MiB free, a guest wants "
            f"{OVERLAY_MIB} MiB for what it writes to its root; free space there and start the run "
            "again"
        )


def _require_files(name: str, image: Mapping[str, Any], keys: LabKeys) -> None:
    wanted = [image["disk"], image.get("kernel"), image.get("initrd")]
    for path in filter(None, [*wanted, keys.private_key, keys.known_hosts]):
        if not Path(path).is_file():
            raise GuestError(
                f"{name}: no file {path}, which the guest image {image['name']} needs; run the "
                "role guest_image again"
            )


def _require_socket(name: str, device: Mapping[str, Any], sockets: Mapping[str, str]) -> None:
    path = sockets.get(device["export"])
    if path is None:
        raise BadInputError(
            f"{name}: device {device['name']}: no storage target serves the export "
            f"{device['export']!r}; there are {', '.join(sockets) or 'none'}"
        )
    if not Path(path).is_socket():
        raise GuestError(
            f"{name}: device {device['name']}: no socket at {path}; has the storage target ended?"
        )
