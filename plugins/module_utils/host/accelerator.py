# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which accelerator guests run under: KVM only when a guest has booted under it just so.

That /dev/kvm can be opened proves nothing: with nested virtualisation, virtual machines and CPUs
are made without an error and the guest hangs, QEMU alive. So a guest is booted to its SSH login
against a deadline, and what was seen is kept until the next boot of the host.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils import processes
from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import write_json
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.running import serial_log_path
from ansible_collections.nvmelab.bench.plugins.module_utils.guest.starting import launch_guest
from ansible_collections.nvmelab.bench.plugins.module_utils.processes import log_tail

if TYPE_CHECKING:
    from collections.abc import Mapping

# A guest under KVM logs in after 2 to 4 s.
PROBE_DEADLINE_S = 20.0
_KVM = "/dev/kvm"


class AcceleratorError(NvmelabError):
    """KVM was demanded and cannot be used."""


def choose(
    root: Path,
    *,
    wanted: str,
    qemu: Optional[Mapping[str, Any]],
    image: Optional[Mapping[str, Any]],
    deadline_s: float = PROBE_DEADLINE_S,
) -> dict[str, Any]:
    """Return ``name`` (tcg or kvm), ``kvm_usable``, ``reason`` and ``details``.

    ``kvm_usable`` is null where it was not tried; ``reason`` is a short clause, ``details`` all
    that was seen when a guest did not come up under KVM, else null. A probe's result is kept in
    ``<root>/cache/accelerator.json``, keyed by the host's boot, the QEMU binary, the guest's kernel
    and the deadline; what is seen at once is not kept.

    Args:
        root: the lab directory.
        wanted: ``auto``, ``tcg`` (no probe) or ``kvm`` (an error when it is not usable).
        qemu: capabilities' ``qemu``.
        image: capabilities' ``guest_image``.
        deadline_s: how long the guest may take to its first login under KVM.

    Raises:
        AcceleratorError: ``kvm`` is wanted and not usable.
    """
    if wanted == "tcg":
        return _result(None, "TCG was asked for; KVM was not tried")
    obstacle = _obstacle(qemu, image)
    if obstacle or qemu is None or image is None:
        found = _result(False if image else None, obstacle or "")
    else:
        found = _cached_probe(root, qemu, image, deadline_s)
    if wanted == "kvm" and not found["kvm_usable"]:
        raise AcceleratorError(f"accelerator kvm was asked for, but: {found['reason']}")
    return found


def _result(
    usable: Optional[bool],  # noqa: FBT001 it is data
    reason: str,
    details: Optional[str] = None,
) -> dict[str, Any]:
    name = "kvm" if usable else "tcg"
    return {"name": name, "kvm_usable": usable, "reason": reason, "details": details}


def _obstacle(
    qemu: Optional[Mapping[str, Any]], image: Optional[Mapping[str, Any]]
) -> Optional[str]:
    """Return why KVM need not even be tried, or None."""
    if qemu is None:
        return "no QEMU was found"
    if "kvm" not in qemu["accelerators"]:
        return f"{qemu['path']} was built without KVM"
    try:
        os.close(os.open(_KVM, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return f"{_KVM} does not exist (no virtualisation extensions, or the module is not loaded)"
    except OSError as error:
        return f"{_KVM} cannot be opened: {error.strerror}"
    return None if image else "no guest image yet to prove KVM with"


def _cached_probe(
    root: Path, qemu: Mapping[str, Any], image: Mapping[str, Any], deadline_s: float
) -> dict[str, Any]:
    cache = root / "cache" / "accelerator.json"
    key = _key(qemu, image, deadline_s)
    cache.parent.mkdir(parents=True, exist_ok=True)
    # Who comes second waits for the first one's answer and does not boot another guest.
    with cache.with_suffix(".lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = _kept(cache, key)
        if kept is not None:
            return kept
        found = _probe(root / "kvm-probe", qemu, image, deadline_s)
        write_json(cache, {"schema_version": 1, "key": key, **found})
    return found


def _kept(cache: Path, key: str) -> Optional[dict[str, Any]]:
    """Return an earlier answer to the same question; None when there is none."""
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        if kept["key"] == key:
            return {name: kept[name] for name in _result(None, "")}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not ours to understand: probe again
    return None


def _key(qemu: Mapping[str, Any], image: Mapping[str, Any], deadline_s: float) -> str:
    """Return a digest of all that the answer depends on."""
    binary = os.stat(qemu["path"])  # noqa: PTH116 a result of os.stat is what is wanted
    parts = [
        Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
        qemu["path"],
        binary.st_mtime_ns,
        binary.st_size,
        _kernel_digest(image),
        deadline_s,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _kernel_digest(image: Mapping[str, Any]) -> str:
    """Return the kernel's digest, or the image's where the firmware loads a kernel from it."""
    if not image.get("kernel"):
        return str(image["digest"])
    return hashlib.sha256(Path(image["kernel"]).read_bytes()).hexdigest()


def _probe(
    folder: Path, qemu: Mapping[str, Any], image: Mapping[str, Any], deadline_s: float
) -> dict[str, Any]:
    """Boot a guest without any device under test, and end it."""
    spec = {"name": "probe", "vcpus": 1, "memory_mib": 512, "devices": []}
    # The folder has a fixed name, so that what a killed probe has left is found and ended.
    processes.stop_recorded(folder / "processes")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started = time.monotonic()
    try:
        guest = launch_guest(
            spec,
            directory=folder,
            image=image,
            qemu=qemu,
            accelerator="kvm",
            deadline_s=deadline_s,
        ).wait()
        guest.stop()
    except NvmelabError as error:
        reason = _failure(folder, time.monotonic() - started, deadline_s)
        return _result(False, reason, _without_logs(str(error), folder))  # noqa: FBT003
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _result(True, f"a guest logged in under KVM {guest.boot_s:.1f} s after its start")  # noqa: FBT003


def _failure(folder: Path, waited_s: float, deadline_s: float) -> str:
    """Return in one clause how a guest failed under KVM."""
    if waited_s < deadline_s:
        return f"a guest under KVM ended after {waited_s:.1f} s"
    if log_tail(serial_log_path(folder, "probe")):
        return f"a guest under KVM did not log in within {deadline_s:g} s"
    return f"a guest under KVM was silent for {deadline_s:g} s"


def _without_logs(message: str, folder: Path) -> str:
    """Return the failure without the paths of logs that are gone with the probe."""
    parts = message.replace("probe: ", "", 1).split("; ")
    return "; ".join(part for part in parts if str(folder) not in part)
