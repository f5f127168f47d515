# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest of ours runs as its first process: a shell script in place of systemd.

It takes half of the CPU time that systemd takes to a log-in, which is seconds under TCG, and
nothing that it does not start can run beside fio. It ends with sshd: when that ends the kernel
panics, which the lab host sees, rather than being a guest that nobody can reach.
"""

from __future__ import annotations

PATH = "usr/lib/nvmelab/init"
ADDRESSES = "etc/nvmelab/network"
MOUNTS = "etc/nvmelab/mounts"

CARD = "modprobe -a virtio_pci virtio_net"
NETWORK = f"ip -batch /{ADDRESSES}"
# sshd would execute itself anew for each connection, and load 20 libraries each time: 0.2 s.
# Since 9.8 it always executes something smaller, and takes the option with a word on the console.
SSHD_OPTIONS = "-r"
# Of the 220 devices that udev would be asked about anew, 63 are consoles and 43 ACPI's: 1.4 s.
# Those that drivers are loaded for, or that have links in /dev, are among these.
COLDPLUG = (
    "udevadm trigger --type=devices --action=add --subsystem-match=block --subsystem-match=net"
    " --subsystem-match=nvme --subsystem-match=nvme-generic --subsystem-match=pci"
    " --subsystem-match=scsi --subsystem-match=virtio"
)

# One table and one process for all of them; Debian's kernels leave /dev to init, too.
MOUNTS_TEXT = """\
proc /proc proc nosuid,nodev,noexec 0 0
devtmpfs /dev devtmpfs nosuid,mode=755 0 0
sysfs /sys sysfs nosuid,nodev,noexec 0 0
tmpfs /run tmpfs nosuid,nodev,mode=755 0 0
devpts /dev/pts devpts X-mount.mkdir,nosuid,noexec,gid=5,mode=620,ptmxmode=000 0 0
tmpfs /dev/shm tmpfs X-mount.mkdir,nosuid,nodev 0 0
hugetlbfs /dev/hugepages hugetlbfs X-mount.mkdir,nosuid,nodev 0 0
cgroup2 /sys/fs/cgroup cgroup2 nosuid,nodev,noexec 0 0
debugfs /sys/kernel/debug debugfs nosuid,nodev,noexec,mode=700 0 0
tracefs /sys/kernel/tracing tracefs nosuid,nodev,noexec,mode=700 0 0
"""

TEXT = f"""\
#!/bin/sh
# Boots with systemd in place of this: init=/sbin/init on the kernel's command line.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# As systemd has it: programs raise the soft limit themselves.
ulimit -H -n 524288
mount -a -T /{MOUNTS}
mkdir -p /run/lock /run/sshd
read -r name </etc/hostname
echo "$name" >/proc/sys/kernel/hostname
{CARD}
{NETWORK}
# Links of disks, and the drivers of devices that are there or come later.
/lib/systemd/systemd-udevd --daemon
{COLDPLUG}
# Not by exec: as the parent of orphans this shell reaps what ends, while it waits.
/usr/sbin/sshd -D {SSHD_OPTIONS}
echo "nvmelab: sshd ended with status $?, and the guest with it"
"""
