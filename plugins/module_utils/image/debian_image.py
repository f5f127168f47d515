# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest images built from the Debian archive: a whole system without a boot loader.

QEMU loads the kernel itself, and the kernel finds its root without an initrd where it can.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image import debian_archive
from ansible_collections.nvmelab.bench.plugins.module_utils.image.build import (
    DPKG_EXCLUDES,
    make_disk,
    mmdebstrap_argv,
    run_logged,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image.guest_root import (
    CUSTOMISATION,
    customise,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.pci.drivers import USER_SPACE_DRIVERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.nvmelab.bench.plugins.module_utils.image.lab_keys import LabKeys

# Raised when the build's code changes what an image holds; data is covered by the digest itself.
BUILD_VERSION = 2
HOOKS = Path("/usr/share/mmdebstrap/hooks")
# Without these there is no guest that boots, is reached, and runs fio.
REQUIRED_PACKAGES = (
    "fio",
    "iproute2",
    "kmod",
    # Of xNVMe, which fio is built with on the lab host; the rest of what that needs comes with fio.
    "liburing2",
    "openssh-server",
    "python3",
    "systemd-sysv",
    "udev",
)
NEEDED_MIB = 1536


class DebianImageError(NvmelabError):
    """The new system is not what a guest needs."""


@dataclass(frozen=True)
class DebianImage:
    """Which system is wanted, in the words of the role's variables."""

    suite: str
    packages: tuple[str, ...]
    kernel_package: str
    size_mib: int
    archive_url: Optional[str] = None
    archive_keyring: Optional[str] = None

    tools: ClassVar[dict[str, str]] = {
        "chroot": "coreutils",
        "dpkg-query": "dpkg",
        "mke2fs": "e2fsprogs",
        "mmdebstrap": "mmdebstrap",
        "setpriv": "util-linux",
    }

    @property
    def needed_mib(self) -> int:
        """The space a build takes at its height: the unpacked system and the disk."""
        return NEEDED_MIB

    @property
    def all_packages(self) -> list[str]:
        """Every package that is named to mmdebstrap, sorted, each once."""
        return sorted({*REQUIRED_PACKAGES, *self.packages, self.kernel_package})

    def check(self) -> None:
        """Refuse a suite or package that cannot be meant, before anything is touched."""
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.suite):
            raise BadInputError(f"guest_image suite: {self.suite!r} is no Debian code name")
        for package in self.all_packages:
            if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package):
                raise BadInputError(f"guest_image packages: {package!r} is no Debian package name")

    def inputs(self, keys: LabKeys) -> dict[str, Any]:
        """All that decides what the image holds, except the archive's state on the day."""
        return {
            "build_version": BUILD_VERSION,
            "suite": self.suite,
            "packages": self.all_packages,
            "kernel_package": self.kernel_package,
            "size_mib": self.size_mib,
            "archive_url": self.archive_url,
            "public_key": keys.public_key.read_text(encoding="utf-8"),
            "host_public_key": keys.host_public_key.read_text(encoding="utf-8"),
            "customisation": CUSTOMISATION.as_dict(),
        }

    def make(self, keys: LabKeys, work: Path, lock: int) -> dict[str, Any]:
        """Make ``work``/disk.raw and ``work``/kernel; image.json's keys about them.

        Raises:
            ImageBuildError: mmdebstrap, sshd -t or mke2fs failed; with the end of the log.
            DebianArchiveError: the archive is unknown.
            DebianImageError: no kernel, no fio.
        """
        log = work / "build.log"
        unpack(self, work, lock)
        facts = finish_root(work, keys)
        make_disk(work / "root", work / "disk.raw", size_mib=self.size_mib, log=log)
        shutil.rmtree(work / "root")
        return {"boot": "direct", "kernel_cmdline": CUSTOMISATION.kernel_cmdline, **facts}


def unpack(image: DebianImage, work: Path, lock: int) -> None:
    """Have mmdebstrap unpack and set up the packages in ``work``/root."""
    if image.archive_url:
        sources = debian_archive.given_archive(
            image.archive_url, image.suite, image.archive_keyring
        )
        options = debian_archive.host_options()
    else:
        sources, options = debian_archive.host_archive(image.suite)
    packages = image.all_packages
    log = work / "build.log"
    bootstrap(work, image.suite, packages, sources, options, log=log, keep_open=[lock])


def bootstrap(
    work: Path,
    suite: str,
    packages: Sequence[str],
    sources: list[debian_archive.Source],
    options: str,
    *,
    log: Path,
    keep_open: Sequence[int] = (),
) -> None:
    """Have mmdebstrap make ``work``/root of these packages; ``options`` are apt's.

    Raises:
        ImageBuildError: it failed; with the end of the log.
    """
    (work / "apt.conf").write_text(options, encoding="utf-8")
    (work / "apt.conf").chmod(0o600)
    (work / "dpkg-excludes").write_text(DPKG_EXCLUDES, encoding="utf-8")
    argv = mmdebstrap_argv(
        suite=suite,
        packages=packages,
        sources=[source.line() for source in debian_archive.place_keys(sources, work)],
        work=work,
        hooks=HOOKS,
    )
    run_logged(argv, log, env={"INITRD": "No", "LC_ALL": "C"}, keep_open=keep_open)
    for name in ("apt.conf", "dpkg-excludes"):
        (work / name).unlink()


def finish_root(work: Path, keys: LabKeys) -> dict[str, Any]:
    """Customise the unpacked system, take its kernel out, and ask it what it holds."""
    root = work / "root"
    facts = {"packages": installed_packages(root), **fio_facts(root)}
    facts.update(take_kernel(root, work))
    facts["pci_drivers"] = pci_drivers(root, facts["kernel_release"])
    customise(
        root,
        public_key=keys.public_key.read_text(encoding="utf-8"),
        host_key=keys.host_private_key.read_text(encoding="utf-8"),
        host_public_key=keys.host_public_key.read_text(encoding="utf-8"),
        done=CUSTOMISATION,
    )
    (root / "run/sshd").mkdir(mode=0o755, exist_ok=True)
    run_logged(["chroot", str(root), "/usr/sbin/sshd", "-t"], work / "build.log")
    return facts


def take_kernel(root: Path, work: Path) -> dict[str, Any]:
    """Move the kernel, and its initrd if it needed one, out of the system; their names there."""
    kernels = sorted((root / "boot").glob("vmlinuz-*"))
    if len(kernels) != 1:
        names = ", ".join(path.name for path in kernels) or "none"
        raise DebianImageError(
            f"{names} in the new system's /boot, wanted one kernel;"
            " check guest_image_kernel_package"
        )
    release = kernels[0].name.partition("-")[2]
    kernels[0].replace(work / "kernel")
    initrd = root / "boot" / f"initrd.img-{release}"
    made = initrd.exists()
    if made:
        initrd.replace(work / "initrd")
    (root / "boot" / f"System.map-{release}").unlink(missing_ok=True)
    return {
        "kernel": "kernel",
        "initrd": "initrd" if made else None,
        "kernel_release": release,
    }


def pci_drivers(root: Path, release: str) -> list[str]:
    """The drivers for programs in user space that the system's kernel has, as modules or built in.

    Source: modules.dep(5); modules.builtin has one path a line.
    """
    folder = root / "lib/modules" / release
    text = "".join(
        (folder / name).read_text(encoding="utf-8") if (folder / name).exists() else ""
        for name in ("modules.dep", "modules.builtin")
    )
    found = set(re.findall(r"(?:^|/)([^/:\s]+)\.ko(?:\.[a-z]+)?(?::|$)", text, re.MULTILINE))
    return [name for name in USER_SPACE_DRIVERS if {name, name.replace("-", "_")} & found]


def installed_packages(root: Path) -> dict[str, str]:
    """Package → version of the unpacked system."""
    form = "${binary:Package} ${Version}\n"
    argv = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", f"-f={form}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DebianImageError(f"dpkg-query failed in the new system: {done.stderr.strip()}")
    pairs = (line.partition(" ") for line in done.stdout.splitlines())
    return {name: version for name, _, version in pairs}


def fio_facts(root: Path) -> dict[str, Any]:
    """``fio_version`` (3.33) and ``fio_engines`` of the unpacked system, asked of its own fio."""
    return parse_fio(_in_root(root, ["fio", "--version"]), _in_root(root, ["fio", "--enghelp"]))


def parse_fio(version: str, enghelp: str) -> dict[str, Any]:
    """``fio_version`` and ``fio_engines`` from what fio prints for --version and --enghelp."""
    engines = [line.strip() for line in enghelp.splitlines() if line.startswith("\t")]
    return {"fio_version": version.strip().partition("fio-")[2], "fio_engines": sorted(engines)}


def _in_root(root: Path, argv: list[str]) -> str:
    done = subprocess.run(["chroot", str(root), *argv], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DebianImageError(
            f"{' '.join(argv)} ended with status {done.returncode} in the new system:"
            f" {done.stderr.strip()}"
        )
    return done.stdout
