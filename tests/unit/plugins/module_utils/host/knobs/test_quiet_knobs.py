# SPDX-License-Identifier: GPL-3.0-or-later
"""The knobs of the group quiet_host that are files: what they read, take and say."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from fake_quiet import THP, WORKQUEUES, quiet
from fake_sysfs import FakeHost

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import (
    Knob,
    KnobError,
    Reading,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.quiet_host import (
    QUIET_KNOBS,
)

BY_NAME = {knob.name: knob for knob in QUIET_KNOBS}
KSM, NUMA = "sys/kernel/mm/ksm/run", "proc/sys/kernel/numa_balancing"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """A host as a distribution leaves it."""
    return quiet(FakeHost(tmp_path)).install(monkeypatch)


def resolve(host: FakeHost, name: str, asked: Any) -> dict[str, str]:
    """What a wish means on this host."""
    return BY_NAME[name].resolve(asked, BY_NAME[name].read(host.root), host.root)


def effective(host: FakeHost, name: str) -> str:
    """What a knob says it is."""
    return BY_NAME[name].describe(BY_NAME[name].read(host.root).values)


@pytest.mark.parametrize("knob", QUIET_KNOBS, ids=lambda knob: knob.name)
def test_a_bare_machine_has_none_of_them(knob: Knob, tmp_path: Path) -> None:
    """Nothing below the root: a reason, or a plain no, but never an error."""
    reading = knob.read(tmp_path)
    assert bool(reading.unavailable) != bool(reading.values)
    if reading.values:
        assert (knob.name, knob.describe(reading.values)) in {
            ("irqbalance", "off"),
            ("tuning_daemons", "none"),
        }


@pytest.mark.parametrize("knob", QUIET_KNOBS, ids=lambda knob: knob.name)
def test_their_group_and_words(knob: Knob) -> None:
    """All are of this group; what is recorded only takes no wish."""
    assert knob.group == "quiet_host"
    if not knob.is_settable:
        with pytest.raises(NotImplementedError, match="recorded only"):
            knob.resolve(1, Reading({"here": "0"}), Path("nowhere"))
        with pytest.raises(KnobError, match="recorded only"):
            knob.write(Path("nowhere"), "here", "1")


@pytest.mark.parametrize(
    ("name", "asked", "values", "text"),
    [
        ("numa_balancing", False, {NUMA: "0"}, "off"),
        ("ksm", False, {KSM: "0"}, "off"),
        ("aslr", 0, {"proc/sys/kernel/randomize_va_space": "0"}, "0"),
        ("aslr", "1", {"proc/sys/kernel/randomize_va_space": "1"}, "1"),
        ("nmi_watchdog", False, {"proc/sys/kernel/nmi_watchdog": "0"}, "off"),
        ("timer_migration", False, {"proc/sys/kernel/timer_migration": "0"}, "off"),
        ("sched_autogroup", False, {"proc/sys/kernel/sched_autogroup_enabled": "0"}, "off"),
        ("thp_defrag", "defer+madvise", {f"{THP}/defrag": "defer+madvise"}, "defer+madvise"),
        (
            "workqueue_cpus",
            "0-1",
            {f"{WORKQUEUES}/cpumask": "3", f"{WORKQUEUES}/writeback/cpumask": "3"},
            "0-1",
        ),
    ],
)
def test_a_wish_written_and_read_back(
    host: FakeHost, name: str, asked: Any, values: dict[str, str], text: str
) -> None:
    """The files get these texts and no others; the knob says the wish's words then."""
    before = {place: host.get(place) for place in values}
    assert resolve(host, name, asked) == values
    for place, value in values.items():
        BY_NAME[name].write(host.root, place, value)
    assert host.writes == list(values.items())
    assert BY_NAME[name].read(host.root).values == values
    assert effective(host, name) == text
    for place, value in before.items():
        BY_NAME[name].write(host.root, place, value.partition("[")[2].partition("]")[0] or value)
    assert {place: host.get(place) for place in values} == before


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("numa_balancing", "off"),
        ("ksm", 2),
        ("nmi_watchdog", 0),
        ("swap", "false"),
        ("irqbalance", "stopped"),
        ("thp", "sometimes"),
        ("thp", False),
        ("thp_defrag", "deferred"),
        ("aslr", 3),
        ("aslr", True),
        ("workqueue_cpus", "0-4"),
        ("workqueue_cpus", False),
    ],
)
def test_unknown_values(host: FakeHost, name: str, asked: Any) -> None:
    """What no file takes is refused by the setting's name, before anything is written."""
    with pytest.raises(BadInputError, match=name):
        resolve(host, name, asked)
    assert host.writes == []


@pytest.mark.parametrize(
    ("found", "asked", "value", "text"),
    [
        ("2", False, "2", "off (2)"),
        ("2", True, "1", "on"),
        ("0", False, "0", "off"),
    ],
)
def test_ksm_that_unmerged(
    host: FakeHost, *, found: str, asked: bool, value: str, text: str
) -> None:
    """2 is stopped as well: it stays, for 0 would be a change for nothing."""
    host.put(KSM, found)
    assert resolve(host, "ksm", asked) == {KSM: value}
    host.put(KSM, value)
    assert effective(host, "ksm") == text


@pytest.mark.parametrize(
    ("found", "asked", "value"), [("2", True, "2"), ("2", False, "0"), ("0", True, "1")]
)
def test_numa_balancing_that_tiers(host: FakeHost, *, found: str, asked: bool, value: str) -> None:
    """Tiering (2) is balancing: asked to be on, it stays what it is."""
    host.put(NUMA, found)
    assert resolve(host, "numa_balancing", asked) == {NUMA: value}


def test_page_sizes_with_a_will_of_their_own(host: FakeHost) -> None:
    """`never` for all is not never while 64 KiB pages are always made: they follow then."""
    size = f"{THP}/hugepages-64kB/enabled"
    host.put(size, "[always] inherit madvise never")
    assert effective(host, "thp") == "madvise, 64 KiB always"
    wished = resolve(host, "thp", "never")
    assert wished == {
        f"{THP}/enabled": "never",
        f"{THP}/hugepages-64kB/enabled": "inherit",
        f"{THP}/hugepages-2048kB/enabled": "inherit",
    }
    for place, value in wished.items():
        BY_NAME["thp"].write(host.root, place, value)
    assert effective(host, "thp") == "never"
    BY_NAME["thp"].write(host.root, size, "always")
    assert host.get(size) == "[always] inherit madvise never"


def test_masks_as_wide_as_each_file(host: FakeHost) -> None:
    """Each file has its own width; only a text of that width is what the kernel reads back."""
    host.put(f"{WORKQUEUES}/cpumask", "ff,ffffffff")
    assert resolve(host, "workqueue_cpus", 1) == {
        f"{WORKQUEUES}/cpumask": "00,00000002",
        f"{WORKQUEUES}/writeback/cpumask": "2",
    }


def test_a_watchdog_that_a_vm_has_not(host: FakeHost) -> None:
    """Its file is there and takes no 1: the kernel's own errno 524 gets a meaning."""
    place = "proc/sys/kernel/nmi_watchdog"
    host.put(place, "0")
    host.refuse[place] = 524
    with pytest.raises(KnobError, match="nmi_watchdog: '1' was refused: there is no perf counter"):
        BY_NAME["nmi_watchdog"].write(host.root, place, "1")
    host.refuse[place] = errno.EPERM
    with pytest.raises(KnobError, match="'1' was refused: Operation not permitted"):
        BY_NAME["nmi_watchdog"].write(host.root, place, "1")


def test_mitigations_in_short(host: FakeHost) -> None:
    """What is open and what costs something by name, the rest as a number."""
    folder = "sys/devices/system/cpu/vulnerabilities"
    for name, text in {
        "retbleed": "Vulnerable",
        "itlb_multihit": "KVM: Mitigation: VMX disabled",
        "mds": "Not affected",
        "tsa": "Not affected",
        "new": "Under consideration",
    }.items():
        host.put(f"{folder}/{name}", text)
    assert effective(host, "mitigations") == (
        "mitigated: itlb_multihit, meltdown; not affected: 2; other: new; vulnerable: retbleed"
    )
    assert BY_NAME["mitigations"].read(host.root).values[f"{folder}/meltdown"] == "Mitigation: PTI"


def test_isolated_cpus_in_short(host: FakeHost) -> None:
    """Both lists; an old kernel's ``(null)`` is none."""
    assert effective(host, "isolated_cpus") == "isolated none"
    host.put("sys/devices/system/cpu/isolated", "2-3")
    host.put("sys/devices/system/cpu/nohz_full", "(null)")
    assert effective(host, "isolated_cpus") == "isolated 2-3, nohz_full none"


def test_kvm_polling_in_short(host: FakeHost) -> None:
    """The longest time first, then how it grows and shrinks."""
    for name, text in (("", "200000"), ("_grow", "2"), ("_shrink", "0")):
        host.put(f"sys/module/kvm/parameters/halt_poll_ns{name}", text)
    assert effective(host, "kvm_halt_poll_ns") == "at most 200000, grow 2, shrink 0"
