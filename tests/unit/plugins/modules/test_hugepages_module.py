# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hugepages on a fake kernel: there, again, smaller, refused, and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from fake_hugepages import FakeKernel
from module_runs import run_module

from ansible_collections.nvmelab.bench.plugins.module_utils.host import hugepages as core
from ansible_collections.nvmelab.bench.plugins.module_utils.host.hugepages import Counts, Pool
from ansible_collections.nvmelab.bench.plugins.modules import hugepages

FIRST, SECOND = Pool("2M", 0), Pool("2M", 1)
WISH = [{"page_size": "2M", "count": 8, "node": 0}]
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """Two nodes; others use two pages of the first."""
    pools = {FIRST: Counts(4, 2, 0, 0), SECOND: Counts(0, 0, 0, 0)}
    return FakeKernel(tmp_path, pools).install(monkeypatch)


@pytest.fixture
def run(kernel: FakeKernel, capsys: pytest.CaptureFixture[str]) -> Run:
    """The module in this process, for only here the kernel is a fake."""

    def call(*, check: bool = False, **params: object) -> dict[str, Any]:
        ansible = {"_ansible_check_mode": check, "_ansible_diff": True}
        arguments = {"root": str(kernel.root), **params, **ansible}
        with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
            hugepages.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert ended.value.code == (1 if result.get("failed") else 0)
        return result

    return call


def test_check_then_make_then_nothing_then_back(kernel: FakeKernel, run: Run) -> None:
    """Check mode foretells exactly and touches nothing; undo leaves the tree as it was."""
    start = kernel.picture()
    wish = {"pages": WISH, "memlock_domains": ["@kvm"]}
    foretold = run(check=True, **wish)
    assert kernel.picture() == start
    assert kernel.calls() == []
    made = run(**wish)
    assert made == {**foretold, "invocation": made["invocation"]}
    assert kernel.pools[FIRST] == Counts(10, 8, 0, 0)
    assert made["diff"][0]["before"] == "2M pages on node 0: 4\n"
    assert made["diff"][0]["after"] == "2M pages on node 0: 10\n"
    assert "@kvm - memlock unlimited" in made["diff"][1]["after"]
    assert made["mounts"] == {"2M": f"{kernel.root}/dev/nvmelab_hugepages_2M"}
    writes = len(kernel.writes)
    again = run(**wish)
    assert (again["changed"], again["diff"], len(kernel.writes)) == (False, [], writes)
    assert run(check=True, state="absent")["changed"] is True
    assert run(state="absent")["changed"] is True
    assert kernel.picture() == start
    assert run(state="absent")["changed"] is False


def test_rows_tell_what_is_there(run: Run) -> None:
    """One row a pool that was wished for, in the words that the docs use."""
    assert run(pages=WISH)["pools"] == [
        {
            "page_size": "2M",
            "node": 0,
            "wanted": 8,
            "got": 8,
            "missing": 0,
            "reserved": 10,
            "free": 8,
            "reserved_before": 4,
        }
    ]


def test_pages_in_use_by_us_do_not_grow_the_next_run(kernel: FakeKernel, run: Run) -> None:
    """The record tells our use from that of others."""
    run(pages=WISH)
    kernel.use(FIRST, 8)
    assert run(pages=WISH)["changed"] is False


def test_another_wish_takes_the_older_back(kernel: FakeKernel, run: Run) -> None:
    """What is no longer wished for goes back to its first count; undo still knows both."""
    run(pages=WISH)
    run(pages=[{"page_size": "2M", "count": 3, "node": 1}])
    assert kernel.pools == {FIRST: Counts(4, 2, 0, 0), SECOND: Counts(3, 3, 0, 0)}
    run(state="absent")
    assert kernel.pools[SECOND] == Counts(0, 0, 0, 0)


def test_a_partial_grant_fails_and_can_be_undone(kernel: FakeKernel, run: Run) -> None:
    """Figures and boot arguments in the message and in the result."""
    start = kernel.picture()
    kernel.room = {FIRST: 7}
    failed = run(pages=WISH, try_count=2)
    assert failed["failed"] is True
    assert "2M pages on node 0: got 5 of 8 wanted, 3 missing" in failed["msg"]
    assert (failed["missing_count"], failed["pools"][0]["got"]) == (3, 5)
    assert failed["kernel_args"] == ["hugepagesz=2M", "hugepages=0:8"]
    run(state="absent")
    kernel.write("proc/sys/vm/compact_memory", "")
    assert kernel.picture() == start


def test_at_boot_nothing_is_reserved_now(kernel: FakeKernel, run: Run) -> None:
    """The arguments are returned, the mount is made, no count is written."""
    pages = [{"page_size": "2M", "count": 8}]
    result = run(pages=pages, reserved_at="boot", default_page_size="2M")
    assert kernel.writes == []
    assert result["missing_count"] == 6
    wanted = ["default_hugepagesz=2M", "hugepagesz=2M", "hugepages=8"]
    assert result["kernel_args"] == wanted
    assert [call.split()[0] for call in kernel.calls()] == ["mount"]


def test_after_the_reboot_everything_is_there(kernel: FakeKernel, run: Run) -> None:
    """A new boot id: what the boot reserved is the new start, and undo does not touch it."""
    pages = [{"page_size": "2M", "count": 8, "node": 0}]
    run(pages=pages, reserved_at="boot")
    kernel.write("proc/sys/kernel/random/boot_id", "boot-2\n")
    kernel.pools[FIRST] = Counts(8, 8, 0, 0)
    kernel.publish()
    assert run(pages=pages, reserved_at="boot")["missing_count"] == 0
    run(state="absent")
    assert kernel.pools[FIRST] == Counts(8, 8, 0, 0)


def test_undo_stops_at_pages_in_use(
    kernel: FakeKernel, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure that names them, and the record stays, so that a later undo is exact."""
    start = kernel.picture()
    run(pages=WISH)
    kernel.use(FIRST, 8)
    # Where Ansible's own modules were imported before, warnings leave by another way.
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _, text, **__: warned.append(text))
    run(check=True, state="absent")
    assert "found 10 reserved" in str(warned)
    failed = run(state="absent")
    assert failed["failed"] is True
    assert "found 10 reserved (0 free), wanted 4 as before" in failed["msg"]
    kernel.use(FIRST, -8)
    assert run(state="absent")["changed"] is True
    assert kernel.picture() == start


def test_a_busy_mount_leaves_everything(kernel: FakeKernel, run: Run) -> None:
    """Nothing is taken away before the mount is."""
    run(pages=WISH, memlock_domains=["alice"])
    made = kernel.picture()
    kernel.write("busy", "")
    assert "target is busy" in run(state="absent")["msg"]
    (kernel.root / "busy").unlink()
    assert kernel.picture() == made


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"pages": [{"page_size": "1G", "count": 1}]}, "wanted the CPU flag pdpe1gb"),
        ({"pages": [{"page_size": "2M", "count": 1, "node": 4}]}, "found node 4"),
        ({"pages": [{"page_size": "2M", "count": 9000}]}, "next: ask for fewer pages"),
        ({"memlock_domains": ["a b"]}, "found 'a b'"),
    ],
)
def test_refusals_touch_nothing(
    kernel: FakeKernel, run: Run, params: dict[str, Any], words: str
) -> None:
    """The message says what was found and wanted; the tree is as before."""
    start = kernel.picture()
    result = run(**params)
    assert result["failed"] is True
    assert words in result["msg"]
    assert kernel.picture() == start
    assert (kernel.calls(), kernel.writes) == ([], [])


def test_read_only_sysfs_touches_nothing(
    kernel: FakeKernel, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container: one sentence, no mount made before it."""
    monkeypatch.setattr(core.os, "access", lambda *_: False)
    assert "found read-only, wanted writable" in run(pages=WISH)["msg"]
    assert kernel.calls() == []


def test_runs_as_ansible_runs_it(tmp_path: Path) -> None:
    """In a process of its own, on plain files: free pages follow the count by a link."""
    kernel = FakeKernel(tmp_path, {FIRST: Counts(0, 0, 0, 0)})
    folder = FIRST.file(tmp_path).parent
    (folder / "free_hugepages").unlink()
    (folder / "free_hugepages").symlink_to("nr_hugepages")
    common = {"root": str(kernel.root), "mounted": False}
    result = run_module(hugepages, pages=WISH, **common)
    assert (result["changed"], result["pools"][0]["got"]) == (True, 8)
    assert FIRST.file(tmp_path).read_text() == "8\n"
    assert run_module(hugepages, state="absent", **common)["changed"] is True
    assert FIRST.file(tmp_path).read_text() == "0\n"


def test_a_run_keeps_its_hands_off_a_users_pages(kernel: FakeKernel, run: Run) -> None:
    """Pages of a user's play are neither changed nor given back by a run; a run's own are."""
    start = kernel.picture()
    run(pages=WISH)
    reserved = kernel.picture()
    refused = run(pages=[{"page_size": "2M", "count": 1}], run_id="r1")
    assert "hugepages.json: found pages that a play of yours has reserved" in refused["msg"]
    assert run(state="absent", run_id="r1")["changed"] is False
    assert kernel.picture() == reserved
    run(state="absent")
    run(pages=WISH, run_id="r1")
    assert run(pages=WISH, run_id="r1")["changed"] is False
    assert run(state="absent", run_id="r2")["changed"] is True
    assert kernel.picture() == start


def test_a_user_takes_over_a_runs_pages(kernel: FakeKernel, run: Run) -> None:
    """What a user's play asks for is the user's from then on."""
    run(pages=WISH, run_id="r1")
    run(pages=WISH)
    assert run(state="absent", run_id="r1")["changed"] is False
    assert kernel.pools[FIRST].reserved == 10
