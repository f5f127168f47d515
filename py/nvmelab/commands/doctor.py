# SPDX-License-Identifier: GPL-3.0-or-later
"""``nvmelab doctor``: what to change on which host, worst first, as a table or JSON."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

from nvmelab import units
from nvmelab.commands import console
from nvmelab.lab import doctor
from nvmelab.lab.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nvmelab.lab.doctor import Finding, HostAudit

_HEADERS = ("hosts", "setting", "found \N{RIGHTWARDS ARROW} asked", "known cost", "how to change")
_PIPE_WIDTH = 1000  # one line a finding, for grep


def run_doctor(
    *,
    inventory: Sequence[str] | None,
    limit: str | None,
    extra_vars: Sequence[str],
    output_format: str,
    verbose: bool,
) -> int:
    """Audit and print; the exit code: 0 nothing to change, 4 something, 1 or 2 a host failed.

    Raises:
        BadInputError: no such inventory, or no host of it is meant.
        PlaybookError: Ansible could not start.
    """
    with Progress(verbose=verbose, brief=True) as progress:
        audits = doctor.audit(
            inventory=inventory, limit=limit, extra_vars=extra_vars, on_event=progress.show
        )
    if output_format == "json":
        console.out(as_json(audits))
    else:
        console.out(as_table(audits, width=_terminal_width()))
    for one in audits:
        if one.state != "ok":
            console.err(f"nvmelab: {one.host}: {one.state}: {one.message}")
    return doctor.exit_code(audits)


def as_json(audits: Sequence[HostAudit]) -> str:
    """Return hosts with all their rows, and the findings, worst first."""
    data = {
        "hosts": [one.as_dict() for one in audits],
        "findings": [finding.as_dict() for finding in doctor.findings(audits)],
    }
    return json.dumps(data, indent=2, ensure_ascii=False)


def as_table(audits: Sequence[HostAudit], *, width: int | None = None) -> str:
    """Return one line a finding, folded where ``width`` asks for it, then what cannot be changed.

    What comes from hosts is made harmless for the terminal.
    """
    good = [one for one in audits if one.state == "ok"]
    found = doctor.findings(good)
    parts = [_headline(found, good), *([_findings(found, width), _LEGEND] if found else [])]
    for one in found:
        parts += [f"{_hosts(one.hosts, good)}: {remark}" for remark in one.remarks]
    for told in (doctor.out_of_reach(good), doctor.other_reasons(good)):
        parts += [f"{_hosts(hosts, good)}: {text}" for hosts in told for text in told[hosts]]
    return "\n".join(console.one_line(line) for part in parts for line in part.splitlines())


_LEGEND = """\
enforce     nvmelab_tuning: enforce lets a run set it, and put it back afterwards; what needs a
            reboot wants kernel_cmdline_reboot_allowed: true as well
GROUP.KNOB  in nvmelab_host_state asks for something else, or null for nothing"""


def _terminal_width() -> int | None:
    """Return into how many columns to fold; ``None`` where no person looks: not at all."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _headline(found: Sequence[Finding], good: Sequence[HostAudit]) -> str:
    if not good:
        return "no host could be audited"
    bad = {host for finding in found for host in finding.hosts}
    audited = units.count(len(good), "host")
    if not found:
        return f"nothing to change on {audited}"
    return f"{units.count(len(found), 'thing')} to change on {len(bad)} of {audited}, worst first"


def _findings(found: Sequence[Finding], width: int | None) -> str:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in _HEADERS:
        table.add_column(header, overflow="fold")
    for one in found:
        values = f"{one.effective} \N{RIGHTWARDS ARROW} {one.asked}"
        line = (", ".join(one.hosts), one.knob, values, str(one.cost), _change(one))
        table.add_row(*(Text(console.one_line(text)) for text in line))
    screen = Console(width=width or _PIPE_WIDTH, color_system=None)
    with screen.capture() as captured:
        screen.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _change(finding: Finding) -> str:
    return f"enforce{' and reboot' if finding.needs_reboot else ''}, or {finding.setting}"


def _hosts(hosts: Sequence[str], good: Sequence[HostAudit]) -> str:
    return "every host" if 1 < len(hosts) == len(good) else ", ".join(hosts)
