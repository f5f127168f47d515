# SPDX-License-Identifier: GPL-3.0-or-later
"""The root file system that all lab hosts share, built once and known by a digest."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

from ansible_collections.nvmelab.bench.plugins.module_utils.image import debian_archive
from ansible_collections.nvmelab.bench.plugins.module_utils.image.build import (
    remove_tree,
    run_logged,
)

SUITE = "bookworm"
PACKAGES = Path(__file__).with_name("host-packages.txt")
# Files of every host. Its own name, keys and address come from the overlay and the namespace.
FILES = {
    "etc/ssh/sshd_config.d/lab.conf": (
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        "PermitRootLogin prohibit-password\nUseDNS no\nUsePAM no\n"
    ),
    "etc/fstab": "",
    "etc/resolv.conf": "",
}
MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "systemd-networkd.service",
    "systemd-networkd.socket",
)


def packages() -> list[str]:
    """What is installed in every lab host."""
    lines = PACKAGES.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def digest() -> str:
    """Twelve digits that tell images of different content apart."""
    inputs = [SUITE, packages(), FILES, MASKED]
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


def image(cache: Path) -> Path:
    """The root file system below ``cache``, built when it is not there; older ones are removed."""
    place = cache / f"image-{digest()}"
    if not place.is_dir():
        for old in cache.glob("image-*"):
            if old.is_symlink():
                old.unlink()
            else:
                remove_tree(old)
        for left in cache.glob(".build-*"):
            remove_tree(left)
        _build(cache, place)
    return place


def _build(cache: Path, place: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix=".build-", dir=cache))
    root, log = work / "root", cache / "image.log"
    log.unlink(missing_ok=True)
    sources, options = debian_archive.host_archive(SUITE)
    (work / "apt.conf").write_text(options, encoding="utf-8")
    lines = [source.line() for source in debian_archive.place_keys(sources, work)]
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"]
    argv += ['--aptopt=APT::Install-Recommends "false"', f"--aptopt={work / 'apt.conf'}"]
    argv += ["--dpkgopt=force-unsafe-io", f"--include={','.join(packages())}"]
    run_logged([*argv, SUITE, str(root), *lines], log)
    for name in ("etc/apt/sources.list", "etc/apt/apt.conf.d/99mmdebstrap"):
        (root / name).unlink(missing_ok=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).unlink(missing_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    for unit in MASKED:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")
    root.rename(place)
    shutil.rmtree(work)
