# SPDX-License-Identifier: GPL-3.0-or-later
"""What is put into a guest's system: everything inside of it, nothing beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.image.guest_root import (
    CUSTOMISATION,
    DISK_SIGNATURE,
    GuestRootError,
    customise,
    inside,
    put,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system as mmdebstrap leaves it, as far as it matters: merged /usr, keys, links out."""
    root = tmp_path / "root"
    for folder in (
        "usr/lib",
        "usr/share/doc/fio",
        "usr/share/man/man1",
        "root",
        "etc/ssh",
        "var/log",
    ):
        (root / folder).mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "usr/share/doc/fio/README").write_text("read me")
    (root / "etc/ssh/ssh_host_rsa_key").write_text("made in the build")
    (root / "etc/resolv.conf").symlink_to(tmp_path / "host-resolv.conf")
    (tmp_path / "host-resolv.conf").write_text("the host's\n")
    return root


def dress(root: Path) -> None:
    customise(
        root,
        public_key="ssh-ed25519 LAB\n",
        host_key="PRIVATE\n",
        host_public_key="ssh-ed25519 HOST\n",
        done=CUSTOMISATION,
    )


def test_keys_are_in_and_closed(root: Path) -> None:
    """The lab's key logs in as root, the guest proves itself by the lab's host key only."""
    dress(root)
    assert (root / "root/.ssh/authorized_keys").read_text() == "ssh-ed25519 LAB\n"
    assert (root / "root/.ssh").stat().st_mode & 0o777 == 0o700
    host_key = root / "etc/ssh/ssh_host_ed25519_key"
    assert host_key.read_text() == "PRIVATE\n"
    assert host_key.stat().st_mode & 0o777 == 0o600
    assert not (root / "etc/ssh/ssh_host_rsa_key").exists()


def test_a_link_to_the_host_is_replaced_not_followed(root: Path, tmp_path: Path) -> None:
    """/etc/resolv.conf is often a link; the host's file behind it keeps its content."""
    dress(root)
    assert (tmp_path / "host-resolv.conf").read_text() == "the host's\n"
    assert not (root / "etc/resolv.conf").is_symlink()


def test_a_folder_that_leads_out_is_refused(root: Path, tmp_path: Path) -> None:
    """A link in a folder's place that leads out of the system stops the build."""
    (tmp_path / "outside").mkdir()
    (root / "srv").symlink_to(tmp_path / "outside")
    with pytest.raises(GuestRootError, match="outside of"):
        put(root, "srv/file", "text")
    assert list((tmp_path / "outside").iterdir()) == []


def test_merged_usr_is_followed(root: Path) -> None:
    """A relative link inside the system is fine: /lib is usr/lib."""
    assert inside(root, "lib/modules") == (root / "usr/lib/modules").resolve()


def test_ballast_goes_and_folders_stay(root: Path) -> None:
    """Documentation is emptied, its folder stays, for packages expect it."""
    dress(root)
    assert list((root / "usr/share/doc").iterdir()) == []
    assert list((root / "usr/share/man").iterdir()) == []


def test_masks_are_links_to_dev_null(root: Path) -> None:
    """Systemd reads a link to /dev/null as masked; nothing that ssh or devices need is masked."""
    dress(root)
    for unit in CUSTOMISATION.masked_units:
        assert (root / "etc/systemd/system" / unit).readlink() == Path("/dev/null")
    needed = {"ssh.service", "systemd-udevd.service", "systemd-udev-trigger.service"}
    assert not needed & set(CUSTOMISATION.masked_units)


def test_a_command_of_debians_is_replaced_not_added_to() -> None:
    """A drop-in that names a command clears the list first: else both would run."""
    drop_ins = [text for name, text in CUSTOMISATION.files.items() if ".service.d/" in name]
    replacing = [text for text in drop_ins if "\nExecStart=-" in text]
    assert replacing
    assert all("\nExecStart=\nExecStart=-" in text for text in replacing)


def test_the_kernel_starts_the_init_that_is_put_in(root: Path) -> None:
    """It is a program, it names the files that are put in for it, and a later init= wins."""
    dress(root)
    (path,) = (word[5:] for word in CUSTOMISATION.kernel_cmdline.split() if word[:5] == "init=")
    init = root / path.lstrip("/")
    assert init.stat().st_mode & 0o777 == 0o755
    text = init.read_text()
    assert text.startswith("#!/bin/sh\n")
    named = {word for word in text.split() if word.startswith("/etc/")}
    assert {"/etc/nvmelab/mounts", "/etc/nvmelab/network"} <= named
    assert all((root / name.lstrip("/")).is_file() for name in named - {"</etc/hostname"})


def test_each_mount_has_six_fields_and_proc_is_first() -> None:
    """Mount looks into /proc for what is mounted already; see fstab(5)."""
    rows = [row.split() for row in CUSTOMISATION.files["etc/nvmelab/mounts"].splitlines()]
    assert {len(row) for row in rows} == {6}
    assert rows[0][1] == "/proc"
    assert {"/dev", "/run", "/sys"} < {row[1] for row in rows}


def test_dressing_twice_is_dressing_once(root: Path) -> None:
    """The customisation can be repeated on its own result."""
    dress(root)
    before = sorted(str(path) for path in root.rglob("*"))
    dress(root)
    assert sorted(str(path) for path in root.rglob("*")) == before


def test_the_kernel_finds_the_disk_by_its_signature() -> None:
    """root= names the signature that is written into the partition table, in lower-case hex."""
    assert f"root=PARTUUID={DISK_SIGNATURE:08x}-01 " in CUSTOMISATION.kernel_cmdline
    assert "panic=-1" in CUSTOMISATION.kernel_cmdline.split()


def test_no_password_logs_in() -> None:
    """Sshd of the guest knows keys only."""
    sshd = CUSTOMISATION.files["etc/ssh/sshd_config.d/nvmelab.conf"].splitlines()
    assert "PasswordAuthentication no" in sshd
    assert "KbdInteractiveAuthentication no" in sshd
    assert "PermitRootLogin prohibit-password" in sshd
