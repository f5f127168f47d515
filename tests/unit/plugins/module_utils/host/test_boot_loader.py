# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot loaders: found, told, read back, and put back as they were."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import fake_boot
import pytest
from fake_boot import CMDLINE, DROP_IN, ENTRY

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.host import boot_change
from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_change import Outcome
from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_entries import grubby_entries
from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_loader import (
    find_boot_loader,
    grub_entries,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.boot_machine import (
    RECORD,
    Changer,
    Machine,
)

WANTED = ["nosmt", "isolcpus=2-3", "hugepagesz=1G", "hugepages=8"]
MACHINES = [fake_boot.grub, fake_boot.extlinux, fake_boot.systemd_boot, fake_boot.fedora]
IDS = ["grub", "extlinux", "systemd-boot", "grubby"]
Maker = Callable[[Path], Machine]


def converge(machine: Machine, *words: str, check: bool = False) -> Outcome:
    """One run of the module's core."""
    return boot_change.converge(machine, words, check_mode=check)


@pytest.mark.parametrize("make", MACHINES, ids=IDS)
def test_check_apply_again_undo(tmp_path: Path, make: Maker) -> None:
    """Check changes nothing, apply works once, and after undo the tree is as it was, to the mode.

    The fakes have no /var/lib, so folders that were made are seen, too.
    """
    machine = make(tmp_path)
    start = fake_boot.tree(tmp_path)
    foretold = converge(machine, *WANTED, check=True)
    assert fake_boot.tree(tmp_path) == start
    done = converge(machine, *WANTED)
    assert foretold.actions == done.actions != []
    assert done.boot_loader == find_boot_loader(machine).name
    assert done.configured[-4:] == WANTED
    assert (done.missing, done.reboot_required) == (WANTED, True)
    assert converge(machine, *WANTED).actions == []
    foretold = converge(machine, check=True)
    undone = converge(machine)
    assert undone.actions
    assert set(foretold.actions) <= set(undone.actions)
    assert fake_boot.tree(tmp_path) == start
    assert converge(machine).actions == []


@pytest.mark.parametrize("make", MACHINES, ids=IDS)
def test_other_arguments_replace_ours_only(tmp_path: Path, make: Maker) -> None:
    """A second set takes the place of the first; what others set stays; undo goes to the start."""
    machine = make(tmp_path)
    start = fake_boot.tree(tmp_path)
    others = next(iter(find_boot_loader(machine).entries().values()))
    converge(machine, *WANTED)
    done = converge(machine, "isolcpus=1", "idle=poll")
    assert done.configured == [*others, "isolcpus=1", "idle=poll"]
    converge(machine)
    assert fake_boot.tree(tmp_path) == start


@pytest.mark.parametrize("make", MACHINES, ids=IDS)
def test_what_others_set_too_is_theirs_after_undo(tmp_path: Path, make: Maker) -> None:
    """Wanted by us and by them: undone, theirs is left, and that is no fault."""
    machine = make(tmp_path)
    start = fake_boot.tree(tmp_path)
    theirs = next(iter(find_boot_loader(machine).entries().values()))[-1]
    converge(machine, theirs, "nosmt")
    undone = converge(machine)
    assert theirs in undone.configured
    assert fake_boot.tree(tmp_path) == start


@pytest.mark.parametrize("make", MACHINES, ids=IDS)
def test_reboot_is_asked_of_the_running_kernel(tmp_path: Path, make: Maker) -> None:
    """One is required until the kernel runs with them, and after undo until it runs without."""
    machine = make(tmp_path)
    before = machine.path("/proc/cmdline").read_text().strip()
    converge(machine, *WANTED)
    fake_boot.write(tmp_path, "/proc/cmdline", f"{before} {' '.join(WANTED)}\n")
    running = converge(machine, *WANTED)
    assert (running.missing, running.surplus, running.reboot_required) == ([], [], False)
    for _ in range(2):  # the second undo has nothing to do, and still knows
        undone = converge(machine)
        assert (sorted(undone.surplus), undone.reboot_required) == (sorted(WANTED), True)
    fake_boot.write(tmp_path, "/proc/cmdline", f"{before}\n")
    assert converge(machine).reboot_required is False


def test_a_duplicate_of_others_is_seen_but_no_reason_to_reboot(tmp_path: Path) -> None:
    """A boot would not take it away."""
    machine = fake_boot.grub(tmp_path)
    converge(machine, "isolcpus=2-3")
    fake_boot.write(tmp_path, "/proc/cmdline", "BOOT_IMAGE=/v isolcpus=1 isolcpus=2-3\n")
    done = converge(machine, "isolcpus=2-3")
    assert (done.missing, done.surplus, done.reboot_required) == ([], ["isolcpus=1"], False)


def test_recovery_and_other_systems_stay_without(tmp_path: Path) -> None:
    """A way out is left, and grub.cfg as the tool wrote it has them nowhere else."""
    machine = fake_boot.grub(tmp_path)
    converge(machine, "nosmt")
    lines = (machine.read("/boot/grub/grub.cfg") or "").splitlines()
    kernels = [line.split() for line in lines if line.split()[:1] == ["linux"]]
    assert ["nosmt" in line for line in kernels] == [True, True, False, False]


@pytest.mark.parametrize("state", [WANTED, []], ids=["apply", "undo"])
def test_a_failed_update_grub_fails_and_the_next_run_repairs(
    tmp_path: Path, state: list[str]
) -> None:
    """The file is as wanted after the failure; what counts is what grub.cfg holds."""
    machine = fake_boot.grub(tmp_path)
    if not state:
        converge(machine, *WANTED)
    fake_boot.write(tmp_path, "/var/tmp/update-grub.fails", "")
    for _ in range(2):
        with pytest.raises(NvmelabError, match=r"status 1: grub-probe: error: no such disk"):
            converge(machine, *state)
    machine.path("/var/tmp/update-grub.fails").unlink()
    assert converge(machine, *state).actions
    assert machine.path(DROP_IN).exists() == bool(state)
    config = machine.read("/boot/grub/grub.cfg") or ""
    assert ("isolcpus" in config) == bool(state)
    assert converge(machine, *state).actions == []


def test_an_update_grub_that_does_nothing_is_found_out(tmp_path: Path) -> None:
    """Status 0 is not believed: grub.cfg is read back."""
    machine = fake_boot.grub(tmp_path)
    fake_boot.write(tmp_path, "/usr/sbin/update-grub", "#!/bin/sh\n", 0o755)
    with pytest.raises(NvmelabError, match=r"Debian GNU/Linux \(line 3\) has not nosmt in force"):
        converge(machine, "nosmt")


def test_a_later_drop_in_that_overrides_is_found_out(tmp_path: Path) -> None:
    """The message says which argument is there instead."""
    machine = fake_boot.grub(tmp_path)
    fake_boot.write(
        tmp_path, "/etc/default/grub.d/95-x.cfg", 'GRUB_CMDLINE_LINUX_DEFAULT="idle=halt"\n'
    )
    with pytest.raises(NvmelabError, match="has not idle=poll in force but idle=halt"):
        converge(machine, "idle=poll")


def test_a_boot_configuration_that_lost_them_is_made_again(tmp_path: Path) -> None:
    """The drop-in is as wanted, grub.cfg is older: one rebuild, no write of the drop-in."""
    machine = fake_boot.grub(tmp_path)
    old = machine.read("/boot/grub/grub.cfg") or ""
    converge(machine, "nosmt")
    fake_boot.write(tmp_path, "/boot/grub/grub.cfg", old)
    done = converge(machine, "nosmt")
    assert f"write {DROP_IN}" not in done.actions
    assert fake_boot.calls(tmp_path) == 2


@pytest.mark.parametrize("make", MACHINES, ids=IDS)
@pytest.mark.parametrize("words", [WANTED, ["idle=poll"], []], ids=["apply", "other", "undo"])
def test_killed_anywhere_the_undo_still_puts_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Maker, words: list[str]
) -> None:
    """Ended before its first, second, … change, a run leaves what the next undo needs."""
    for at in range(8):
        root = tmp_path / str(at)
        root.mkdir()
        machine = make(root)
        start = fake_boot.tree(root)
        if words != WANTED:
            converge(machine, "isolcpus=1", "idle=poll")
        with monkeypatch.context() as patch:
            _die_at(patch, at)
            with contextlib.suppress(KeyboardInterrupt):
                converge(machine, *words)
        converge(machine)
        assert fake_boot.tree(root) == start, f"killed at change {at}"


def _die_at(patch: pytest.MonkeyPatch, at: int) -> None:
    change = Changer.change

    def dying(self: Changer, what: str, action: Callable[[], object]) -> None:
        if len(self.done) == at:
            raise KeyboardInterrupt
        change(self, what, action)

    patch.setattr(Changer, "change", dying)


def test_a_drop_in_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    """It is named, and stays."""
    machine = fake_boot.grub(tmp_path)
    fake_boot.write(tmp_path, DROP_IN, "GRUB_TIMEOUT=1\n")
    with pytest.raises(NvmelabError, match=rf"{DROP_IN}: .*not written by nvmelab"):
        converge(machine, "nosmt")
    assert machine.read(DROP_IN) == "GRUB_TIMEOUT=1\n"


def test_a_drop_in_without_its_record_is_undone(tmp_path: Path) -> None:
    """The record may be lost with /var; the file's first line tells whose it is."""
    machine = fake_boot.grub(tmp_path)
    converge(machine, "nosmt")
    machine.path(RECORD).unlink()
    converge(machine)
    assert not machine.path(DROP_IN).exists()
    assert "nosmt" not in (machine.read("/boot/grub/grub.cfg") or "")


@pytest.mark.parametrize("words", [WANTED, ["idle=poll"], []], ids=["same", "other", "undo"])
def test_a_cmdline_file_that_others_changed_is_refused(tmp_path: Path, words: list[str]) -> None:
    """Neither overwritten nor restored; the message names it and the line that was ours."""
    machine = fake_boot.systemd_boot(tmp_path)
    converge(machine, *WANTED)
    fake_boot.write(tmp_path, CMDLINE, "root=/dev/sdb1\nnosmt\n")
    with pytest.raises(NvmelabError, match=rf"{CMDLINE}: was changed by somebody else.*nosmt"):
        converge(machine, *words)
    assert machine.read(CMDLINE) == "root=/dev/sdb1\nnosmt\n"


def test_systemd_boot_without_a_cmdline_file(tmp_path: Path) -> None:
    """Where the running line is the source, the file holds it and is gone after the undo."""
    machine = fake_boot.systemd_boot(tmp_path, cmdline=None)
    start = fake_boot.tree(tmp_path)
    assert converge(machine, *WANTED).configured == ["root=UUID=4f", "ro", "quiet", *WANTED]
    fake_boot.write(tmp_path, "/proc/cmdline", f"root=UUID=4f ro quiet {' '.join(WANTED)}\n")
    assert converge(machine, *WANTED).actions == []
    fake_boot.write(tmp_path, "/proc/cmdline", "root=UUID=4f ro quiet\n")
    converge(machine)
    assert fake_boot.tree(tmp_path) == start
    assert ENTRY.lstrip("/") in start


@pytest.mark.parametrize(
    ("options", "words", "told"),
    [
        ("ro isolcpus=1", ["isolcpus=2-3"], "would replace 'isolcpus=1'"),
        (
            "ro",
            ["hugepagesz=1G", "hugepages=8", "hugepagesz=2M", "hugepages=9"],
            "grubby keeps one",
        ),
        ("ro", ["memmap=4G$4G"], "a character that grubby cannot write"),
    ],
)
def test_what_grubby_would_spoil_is_refused(
    tmp_path: Path, options: str, words: list[str], told: str
) -> None:
    """Before any change, with the argument's name."""
    machine = fake_boot.fedora(tmp_path, options)
    start = fake_boot.tree(tmp_path)
    with pytest.raises(NvmelabError) as refused:
        converge(machine, *words)
    assert told in str(refused.value)
    assert fake_boot.tree(tmp_path) == start


def test_grubby_leaves_what_others_set(tmp_path: Path) -> None:
    """An argument that was there before is not ours to remove."""
    machine = fake_boot.fedora(tmp_path, "ro nosmt")
    start = fake_boot.tree(tmp_path)
    assert converge(machine, "nosmt", "idle=poll").configured == ["ro", "nosmt", "idle=poll"]
    converge(machine)
    assert fake_boot.tree(tmp_path) == start


def test_grubby_info_of_several_kernels() -> None:
    """As grubby 8.40 prints it; an entry without a kernel has no arguments."""
    info = (
        'index=0\nkernel="/boot/vmlinuz-6"\nargs="ro a=\\"x y\\" $tuned_params"\nroot="/dev/sda"\n'
        'index=1\nnon linux entry\nindex=2\nkernel="/boot/vmlinuz-5"\nargs="ro"\n'
    )
    assert [len(line) for line in grubby_entries(info).values()] == [3, 1]


def test_grub_quoting_is_read_back() -> None:
    """Quotes of either kind and a dollar arrive as one argument each."""
    config = (
        "### BEGIN /etc/grub.d/10_linux ###\nmenuentry 'A' {\n"
        "linux /v root=1 'memmap=4G$4G' 'd=a b' d=\"c d\" $vt_handoff\n}\n"
    )
    (line,) = grub_entries(config).values()
    assert line == ["root=1", "memmap=4G$4G", "d=a b", "d=c d", "$vt_handoff"]
    with pytest.raises(NvmelabError, match=r"grub\.cfg: line 2"):
        grub_entries("### BEGIN /etc/grub.d/10_linux ###\nlinux /v 'x\n")


@pytest.mark.parametrize("mark", ["/run/systemd/container", "/.dockerenv"])
def test_a_container_is_refused_and_can_be_undone(tmp_path: Path, mark: str) -> None:
    """Its kernel is another machine's; with nothing of ours there, an undo has nothing to do."""
    machine = fake_boot.grub(tmp_path)
    fake_boot.write(tmp_path, mark, "")
    start = fake_boot.tree(tmp_path)
    with pytest.raises(NvmelabError, match=f"container .{mark} is there"):
        converge(machine, "nosmt", check=True)
    assert converge(machine).actions == []
    assert fake_boot.tree(tmp_path) == start


@pytest.mark.parametrize("running", ["root=/dev/vda quiet", "BOOT_IMAGE=/vmlinuz"])
def test_no_boot_loader_is_a_refusal_that_names_what_was_looked_for(
    tmp_path: Path, running: str
) -> None:
    """GRUB that is installed but did not boot this kernel does not count."""
    machine = fake_boot.bare(tmp_path, running)
    if not running.startswith("BOOT"):
        fake_boot.grub(tmp_path)
        fake_boot.write(tmp_path, "/proc/cmdline", running)
    start = fake_boot.tree(tmp_path)
    with pytest.raises(NvmelabError) as refused:
        converge(machine, "nosmt")
    for word in ("/boot/grub/grub.cfg", "grubby", "kernel-install", "extlinux.conf", "BOOT_IMAGE"):
        assert word in str(refused.value)
    assert fake_boot.tree(tmp_path) == start


def test_another_boot_loader_than_the_one_that_was_told(tmp_path: Path) -> None:
    """Both are named; nothing is done to the new one."""
    machine = fake_boot.grub(tmp_path)
    converge(machine, "nosmt")
    fake_boot.fedora(tmp_path)
    with pytest.raises(NvmelabError, match="grub was told the arguments, but grubby boots"):
        converge(machine)


@pytest.mark.parametrize("content", ["{", json.dumps({"x": 1})])
def test_a_record_that_is_not_ours_is_named(tmp_path: Path, content: str) -> None:
    """It is neither believed nor overwritten."""
    machine = fake_boot.grub(tmp_path)
    fake_boot.write(tmp_path, RECORD, content)
    with pytest.raises(NvmelabError, match=r"kernel_cmdline\.json: is not what nvmelab wrote"):
        converge(machine, "nosmt")
