# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guest images from a published cloud image: fetched, checked, and prepared once by cloud-init.

The image is booted one time while it is made: cloud-init puts the keys in and installs the
packages, then switches itself off. So no later boot waits for cloud-init (10 s under TCG) or
needs a network, and what a run measures is the same system each time.

Documents: cloud-init's NoCloud data source (a FAT volume named CIDATA) and its modules
cc_users_groups, cc_ssh, cc_package_update_upgrade_install, cc_power_state_change.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.image.build import run_logged, tail
from ansible_collections.nvmelab.bench.plugins.module_utils.image.debian_archive import host_options

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.nvmelab.bench.plugins.module_utils.image.lab_keys import LabKeys

SCHEMES = ("file", "http", "https")
CHUNK_BYTES = 1 << 20
REQUIRED_PACKAGES = ("fio", "python3")
# cloud-init's last act; what follows says what the image holds.
MARKER = "NVMELAB-IMAGE"
APT_CONF = "/etc/apt/apt.conf.d/90nvmelab-build"
# What reached the archive may hold a log-in, and cloud-init keeps copies of its configuration.
FORGET = (
    f"rm -f {APT_CONF} /var/lib/cloud/instances/*/user-data.txt*"
    " /var/lib/cloud/instances/*/cloud-config.txt /var/lib/cloud/instances/*/obj.pkl"
)
REPORT = (
    f'printf \'\\n{MARKER} %s %s %s\\n\' "$(uname -r)" "$(fio --version)"'
    " \"$(fio --enghelp | tail -n +2 | tr -s '\\n\\t' ,)\" > /dev/ttyS0"
)
SSHD = """\
PermitRootLogin prohibit-password
PasswordAuthentication no
UseDNS no
"""


class CloudImageError(NvmelabError):
    """The cloud image cannot be fetched, is not the one that was named, or did not come up."""


@dataclass(frozen=True)
class CloudImage:
    """Which cloud image, and what is put into it."""

    url: str
    sha256: str
    packages: tuple[str, ...]
    size_mib: int
    accelerator: str = "tcg"
    timeout_s: float = 900.0

    tools: ClassVar[dict[str, str]] = {
        "qemu-img": "qemu-utils",
        "qemu-system-x86_64": "qemu-system-x86",
        "setpriv": "util-linux",
    }

    @property
    def needed_mib(self) -> int:
        """The space it takes at its height: what is fetched, and the disk when all is written."""
        return 2 * self.size_mib

    def check(self) -> None:
        """Refuse an URL or checksum that cannot be meant, before anything is fetched."""
        scheme = urllib.parse.urlsplit(self.url).scheme
        if scheme not in SCHEMES:
            raise BadInputError(
                f"guest_image_url: {self.url!r} has the scheme {scheme!r};"
                f" wanted {', '.join(SCHEMES)}"
            )
        if not re.fullmatch(r"[0-9a-fA-F]{64}", self.sha256):
            raise BadInputError(
                f"guest_image_sha256: {self.sha256!r} is no SHA-256 (64 hexadecimal digits);"
                " an image is never used unchecked: take the sum from the publisher's SHA256SUMS"
            )

    def inputs(self, keys: LabKeys) -> dict[str, Any]:
        """All that decides what the image holds; where it was fetched from does not."""
        config = user_data(self, keys, apt_conf="") + network_config()
        return {
            "image_sha256": self.sha256.lower(),
            "size_mib": self.size_mib,
            # By its sum: the text holds the guests' private host key.
            "cloud_config_sha256": hashlib.sha256(config.encode()).hexdigest(),
        }

    def make(self, keys: LabKeys, work: Path, lock: int) -> dict[str, Any]:
        """Make ``work``/disk.raw; image.json's keys about it.

        Raises:
            CloudImageError: see ``download`` and ``parse_report``; or not ready in time.
            ImageBuildError: qemu-img failed.
        """
        log, disk = work / "build.log", work / "disk.raw"
        download(self.url, self.sha256, work / "download")
        run_logged(["qemu-img", "convert", "-O", "raw", str(work / "download"), str(disk)], log)
        (work / "download").unlink()
        if disk.stat().st_size < self.size_mib << 20:
            run_logged(["qemu-img", "resize", "-f", "raw", str(disk), f"{self.size_mib}M"], log)
        documents = {
            "user-data": user_data(self, keys, apt_conf=host_options()),
            "meta-data": json.dumps({"instance-id": "nvmelab", "local-hostname": "nvmelab-guest"}),
            "network-config": network_config(),
        }
        make_seed(work / "seed", work / "seed.img", documents, log)
        report = boot_once(self, work, lock)
        (work / "seed.img").unlink()
        booting = {"boot": "firmware", "kernel": None, "initrd": None, "kernel_cmdline": None}
        return {**booting, **report, "packages": None}


def download(url: str, sha256: str, target: Path, *, timeout_s: float = 60.0) -> None:
    """Fetch ``url`` to ``target`` and require its SHA-256; on any error there is no ``target``.

    Raises:
        CloudImageError: not reached, broken off, or another sum.
    """
    part = target.with_name(f"{target.name}.part")
    found = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as reply, part.open("wb") as file:  # noqa: S310  (scheme checked)
            for chunk in iter(lambda: reply.read(CHUNK_BYTES), b""):
                found.update(chunk)
                file.write(chunk)
    except (OSError, urllib.error.URLError) as error:
        part.unlink(missing_ok=True)
        raise CloudImageError(f"{url}: cannot be fetched: {error}; is the host on line?") from error
    if found.hexdigest() != sha256.lower():
        size = part.stat().st_size
        part.unlink()
        raise CloudImageError(
            f"{url}: SHA-256 {found.hexdigest()} of {size} bytes, wanted {sha256.lower()};"
            " nothing was kept: check guest_image_sha256 against the publisher's SHA256SUMS"
        )
    part.replace(target)


def user_data(cloud: CloudImage, keys: LabKeys, *, apt_conf: str) -> str:
    """The cloud-config that makes the image a lab guest; JSON, which is YAML as well.

    ``apt_conf`` reaches the archive as the host does; it is taken out again at the end.
    """
    public_key = keys.public_key.read_text(encoding="utf-8").strip()
    files = [{"path": "/etc/ssh/sshd_config.d/nvmelab.conf", "content": SSHD}]
    if apt_conf:
        files.append({"path": APT_CONF, "content": apt_conf, "permissions": "0600"})
    config = {
        "disable_root": False,
        "ssh_pwauth": False,
        "ssh_keys": {
            "ed25519_private": keys.host_private_key.read_text(encoding="utf-8"),
            "ed25519_public": keys.host_public_key.read_text(encoding="utf-8").strip(),
        },
        "users": [{"name": "root", "lock_passwd": False, "ssh_authorized_keys": [public_key]}],
        "package_update": True,
        "packages": sorted({*REQUIRED_PACKAGES, *cloud.packages}),
        "write_files": files,
        "runcmd": [
            # '*': no password fits, yet the account is not locked, which sshd would refuse.
            ["usermod", "-p", "*", "root"],
            ["sh", "-c", FORGET],
            ["touch", "/etc/cloud/cloud-init.disabled"],
            ["sh", "-c", REPORT],
        ],
        "power_state": {"mode": "poweroff", "timeout": 60},
    }
    return "#cloud-config\n" + json.dumps(config, indent=1) + "\n"


def network_config() -> str:
    """The network for any Ethernet card, by DHCP, which QEMU's user network answers at once."""
    card = {"match": {"name": "e*"}, "dhcp4": True}
    return json.dumps({"version": 2, "ethernets": {"lab": card}}) + "\n"


def make_seed(folder: Path, seed: Path, documents: dict[str, str], log: Path) -> None:
    """Write the documents to a FAT volume named CIDATA, as the NoCloud data source wants it.

    QEMU's own FAT driver makes it, so neither mtools nor genisoimage is needed.
    """
    folder.mkdir(mode=0o700)
    for name, text in documents.items():
        (folder / name).write_text(text, encoding="utf-8")
    source = f"driver=vvfat,dir={folder},label=CIDATA,floppy=on,fat-type=12"
    run_logged(["qemu-img", "convert", "-O", "raw", "--image-opts", source, str(seed)], log)
    seed.chmod(0o600)
    shutil.rmtree(folder)


def qemu_argv(cloud: CloudImage, work: Path) -> list[str]:
    """The command that boots the image once, with a network, to be prepared."""
    disk = f"file={work / 'disk.raw'},format=raw,if=none,id=root,cache=unsafe"
    seed = f"file={work / 'seed.img'},format=raw,if=none,id=seed,read-only=on"
    argv = ["qemu-system-x86_64", "-accel", cloud.accelerator, "-machine", "q35"]
    # Five-level page tables cost TCG about a second of boot.
    argv += ["-cpu", "max,la57=off"]
    argv += ["-smp", "2", "-m", "1024", "-nodefaults", "-no-user-config", "-display", "none"]
    argv += ["-no-reboot", "-serial", f"file:{work / 'serial.log'}"]
    argv += ["-drive", disk, "-device", "virtio-blk-pci,drive=root,bootindex=1"]
    argv += ["-drive", seed, "-device", "virtio-blk-pci,drive=seed"]
    return [*argv, "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]


def parse_report(serial: str) -> Optional[dict[str, Any]]:
    """What the image reported on its console; None when it never came so far.

    Raises:
        CloudImageError: it came so far without fio.
    """
    found = re.search(rf"^{MARKER} (\S*) (\S*) (\S*)\s*$", serial, re.MULTILINE)
    if not found:
        return None
    release, version, engines = found.groups()
    if not version.startswith("fio-"):
        raise CloudImageError("the cloud image came up, but fio could not be installed in it")
    names = sorted(engine for engine in engines.split(",") if engine)
    return {"kernel_release": release, "fio_version": version[4:], "fio_engines": names}


def boot_once(cloud: CloudImage, work: Path, lock: int) -> dict[str, Any]:
    """Boot the image until cloud-init powers it off; what it reported of itself."""
    log, serial = work / "build.log", work / "serial.log"
    argv = ["timeout", "--kill-after=5", f"{cloud.timeout_s:.0f}", *qemu_argv(cloud, work)]
    failure: Optional[NvmelabError] = None
    try:
        run_logged(argv, log, keep_open=[lock])
    except NvmelabError as error:
        failure = error
    text = serial.read_text(encoding="utf-8", errors="replace") if serial.exists() else ""
    with log.open("a", encoding="utf-8") as file:
        file.write(text)
    report = parse_report(text)
    if failure or report is None:
        cause = failure or "it powered off without a report, so cloud-init did not get to its end"
        raise CloudImageError(
            f"{cloud.url}: the image was not prepared (status 124 is the time limit of"
            f" {cloud.timeout_s:.0f} s): {cause}; its console ended:\n{tail(log)}"
        )
    serial.unlink()
    return report
