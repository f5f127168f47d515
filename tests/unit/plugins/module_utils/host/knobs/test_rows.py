# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of an audit: what is asked, what is in force, and the sentence about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_sysfs import FakeHost

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import (
    daemons,
    registry,
    rows,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.knob import Reading
from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs.rows import Row


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """intel_pstate, idle states, and nothing of the quiet host but KSM."""
    host = FakeHost(tmp_path / "host").frequency("intel_pstate").idle().install(monkeypatch)
    host.put("sys/kernel/mm/ksm/run", "1")
    return host


def audit(host: FakeHost, asked: dict[str, Any], *, held: bool = False) -> dict[str, Row]:
    found = registry.readings(host.root)
    return {row.knob: row for row in rows.audit(asked, found, host.root, held=held)}


def test_there_is_a_row_for_every_knob_in_writing_order(host: FakeHost) -> None:
    """Whether asked for or not; other groups in what is asked are for others."""
    found = registry.readings(host.root)
    table = rows.audit({"kernel_cmdline": ["nosmt"]}, found, host.root)
    assert [row.knob for row in table] == [knob.name for knob in registry.KNOBS]
    assert {row.state for row in table} <= {"recorded", "unavailable"}
    assert all(row.asked is None for row in table)


def test_each_state_says_what_was_found_and_wanted(host: FakeHost) -> None:
    """Texts and words that the docs promise."""
    host.put(f"{host.policy(1)}/scaling_governor", "performance")
    cpu = {"governor": "performance", "boost": True, "smt": False, "idle_latency_max_us": 10}
    table = audit(host, {"cpupower": cpu, "quiet_host": {"ksm": False}})
    effective = "performance (1), powersave (3)"
    text = f"governor is {effective}, wanted performance"
    assert table["governor"] == Row(
        "governor", "cpupower", "performance", effective, "differs", text
    )
    text = "boost is on, as asked"
    assert table["boost"] == Row("boost", "cpupower", "on", "on", "ok", text)
    text = "smt is not available: this kernel has no SMT control"
    assert table["smt"] == Row("smt", "cpupower", "off", None, "unavailable", text)
    assert (table["idle_latency_max_us"].asked, table["idle_latency_max_us"].state) == (
        "10 µs",
        "differs",
    )
    assert (table["ksm"].asked, table["ksm"].effective) == ("off", "on")
    assert table["energy_perf_bias"].state == "recorded"


def test_a_value_that_the_host_does_not_take_differs(host: FakeHost) -> None:
    """An audit does not fail for it: the sentence says why it cannot be."""
    row = audit(host, {"cpupower": {"governor": "ondemand"}})["governor"]
    assert row.state == "differs"
    assert "this host offers performance, powersave" in row.text


def test_what_only_runs_hold_differs_only_during_one(host: FakeHost) -> None:
    """/dev/cpu_dma_latency is held by the executor; before and after it nobody should."""
    asked = {"cpupower": {"dma_latency_us": 3}}
    row = audit(host, asked)["dma_latency_us"]
    assert (row.state, row.asked, row.effective) == ("recorded", "3 µs", "no bound")
    assert "held by the executor during a run" in row.text
    assert audit(host, asked, held=True)["dma_latency_us"].state == "differs"
    (host.root / "dev/cpu_dma_latency").write_bytes((3).to_bytes(4, "little"))
    assert audit(host, asked, held=True)["dma_latency_us"].state == "ok"


def test_services_that_fight_back_are_named(host: FakeHost) -> None:
    """Who is active and sets the same: the first thing to look at."""
    found = {
        **registry.readings(host.root),
        "tuning_daemons": Reading({daemons.PLACE: "tuned (profile balanced)"}),
    }
    table = rows.audit({"cpupower": {"governor": "performance"}}, found, host.root)
    row = next(row for row in table if row.knob == "governor")
    assert row.text.endswith("; tuned (profile balanced) is active and sets it")
    assert "tuned" not in next(row for row in table if row.knob == "smt").text


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"cpupower": {"govenor": "performance"}}, "no setting 'govenor'; did you mean 'governor'"),
        ({"quiet_host": {"xyzzy": 1}}, "no setting 'xyzzy'; there are irqbalance, "),
        ({"cpupower": {"cpufreq_driver": "intel_pstate"}}, "recorded only"),
    ],
)
def test_unknown_settings_are_refused(host: FakeHost, asked: dict[str, Any], words: str) -> None:
    """A typing error is not silently nothing; the nearest name is told."""
    with pytest.raises(BadInputError, match=words):
        audit(host, asked)


def test_nothing_asked_of_what_is_recorded_only(host: FakeHost) -> None:
    """A profile may list it with null."""
    assert audit(host, {"cpupower": {"cpufreq_driver": None}})["cpufreq_driver"].state == "recorded"


def test_moved_knobs_are_knobs() -> None:
    """What one may move are names that exist, written after it."""
    order = [knob.name for knob in registry.KNOBS]
    for name, moved in registry._MOVES.items():
        for other in moved:
            assert order.index(other) > order.index(name) or other == "cpufreq_driver"
    assert "irq_cpus" in registry.moved_by(["smt"])
