# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this lab host can do, from the binaries that are there.

What a binary answered is kept by its path, time and size: a warm probe asks nobody.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.atomic_file import write_json
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import (
    accelerator,
    guest_payload,
    spdk_probe,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.builds import builds_of
from ansible_collections.nvmelab.bench.plugins.module_utils.host.cpu_list import parse_cpu_list
from ansible_collections.nvmelab.bench.plugins.module_utils.host.qemu_probe import (
    ProbeError,
    probe_qemu,
    probe_storage_daemon,
    run,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image.store import current_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA_VERSION = 1
# Raised when a probe answers more or otherwise than before: what was kept is then void.
_PROBE_VERSION = 1
_QEMU = f"qemu-system-{platform.machine()}"
# What of image.json concerns a run; the list of packages and the build's inputs stay there.
_IMAGE_KEYS = (
    "name",
    "digest",
    "directory",
    "boot",
    "disk",
    "kernel",
    "initrd",
    "seed",
    "kernel_cmdline",
    "kernel_release",
    "fio_version",
    "fio_engines",
    "pci_drivers",
)

Probe = Callable[[str], dict[str, Any]]


def probe(
    root: Path,
    *,
    qemu_path: Optional[str] = None,
    spdk_directory: Optional[str] = None,
    fio_path: Optional[str] = None,
    guest_prefixes: Sequence[str] = (),
    pins: Optional[str] = None,
    wanted_accelerator: str = "auto",
    accelerator_deadline_s: float = accelerator.PROBE_DEADLINE_S,
) -> dict[str, Any]:
    """Return the capabilities of this host, as the project's contract for plans writes them.

    Args:
        root: the lab directory; answers are kept in ``<root>/cache``.
        qemu_path: the QEMU to use; default is the one on PATH. Its storage daemon is looked for
            beside it first.
        spdk_directory: an SPDK source tree with its build, or a folder with the programs.
        fio_path: the fio to use; default is the one on PATH.
        guest_prefixes: folders with builds that guests get; see :func:`guest_payload.find`.
        pins: name of the set of pins that builds were asked of; only recorded.
        wanted_accelerator: ``auto``, ``tcg`` or ``kvm``; see :func:`accelerator.choose`.
        accelerator_deadline_s: how long a guest may take under KVM.

    Raises:
        BadInputError: a path was given and nothing is there.
        ProbeError: a binary is there and does not answer.
        AcceleratorError: ``kvm`` is wanted and not usable.
    """
    programs: dict[str, tuple[Optional[str], Probe]] = {
        "qemu": (_find("qemu_path", qemu_path, _QEMU), probe_qemu),
        "qemu_storage_daemon": (_find_storage_daemon(qemu_path), probe_storage_daemon),
        "fio": (_find("fio_path", fio_path, "fio"), probe_fio),
    }
    found = _probe_all(root / "cache" / "capabilities.json", programs)
    image = guest_image(root)
    spdk = spdk_programs(spdk_directory)
    return {
        "schema_version": SCHEMA_VERSION,
        **_machine(),
        **found,
        "spdk": {
            **spdk,
            "fio_plugin": spdk_probe.fio_plugin(spdk["nvmf_tgt"], found["fio"]),
        },
        "builds": _builds(found, spdk, guest_prefixes, pins),
        "guest_image": image,
        "guest_payload": guest_payload.find(guest_prefixes, probe_fio),
        "accelerator": accelerator.choose(
            root,
            wanted=wanted_accelerator,
            qemu=found["qemu"],
            image=image,
            deadline_s=accelerator_deadline_s,
        ),
    }


def _builds(
    found: Mapping[str, Any],
    spdk: Mapping[str, Optional[str]],
    guest_prefixes: Sequence[str],
    pins: Optional[str],
) -> Optional[dict[str, Any]]:
    """Return the set of pins and the builds of ours that a run would use; None without any."""
    programs = [answer["path"] for answer in found.values() if answer]
    products = builds_of([*programs, spdk["nvmf_tgt"], spdk["vhost"], *guest_prefixes])
    return {"pins": pins, "products": products} if products else None


def probe_fio(path: str) -> dict[str, Any]:
    """Return ``path, version, engines`` of a fio."""
    version = run([path, "--version"]).strip()
    if not version.startswith("fio-"):
        raise ProbeError(f"{path}: not fio: --version printed {version[:80]!r}")
    listed = run([path, "--enghelp"]).partition(":")[2]
    return {"path": path, "version": version[len("fio-") :], "engines": sorted(listed.split())}


def guest_image(root: Path) -> Optional[dict[str, Any]]:
    """Return the image that guests are started from, or None while there is none."""
    image = current_image(root)
    return {key: image.get(key) for key in _IMAGE_KEYS} if image else None


def _machine() -> dict[str, Any]:
    memory = re.search(
        r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE
    )
    online = Path("/sys/devices/system/cpu/online").read_text(encoding="ascii").strip()
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return {
        # Not this process's affinity: it lacks the CPUs that isolcpus keeps free for guests.
        "cpu_count": len(parse_cpu_list(online)),
        "cpus": online,
        "memory_mib": int(memory[1]) // 1024 if memory else None,
        "kernel": platform.release(),
        "is_virtual_machine": bool(re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.MULTILINE)),
    }


def _find(option: str, given: Optional[str], name: str) -> Optional[str]:
    """Return the program that was given, else that on PATH, None where there is none."""
    if given is None:
        return shutil.which(name)
    path = shutil.which(given)
    if path is None:
        raise BadInputError(f"{option} {given}: no executable file there; leave it out for PATH's")
    return path


def _find_storage_daemon(qemu_path: Optional[str]) -> Optional[str]:
    name = "qemu-storage-daemon"
    beside = shutil.which(str(Path(qemu_path).with_name(name))) if qemu_path else None
    return beside or shutil.which(name)


def spdk_programs(directory: Optional[str]) -> dict[str, Optional[str]]:
    """Return where SPDK's targets and clients are; a folder that was given must hold a target."""
    folders = [Path(directory, "build", "bin"), Path(directory)] if directory else []
    search = os.pathsep.join(map(str, folders)) if directory else None
    nvmf_tgt = shutil.which("nvmf_tgt", path=search)
    # The name is too common to be believed on PATH, where QEMU and kernels have theirs.
    beside = str(Path(nvmf_tgt).parent) if nvmf_tgt else search
    vhost = shutil.which("vhost", path=beside) if beside else None
    if directory and not (nvmf_tgt or vhost):
        raise BadInputError(
            f"spdk_directory {directory}: neither nvmf_tgt nor vhost in it or its build/bin"
        )
    program = nvmf_tgt or vhost
    version = re.search(r"SPDK v?(\S+)", run([program, "-v"])) if program else None
    return {
        "nvmf_tgt": nvmf_tgt,
        "vhost": vhost,
        **spdk_probe.clients(nvmf_tgt),
        "version": version[1] if version else None,
    }


def _probe_all(cache: Path, programs: Mapping[str, tuple[Optional[str], Probe]]) -> dict[str, Any]:
    """Return each program's answer, null for one that is not there; asks the unknown at once."""
    kept = _read_cache(cache)
    keys = {name: _identity(path) if path else None for name, (path, _) in programs.items()}
    unknown = [name for name, key in keys.items() if key is not None and key not in kept]
    if unknown:
        with ThreadPoolExecutor() as pool:
            asked = {name: pool.submit(_ask, programs[name]) for name in unknown}
            kept.update({str(keys[name]): job.result() for name, job in asked.items()})
        current = {key: kept[key] for key in keys.values() if key is not None}
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_json(cache, {"schema_version": SCHEMA_VERSION, "answers": current}, durable=False)
    return {name: kept[key] if key else None for name, key in keys.items()}


def _ask(program: tuple[Optional[str], Probe]) -> dict[str, Any]:
    path, ask = program
    return ask(str(path))


def _identity(path: str) -> str:
    """Return what names one build of a program: path, time and size of the file it leads to."""
    status = Path(path).stat()
    return json.dumps([_PROBE_VERSION, path, status.st_mtime_ns, status.st_size])


def _read_cache(cache: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        return dict(content["answers"]) if content["schema_version"] == SCHEMA_VERSION else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
