# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of another Debian suite beside the host's own, in a folder of their own.

The packages are unpacked, not installed: none of their scripts is run, and nothing of the host
changes. A program is started by a script that hands it the libraries of its own suite; it sees
the host's files and devices as any other program does.

Layout: ``<root>/roots/<name>-<digest12>/`` with ``root.json``, ``tree/`` (the packages' files)
and ``bin/`` (the scripts). Source: mmdebstrap(1) variant extract; ld.so(8).
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import unquote

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image import debian_archive
from ansible_collections.nvmelab.bench.plugins.module_utils.image import store as image_store
from ansible_collections.nvmelab.bench.plugins.module_utils.image.build import (
    remove_tree,
    run_logged,
)

if TYPE_CHECKING:
    from ansible_collections.nvmelab.bench.plugins.module_utils.image.debian_archive import Source

# Raised when the scripts or the way of unpacking change.
LAYOUT_VERSION = 1
NEEDED_MIB = 1024
DIGEST_LENGTH = 12
TOOLS = {"mmdebstrap": "mmdebstrap", "setpriv": "util-linux", "unshare": "util-linux"}
# What is in no use without a package manager.
USELESS = ("var", "etc", "dev", "tmp", "usr/share/doc", "usr/share/man", "usr/share/locale")
LOADER = "ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"


class PackageRootError(NvmelabError):
    """The programs of the other suite cannot be had, or do not start."""


@dataclass(frozen=True)
class PackageRoot:
    """Which packages of which suite, and which of their programs are wanted."""

    name: str
    suite: str  # a code name, or one with -backports behind it
    packages: tuple[str, ...]
    programs: tuple[str, ...]
    archive_url: Optional[str] = None
    archive_keyring: Optional[str] = None

    @property
    def release(self) -> str:
        """The suite that backports are an addition to."""
        return self.suite.removesuffix("-backports")

    def check(self) -> None:
        """Refuse what cannot be meant, before anything is touched."""
        rules = {
            "name": ([self.name], r"[a-z0-9][a-z0-9.-]*"),
            "suite": ([self.suite], r"[a-z][a-z0-9-]*"),
            "packages": (self.packages, r"[a-z0-9][a-z0-9+.-]+"),
            "programs": (self.programs, r"[A-Za-z0-9][A-Za-z0-9+._-]*"),
        }
        for option, (values, rule) in rules.items():
            for value in values:
                if not re.fullmatch(rule, value):
                    raise BadInputError(f"package_root {option}: found {value!r}, wanted {rule}")

    def directory(self, root: Path) -> Path:
        """Where these programs lie below the lab directory, made or not."""
        inputs = {"layout": LAYOUT_VERSION, **asdict(self)}
        text = json.dumps(inputs, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]
        return root / "roots" / f"{self.name}-{digest}"


def read(wanted: PackageRoot, root: Path) -> Optional[dict[str, Any]]:
    """What root.json says, with ``programs`` (name → script); None while they are not there."""
    try:
        text = (wanted.directory(root) / "root.json").read_text(encoding="utf-8")
    except OSError:
        return None
    found: dict[str, Any] = json.loads(text)
    return found if all(Path(script).is_file() for script in found["programs"].values()) else None


def make(wanted: PackageRoot, root: Path) -> dict[str, Any]:
    """Unpack the packages and return what ``read`` returns from now on.

    Raises:
        PackageRootError: a tool or space is missing, or a program is in none of the packages.
        DebianArchiveError, ImageBuildError: the archive is unknown or does not have them.
    """
    require_means(root)
    directory = wanted.directory(root)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with image_store.build_folder(directory.parent, directory.name) as work:
        packages = _unpack(wanted, work)
        described = {
            "name": wanted.name,
            "suite": wanted.suite,
            "packages": packages,
            "programs": _write_scripts(wanted, work, directory),
            "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        text = json.dumps(described, indent=1) + "\n"
        (work / "root.json").write_text(text, encoding="utf-8")
        work.chmod(0o755)
        remove_tree(directory)
        work.rename(directory)
    return described


def require_means(root: Path) -> None:
    """Require the tools and the space, naming all that lacks."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if lacking:
        packages = " ".join(sorted({TOOLS[tool] for tool in lacking}))
        raise PackageRootError(f"{', '.join(lacking)}: not found; apt-get install {packages}")
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    free_mib = shutil.disk_usage(place).free >> 20
    if free_mib < NEEDED_MIB:
        raise PackageRootError(f"{place}: {free_mib} MiB free, wanted {NEEDED_MIB} MiB")


def sources(wanted: PackageRoot) -> tuple[list[Source], str]:
    """The entries of sources.list, and the apt.conf text that reaches them as the host does."""
    if wanted.archive_url:
        found = debian_archive.given_archive(
            wanted.archive_url, wanted.release, wanted.archive_keyring
        )
        options = debian_archive.host_options()
    else:
        found, options = debian_archive.host_archive(wanted.release)
    if wanted.suite != wanted.release:
        main = next(source for source in found if source.suite == wanted.release)
        found = [*found, replace(main, suite=wanted.suite)]
    return found, options + f'APT::Default-Release "{wanted.suite}";\n'


def argv(wanted: PackageRoot, work: Path, lines: list[str]) -> list[str]:
    """The command that unpacks the packages to ``work``/tree; needs ``work``/apt.conf."""
    listing = shlex.quote(str(work / "debs"))
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=extract",
        "--format=directory",
        '--aptopt=APT::Install-Recommends "false"',
        f"--aptopt={work / 'apt.conf'}",
        f'--extract-hook=ls "$1"/var/cache/apt/archives > {listing}',
        f"--include={','.join(wanted.packages)}",
        wanted.release,
        str(work / "tree"),
        *lines,
    ]


def versions(listing: str) -> dict[str, str]:
    """Package → version, from the names of the archive files that apt fetched."""
    names = (line.rpartition("_")[0] for line in listing.splitlines() if line.endswith(".deb"))
    pairs = (name.partition("_") for name in names)
    return {package: unquote(version) for package, _, version in pairs}


def script(program: Path, tree: Path) -> str:
    """The text of the script that starts ``program`` with the libraries below ``tree``.

    QEMU looks for its modules and firmware in folders that are compiled in: the modules of a QEMU
    of the host would be tried and refused. So where the host has that folder, the script covers
    it with its own, in a mount namespace that only the program lives in (needs root).
    """
    modules = f"/{LIBRARIES}/qemu"
    library_path = ":".join(str(tree / folder) for folder in (LIBRARIES, "usr/lib"))
    start = [str(tree / LIBRARIES / LOADER), "--library-path", library_path, str(program)]
    if program.name.startswith("qemu-system-"):
        folders = ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu")
        start += [word for folder in folders for word in ("-L", str(tree / folder))]
    covered = f'mount --bind {shlex.quote(f"{tree}{modules}")} {modules} && exec "$@"'
    return (
        "#!/bin/sh\n"
        f"# {program.name} of another Debian suite, unpacked by nvmelab.bench.package_root.\n"
        f'set -- {shlex.join(start)} "$@"\n'
        f"if [ -d {modules} ] && [ -d {shlex.quote(f'{tree}{modules}')} ]; then\n"
        f'  exec unshare --mount sh -c {shlex.quote(covered)} sh "$@"\n'
        "fi\n"
        'exec "$@"\n'
    )


def _unpack(wanted: PackageRoot, work: Path) -> dict[str, str]:
    """Have mmdebstrap unpack to ``work``/tree; package → version."""
    entries, options = sources(wanted)
    conf = work / "apt.conf"
    conf.write_text(options, encoding="utf-8")
    conf.chmod(0o600)
    lines = [source.line() for source in debian_archive.place_keys(entries, work)]
    run_logged(argv(wanted, work, lines), work / "build.log", env={"LC_ALL": "C"})
    conf.unlink()
    for folder in USELESS:
        shutil.rmtree(work / "tree" / folder, ignore_errors=True)
    return versions((work / "debs").read_text(encoding="utf-8"))


def _write_scripts(wanted: PackageRoot, work: Path, directory: Path) -> dict[str, str]:
    """Write a script for each program, as it is needed where the folder will lie; their paths."""
    (work / "bin").mkdir()
    scripts = {}
    for name in wanted.programs:
        if not (work / "tree/usr/bin" / name).exists():
            raise PackageRootError(
                f"{name}: in none of the packages {', '.join(wanted.packages)} of {wanted.suite}"
            )
        path = work / "bin" / name
        text = script(directory / "tree/usr/bin" / name, directory / "tree")
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        scripts[name] = str(directory / "bin" / name)
    return scripts
