# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor: each host's own audit, put together by what deviates, worst first by known cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from nvmelab.commands.doctor import as_json, as_table
from nvmelab.lab import costs, doctor
from nvmelab.lab.doctor import HostAudit
from nvmelab.lab.events import Event, HostOutcome
from nvmelab.lab.runner import Playbook


def row(knob: str, asked: Any, effective: str | None, state: str, **more: Any) -> dict[str, Any]:
    """One row of host_audit."""
    usual = {"group": "cpupower", "text": f"{knob} is {effective}, wanted {asked}"}
    return {"knob": knob, "asked": asked, "effective": effective, "state": state, **usual, **more}


SLOW = row("governor", "performance", "powersave", "differs")
BOOSTED = row("boost", "off", "on", "differs")
KSM = row("ksm", "off", "on", "differs", group="quiet_host")
FINE = row("thp", "never", "never", "ok", group="quiet_host")
ABSENT = row("boost", "off", None, "unavailable", text="boost is not available: no cpufreq")
BOOT = row("kernel_cmdline", "nosmt", "quiet", "differs", group="kernel_cmdline",
           text="the running kernel lacks nosmt")  # fmt: skip


def host(name: str, *rows: dict[str, Any], **more: Any) -> HostAudit:
    """A host whose audit went well."""
    return HostAudit(name, "ok", rows=rows, **more)


def test_hosts_with_the_same_deviation_share_a_finding():
    """One finding for both hosts; a host that deviates otherwise has its own."""
    other = row("governor", "performance", "schedutil", "differs")
    found = doctor.findings([host("a", SLOW, FINE), host("b", SLOW), host("c", other)])
    assert [(one.hosts, one.effective) for one in found] == [
        (("a", "b"), "powersave"),
        (("c",), "schedutil"),
    ]


def test_worst_comes_first_and_unknown_last():
    """By known cost, then what is known in words, then by name; only what differs is a finding."""
    bias = row("energy_perf_bias", 0, "6", "differs")
    idle = row("idle_latency_max_us", 2, "all states enabled", "differs")
    found = doctor.findings([host("a", KSM, BOOSTED, FINE, bias, SLOW, BOOT, ABSENT, idle)])
    assert [one.setting for one in found] == [
        "cpupower.governor", "cpupower.boost", "cpupower.idle_latency_max_us",
        "cpupower.energy_perf_bias", "kernel_cmdline", "quiet_host.ksm",
    ]  # fmt: skip
    assert [one.cost.iops_percent for one in found] == [-64, *[None] * 5]
    assert str(found[-1].cost) == "unknown"


@pytest.mark.parametrize(
    ("found", "asked", "percent"),
    [
        ("powersave", "performance", -64),
        ("performance (2), powersave (6)", "performance", -64),
        ("schedutil", "performance", None),
        ("performance", "powersave", None),
    ],
)
def test_a_cost_is_claimed_only_for_what_was_measured(found: str, asked: str, percent: int | None):
    """The study's figure is of powersave against performance; mixed CPUs have some of it."""
    assert costs.cost("cpupower.governor", found, asked).iops_percent == percent


def test_every_cost_names_its_source_and_a_setting_that_exists():
    """No figure without a source; costs are losses; no entry for a name that nobody can ask for."""
    from ansible_collections.nvmelab.bench.plugins.module_utils.host.knobs import (  # noqa: PLC0415
        registry,
    )

    known = {f"{knob.group}.{knob.name}" for knob in registry.KNOBS}
    for entry in costs.entries():
        assert entry.source
        assert entry.text
        assert entry.setting in known
        assert entry.iops_percent is None or -100 < entry.iops_percent < 0


def test_change_names_mode_and_variable():
    """What a run can set by itself, and what needs a boot, with the variable to ask otherwise."""
    slow, boot = doctor.findings([host("a", SLOW, BOOT)])
    assert slow.change == "nvmelab_tuning: enforce; or nvmelab_host_state.cpupower.governor"
    assert "kernel_cmdline_reboot_allowed: true" in boot.change
    assert boot.change.endswith("nvmelab_host_state.kernel_cmdline")


@pytest.mark.parametrize(
    ("audits", "code"),
    [
        ([host("a", FINE, ABSENT)], 0),
        ([host("a", FINE), host("b", SLOW)], 4),
        ([host("a", SLOW), HostAudit("b", "unreachable", "no route", 1)], 1),
        ([HostAudit("a", "failed", "no such setting", 2)], 2),
        ([HostAudit("a", "failed", "?", 2), HostAudit("b", "failed", "?", 1)], 1),
    ],
)
def test_exit_codes(audits: list[HostAudit], code: int):
    """0 nothing to change, 4 something, 1 a host failed whatever the others say, 2 bad input."""
    assert doctor.exit_code(audits) == code


def test_each_host_is_told_by_its_events(monkeypatch: pytest.MonkeyPatch):
    """Rows come of the audit's own result; unreachable, lost and rowless hosts are failures."""

    def fake(playbook: Playbook, on_event: Callable[[Event], None]) -> dict[str, HostOutcome]:
        assert playbook.path.name == "audit.yml"
        assert playbook.limit == "good,away"
        action = "nvmelab.bench.host_audit"
        result = {"rows": [SLOW], "verdict": {"state": "tainted"}, "duration_s": 0.04}
        on_event(Event("ok", host="good", action="ansible.builtin.debug", result={"rows": []}))
        on_event(Event("ok", host="good", action=action, result=result))
        on_event(Event("ok", host="lost", action=action, result={}, is_lost=True, task="Audit"))
        return {
            "away": HostOutcome("away", "unreachable", "no route to host", 1),
            "good": HostOutcome("good", "ok"),
            "lost": HostOutcome("lost", "ok"),
            "mute": HostOutcome("mute", "ok"),
        }

    monkeypatch.setattr(doctor, "run_playbook", fake)
    audits = {one.host: one for one in doctor.audit(inventory=["x"], limit="good,away")}
    assert audits["good"].rows == (SLOW,)
    assert audits["good"].duration_s == 0.04
    assert [audits[name].state for name in ("away", "lost", "mute")] == [
        "unreachable", "failed", "failed",
    ]  # fmt: skip
    assert "too large" in audits["lost"].message
    assert doctor.exit_code(list(audits.values())) == 1


def test_a_pipe_gets_one_line_a_finding():
    """Without a width nothing is folded: hosts, found, asked, cost with source, remedy."""
    lines = as_table([host("lab-a", SLOW, KSM), host("lab-b", SLOW)]).splitlines()
    assert lines[0] == "2 things to change on 2 of 2 hosts, worst first"
    (line,) = [line for line in lines if "governor" in line and "lab" in line]
    for part in (
        "lab-a, lab-b", "powersave → performance", "−64 % IOPS", "AiSIO study", "enforce",  # noqa: RUF001
        "cpupower.governor",
    ):  # fmt: skip
        assert part in line
    (line,) = [line for line in lines if "ksm" in line]
    assert "unknown" in line
    assert not any(line.endswith(" ") for line in lines)


def test_a_terminal_gets_lines_that_fit():
    """With a width every line of the table keeps to it, and nothing is lost to an ellipsis."""
    text = as_table([host("lab-a", SLOW, KSM, BOOSTED, BOOT)], width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text


def test_what_cannot_be_changed_is_told_apart():
    """Absent settings, a virtual host and who fights back are told; none of them is a finding."""
    virtual = {"reasons": [{"code": "virtual-host", "text": "a virtual machine"},
                           {"code": "host-state", "text": "told above"}]}  # fmt: skip
    fought = {**SLOW, "text": f"{SLOW['text']}; active, and may set it: tuned (balanced)"}
    held = row("dma_latency_us", "3 µs", "no bound", "recorded", text="3 µs: held during a run")
    text = as_table([host("vm", ABSENT, held, verdict=virtual), host("metal", fought, held)])
    assert "every host: 3 µs: held during a run" in text
    assert "vm: boost is not available: no cpufreq" in text
    assert "vm: virtual-host: a virtual machine" in text
    assert "told above" not in text
    assert "metal: governor is powersave, wanted performance; active, and may set it: tuned" in text


def test_nothing_to_change_is_said():
    """A clean lab is one line; a lab that nobody reached is said as well."""
    assert as_table([host("a", FINE)]) == "nothing to change on 1 host"
    assert as_table([HostAudit("a", "unreachable", "x", 1)]) == "no host could be audited"


def test_hosts_cannot_steer_the_terminal():
    """Escape sequences in what a host reports come out as letters."""
    bad = row("governor", "performance", "\x1b[2Jpowersave", "differs", text="\x07 bell")
    assert not {"\x1b", "\x07"} & set(as_table([host("a", bad)]))


def test_json_has_hosts_and_findings():
    """For programs: every row of every host, the findings in their order, costs as numbers."""
    data = json.loads(as_json([host("a", SLOW, FINE), HostAudit("b", "failed", "why", 1)]))
    assert [one["host"] for one in data["hosts"]] == ["a", "b"]
    assert data["hosts"][0]["rows"] == [SLOW, FINE]
    assert data["hosts"][1]["message"] == "why"
    (finding,) = data["findings"]
    assert finding["hosts"] == ["a"]
    assert finding["cost"]["iops_percent"] == -64
    assert "AiSIO" in finding["cost"]["source"]
    assert finding["change"].startswith("nvmelab_tuning: enforce")
