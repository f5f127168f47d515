# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of the lab host bears on the verdict of every point, known before the first of them."""

from __future__ import annotations

import os
from typing import Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.run.verdict import HostFacts


def host_facts(
    plan: Mapping[str, Any],
    capabilities: Mapping[str, Any],
    conditions: Mapping[str, Any],
    *,
    not_as_asked: str,
) -> HostFacts:
    """Return what every point is judged under.

    Args:
        plan: whose accelerator and CPU layout count.
        capabilities: of the host.
        conditions: of now, for what old capabilities do not tell.
        not_as_asked: which settings differ from what was asked; empty for none.
    """
    accelerator = capabilities.get("accelerator") or {}
    is_virtual = capabilities.get("is_virtual_machine", conditions["has_hypervisor_flag"])
    return HostFacts(
        is_virtual_machine=bool(is_virtual),
        accelerator=plan["accelerator"],
        accelerator_reason=str(accelerator.get("reason", "")),
        cpu_count=os.cpu_count() or 1,
        cpu_overcommit=_overcommit(plan.get("cpu_layout")),
        not_as_asked=not_as_asked,
    )


def _overcommit(cpu_layout: Optional[Mapping[str, Any]]) -> str:
    """Return why the plan's CPU layout is tainted; empty when it is not, or there is none."""
    reasons = cpu_layout["layout"]["verdict"]["reasons"] if cpu_layout else []
    return "; ".join(one["text"] for one in reasons)
