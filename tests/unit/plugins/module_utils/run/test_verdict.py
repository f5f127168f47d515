# SPDX-License-Identifier: GPL-3.0-or-later
"""When a point and a run are tainted."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.run import verdict
from ansible_collections.nvmelab.bench.plugins.module_utils.run.verdict import HostFacts, PointFacts

OPTIONS = {"rw": "randread", "iodepth": 4, "numjobs": 1, "time_based": 1, "runtime": 2}


def row(**more: Any) -> dict[str, Any]:
    """A row that is all right: 4 in flight at 1000 IOPS and 4 ms."""
    whole = {"runtime_ms": 2000, "iops": 1000.0, "lat_mean_ns": 4e6, "is_aggregate": False}
    return {**whole, **more}


def codes(**more: Any) -> list[str]:
    """The codes of a point with these facts; all right where nothing is given."""
    facts: dict[str, Any] = {"runs_on": "guest", "options": OPTIONS, "rows": [row()]}
    found = verdict.point_verdict(PointFacts(**{**facts, **more}))
    assert found["state"] == ("tainted" if found["reasons"] else "clean")
    return [one["code"] for one in found["reasons"]]


def test_point_without_any_reason_is_clean() -> None:
    """Full runtime, full queue, KVM, bare metal, quiet."""
    assert codes(load={"steal_percent": 0.0, "other_cpu_percent": 0.0}) == []


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(runtime_ms=1900)], []),
        ([row(runtime_ms=1899)], ["short-runtime"]),
        ([row(lat_mean_ns=4.12e6)], []),
        ([row(lat_mean_ns=4.13e6)], ["littles-law"]),
        ([row(lat_mean_ns=None)], []),
        ([row(), row()], ["littles-law"]),
        ([row(), row(is_aggregate=True)], []),
    ],
)
def test_rows_are_held_against_the_job(rows: list[dict[str, Any]], expected: list[str]) -> None:
    """95 % of the runtime, and no more in flight than iodepth times numjobs, counted once."""
    assert codes(rows=rows) == expected


@pytest.mark.parametrize(
    ("ratio", "expected"), [(None, []), (1.0, []), (0.9, []), (0.89, ["jobs-apart"])]
)
def test_jobs_that_did_not_measure_at_once_taint_their_sum(
    ratio: float | None, expected: list[str]
) -> None:
    """A tenth of their time may be lost to begin and end; an old fio does not tell."""
    assert codes(shared_ratio=ratio) == expected


@pytest.mark.parametrize(
    ("load", "cpu_count", "expected"),
    [
        ({"steal_percent": 1.1, "other_cpu_percent": 0.0}, 2, ["steal"]),
        ({"steal_percent": 0.0, "other_cpu_percent": 12.5}, 2, []),
        ({"steal_percent": 0.0, "other_cpu_percent": 12.6}, 2, ["other-load"]),
        ({"steal_percent": 0.0, "other_cpu_percent": 0.2}, 200, ["other-load"]),
        ({"steal_percent": None, "other_cpu_percent": None}, 2, []),
        (None, 2, []),
    ],
)
def test_load_counts_in_cpus(
    load: dict[str, Any] | None, cpu_count: int, expected: list[str]
) -> None:
    """A quarter of a CPU disturbs on any machine; what was not measured is no reason."""
    assert codes(load=load, host=HostFacts(cpu_count=cpu_count)) == expected


def test_other_load_names_whose_it_was() -> None:
    """In CPUs, as the limit is."""
    others = [{"name": "apt", "pid": 7, "cpu_percent": 25.0}]
    load = {"steal_percent": 0.0, "other_cpu_percent": 30.0, "busiest_others": others}
    facts = PointFacts("guest", OPTIONS, [row()], load, HostFacts(cpu_count=2))
    (found,) = verdict.point_verdict(facts)["reasons"]
    assert found["text"] == (
        "other processes of the lab host used 0.60 of 2 CPUs, more than 0.25: apt 0.50"
    )


def test_what_was_proven_of_the_host_is_in_the_points_verdict() -> None:
    """Settings that differ, and what moved; the point's own rows are all right."""
    moved = dict.fromkeys(("frequency_khz", "cpu_pressure_percent", "temperature_c"))
    host = HostFacts(not_as_asked="1 of 1 settings is not as asked: thp always (asked never)")
    assert codes(host=host, movement={**moved, "throttle_count": 2}) == ["host-state", "throttled"]


def test_audited_settings_are_not_told_twice() -> None:
    """The audit's rows replace the few conditions that every run records."""
    conditions = {"governors": {"a": 2}, "kernel": "1"}, {"governors": {"b": 2}, "kernel": "2"}
    audits = [{"rows": [{"knob": "governor", "effective": name}]} for name in "ab"]
    section: dict[str, Any] = {
        "before": audits[0],
        "resumed": [],
        "after": audits[1],
        "movement": None,
    }
    found = verdict.run_verdict([verdict.verdict([])], *conditions, section)
    assert [one["text"] for one in found["reasons"]] == [
        "kernel was '1' before and '2' after",
        "governor was a before and b after",
    ]


def test_tcg_taints_what_ran_in_the_guest_only() -> None:
    """A ceiling on the host does not run under the guest's accelerator; the text says why."""
    host = HostFacts(is_virtual_machine=True, accelerator="tcg", accelerator_reason="no /dev/kvm")
    assert codes(host=host) == ["tcg", "virtual-host"]
    assert codes(host=host, runs_on="host") == ["virtual-host"]
    found = verdict.point_verdict(PointFacts("guest", OPTIONS, [row()], None, host))
    assert found["reasons"][0]["text"] == "guest ran under TCG (no usable KVM: no /dev/kvm)"


def test_run_names_each_code_once_with_its_count() -> None:
    """Three points, two with steal: one reason that says so; a changed governor is another."""
    clean = verdict.verdict([])
    tainted = verdict.verdict([verdict.reason("steal", "much steal")])
    found = verdict.run_verdict(
        [tainted, clean, tainted], {"governors": {"a": 2}}, {"governors": {"b": 2}}
    )
    assert found["state"] == "tainted"
    assert [one["text"] for one in found["reasons"]] == [
        "much steal (2 of 3 points)",
        "governors was {'a': 2} before and {'b': 2} after",
    ]


def test_run_of_nothing_is_not_clean() -> None:
    """A run without a point must not wear the badge that numbers can be trusted."""
    judged = verdict.run_verdict([], {}, {})
    assert judged["state"] == "tainted"
    assert [one["code"] for one in judged["reasons"]] == ["no-points"]
