# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts of hugetlbfs, ours and others', and the memlock limits."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_hugepages import FakeKernel

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import hugetlb_mounts
from ansible_collections.nvmelab.bench.plugins.module_utils.host.hugepages import Counts, Pool
from ansible_collections.nvmelab.bench.plugins.module_utils.host.hugetlb_mounts import (
    LIMITS_FILE,
    Mount,
    MountError,
    OwnMount,
    absent_folders,
    limits_now,
    limits_text,
    make_folders,
    mounts,
    plan_mounts,
    remove_folders,
    unit_text,
    usable,
    write_limits,
)

# As Linux 6.x prints them; the third has a blank in its path, the fourth is no hugetlbfs.
MOUNTINFO = r"""
22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
31 23 0:27 / /dev/hugepages rw,nosuid,nodev,relatime shared:15 - hugetlbfs hugetlbfs rw,pagesize=2M
40 23 0:33 / /mnt/huge\0401G rw,relatime - hugetlbfs none rw,mode=0775,pagesize=1024M
41 23 0:34 / /mnt/ro ro,relatime - hugetlbfs none rw,pagesize=2M
42 23 0:35 / /mnt/hugetlbfs rw - tmpfs hugetlbfs rw,pagesize=2M
43 23 0:36 / /mnt/old rw - hugetlbfs none rw
"""


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """A host without any hugetlbfs."""
    return FakeKernel(tmp_path, {Pool("2M", 0): Counts(0, 0, 0, 0)}).install(monkeypatch)


def test_page_sizes_are_read_from_mountinfo() -> None:
    """1 GiB is printed as 1024M; a mount without page size has the default; tmpfs is not ours."""
    assert mounts(MOUNTINFO, default_kib=64) == [
        Mount("/dev/hugepages", 2048, is_writable=True),
        Mount("/mnt/huge 1G", 1048576, is_writable=True),
        Mount("/mnt/ro", 2048, is_writable=False),
        Mount("/mnt/old", 64, is_writable=True),
    ]


def test_a_usable_mount_has_the_size_and_can_be_written() -> None:
    """A read-only one is passed over."""
    found = mounts(MOUNTINFO)
    assert usable(found, "2M") == "/dev/hugepages"
    assert usable(found, "1G") == "/mnt/huge 1G"
    assert usable(found[2:3], "2M") is None


def test_somebody_s_mount_is_used(kernel: FakeKernel) -> None:
    """No mount of ours beside it, and nothing to take away."""
    kernel.write("proc/self/mountinfo", MOUNTINFO)
    assert plan_mounts(kernel.root, ["2M", "1G"]) == (
        [],
        [],
        {"2M": "/dev/hugepages", "1G": "/mnt/huge 1G"},
    )


@pytest.mark.parametrize("with_systemd", [True, False])
def test_ours_comes_and_goes_without_a_trace(kernel: FakeKernel, with_systemd: bool) -> None:  # noqa: FBT001
    """Mounted once, found again, taken away: the tree is as before."""
    if with_systemd:
        (kernel.root / "run/systemd/system").mkdir(parents=True)
    before = kernel.picture()
    own = OwnMount(kernel.root, "2M")
    assert plan_mounts(kernel.root, ["2M"]) == ([own], [], {"2M": str(own.point)})
    own.mount()
    assert own.unit.exists() == with_systemd
    assert plan_mounts(kernel.root, ["2M"]) == ([], [], {"2M": str(own.point)})
    assert plan_mounts(kernel.root, []) == ([], [own], {})
    own.unmount()
    assert kernel.picture() == before
    assert plan_mounts(kernel.root, []) == ([], [], {})
    systemd = [f"systemctl {words} {own.unit.name}" for words in ("enable --now", "disable --now")]
    assert [call for call in kernel.calls() if "able" in call] == (systemd if with_systemd else [])


def test_an_older_unit_of_ours_is_rewritten(kernel: FakeKernel) -> None:
    """A mounted unit with another text is not complete."""
    (kernel.root / "run/systemd/system").mkdir(parents=True)
    own = OwnMount(kernel.root, "1G")
    own.mount()
    assert own.is_complete
    own.unit.write_text("[Mount]\n")
    assert plan_mounts(kernel.root, ["1G"])[0] == [own]


def test_a_busy_mount_stays(kernel: FakeKernel) -> None:
    """What umount said, and what to stop; the mount point is still there."""
    own = OwnMount(kernel.root, "2M")
    own.mount()
    kernel.write("busy", "")
    with pytest.raises(MountError, match=r"target is busy.*stop the guests and storage targets"):
        own.unmount()
    assert own.is_mounted


def test_a_mount_that_does_not_appear_is_told(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that ends with 0 proves nothing."""
    monkeypatch.setattr(hugetlb_mounts, "_run", lambda *_, **__: None)
    with pytest.raises(MountError, match="found nothing mounted after a mount without error"):
        OwnMount(kernel.root, "2M").mount()


def test_an_absent_command_is_told(kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a traceback."""
    monkeypatch.setenv("PATH", str(kernel.root / "empty"))
    with pytest.raises(MountError, match=r"mount -t hugetlbfs.*No such file"):
        OwnMount(kernel.root, "2M").mount()


def test_unit_is_named_for_its_mount_point() -> None:
    """The init refuses a unit whose name is not its escaped mount point; ours needs no escape."""
    own = OwnMount(Path("/"), "1G")
    assert f"Where={own.point}\n" in unit_text("1G")
    assert "-" not in own.point.name
    assert own.unit.name == str(own.point)[1:].replace("/", "-") + ".mount"


def test_limits_text() -> None:
    """One line each, soft and hard in one; none is no file."""
    lines = limits_text(["@kvm", "alice"], None).splitlines()
    assert lines[1:] == ["@kvm - memlock unlimited", "alice - memlock unlimited"]
    assert limits_text(["*"], 65536).splitlines()[1:] == ["* - memlock 65536"]
    assert limits_text([], None) == ""


@pytest.mark.parametrize(
    ("domains", "limit", "words"),
    [
        (["a b"], None, "found 'a b', wanted a user"),
        (["#a"], None, "found '#a'"),
        (["a\nroot - nproc 1"], None, "without blanks"),
        (["a"], -1, "memlock_kib: found -1"),
    ],
)
def test_limits_that_would_be_read_otherwise(
    domains: list[str], limit: int | None, words: str
) -> None:
    """Blanks, comments and line ends are refused."""
    with pytest.raises(BadInputError, match=words):
        limits_text(domains, limit)


def test_limits_come_and_go(kernel: FakeKernel) -> None:
    """The folder that had to be made goes too."""
    before = kernel.picture()
    path = kernel.root / LIMITS_FILE
    folders = absent_folders([path])
    assert folders == [str(path.parent)]
    make_folders(folders)
    write_limits(kernel.root, limits_text(["alice"], None))
    assert limits_now(kernel.root).endswith("alice - memlock unlimited\n")
    write_limits(kernel.root, "")
    remove_folders(folders)
    assert kernel.picture() == before


def test_a_strange_limits_file_is_not_touched(kernel: FakeKernel) -> None:
    """Refused, with its name."""
    kernel.write(LIMITS_FILE, "bob - memlock 1\n")
    with pytest.raises(MountError, match=r"90-nvmelab.conf: found a file that is not ours"):
        limits_now(kernel.root)


def test_a_folder_that_others_use_stays(tmp_path: Path) -> None:
    """Made by us, but no longer ours alone; folders are made outermost first."""
    folders = absent_folders([tmp_path / "a/b/file"])
    make_folders(folders)
    (tmp_path / "a/other").write_text("")
    remove_folders(folders)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["other"]
