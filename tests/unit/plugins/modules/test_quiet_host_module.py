# SPDX-License-Identifier: GPL-3.0-or-later
"""The module quiet_host on a fake kernel: there, again, refused, and back as it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from fake_quiet import NO_SWAP, THP, calls, put_irq, put_unit, quiet
from fake_sysfs import FakeHost

from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import registry
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.quiet_host import (
    QUIET_KNOBS,
)
from ansible_collections.nvmelab.bench.plugins.modules import quiet_host

ALL = {
    "irqbalance": False,
    "irq_cpus": "0-1",
    "numa_balancing": False,
    "thp": "never",
    "thp_defrag": "madvise",
    "ksm": False,
    "aslr": 0,
    "nmi_watchdog": False,
    "timer_migration": False,
    "workqueue_cpus": "0-1",
    "sched_autogroup": False,
    "swap": False,
}
Run = Callable[..., dict[str, Any]]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """A host as a distribution leaves it."""
    return quiet(FakeHost(tmp_path)).install(monkeypatch)


@pytest.fixture
def run(host: FakeHost, capsys: pytest.CaptureFixture[str]) -> Run:
    """The module in this process, for only here the kernel is a fake."""

    def call(settings: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
        ansible = {"_ansible_check_mode": params.pop("check", False), "_ansible_diff": True}
        arguments = {"root": str(host.root), "settings": settings or {}, **params, **ansible}
        with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
            quiet_host.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert ended.value.code == (1 if result.get("failed") else 0)
        return result

    return call


def picture(host: FakeHost) -> dict[str, str]:
    """All files of the host but the list of calls."""
    return {name: text for name, text in host.picture().items() if name != "calls"}


def row(result: dict[str, Any], knob: str) -> dict[str, Any]:
    """The row of one setting."""
    found: dict[str, Any] = next(row for row in result["rows"] if row["knob"] == knob)
    return found


def test_check_then_set_then_nothing_then_back(host: FakeHost, run: Run) -> None:
    """Check mode foretells and touches nothing; undo leaves all files as they were."""
    start = picture(host)
    foretold = run(ALL, check=True)
    assert (picture(host), calls(host.root)) == (start, [])
    done = run(ALL)
    assert {entry["before_header"] for entry in done["diff"]} == set(ALL) - {"thp_defrag"}
    assert (done["changed"], done["diff"]) == (True, foretold["diff"])
    asked = [entry for entry in done["rows"] if entry["asked"] is not None]
    assert {entry["knob"] for entry in asked} == set(ALL)
    assert {entry["state"] for entry in asked} == {"ok"}
    assert host.get("proc/irq/130/smp_affinity_list") == "0-1"
    assert host.get("proc/irq/40/smp_affinity_list") == "3"
    assert host.get(f"{THP}/enabled") == "always madvise [never]"
    assert host.get("proc/swaps") == NO_SWAP
    again = run(ALL)
    assert (again["changed"], again["diff"]) == (False, [])
    assert run(state="absent", check=True)["changed"] is True
    assert run(state="absent")["changed"] is True
    assert picture(host) == start
    assert calls(host.root)[-2:] == ["swapon --priority 100 /dev/zram0", "swapon /dev/dm-1"]
    assert run(state="absent")["changed"] is False


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workqueue_cpus": "0-4"}, "workqueue_cpus: '0-4' holds CPUs 4 that are absent"),
        ({"irq_cpus": "9"}, "irq_cpus: '9' holds CPUs 9 that are absent"),
        ({"irq_cpus": "0", "irqbalance": None}, "irqbalance is active and would move"),
        ({"thp": "often"}, "thp 'often': wanted one of always, madvise, never"),
        ({"aslr": 3}, "aslr 3: wanted 0, 1 or 2"),
        ({"hyperthreading": False}, "hyperthreading"),
        ({"mitigations": "off"}, "mitigations"),
    ],
)
def test_refusals_change_nothing(
    host: FakeHost, run: Run, settings: dict[str, Any], message: str
) -> None:
    """One wish that cannot be fulfilled, and none of the others is; no record is left."""
    start = picture(host)
    failed = run({**ALL, **settings})
    assert failed["failed"] is True
    assert message in failed["msg"]
    assert (picture(host), calls(host.root), host.writes) == (start, [], [])


def test_a_read_only_file(host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container: found before the first write, in check mode as well."""
    real = os.access

    def access(path: Any, mode: int) -> bool:
        return not str(path).endswith("timer_migration") and real(path, mode)

    monkeypatch.setattr(os, "access", access)
    for check in (True, False):
        failed = run(ALL, check=check)
        assert "timer_migration: found read-only, wanted writable" in failed["msg"]
    assert host.writes == []


def test_swap_that_does_not_fit(host: FakeHost, run: Run) -> None:
    """Memory is looked at before anything is changed, not while it is."""
    host.put("proc/meminfo", "MemAvailable: 1024 kB")
    failed = run(ALL)
    assert "3 MiB are swapped out, found 1 MiB of memory available" in failed["msg"]
    assert (host.writes, calls(host.root)) == ([], [])


def test_what_a_host_has_not(host: FakeHost, run: Run) -> None:
    """Left out and said once; the rest is set."""
    for name in ("nmi_watchdog", "numa_balancing"):
        (host.root / "proc/sys/kernel" / name).unlink()
    done = run({"nmi_watchdog": False, "numa_balancing": False, "ksm": False})
    assert [row(done, name)["state"] for name in ("nmi_watchdog", "ksm")] == ["unavailable", "ok"]
    assert len(done["remarks"]) == 1
    assert "nmi_watchdog (this kernel has no NMI watchdog)" in done["remarks"][0]
    assert host.get("sys/kernel/mm/ksm/run") == "0"


def test_null_is_not_asked(host: FakeHost, run: Run) -> None:
    """The shipped profile names every setting, and most of them with null."""
    done = run(dict.fromkeys(ALL))
    assert (done["changed"], host.writes) == (False, [])
    assert {entry["asked"] for entry in done["rows"]} == {None}


def test_exact_values_come_back(host: FakeHost, run: Run) -> None:
    """Not what a switch would write, but what was there: tiering, unmerged KSM, odd masks."""
    values = {
        "proc/sys/kernel/numa_balancing": "2",
        "sys/kernel/mm/ksm/run": "1",
        "sys/devices/virtual/workqueue/cpumask": "a",
        "proc/irq/default_smp_affinity": "5",
        f"{THP}/hugepages-64kB/enabled": "[always] inherit madvise never",
    }
    for place, value in values.items():
        host.put(place, value)
    run(ALL)
    assert all(host.get(place) != value for place, value in values.items())
    run(state="absent")
    assert {place: host.get(place) for place in values} == values


def test_an_interrupt_that_is_gone(host: FakeHost, run: Run) -> None:
    """Unplugged between tuning and undo: the others come back, nothing fails."""
    put_unit(host, "irqbalance.service", "loaded inactive")
    run({"irq_cpus": "0"})
    for path in (host.root / "proc/irq/25").iterdir():
        path.unlink()
    (host.root / "proc/irq/25").rmdir()
    assert run(state="absent")["changed"] is True
    assert host.get("proc/irq/24/smp_affinity_list") == "0-3"
    assert not (host.root / "proc/irq/25").exists()
    assert run(state="absent")["changed"] is False


def test_an_interrupt_that_comes(host: FakeHost, run: Run) -> None:
    """Plugged in later it is moved by the next play, and belongs to itself after undo."""
    put_unit(host, "irqbalance.service", "loaded inactive")
    run({"irq_cpus": "0"})
    put_irq(host, 26, "0-3")
    assert run({"irq_cpus": "0"})["changed"] is True
    assert host.get("proc/irq/26/smp_affinity_list") == "0"
    run(state="absent")
    assert host.get("proc/irq/26/smp_affinity_list") == "0-3"


def test_irqbalance_is_no_stranger(host: FakeHost, run: Run) -> None:
    """Started again by somebody, it moves interrupts: that is told of it, not of each interrupt."""
    run({"irqbalance": False, "irq_cpus": "0"})
    put_unit(host, "irqbalance.service", "loaded active")
    host.put("proc/irq/24/smp_affinity_list", "3")
    remarks = " ".join(run(state="absent")["remarks"])
    assert "irq_cpus" not in remarks


def test_swap_restored_to_what_was_on(host: FakeHost, run: Run) -> None:
    """An area that somebody turned on meanwhile goes, those from before come; and it is said."""
    run({"swap": False})
    host.put("proc/swaps", f"{NO_SWAP}\n/own file 1024 0 -2")
    back = run(state="absent")
    assert calls(host.root)[-3:] == [
        "swapoff /own",
        "swapon --priority 100 /dev/zram0",
        "swapon /dev/dm-1",
    ]
    assert "swap" in " ".join(back["remarks"])


def test_snapshots_while_irqbalance_moves(host: FakeHost, run: Run) -> None:
    """Two of an untouched host are equal though interrupts move; so is one after an undo."""
    before = registry.snapshot(host.root)
    host.put("proc/irq/25/smp_affinity_list", "3")
    assert registry.snapshot(host.root) == before
    run(ALL)
    assert registry.snapshot(host.root) != before
    run(state="absent")
    assert registry.snapshot(host.root) == before
    assert before["irq_cpus"]["proc/irq/default_smp_affinity"] == "f"


def test_options_are_the_knobs() -> None:
    """The module and the knobs name the same settings, in the same order."""
    assert list(quiet_host.SETTINGS) == [knob.name for knob in QUIET_KNOBS if knob.is_settable]
