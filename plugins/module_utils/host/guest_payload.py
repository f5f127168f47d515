# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which builds of this lab host go into its guests, and what they can do there.

They are asked here: host and guest are of one architecture, and a build that does not start on
the host it was made on starts nowhere.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Callable, Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.build.store import build_of
from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.qemu_probe import ProbeError, run

# Of a whole SPDK only the client that guests run: the rest is a hundred megabytes.
SPDK_CLIENT = "build/bin/spdk_nvme_perf"
# The libraries that every guest has: its own libc must stay, and sshd and Python need libcrypto.
_EVERYWHERE = re.compile(r"(ld-linux|libc|libm|libdl|libpthread|librt|libresolv|libcrypto)\b")
_LIBRARY = re.compile(r"^\s*(\S+) => (/\S+) \(", re.MULTILINE)
# Of the CPU that a build was made for: compilers use it wherever they can, QEMU's TCG lacks it.
AVX_512 = "avx512f"
_WITH_AVX_512 = ("x86-64-v4",)

ProbeFio = Callable[[str], dict[str, Any]]


def find(
    prefixes: Sequence[str], probe_fio: ProbeFio, *, cpuinfo: Path = Path("/proc/cpuinfo")
) -> Optional[dict[str, Any]]:
    """Return the payload of these prefixes, or None where there are none.

    Args:
        prefixes: folders that builds were installed to.
        probe_fio: returns ``path, version, engines`` of a fio.
        cpuinfo: the file in which the kernel tells the CPU's flags.

    Returns:
        ``prefixes``; ``paths`` that every guest gets; ``fio``, null or what ``probe_fio`` returns,
        with ``libraries``: paths of those that a guest may lack; ``programs``: by their names the
        other clients, which only those guests get that use them, as :func:`_program` has them.

    Raises:
        BadInputError: a prefix is no folder, or two have a fio, or the same client.
    """
    folders = [Path(prefix) for prefix in dict.fromkeys(prefixes)]
    for folder in folders:
        if not folder.is_absolute() or not folder.is_dir():
            raise BadInputError(f"guest_prefixes: {folder}: no such folder; build it first")
    fios = _holding(folders, "bin/fio")
    clients = _holding(folders, SPDK_CLIENT)
    for name, paths in (("fio", fios), ("spdk_nvme_perf", clients)):
        if len(paths) > 1:
            both = " and ".join(map(str, paths))
            raise BadInputError(f"guest_prefixes: {both}: wanted one {name} for the guests")
    if not folders:
        return None
    whole = [folder for folder in folders if not (folder / SPDK_CLIENT).is_file()]
    return {
        "prefixes": [str(folder) for folder in folders],
        "paths": [str(folder) for folder in whole],
        "fio": _fio(fios[0], probe_fio) if fios else None,
        "programs": {path.name: _program(path, cpuinfo) for path in clients},
    }


def _fio(path: Path, probe_fio: ProbeFio) -> dict[str, Any]:
    # fio's configure takes whatever libraries it finds on the host that builds it.
    return {**probe_fio(str(path)), "libraries": libraries_of(path)}


def _holding(folders: Sequence[Path], name: str) -> list[Path]:
    return [folder / name for folder in folders if (folder / name).is_file()]


def _program(path: Path, cpuinfo: Path) -> dict[str, Any]:
    """Return what a guest needs for one program, and what it needs of a guest.

    ``path``; ``libraries``: paths of those that a guest may lack; ``version``, ``commit`` and
    ``target_arch`` of its build, null where it is none of ours; ``cpu_flags`` that it may not do
    without, of those that QEMU does not emulate.
    """
    build = build_of(path) or {}
    arch = _target_arch(build)
    return {
        "path": str(path),
        "libraries": libraries_of(path),
        "version": build.get("version"),
        "commit": build.get("source", {}).get("commit"),
        "target_arch": arch,
        "cpu_flags": _flags_of(arch, cpuinfo),
    }


def _target_arch(build: dict[str, Any]) -> Optional[str]:
    words = build.get("inputs", {}).get("configure", [])
    found = [word.partition("=")[2] for word in words if word.startswith("--target-arch=")]
    return found[-1] if found else None


def _flags_of(arch: Optional[str], cpuinfo: Path) -> list[str]:
    """Return which of the flags a program has that was built for ``arch`` on a host like this."""
    if arch in _WITH_AVX_512:
        return [AVX_512]
    if arch != "native":
        return []
    text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    return [AVX_512] if re.search(rf"^flags\s*:.*\b{AVX_512}\b", text, re.MULTILINE) else []


def libraries_of(program: Path) -> list[str]:
    """Return the shared libraries of a program, as the loader finds them; not those of all guests.

    One that is not found here is left out: a guest may have it, and if not, its loader names it.
    """
    try:
        listed = run(["ldd", str(program)])
    except ProbeError:  # it is linked statically, or no program of this machine
        return []
    return [path for name, path in _LIBRARY.findall(listed) if not _EVERYWHERE.match(name)]
