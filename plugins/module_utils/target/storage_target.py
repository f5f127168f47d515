# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that serves a device to a guest, other than QEMU itself: which one, and its start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.target import qsd, spdk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.nvmelab.bench.plugins.module_utils.target.running import (
        AnyPath,
        RunningTarget,
    )

# Kind of a plan -> the transports that it can serve.
KINDS = {
    "qemu-storage-daemon": ("vhost-user",),
    "spdk-nvmf-tgt": ("vfio-user",),
    "spdk-vhost": ("vhost-user",),
}


def start_target(
    spec: Mapping[str, Any], *, directory: AnyPath, capabilities: Mapping[str, Any]
) -> RunningTarget:
    """Return the target of a plan, all exports listening; or nothing is left of it.

    Args:
        spec: the plan's target: name, kind, cpus, exports.
        directory: the run directory; logs, sockets, records and backends go below it.
        capabilities: of this lab host.

    Raises:
        BadInputError: the specification cannot be meant.
        TargetError: with the end of the target's log.
    """
    require_exports(spec)
    starters = {
        "qemu-storage-daemon": qsd.start,
        "spdk-nvmf-tgt": spdk.start_nvmf_tgt,
        "spdk-vhost": spdk.start_vhost,
    }
    target = starters[spec["kind"]](spec, Path(directory), capabilities)
    target.save()
    return target


def require_exports(spec: Mapping[str, Any]) -> None:
    """Refuse a kind, or exports, that no target can serve.

    Raises:
        BadInputError: what was found, and what can be.
    """
    name, kind = spec["name"], spec["kind"]
    if kind not in KINDS:
        raise BadInputError(f"target {name}: kind {kind!r}: wanted one of {', '.join(KINDS)}")
    if not spec["exports"]:
        raise BadInputError(f"target {name}: no exports; wanted at least one")
    names = [export["name"] for export in spec["exports"]]
    if len(set(names)) < len(names):
        raise BadInputError(f"target {name}: two exports of one name among {', '.join(names)}")
    for export in spec["exports"]:
        if export["transport"] not in KINDS[kind]:
            raise BadInputError(
                f"target {name}: export {export['name']}: {kind} cannot serve transport "
                f"{export['transport']!r}, only {', '.join(KINDS[kind])}"
            )
