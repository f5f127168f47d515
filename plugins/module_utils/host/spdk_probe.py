# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SPDK's own clients beside its targets: programs, and the engine that a fio can load."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.host.qemu_probe import ProbeError, run

if TYPE_CHECKING:
    from collections.abc import Mapping

# Where SPDK's build has them, seen from the folder of nvmf_tgt; else they lie beside it.
_PLACES = {
    "bdevperf": ("../examples/bdevperf", "bdevperf"),
    "spdk_nvme_perf": ("spdk_nvme_perf",),
}
_PLUGIN = "../fio/spdk_nvme"


def clients(nvmf_tgt: Optional[str]) -> dict[str, Optional[str]]:
    """Return the path of each client that belongs to this target, or None."""
    return {name: _first(nvmf_tgt, places) for name, places in _PLACES.items()}


def fio_plugin(
    nvmf_tgt: Optional[str], fio: Optional[Mapping[str, Any]]
) -> Optional[dict[str, Any]]:
    """Return ``path, fio_path, fio_version`` of SPDK's engine for NVMe, or None.

    It is bound to the version of fio that it was built for: whether this fio loads it is tried.
    """
    plugin = _first(nvmf_tgt, (_PLUGIN,), is_program=False)
    if plugin is None or fio is None or not _loads(fio["path"], plugin):
        return None
    return {"path": plugin, "fio_path": fio["path"], "fio_version": fio["version"]}


def _first(
    nvmf_tgt: Optional[str], places: tuple[str, ...], *, is_program: bool = True
) -> Optional[str]:
    if nvmf_tgt is None:
        return None
    folder = Path(nvmf_tgt).parent
    for place in places:
        path = (folder / place).resolve()
        if shutil.which(str(path)) if is_program else path.is_file():
            return str(path)
    return None


def _loads(fio: str, plugin: str) -> bool:
    try:
        # Of an engine that it cannot load, fio knows no option; it ends well all the same.
        return "mem_size_mb" in run([fio, f"--enghelp={plugin}"])
    except ProbeError:
        return False
