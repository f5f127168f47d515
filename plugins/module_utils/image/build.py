# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds a guest's disk: mmdebstrap makes the system, mke2fs puts it into a raw file.

Nothing is mounted by this code and no loop device is used: it also works on kernels that know
no partition tables. mmdebstrap(1) itself mounts /proc and others in the new root; a build that
was killed may leave them, hence ``remove_tree``.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
from pathlib import Path
from typing import Optional, Sequence

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.image.guest_root import DISK_SIGNATURE

PARTITION_OFFSET = 1 << 20
SECTOR_BYTES = 512
LOG_TAIL_LINES = 15
DPKG_EXCLUDES = "".join(
    f"path-exclude=/usr/share/{folder}/*\n" for folder in ("doc", "info", "locale", "man")
)
# A kernel with these built in finds its root without an initrd, which saves 2 s of every boot
# under TCG and, at build time, the 11 s of making two of them. "$1" is the new root.
INITRD_IF_NEEDED = (
    "for option in BLK_DEV_NVME EXT4_FS MSDOS_PARTITION; do"
    ' grep -q "^CONFIG_$option=y" "$1"/boot/config-* && continue;'
    ' echo MODULES=list > "$1"/etc/initramfs-tools/conf.d/nvmelab;'
    ' printf "nvme\\next4\\n" >> "$1"/etc/initramfs-tools/modules;'
    ' exec chroot "$1" env -u INITRD update-initramfs -c -k all; done'
)


class ImageBuildError(NvmelabError):
    """A step of the build failed: apt's error, if there is one, and what was printed last."""


def mmdebstrap_argv(
    *, suite: str, packages: Sequence[str], sources: Sequence[str], work: Path, hooks: Path
) -> list[str]:
    """The command that unpacks the system to ``work``/root.

    Args:
        suite: Debian's code name.
        packages: what is installed beside the essential packages.
        sources: entries of sources.list.
        work: the folder of this build; holds the files apt.conf and dpkg-excludes.
        hooks: mmdebstrap's folder of hooks; those that save the package usrmerge (and with it
            perl) are used where they exist.
    """
    excludes = shlex.quote(str(work / "dpkg-excludes"))
    argv = ["mmdebstrap", "--mode=root", "--variant=essential", "--format=directory", "--verbose"]
    argv += ['--aptopt=APT::Install-Recommends "false"', f"--aptopt={work / 'apt.conf'}"]
    # The image is made anew after a power cut; nothing in it needs to be flushed.
    argv += ["--dpkgopt=force-unsafe-io"]
    if (hooks / "merged-usr").is_dir():
        argv += [f"--hook-dir={hooks / 'merged-usr'}"]
    # Excludes given as --dpkgopt would send every package through a filter process (8 s).
    argv += [f'--extract-hook=cp {excludes} "$1"/etc/dpkg/dpkg.cfg.d/nvmelab']
    argv += [f"--customize-hook={INITRD_IF_NEEDED}", f"--include={','.join(packages)}"]
    return [*argv, suite, str(work / "root"), *sources]


def run_logged(
    argv: Sequence[str],
    log: Path,
    *,
    env: Optional[dict[str, str]] = None,
    keep_open: Sequence[int] = (),
) -> None:
    """Run a command with everything it prints appended to ``log``.

    It dies by SIGTERM with this process, which lets mmdebstrap unmount what it mounted, and
    inherits the descriptors ``keep_open``, so that a lock is held as long as it lives.

    Raises:
        ImageBuildError: it cannot be started or ended badly; with the end of the log.
    """
    with log.open("a", encoding="utf-8", errors="replace") as file:
        file.write(f"$ {shlex.join(argv)}\n")
        file.flush()
        try:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *argv],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **(env or {})},
                pass_fds=tuple(keep_open),
            )
        except OSError as error:
            raise ImageBuildError(f"{argv[0]} cannot be started: {error.strerror}") from error
        status = _wait(process)
    if status:
        raise ImageBuildError(
            f"{Path(argv[0]).name} ended with {_ending(status)}{_cause(log)}; it printed last:\n"
            f"{tail(log)}"
        )


def _wait(process: subprocess.Popen[bytes]) -> int:
    """The exit status; a command that is still running when we are interrupted is ended first."""
    try:
        return process.wait()
    except BaseException:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise


def _ending(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"


def _cause(log: Path) -> str:
    """Apt's first error of the last command, for mmdebstrap says more of itself after it."""
    text = log.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^E: (.*)", text[text.rfind("\n$ ") + 1 :], re.MULTILINE)
    return f": {' '.join(found[1].split())}" if found else ""


def tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log that are not empty."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


def partition_table(disk_bytes: int) -> bytes:
    """The first sector of a disk with one Linux partition from 1 MiB to its end.

    Format: the classic MBR; signature at 440, first entry at 446 (type 0x83, start and length in
    sectors of 512 bytes, no CHS addresses).
    """
    start = PARTITION_OFFSET // SECTOR_BYTES
    entry = struct.pack("<B3sB3sII", 0, b"", 0x83, b"", start, disk_bytes // SECTOR_BYTES - start)
    return struct.pack("<440sIH16s48sH", b"", DISK_SIGNATURE, 0, entry, b"", 0xAA55)


def make_disk(root: Path, disk: Path, *, size_mib: int, log: Path) -> None:
    """Write the system at ``root`` to the raw image ``disk``: one ext4 in one partition, sparse."""
    size = size_mib << 20
    with disk.open("wb") as file:
        file.write(partition_table(size))
        file.truncate(size)
    # No journal and no lazy work: the guest runs from a snapshot that is thrown away.
    options = f"offset={PARTITION_OFFSET},lazy_itable_init=0,nodiscard"
    argv = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "nvmelab-root", "-m", "0", "-E", options]
    argv += ["-O", "^has_journal,^metadata_csum", "-d", str(root), str(disk)]
    run_logged([*argv, f"{(size - PARTITION_OFFSET) >> 10}k"], log)


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """The mount points at or below ``folder``, deepest first; ``mountinfo`` as in proc(5)."""
    prefix = str(folder.resolve())
    points = [_unescape(line.split()[4]) for line in mountinfo.splitlines() if line.strip()]
    found = [point for point in points if point == prefix or point.startswith(prefix + "/")]
    return sorted(found, key=lambda point: point.count("/"), reverse=True)


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), text)


def remove_tree(folder: Path, mountinfo: Path = Path("/proc/self/mountinfo")) -> None:
    """Remove a build's folder, after unmounting what a killed build left mounted in it.

    Raises:
        ImageBuildError: something stays mounted: then nothing is removed, for it may be /dev.
    """
    if not folder.exists():
        return
    for point in mounts_below(folder, mountinfo.read_text(encoding="utf-8")):
        subprocess.run(["umount", "--", point], capture_output=True, check=False)
    left = mounts_below(folder, mountinfo.read_text(encoding="utf-8"))
    if left:
        raise ImageBuildError(
            f"{left[0]} is still mounted, left by an interrupted build;"
            f" end what uses it, unmount it and run again (nothing in {folder} was removed)"
        )
    shutil.rmtree(folder)
