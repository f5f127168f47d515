# SPDX-License-Identifier: GPL-3.0-or-later
"""``nvmelab doctor``: audit every host of an inventory, and say what to change, worst first."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from nvmelab.lab import costs
from nvmelab.lab.events import reason_of
from nvmelab.lab.runner import Playbook, playbook_path, run_playbook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nvmelab.lab.events import Event, HostOutcome

SOMETHING_TO_CHANGE = 4
_AUDIT = "nvmelab.bench.host_audit"
# What only a boot can bring.
_NEEDS_REBOOT = ("kernel_cmdline",)


@dataclass(frozen=True)
class HostAudit:
    """What the audit said of one host. ``state``: ok, failed or unreachable; ``message``: why.

    ``rows``: one a setting, as the module ``nvmelab.bench.host_audit`` gives them.
    """

    host: str
    state: str
    message: str = ""
    exit_code: int = 0
    rows: tuple[Mapping[str, Any], ...] = ()
    verdict: Mapping[str, Any] = field(default_factory=dict)
    duration_s: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {key: value for key, value in asdict(self).items() if key != "exit_code"}


@dataclass(frozen=True)
class Finding:
    """One setting that is not as asked, on every host where it deviates in the same way."""

    hosts: tuple[str, ...]
    setting: str  # as nvmelab_host_state names it: cpupower.governor
    effective: str
    asked: str
    cost: costs.Cost
    texts: tuple[str, ...] = ()  # what the hosts say of it, each text once

    @property
    def needs_reboot(self) -> bool:
        """Whether only a boot can bring what is asked."""
        return self.setting in _NEEDS_REBOOT

    @property
    def change(self) -> str:
        """How to change it: let nvmelab do it, or ask for something else."""
        reboot = ", kernel_cmdline_reboot_allowed: true" if self.needs_reboot else ""
        return f"nvmelab_tuning: enforce{reboot}; or nvmelab_host_state.{self.setting}"

    @property
    def remarks(self) -> list[str]:
        """What the hosts say beyond found and asked: a value they cannot take, who sets it back."""
        return [text for text in self.texts if text and not text.endswith(f"wanted {self.asked}")]

    @property
    def knob(self) -> str:
        """The setting without its group."""
        return self.setting.rpartition(".")[2]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "change": self.change}


def audit(
    *,
    inventory: Sequence[str] | None,
    limit: str | None = None,
    extra_vars: Sequence[str] = (),
    on_event: Callable[[Event], None] = lambda _: None,
) -> list[HostAudit]:
    """Return the audit of every host, by name; a host that fails costs the others nothing.

    Raises:
        PlaybookError: Ansible could not start: bad inventory, no host in it.
        BadInputError: no such inventory, or no host of it is meant.
    """
    results: dict[str, Event] = {}

    def handle(event: Event) -> None:
        if event.action == _AUDIT and event.kind == "ok":
            results[event.host] = event
        on_event(event)

    playbook = Playbook(
        playbook_path("audit.yml"),
        inventory=inventory or (),
        limit=limit,
        extra_vars=extra_vars,
    )
    outcomes = run_playbook(playbook, handle)
    return [_host(outcome, results.get(outcome.host)) for outcome in outcomes.values()]


def findings(audits: Iterable[HostAudit]) -> list[Finding]:
    """Return what is not as asked, by known cost, worst first, then by setting."""
    groups: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for one in audits:
        for row in one.rows:
            if row.get("state") == "differs":
                key = (setting(row), _text(row.get("effective")), _text(row.get("asked")))
                groups.setdefault(key, []).append((one.host, str(row.get("text") or "")))
    found = [_finding(key, group) for key, group in groups.items()]
    return sorted(found, key=_worst_first)


def out_of_reach(audits: Iterable[HostAudit]) -> dict[tuple[str, ...], list[str]]:
    """Return hosts -> a sentence for each setting that was asked for and cannot be judged there.

    The host has no such setting, or it is in force only during a run that enforces it.
    """
    hosts: dict[str, list[str]] = {}
    for one in audits:
        for row in one.rows:
            if row.get("asked") is not None and row.get("state") in ("unavailable", "recorded"):
                text = str(row.get("text") or f"{row.get('knob')} is {row.get('state')}")
                hosts.setdefault(text, []).append(one.host)
    return _turned(hosts)


def other_reasons(audits: Iterable[HostAudit]) -> dict[tuple[str, ...], list[str]]:
    """Return hosts -> ``code: text`` of what taints them and no setting can change."""
    hosts: dict[str, list[str]] = {}
    for one in audits:
        for reason in one.verdict.get("reasons") or ():
            if reason.get("code") != "host-state":
                hosts.setdefault(f"{reason.get('code')}: {reason.get('text')}", []).append(one.host)
    return _turned(hosts)


def exit_code(audits: Sequence[HostAudit]) -> int:
    """Return 0 for nothing to change, 4 for something; 1 when a host failed, 2 on bad input."""
    codes = {one.exit_code for one in audits if one.state != "ok"}
    if codes:
        return 1 if 1 in codes else max(codes)
    return SOMETHING_TO_CHANGE if findings(audits) else 0


def setting(row: Mapping[str, Any]) -> str:
    """Return the setting's name below nvmelab_host_state; a group of one is its own setting."""
    group, knob = str(row.get("group")), str(row.get("knob"))
    return knob if knob == group else f"{group}.{knob}"


def _host(outcome: HostOutcome, event: Event | None) -> HostAudit:
    if outcome.state != "ok":
        return HostAudit(outcome.host, outcome.state, outcome.message, outcome.exit_code)
    result = event.result if event else None
    if not result or not isinstance(result.get("rows"), list):
        message = reason_of(event) if event and event.is_lost else "the audit returned no rows"
        return HostAudit(outcome.host, "failed", message, 1)
    return HostAudit(
        outcome.host,
        "ok",
        rows=tuple(row for row in result["rows"] if isinstance(row, dict)),
        verdict=result.get("verdict") or {},
        duration_s=result.get("duration_s"),
    )


def _finding(key: tuple[str, str, str], group: Sequence[tuple[str, str]]) -> Finding:
    name, effective, asked = key
    return Finding(
        hosts=tuple(host for host, _ in group),
        setting=name,
        effective=effective,
        asked=asked,
        cost=costs.cost(name, effective, asked),
        texts=tuple(dict.fromkeys(text for _, text in group)),
    )


def _worst_first(finding: Finding) -> tuple[float, bool, str, tuple[str, ...]]:
    known = finding.cost.iops_percent or 0.0
    return known, not finding.cost.source, finding.setting, finding.hosts


def _text(value: object) -> str:
    return "none" if value is None else str(value)


def _turned(hosts: Mapping[str, Sequence[str]]) -> dict[tuple[str, ...], list[str]]:
    found: dict[tuple[str, ...], list[str]] = {}
    for what, where in hosts.items():
        found.setdefault(tuple(where), []).append(what)
    return found
