# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk of a guest: its commands, its partition table, and cleaning up after a killed build."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.image.build import (
    INITRD_IF_NEEDED,
    ImageBuildError,
    make_disk,
    mmdebstrap_argv,
    mounts_below,
    partition_table,
    remove_tree,
    run_logged,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def test_partition_table_by_an_outside_witness(tmp_path: Path) -> None:
    """Partx reads one Linux partition from 1 MiB to the end, under the PARTUUID of root=."""
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.write(partition_table(64 << 20))
        file.truncate(64 << 20)
    argv = ["partx", "--show", "--noheadings", "--output", "START,END,UUID,TYPE", str(disk)]
    text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert text.split() == ["2048", "131071", "6e766d65-01", "0x83"]


def test_a_disk_holds_what_the_folder_held(tmp_path: Path) -> None:
    """Debugfs finds a file of the folder in the partition, and the image is sparse."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "hello").write_text("hello, guest\n")
    disk = tmp_path / "disk.raw"
    make_disk(root, disk, size_mib=64, log=tmp_path / "log")
    argv = ["debugfs", "-R", "cat /hello", f"{disk}?offset={1 << 20}"]
    found = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert found.stdout == "hello, guest\n"
    assert disk.stat().st_size == 64 << 20
    assert disk.stat().st_blocks * 512 < 16 << 20


def test_a_disk_too_small_is_an_error_with_the_end_of_the_log(tmp_path: Path) -> None:
    """mke2fs' own words are in the message, and the command is in the log."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "big").write_bytes(b"x" * (8 << 20))
    with pytest.raises(
        ImageBuildError, match=r"mke2fs ended with status 1(.|\n)*Could not allocate"
    ):
        make_disk(root, tmp_path / "disk.raw", size_mib=4, log=tmp_path / "log")
    assert (tmp_path / "log").read_text().startswith("$ mke2fs ")


def test_mmdebstrap_gets_packages_sources_and_no_credentials(tmp_path: Path) -> None:
    """Everything asked for is in the command; how the archive is reached stays in a file."""
    argv = mmdebstrap_argv(
        suite="bookworm",
        packages=["fio", "udev"],
        sources=["deb http://a.example.org bookworm main"],
        work=tmp_path,
        hooks=tmp_path / "none",
    )
    assert argv[0] == "mmdebstrap"
    assert "--include=fio,udev" in argv
    assert argv[-3:] == [
        "bookworm",
        str(tmp_path / "root"),
        "deb http://a.example.org bookworm main",
    ]
    assert f"--aptopt={tmp_path / 'apt.conf'}" in argv
    assert not [word for word in argv if word.startswith("--hook-dir")]


@pytest.mark.parametrize(
    ("config", "made"),
    [
        ("CONFIG_BLK_DEV_NVME=y\nCONFIG_EXT4_FS=y\nCONFIG_MSDOS_PARTITION=y\n", False),
        ("CONFIG_BLK_DEV_NVME=m\nCONFIG_EXT4_FS=y\nCONFIG_MSDOS_PARTITION=y\n", True),
        ("CONFIG_BLK_DEV_NVME=y\n# CONFIG_EXT4_FS is not set\nCONFIG_MSDOS_PARTITION=y\n", True),
    ],
)
def test_an_initrd_is_made_only_for_a_kernel_that_needs_one(
    tmp_path: Path, *, config: str, made: bool
) -> None:
    """The hook asks the kernel's own configuration; chroot is a stub that records its call."""
    root = tmp_path / "root"
    (root / "boot").mkdir(parents=True)
    (root / "etc/initramfs-tools/conf.d").mkdir(parents=True)
    (root / "boot/config-6.1.0").write_text(config)
    stub = tmp_path / "chroot"
    stub.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    stub.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", INITRD_IF_NEEDED, "sh", str(root)], env=path, check=True)
    assert (tmp_path / "called").exists() == made
    assert (root / "etc/initramfs-tools/modules").exists() == made


def test_the_end_of_a_failed_command_is_in_the_message(tmp_path: Path) -> None:
    """The last lines, not the first, and the way it ended."""
    script = "for i in $(seq 40); do echo line $i; done; exit 7"
    with pytest.raises(ImageBuildError, match=r"sh ended with status 7") as caught:
        run_logged(["sh", "-c", script], tmp_path / "log")
    assert "line 40" in str(caught.value)
    assert "line 25\n" not in str(caught.value)


def test_apt_s_error_is_the_cause(tmp_path: Path) -> None:
    """The first one of the command that failed: neither those after it, nor of a command before."""
    log = tmp_path / "log"
    run_logged(["echo", "E: Unable to locate another"], log)
    said = ["W: a warning", "E: Unable to locate  package none", "E: setup failed: E: apt-get"]
    script = 'for line; do echo "$line"; done; exit 25'
    with pytest.raises(ImageBuildError) as caught:
        run_logged(["sh", "-c", script, "sh", *said], log)
    first, *_, last = str(caught.value).splitlines()
    assert first == "sh ended with status 25: Unable to locate package none; it printed last:"
    assert last == said[-1]


def test_a_missing_command_is_named(tmp_path: Path) -> None:
    """No traceback when a tool is not there."""
    with pytest.raises(ImageBuildError, match="no-such-tool"):
        run_logged(["no-such-tool"], tmp_path / "log")


def test_a_command_dies_with_its_caller(tmp_path: Path) -> None:
    """Killing the process that runs a build, even by SIGKILL, leaves no build running."""
    log = tmp_path / "log"
    code = (
        "from pathlib import Path\n"
        "from ansible_collections.nvmelab.bench.plugins.module_utils.image import build\n"
        f"build.run_logged(['sh', '-c', 'echo $$; exec sleep 60'], Path({str(log)!r}))\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code])
    try:
        pid = wait_for_pid(log)
        caller.send_signal(signal.SIGKILL)
        caller.wait()
        assert wait_until_gone(pid)
    finally:
        caller.kill()
        caller.wait()


def wait_for_pid(log: Path) -> int:
    for _ in range(200):
        lines = log.read_text().splitlines() if log.exists() else []
        if len(lines) > 1:
            return int(lines[1])
        time.sleep(0.05)
    raise AssertionError(f"{log}: no process id within 10 s")


def wait_until_gone(pid: int) -> bool:
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_mounts_are_found_deepest_first(tmp_path: Path) -> None:
    """Nested mounts come before their parents; a neighbour with the same beginning is none."""
    lines = [
        f"1 0 0:1 / {tmp_path}/build/root/dev rw - tmpfs none rw",
        f"2 0 0:1 / {tmp_path}/build/root/dev/pts rw - devpts none rw",
        f"3 0 0:1 / {tmp_path}/build-two/proc rw - proc none rw",
        f"4 0 0:1 / {tmp_path}/build/with\\040space rw - tmpfs none rw",
        "5 0 0:1 / / rw - ext4 none rw",
    ]
    assert mounts_below(tmp_path / "build", "\n".join(lines)) == [
        f"{tmp_path}/build/root/dev/pts",
        f"{tmp_path}/build/root/dev",
        f"{tmp_path}/build/with space",
    ]


@needs_root
def test_left_mounts_are_undone_before_anything_is_removed(tmp_path: Path) -> None:
    """A bind mount left in a build's folder is unmounted; what was mounted keeps its files."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept\n")
    inner = tmp_path / "build" / "root" / "dev"
    inner.mkdir(parents=True)
    subprocess.run(["mount", "--bind", str(precious), str(inner)], check=True)
    try:
        remove_tree(tmp_path / "build")
    finally:
        subprocess.run(["umount", str(inner)], check=False, capture_output=True)
    assert not (tmp_path / "build").exists()
    assert (precious / "file").read_text() == "kept\n"


def test_a_mount_that_stays_stops_the_removal(tmp_path: Path) -> None:
    """When unmounting does not help nothing is removed and the mount point is named."""
    root = tmp_path / "build" / "root"
    root.mkdir(parents=True)
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"1 0 0:1 / {root} rw - tmpfs none rw\n")
    with pytest.raises(ImageBuildError, match=f"{root} is still mounted"):
        remove_tree(tmp_path / "build", mountinfo)
    assert root.is_dir()


def test_removing_nothing_is_fine(tmp_path: Path) -> None:
    """A folder that is not there needs no removal."""
    remove_tree(tmp_path / "none")
