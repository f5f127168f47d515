# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest's root file system holds besides its packages, and why.

The aim is a guest that a log-in reaches in few seconds even under TCG, where every process that
starts costs 20 ms or more: no initrd, no D-Bus, no log-in sessions, a static network, and an init
of ours (guest_init.py). Whoever needs systemd boots with ``init=/sbin/init``, which is set up to
start little, too. ``CUSTOMISATION`` is all of it as data, so that its digest tells images apart.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.image import guest_init

# 32-bit disk signature of the image; the kernel finds the root by it in any slot, in any order.
DISK_SIGNATURE = 0x6E766D65
KERNEL_CMDLINE = (
    f"console=ttyS0 root=PARTUUID={DISK_SIGNATURE:08x}-01 rw rootwait quiet loglevel=4 panic=-1"
    " net.ifnames=0 ipv6.disable=1 mitigations=off nokaslr no_timer_check tsc=reliable"
    " random.trust_cpu=on cryptomgr.notests audit=0 apparmor=0 noresume fsck.mode=skip"
    f" init=/{guest_init.PATH}"
    # For systemd itself: translating its services' filters of system calls is 0.3 s under TCG.
    " SYSTEMD_SECCOMP=0"
)

SSHD = """\
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
# A resolver is out of reach: looking up the client would stop each log-in for seconds.
UseDNS no
# Without PAM no session is opened for each of a sweep's log-ins.
UsePAM no
PrintLastLog no
AddressFamily inet
# The default, a post-quantum exchange, is slow under TCG, and this network is one process.
KexAlgorithms curve25519-sha256
"""

COLDPLUG = f"""\
[Service]
ExecStart=
ExecStart=-{guest_init.COLDPLUG}
"""

# iproute2 alone: networkd wants udev and D-Bus first, which is a second under TCG.
NETWORK = f"""\
[Unit]
Description=Static network of the lab guest (QEMU's user network)
DefaultDependencies=no
Before=network.target ssh.service shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/{guest_init.CARD}
ExecStart=/sbin/{guest_init.NETWORK}

[Install]
WantedBy=multi-user.target
"""

ADDRESSES = """\
link set lo up
address add 10.0.2.15/24 dev eth0
link set eth0 up
route add default via 10.0.2.2
"""

# Hardware that QEMU pretends to have and a benchmark does not use.
BLACKLIST = """\
blacklist acpi_cpufreq
blacklist aesni_intel
blacklist button
blacklist crc32_pclmul
blacklist crct10dif_pclmul
blacklist ghash_clmulni_intel
blacklist i2c_i801
blacklist iTCO_wdt
blacklist kvm_amd
blacklist kvm_intel
blacklist lpc_ich
blacklist pcspkr
blacklist powernow_k8
blacklist psmouse
blacklist sha256_ssse3
blacklist sha512_ssse3
"""

FILES = {
    "etc/ssh/sshd_config.d/nvmelab.conf": SSHD,
    "etc/systemd/system/nvmelab-network.service": NETWORK,
    "etc/default/ssh": f"SSHD_OPTS={guest_init.SSHD_OPTIONS}\n",
    "etc/systemd/system/systemd-udev-trigger.service.d/nvmelab.conf": COLDPLUG,
    # The configuration is tested when the image is built.
    "etc/systemd/system/ssh.service.d/nvmelab.conf": "[Service]\nExecStartPre=\n",
    guest_init.ADDRESSES: ADDRESSES,
    guest_init.MOUNTS: guest_init.MOUNTS_TEXT,
    "etc/modprobe.d/nvmelab.conf": BLACKLIST,
    "etc/systemd/journald.conf.d/nvmelab.conf": "[Journal]\nStorage=volatile\n",
    # The kernel mounts the root read-write; an entry here would wait for udev.
    "etc/fstab": "",
    "etc/hostname": "nvmelab-guest\n",
    "etc/hosts": "127.0.0.1 localhost nvmelab-guest\n",
    "etc/resolv.conf": "nameserver 10.0.2.3\n",
    # Any fixed value: an empty one makes each boot a first boot (56 s under TCG at load 8).
    "etc/machine-id": "6e766d656c6162206775657374000001\n",
}

PROGRAMS = {guest_init.PATH: guest_init.TEXT}

LINKS = {
    "etc/systemd/system/default.target": "/lib/systemd/system/multi-user.target",
    "etc/systemd/system/multi-user.target.wants/nvmelab-network.service": (
        "/etc/systemd/system/nvmelab-network.service"
    ),
}

MASKED_UNITS = (
    "cryptsetup.target",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "getty.target",
    "integritysetup.target",
    "kmod-static-nodes.service",
    "ldconfig.service",
    "modprobe@configfs.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "nvmefc-boot-connections.service",
    "nvmf-autoconnect.service",
    "proc-sys-fs-binfmt_misc.automount",
    "remote-fs.target",
    "serial-getty@ttyS0.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-initctl.socket",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-network-generator.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-repart.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-done.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
    "systemd-user-sessions.service",
    "uuidd.socket",
    "veritysetup.target",
)

MASKED_GENERATORS = tuple(
    f"systemd-{name}-generator"
    for name in (
        "bless-boot",
        "cryptsetup",
        "debug",
        "getty",
        "gpt-auto",
        "hibernate-resume",
        "integritysetup",
        "rc-local",
        "run",
        "system-update",
        "sysv",
        "veritysetup",
    )
)

# What the guest never reads, and how this host reaches its archive (perhaps with a log-in).
EMPTIED = (
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache",
    "var/lib/apt/lists",
    "var/log",
)
REMOVED = (
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/apt/sources.list",
    "etc/dpkg/dpkg.cfg.d/nvmelab",
    "etc/ssh/ssh_host_ecdsa_key",
    "etc/ssh/ssh_host_ecdsa_key.pub",
    "etc/ssh/ssh_host_rsa_key",
    "etc/ssh/ssh_host_rsa_key.pub",
    "initrd.img",
    "initrd.img.old",
    "vmlinuz",
    "vmlinuz.old",
)


class GuestRootError(NvmelabError):
    """The unpacked system is not as every Debian suite has it so far."""


@dataclass(frozen=True)
class Customisation:
    """Everything that is done to the unpacked system, as data."""

    files: dict[str, str] = field(default_factory=lambda: dict(FILES))
    programs: dict[str, str] = field(default_factory=lambda: dict(PROGRAMS))
    links: dict[str, str] = field(default_factory=lambda: dict(LINKS))
    masked_units: tuple[str, ...] = MASKED_UNITS
    masked_generators: tuple[str, ...] = MASKED_GENERATORS
    emptied: tuple[str, ...] = EMPTIED
    removed: tuple[str, ...] = REMOVED
    kernel_cmdline: str = KERNEL_CMDLINE

    def as_dict(self) -> dict[str, object]:
        """The data for the image's digest."""
        return asdict(self)


CUSTOMISATION = Customisation()


def inside(root: Path, name: str) -> Path:
    """The place of ``name`` in the system unpacked at ``root``.

    Raises:
        GuestRootError: its folder is a link that leads out of ``root``, to the host's own files.
    """
    path = root / name
    parent = Path(os.path.realpath(path.parent))
    if parent != root.resolve() and root.resolve() not in parent.parents:
        raise GuestRootError(f"{path} leads to {parent}, outside of {root}; nothing was written")
    return parent / path.name


def put(root: Path, name: str, text: str, mode: int = 0o644) -> None:
    """Write a file of the unpacked system, in place of whatever stood there, link or not."""
    path = inside(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove(path)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def customise(
    root: Path, *, public_key: str, host_key: str, host_public_key: str, done: Customisation
) -> None:
    """Turn an unpacked Debian into a lab guest: keys in, no password, few things started."""
    for name in done.removed:
        _remove(inside(root, name))
    for name in done.emptied:
        _empty(inside(root, name))
    for name, text in done.files.items():
        put(root, name, text)
    for name, text in done.programs.items():
        put(root, name, text, 0o755)
    for unit in done.masked_units:
        _link(root, f"etc/systemd/system/{unit}", "/dev/null")
    for generator in done.masked_generators:
        _link(root, f"etc/systemd/system-generators/{generator}", "/dev/null")
    for name, target in done.links.items():
        _link(root, name, target)
    inside(root, "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    put(root, "root/.ssh/authorized_keys", public_key, 0o600)
    put(root, "etc/ssh/ssh_host_ed25519_key", host_key, 0o600)
    put(root, "etc/ssh/ssh_host_ed25519_key.pub", host_public_key)


def _link(root: Path, name: str, target: str) -> None:
    path = inside(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove(path)
    path.symlink_to(target)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()


def _empty(folder: Path) -> None:
    """Remove what is in a folder, keeping the folder itself; a missing one is fine."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
