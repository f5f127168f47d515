# SPDX-License-Identifier: GPL-3.0-or-later
"""The module kernel_cmdline, run as Ansible runs it."""

from __future__ import annotations

from pathlib import Path

import fake_boot
from fake_boot import DROP_IN
from module_runs import run_module

from ansible_collections.nvmelab.bench.plugins.modules import kernel_cmdline

WANTED = ["nosmt", "hugepages=8"]


def test_check_apply_again_absent(tmp_path: Path) -> None:
    """Each state is reached once, check mode foretells it, and the diff shows the drop-in."""
    fake_boot.grub(tmp_path)
    start = fake_boot.tree(tmp_path)
    root = str(tmp_path)
    foretold = run_module(kernel_cmdline, root=root, arguments=WANTED, _ansible_check_mode=True)
    assert fake_boot.tree(tmp_path) == start
    done = run_module(kernel_cmdline, root=root, arguments=WANTED)
    again = run_module(kernel_cmdline, root=root, arguments=WANTED)
    assert [result["changed"] for result in (foretold, done, again)] == [True, True, False]
    assert foretold["diff"] == done["diff"]
    assert done["diff"][0]["after_header"] == DROP_IN
    assert "nosmt hugepages=8" in done["diff"][0]["after"]
    assert (done["boot_loader"], done["wanted"], done["missing"]) == ("grub", WANTED, WANTED)
    assert done["configured"] == ["root=UUID=4f", "ro", "quiet", *WANTED]
    assert (done["surplus"], done["reboot_required"]) == ([], True)
    assert fake_boot.calls(tmp_path) == 1
    gone = run_module(kernel_cmdline, root=root, arguments=WANTED, state="absent")
    assert (gone["changed"], gone["wanted"]) == (True, [])
    assert not (tmp_path / DROP_IN.lstrip("/")).exists()
    assert "nosmt" not in (tmp_path / "boot/grub/grub.cfg").read_text()


def test_a_refusal_is_the_module_s_message(tmp_path: Path) -> None:
    """No traceback, and nothing is touched."""
    fake_boot.grub(tmp_path)
    start = fake_boot.tree(tmp_path)
    result = run_module(kernel_cmdline, root=str(tmp_path), arguments=["isolcpus=9"])
    assert "not 9" in result["msg"]
    assert fake_boot.tree(tmp_path) == start
